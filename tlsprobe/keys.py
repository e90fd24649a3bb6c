"""The keys of a table in a TOML file: what each may hold, what it means, and every mistake at once.

A check returns the value as tlsprobe keeps it, or raises ValueError with what to write instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, cast, get_type_hints

from tlsprobe.model.target import Login
from tlsprobe.spelling import nearest

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
        raise ValueError(f"not a regular expression ({error}); correct it") from None
    raise ValueError('write a pattern that is not empty; "." is any byte')


def a_pattern_of_lines(value: object) -> re.Pattern[bytes]:
    """A pattern for lines: ``^`` begins any of them, and ``.`` stays inside its own."""
    return re.compile(a_pattern(value).pattern, re.MULTILINE)


# -- what a table may hold ---------------------------------------------------------------------

Reader = Callable[[object, str, list[str]], Any]
"""Reads what a key holds, given the path to it; what is wrong inside is added to the list."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a table.

    ``check`` takes the value of a key; ``inside`` reads one that holds a table of its own. ``into``
    is the field that takes the value if not the key's own name; ``help`` a sentence on it.
    """

    check: Callable[[object], Any] | None = None
    help: str = ""
    required: bool = False
    into: str | None = None
    inside: Reader | None = None

    def read(self, value: object, path: str, mistakes: list[str]) -> Any:
        """The value to keep. Raises ValueError with what to write instead."""
        if self.inside is not None:
            return self.inside(value, path, mistakes)
        return value if self.check is None else self.check(value)


Keys = Mapping[str, Key]
"""Everything that a table may hold."""


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
            good[key.into or name] = key.read(value, f"{prefix}{name}", mistakes)
        except ValueError as mistake:
            mistakes.append(f"{prefix}{name}: {mistake}")
    return good


def _needs(keys: Keys, name: str, table: dict[str, object]) -> bool:
    return keys[name].required and name not in table


def _key(name: str, keys: Keys) -> Key:
    if name in keys:
        return keys[name]
    near = nearest(name, keys)
    hint = f"did you mean {near}?" if near else f"remove it, or write one of {', '.join(keys)}"
    raise ValueError(f"unknown key; {hint}")


# -- tables that are read into a dataclass -----------------------------------------------------


def keys_of(made: type) -> Keys:
    """The keys that fill a dataclass: those with which its fields are annotated, in their order."""
    hints = get_type_hints(made, include_extras=True)
    said = {one.name: getattr(hints[one.name], "__metadata__", ()) for one in fields(made)}
    return {name: key for name, found in said.items() for key in found if isinstance(key, Key)}


def shown(value: object) -> str:
    """A value as a file would have it; None is a key that is left out."""
    match value:
        case None:
            return "not set"
        case bytes():
            return _quoted(value.decode("latin-1"))
        case re.Pattern():
            return shown(value.pattern)
        case tuple():
            return f"[{', '.join(map(shown, value))}]"
        case bool() | str() | int() | float():
            return _quoted(value)
    return _shown_table(value)


def _quoted(value: str | float) -> str:
    """As JSON has it, which TOML understands but for one control character."""
    is_plain = not isinstance(value, str) or value.isprintable()
    return json.dumps(value, ensure_ascii=not is_plain).replace("\x7f", "\\u007f")


def _shown_table(value: object) -> str:
    parts = {one.name: getattr(value, one.name) for one in fields(cast("Any", value))}
    said = [f"{name} = {shown(part)}" for name, part in parts.items() if part not in {None, False}]
    return f"{{ {', '.join(said)} }}" if said else "{}"


def a_login(value: object, path: str, mistakes: list[str]) -> Login:
    """A table that says who logs in."""
    return Login(**checked(value, _LOGIN, path, mistakes))


_LOGIN: Keys = {name: Key(a_value) for name in ("user", "password", "database")}
