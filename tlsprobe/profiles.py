"""Reads ``profile.toml``: what is known about a kind of server before it is measured.

A file is checked as a whole. Whoever writes one gets every mistake in it at once, each with the
file, the key and the mend.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from tlsprobe.errors import UsageError
from tlsprobe.model.profile import (
    ANYTHING,
    PLACEHOLDERS,
    AmqpSettings,
    ChatSettings,
    Directive,
    Exchange,
    Http1Settings,
    Http2Settings,
    LdapSettings,
    MqttSettings,
    MysqlSettings,
    PostgresSettings,
    Profile,
    RawSettings,
    Settings,
)
from tlsprobe.model.target import Login

FILE = "profile.toml"
"""What a profile's file is called in its folder."""


def list_profiles() -> list[str]:
    """The names of the profiles that ship with tlsprobe, sorted."""
    return sorted(file.parent.name for file in _shipped().glob(f"*/{FILE}"))


def load_profile(name_or_path: str) -> Profile:
    """Load a shipped profile by name, or any by the path of its file or folder.

    What ends in ``.toml`` or contains a slash is a path. Raises UsageError that lists names like
    an unknown one, or every mistake of the file. That the named sequences exist is not checked.
    """
    return _read(_find(name_or_path))


def _shipped() -> Path:
    package = Path(__file__).parent
    installed = package / "_profiles"
    return installed if installed.is_dir() else package.parent / "profiles"


def _find(name_or_path: str) -> Path:
    if "/" in name_or_path or name_or_path.endswith(".toml"):
        path = Path(name_or_path).expanduser()
        return path / FILE if path.is_dir() else path
    if name_or_path in (names := list_profiles()):
        return _shipped() / name_or_path / FILE
    near = get_close_matches(name_or_path, names, n=3, cutoff=0.5)
    raise UsageError(
        f"there is no profile {name_or_path!r}" + (f"; near it: {', '.join(near)}" if near else ""),
        f"profiles: {', '.join(names)}; or give the path of a {FILE}",
    )


def _read(file: Path) -> Profile:
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"{file}: cannot be read: {error.strerror}", "check the path after --profile"
        ) from None
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{file}: not UTF-8 at byte {error.start}", "save the file as UTF-8, as TOML asks"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file}: not TOML: {error}", "mend the line that it names") from None
    mistakes: list[str] = []
    profile = _profile(document, mistakes)
    if mistakes or profile is None:
        count = "a mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        lines = "\n".join(f"{file}: {mistake}" for mistake in mistakes)
        raise UsageError(f"the profile has {count}:\n{lines}", "each line names the key to mend")
    return profile


# -- what a value may be -----------------------------------------------------------------------
# A check returns the value that the profile holds, or raises ValueError with the mend.


def _text(value: object) -> str:
    if isinstance(value, str) and value.strip():
        return value
    raise ValueError("write a string that is not empty")


def _name(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"[a-z0-9][a-z0-9._-]*", value):
        return value
    raise ValueError("write lower-case letters, digits, '.', '_' and '-'")


def _value(value: object) -> str:
    if isinstance(value, str):
        return value
    raise ValueError("write a string")


