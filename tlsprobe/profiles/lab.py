"""Reads the ``[lab]`` table of a profile: how a real server is got, started, known and stopped."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tlsprobe.keys import (
    Key,
    Keys,
    a_duration,
    a_flag,
    a_login,
    a_name,
    a_short,
    a_text,
    checked,
    some_names,
)
from tlsprobe.model.profile import (
    LAB_BEHIND,
    LAB_PLACEHOLDER,
    LAB_PLACEHOLDERS,
    LAB_PLACES,
    Command,
    Lab,
    LabChange,
    LabRemedy,
    LabVersion,
)
from tlsprobe.model.sequence import ConnectionLimit

STOPS = ("TERM", "INT", "QUIT", "KILL")
"""The signals that a server may be stopped with."""


def lab(table: object, folder: Path, mistakes: list[str]) -> Lab | None:
    """What the table says; ``folder`` is the profile's. None if something is wrong with it."""
    before = len(mistakes)
    values = checked(table, _LAB, "lab", mistakes)
    if len(mistakes) == before:
        read = Lab(folder=folder, **values)
        mistakes += (f"lab.{mistake}" for mistake in _senseless(read))
    return read if len(mistakes) == before else None


def _senseless(lab: Lab) -> Iterator[str]:
    """What no server can be started with, though each key is well written."""
    for name in lab.values:
        if name in {*LAB_PLACEHOLDERS, *LAB_BEHIND}:
            yield f"values.{name}: the lab says that itself; choose another name"
    for remedy in lab.remedies:
        for name in sorted({*remedy.values} - {*lab.values}):
            yield f"remedies: {remedy.name} has a value for {name!r}, which [lab] values lacks"
    known = (*LAB_PLACEHOLDERS, *lab.values, *(LAB_BEHIND if lab.behind else ()))
    for key, texts, names in (
        ("program", lab.program, LAB_PLACES),
        ("versions", [p for one in lab.versions.values() for p in one.program], LAB_PLACES),
        ("build", _words(lab.build), LAB_PLACES),
        ("version", lab.version, (*LAB_PLACES, "program")),
        ("tls_version", lab.tls_version, (*LAB_PLACES, "program")),
        ("values", lab.values.values(), known),
        ("env", lab.env.values(), known),
        ("prepare", _words(lab.prepare), known),
        ("start", lab.start, known),
    ):
        for unknown in sorted(_placeholders(texts) - set(names)):
            yield f"{key}: there is no @{unknown}@ here; write one of {_listed(names)}"
    everything = {
        *_placeholders(lab.start),
        *_placeholders(lab.version),
        *_placeholders(lab.tls_version),
    }
    if "program" in everything and not lab.program:
        yield "program: missing, and @program@ is asked for; write where the server may be"


def _words(commands: tuple[Command, ...]) -> list[str]:
    return [word for command in commands for word in command]


def _placeholders(texts: Iterable[str]) -> set[str]:
    return {name for text in texts for name in LAB_PLACEHOLDER.findall(text)}


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"@{name}@" for name in names)


# -- what a value may be -----------------------------------------------------------------------


def _command(value: object) -> Command:
    if isinstance(value, list) and value and all(isinstance(word, str) for word in value):
        return tuple(value)
    raise ValueError('write a list of strings, the program first, such as ["@program@", "-v"]')


def _commands(value: object) -> tuple[Command, ...]:
    if isinstance(value, list):
        try:
            return tuple(map(_command, value))
        except ValueError:
            pass
    raise ValueError('write a list of commands, such as [["initdb", "-D", "@folder@/data"]]')


def _texts(value: object) -> Mapping[str, str]:
    if isinstance(value, dict) and all(isinstance(text, str) for text in value.values()):
        return value
    raise ValueError('write strings by name, such as { name = "value" }')


def _table(value: object) -> Mapping[str, object]:
    if isinstance(value, dict):
        return value
    raise ValueError('write keys of [protocol] with their values in the lab: { path = "/x" }')


def _limits(
    value: object, path: str, mistakes: list[str]
) -> Mapping[str, frozenset[ConnectionLimit]]:
    """The limits that a server has, by the adapter of the protocol."""
    if not isinstance(value, dict):
        mistakes.append(f'{path}: write lists by protocol: {{ http1 = ["requests", "stall"] }}')
        return {}
    found = {}
    for name, limits in value.items():
        try:
            found[name] = frozenset(map(ConnectionLimit, some_names(limits)))
        except ValueError:
            mistakes.append(f"{path}.{name}: write a list of {', '.join(ConnectionLimit)}")
    return found


def _ready(value: object) -> re.Pattern[str] | None:
    kind, _, pattern = a_text(value).partition(" ")
    if kind == "log" and pattern:
        return _compiled(pattern)
    if value == "tcp":
        return None
    raise ValueError('write "tcp", or "log " and a pattern to find in the server\'s output')


def _with_group(value: object) -> re.Pattern[str]:
    pattern = _compiled(a_text(value))
    if pattern.groups:
        return pattern
    raise ValueError("put what is to be shown in parentheses")


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern, re.MULTILINE)
    except re.error as error:
        raise ValueError(f"not a regular expression ({error}); correct it") from None


