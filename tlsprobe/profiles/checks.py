"""What a value of a profile may be, and what a table of values may hold.

A check returns the value that the profile holds, or raises ValueError with the mend.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from tlsprobe.model.profile import ANYTHING, PLACEHOLDERS, Exchange

# -- what a value may be -----------------------------------------------------------------------


def a_text(value: object) -> str:
    """Words, not empty."""
    if isinstance(value, str) and value.strip():
        return value
    raise ValueError("write a string that is not empty")


def a_name(value: object) -> str:
    """What a profile may be called."""
    if isinstance(value, str) and re.fullmatch(r"[a-z0-9][a-z0-9._-]*", value):
        return value
    raise ValueError("write lower-case letters, digits, '.', '_' and '-'")


def a_value(value: object) -> str:
    """Words, or none."""
    if isinstance(value, str):
        return value
    raise ValueError("write a string")


def a_port(value: object) -> int:
    """A TCP port."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535:
        return value
    raise ValueError("write a whole number from 1 to 65535")


def a_duration(value: object) -> float:
    """Seconds, more than 0."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf"):
        return float(value)
    raise ValueError("write seconds as a number greater than 0, without quotes")


def a_short(value: object) -> int:
    """Seconds in sixteen bits."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 65535:
        return value
    raise ValueError("write whole seconds from 0 to 65535, without quotes")


def a_flag(value: object) -> bool:
    """Yes or no."""
    if isinstance(value, bool):
        return value
    raise ValueError("write true or false, without quotes")


def some_names(value: object) -> tuple[str, ...]:
    """A list of words."""
    if isinstance(value, list) and all(isinstance(item, str) and item for item in value):
        return tuple(value)
    raise ValueError('write a list of strings, such as ["close-notify-fin"]')


def some_bytes(value: object) -> bytes:
    """Bytes, written as characters."""
    try:
        if isinstance(value, str):
            return value.encode("latin-1")
    except UnicodeEncodeError:
        pass
    raise ValueError(r"write a string of characters up to \u00ff, each of them one byte")


def a_pattern(value: object) -> re.Pattern[bytes]:
    """A regular expression over bytes, in which a dot is any of them."""
    pattern = some_bytes(value)
    try:
        if pattern:
            return re.compile(pattern, re.DOTALL)
    except re.error as error:
        raise ValueError(f"not a regular expression ({error}); mend it") from None
    raise ValueError('write a pattern that is not empty; "." is any byte')


def an_answer(value: object) -> re.Pattern[bytes] | None:
    """A pattern, or whether anything at all is answered."""
    if isinstance(value, bool):
        return ANYTHING if value else None
    return a_pattern(value)


def a_line(value: object) -> str:
    """A line of a chat, whose placeholders are known."""
    line = a_text(value)
    if line.endswith(("\r", "\n")):
        raise ValueError("leave out the line end; it is added to every line that is sent")
    _known(Exchange(line).placeholders)
    return line


def _known(placeholders: tuple[str, ...]) -> None:
    for name in placeholders:
        if name not in PLACEHOLDERS:
            names = ", ".join(f"{{{known}}}" for known in PLACEHOLDERS)
            raise ValueError(f"there is no {{{name}}}; write one of {names}")


def a_pattern_of_lines(value: object) -> re.Pattern[bytes]:
    """A pattern for lines: ``^`` begins any of them, and ``.`` stays inside its own."""
    return re.compile(a_pattern(value).pattern, re.MULTILINE)


# -- what a table may hold ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a table: the check of its value, and the field that takes it if not its own."""

    check: Callable[[object], Any]
    required: bool = False
    into: str | None = None


Keys = Mapping[str, Key]
"""Everything that a table may hold."""


def as_is(value: object) -> object:
    """Anything; somebody else looks into it."""
    return value


def checked(table: object, keys: Keys, path: str, mistakes: list[str]) -> dict[str, Any]:
    """The good values of a table, by field; what is wrong with the rest goes to ``mistakes``."""
    if not isinstance(table, dict):
        mistakes.append(f"{path}: write a table, with a line [{path}]")
        return {}
    prefix = f"{path}." if path else ""
    mistakes += [f"{prefix}{name}: missing; write it" for name in keys if _needs(keys, name, table)]
    good: dict[str, Any] = {}
    for name, value in table.items():
        try:
            key = _key(name, keys)
            good[key.into or name] = key.check(value)
        except ValueError as mend:
            mistakes.append(f"{prefix}{name}: {mend}")
    return good


def _needs(keys: Keys, name: str, table: dict[str, object]) -> bool:
    return keys[name].required and name not in table


def _key(name: str, keys: Keys) -> Key:
    if name in keys:
        return keys[name]
    near = get_close_matches(name, keys, n=1, cutoff=0.5)
    mend = f"did you mean {near[0]}?" if near else f"remove it, or write one of {', '.join(keys)}"
    raise ValueError(f"unknown key; {mend}")


LOGIN: Keys = {"user": Key(a_value), "password": Key(a_value), "database": Key(a_value)}
"""A table that says who logs in."""