def _port(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535:
        return value
    raise ValueError("write a whole number from 1 to 65535")


def _seconds(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf"):
        return float(value)
    raise ValueError("write seconds as a number greater than 0, without quotes")


def _short(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 65535:
        return value
    raise ValueError("write whole seconds from 0 to 65535, without quotes")


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError("write true or false, without quotes")


def _names(value: object) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(item, str) and item for item in value):
        return tuple(value)
    raise ValueError('write a list of strings, such as ["close-notify-fin"]')


def _bytes(value: object) -> bytes:
    try:
        if isinstance(value, str):
            return value.encode("latin-1")
    except UnicodeEncodeError:
        pass
    raise ValueError(r"write a string of characters up to \u00ff, each of them one byte")


def _pattern(value: object) -> re.Pattern[bytes]:
    pattern = _bytes(value)
    try:
        if pattern:
            return re.compile(pattern, re.DOTALL)
    except re.error as error:
        raise ValueError(f"not a regular expression ({error}); mend it") from None
    raise ValueError('write a pattern that is not empty; "." is any byte')


def _answer(value: object) -> re.Pattern[bytes] | None:
    if isinstance(value, bool):
        return ANYTHING if value else None
    return _pattern(value)


def _line(value: object) -> str:
    line = _text(value)
    if line.endswith(("\r", "\n")):
        raise ValueError("leave out the line end; it is added to every line that is sent")
    _known(Exchange(line).placeholders)
    return line


def _known(placeholders: tuple[str, ...]) -> None:
    for name in placeholders:
        if name not in PLACEHOLDERS:
            names = ", ".join(f"{{{known}}}" for known in PLACEHOLDERS)
            raise ValueError(f"there is no {{{name}}}; write one of {names}")


def _in_lines(value: object) -> re.Pattern[bytes]:
    """A pattern for lines: ``^`` begins any of them, and ``.`` stays inside its own."""
    return re.compile(_pattern(value).pattern, re.MULTILINE)


def _directives(value: object) -> tuple[Directive, ...]:
    if isinstance(value, dict) and all(isinstance(effect, str) for effect in value.values()):
        return tuple(Directive(name, effect) for name, effect in value.items())
    raise ValueError('write lines of the form setting = "what it does to a close"')


# -- what a table may hold ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a table: the check of its value, and the field that takes it if not its own."""

    check: Callable[[object], Any]
    required: bool = False
    into: str | None = None


Keys = Mapping[str, Key]
"""Everything that a table may hold."""


def _as_is(value: object) -> object:
    return value


_TOP: Keys = {
    "name": Key(_name, required=True),
    "title": Key(_text, required=True),
    "port": Key(_port, required=True),
    "protocol": Key(_as_is, required=True),
    "idle": Key(_as_is),
    "sequences": Key(_names),
    "alpn": Key(_names),
    "image": Key(_text),
    "notes": Key(_text),
    "directives": Key(_directives),
}
_IDLE: Keys = {
    "timeout": Key(_seconds, required=True, into="idle_s"),
    "source": Key(_text, required=True, into="idle_source"),
}
_ADAPTERS: Mapping[str, tuple[Callable[..., Settings], Keys]] = {
    "http1": (
        Http1Settings,
        {"path": Key(_text), "large": Key(_text), "host": Key(_text)},
    ),
    "http2": (
        Http2Settings,
        {"path": Key(_text), "large": Key(_text), "host": Key(_text)},
    ),
    "mysql": (MysqlSettings, {"query": Key(_text)}),
    "ldap": (LdapSettings, {"starttls": Key(_flag)}),
    "mqtt": (MqttSettings, {"client_id": Key(_text), "keep_alive": Key(_short)}),
    "amqp": (AmqpSettings, {"heartbeat": Key(_short)}),
    "chat": (
        ChatSettings,
        {
            "plain": Key(_as_is),
            "greeting": Key(_as_is),
            "request": Key(_as_is, required=True),
            "goodbye": Key(_as_is),
            "refused": Key(_in_lines),
            "defaults": Key(_as_is),
        },
    ),
    "postgres": (PostgresSettings, {"query": Key(_text), "direct": Key(_flag)}),
    "raw": (
        RawSettings,
        {
            "request": Key(_bytes),
            "large": Key(_bytes),
            "response": Key(_answer),
            "greeting": Key(_pattern),
            "goodbye": Key(_bytes),
            "goodbye_response": Key(_answer),
        },
    ),
}

_EXCHANGE: Keys = {
    "send": Key(_line),
    "expect": Key(_in_lines),
    "refused": Key(_in_lines),
    "hint": Key(_text),
}
_OPENING: Keys = {**_EXCHANGE, "optional": Key(_flag)}
_ASKING: Keys = {**_EXCHANGE, "send": Key(_line, required=True)}
_DEFAULTS: Keys = {"user": Key(_value), "password": Key(_value), "database": Key(_value)}


def _profile(document: object, mistakes: list[str]) -> Profile | None:
    values = _checked(document, _TOP, "", mistakes)
    if "protocol" in values:
        values |= _protocol(values["protocol"], mistakes)
    if "idle" in values:
        values |= _checked(values.pop("idle"), _IDLE, "idle", mistakes)
    return None if mistakes else Profile(**values)


def _protocol(table: object, mistakes: list[str]) -> dict[str, Any]:
    adapter = table.get("adapter") if isinstance(table, dict) else None
    if not isinstance(adapter, str) or adapter not in _ADAPTERS:
        said = "missing" if adapter is None else f"{adapter!r} is not one"
        mistakes.append(f"protocol.adapter: {said}; write one of {', '.join(_ADAPTERS)}")
        return {}
    make, keys = _ADAPTERS[adapter]
    settings = _checked(table, {"adapter": Key(_text), **keys}, "protocol", mistakes)
    settings.pop("adapter")
    if make is ChatSettings:
        _chat(settings, mistakes)
    for answer, asked in (("response", "request"), ("goodbye_response", "goodbye")):
        if settings.get(answer) and not settings.get(asked):
            mistakes.append(f"protocol.{answer}: nothing asks for it; write {asked}, or remove it")
    return {"protocol": adapter, "settings": make(**settings)}


def _chat(settings: dict[str, Any], mistakes: list[str]) -> None:
    """Turn the tables of a chat into what they say, in place."""
    for name, table in settings.items():
        path = f"protocol.{name}"
        match name:
            case "plain" | "greeting":
                settings[name] = _exchanges(table, path, mistakes)
            case "request" | "goodbye":
                settings[name] = _exchange(table, _ASKING, path, mistakes)
            case "defaults":
                settings[name] = Login(**_checked(table, _DEFAULTS, path, mistakes))


def _exchanges(tables: object, path: str, mistakes: list[str]) -> tuple[Exchange, ...]:
    if not isinstance(tables, list):
        mistakes.append(f"{path}: write a list of tables, each with a line [[{path}]]")
        return ()
    return tuple(
        _exchange(table, _OPENING, f"{path}[{number}]", mistakes)
        for number, table in enumerate(tables)
    )


def _exchange(table: object, keys: Keys, path: str, mistakes: list[str]) -> Exchange:
    before = len(mistakes)
    exchange = Exchange(**_checked(table, keys, path, mistakes))
    if len(mistakes) == before:
        mistakes += (f"{path}{mend}" for mend in _senseless(exchange))
    return exchange


def _senseless(exchange: Exchange) -> Iterator[str]:
    """What no exchange can mean, though each of its keys is well written."""
    if exchange.send is None and exchange.expect is None:
        yield ": says nothing and waits for nothing; write send, expect or both"
    elif exchange.expect is None and exchange.refused:
        yield ".refused: no answer is waited for; write expect, or remove it"
    if exchange.optional and not set(exchange.placeholders) - {"host"}:
        yield ".optional: send holds nothing that a user could leave out; remove it"


def _checked(table: object, keys: Keys, path: str, mistakes: list[str]) -> dict[str, Any]:
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