def _versions(value: object, path: str, mistakes: list[str]) -> Mapping[str, LabVersion]:
    """Versions by name, each from one place."""
    if not isinstance(value, dict):
        mistakes.append(f'{path}: write lines of the form "1.26" = {{ debian = "trixie" }}')
        return {}
    found = {}
    for name, table in value.items():
        own = f"{path}.{name}"
        if not _VERSION_NAME.fullmatch(name):
            mistakes.append(f"{own}: name it by letters, digits, '.', '_' and '-'")
        before = len(mistakes)
        said = checked(table, _VERSION, own, mistakes)
        if len(mistakes) == before and len(_FROM & {*said}) != 1:
            mistakes.append(f"{own}: write one of debian, pip, npm, go: where it comes from")
        elif len(mistakes) == before:
            found[name] = LabVersion(**said)
    return found


def _changes(value: object, path: str, mistakes: list[str]) -> tuple[LabChange, ...]:
    """What the server's notes say of changes."""
    return tuple(LabChange(**said) for _, said in _complete(value, _CHANGE, path, mistakes))


def _remedies(value: object, path: str, mistakes: list[str]) -> tuple[LabRemedy, ...]:
    """What can be tried, each by the server or by the client."""
    found = []
    for own, said in _complete(value, _REMEDY, path, mistakes):
        if len({"values", "instead"} & {*said}) == 1:
            found.append(LabRemedy(**said))
        else:
            mistakes.append(f"{own}: write one of values, instead: how it is tried")
    names = [one.name for one in found]
    mistakes += (f"{path}: {name} is there twice" for name in {*names} if names.count(name) > 1)
    return tuple(found)


def _complete(
    value: object, keys: Keys, path: str, mistakes: list[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """What each table of a list says, with the path to it, unless something is wrong with it."""
    if not isinstance(value, list):
        mistakes.append(f"{path}: write tables, each with a line [[{path}]]")
        return
    for number, table in enumerate(value, 1):
        own, before = f"{path}.{number}", len(mistakes)
        said = checked(table, keys, own, mistakes)
        if len(mistakes) == before:
            yield own, said


def _a_source(value: object) -> str:
    if isinstance(value, str) and value.startswith("https://"):
        return value
    raise ValueError("write where it can be read: https://...")


def _a_version(value: object) -> str:
    if isinstance(value, str) and _VERSION_NUMBER.fullmatch(value):
        return value
    raise ValueError('write the first version that has it, such as "2.5"')


def _some(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise ValueError("write how many connections at a time, at least 1")


def _one_of(choices: tuple[str, ...]) -> Callable[[object], str]:
    def check(value: object) -> str:
        if isinstance(value, str) and value in choices:
            return value
        raise ValueError(f"write one of {', '.join(choices)}")

    return check


_VERSION_NUMBER = re.compile(r"\d+(\.\d+)*")
_CHANGE: Keys = {
    "since": Key(_a_version, required=True),
    "about": Key(some_names, required=True),
    "says": Key(a_text, required=True),
    "source": Key(_a_source, required=True),
}
"""What a table of ``[[lab.changes]]`` says."""

_REMEDY: Keys = {
    "name": Key(a_name, required=True),
    "says": Key(a_text, required=True),
    "against": Key(some_names, required=True),
    "sequences": Key(some_names, required=True),
    "values": Key(_texts),
    "instead": Key(a_name),
}
"""What a table of ``[[lab.remedies]]`` says."""

_VERSION_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_FROM = {"suite", "pip", "npm", "go"}
_VERSION: Keys = {
    "debian": Key(a_name, into="suite"),
    "pip": Key(some_names),
    "npm": Key(some_names),
    "go": Key(a_text),
    "packages": Key(some_names),
    "program": Key(some_names),
    "start": Key(_command),
    "values": Key(_texts),
}
"""What a line of ``[lab.versions]`` may say."""

_LAB: Keys = {
    "title": Key(a_text),
    "image": Key(a_text),
    "program": Key(some_names),
    "packages": Key(some_names),
    "pip": Key(some_names),
    "npm": Key(some_names),
    "build": Key(_commands),
    "needs": Key(some_names),
    "templates": Key(some_names),
    "values": Key(_texts),
    "prepare": Key(_commands),
    "start": Key(_command, required=True),
    "as_user": Key(a_flag),
    "user": Key(a_text),
    "env": Key(_texts),
    "ready": Key(_ready),
    "ready_within": Key(a_duration),
    "stop": Key(_one_of(STOPS)),
    "version": Key(_command),
    "version_pattern": Key(_with_group),
    "tls_library": Key(a_text),
    "tls_version": Key(_command),
    "tls_pattern": Key(_with_group),
    "idle": Key(a_short),
    "idle_directive": Key(a_text),
    "behind": Key(a_name),
    "also": Key(some_names),
    "login": Key(inside=a_login),
    "client_cert": Key(a_flag),
    "concurrency": Key(_some),
    "patience": Key(a_duration),
    "protocol": Key(_table),
    "limits": Key(inside=_limits),
    "alpn": Key(some_names),
    "sequences": Key(some_names),
    "notes": Key(a_text),
    "versions": Key(inside=_versions),
    "changes": Key(inside=_changes),
    "remedies": Key(inside=_remedies),
}
