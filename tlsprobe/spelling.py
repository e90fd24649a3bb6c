"""How words are spelled: text that is no UTF-8, and what a misspelt word was meant to be."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

ALIKE = 0.75
"""How alike two words must be for one to be the other misspelt; at 0.5 "bogus" is "verbose"."""

BEGUN = 3
"""How many letters say which word was begun and not finished, such as "idle" of "idle-limit"."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that somebody meant, or None if nothing is near enough to be worth saying."""
    words = tuple(known)
    near = get_close_matches(word, words, 1, cutoff=ALIKE)
    begun = (one for one in words if len(word) >= BEGUN and one.startswith(word))
    return near[0] if near else next(begun, None)


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
