"""Text that came from bytes which are no UTF-8: spelled out for JSON, or as the bytes it was."""

from __future__ import annotations

from typing import Any


def as_given(value: str) -> bytes:
    """The bytes of a word from the command line or the environment, as they came: UTF-8 or not."""
    return value.encode("utf-8", "surrogateescape")


def speakable(value: Any) -> Any:
    r"""The same values with lone surrogates spelled out: ``\udc80`` as six characters.

    A command line or a peer's text that is no UTF-8 reaches us with surrogates in it; losing a
    run's results to one would be a poor trade.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {speakable(key): speakable(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [speakable(item) for item in value]
    return value
