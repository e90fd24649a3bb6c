"""Reads ``tlsprobe.toml``: options, targets and waivers of a project.

The file is checked as a whole: whoever writes one gets every mistake in it at once, each with the
file, the line, the key and what to write instead.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tlsprobe.errors import UsageError
from tlsprobe.judge.rules import RULES
from tlsprobe.keys import Key, Keys, a_text, checked
from tlsprobe.model.waiver import Waiver
from tlsprobe.spelling import nearest

CONFIG_FILE = "tlsprobe.toml"
"""What the file is called in a working directory."""

TARGET, WAIVER = "target", "waiver"
"""The tables that may come several times."""


@dataclass(frozen=True, slots=True)
class ConfiguredTarget:
    """A ``[[target]]``: its address as on the command line, a name of its own, its options."""

    address: str
    name: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    line: int = 1


@dataclass(frozen=True, slots=True)
class Configuration:
    """The whole file: options of every target, the targets, and the waivers.

    ``sections`` are the tables of commands that have one of their own, by name.
    """

    file: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    sections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    targets: tuple[ConfiguredTarget, ...] = ()
    waivers: tuple[Waiver, ...] = ()


def read_configuration(
    file: Path,
    options: Keys,
    target_options: Keys,
    sections: Mapping[str, Callable[[], Keys]] = MappingProxyType({}),
) -> Configuration:
    """Read a file, which may hold ``options``, and in a target ``target_options``.

    ``sections`` are tables that it may hold besides: what is in one is asked for if it is there.
    Raises UsageError with every mistake.
    """
    text = _text(file)
    document = _document(file, text)
    mistakes: list[str] = []
    lines = _lines(text)
    targets = _tables(document.pop(TARGET, []), TARGET, mistakes)
    waivers = _tables(document.pop(WAIVER, []), WAIVER, mistakes)
    own = {name: document.pop(name) for name in sections if name in document}
    found = Configuration(
        file,
        checked(document, options, "", mistakes),
        {name: checked(table, sections[name](), name, mistakes) for name, table in own.items()},
        tuple(_target(*one, target_options, lines, mistakes) for one in targets),
        tuple(_waiver(*one, file, lines, mistakes) for one in waivers),
    )
    mistakes += _told_twice(found.targets)
    _none_but(file, mistakes, lines)
    return found


def read_waivers(file: Path) -> tuple[Waiver, ...]:
    """The waivers of a file, whatever options it holds. Raises UsageError with every mistake."""
    text = _text(file)
    mistakes: list[str] = []
    lines = _lines(text)
    waivers = _tables(_document(file, text).get(WAIVER, []), WAIVER, mistakes)
    found = tuple(_waiver(*one, file, lines, mistakes) for one in waivers)
    _none_but(file, mistakes, lines)
    return found


def _document(file: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file}: not TOML: {error}", "correct the line that it names") from None


def _none_but(file: Path, mistakes: list[str], lines: Mapping[str, int]) -> None:
    """Raises UsageError if there is a mistake."""
    if mistakes:
        count = "a mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        told = "\n".join(_located(file, mistake, lines) for mistake in mistakes)
        raise UsageError(f"{file} has {count}:\n{told}", "each line names the key to correct")


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{file}: cannot be read: {error.strerror}", "check the path after --config"
        ) from None
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{file}: not UTF-8 at byte {error.start}", "save the file as UTF-8, as TOML asks"
        ) from None


def _tables(value: object, name: str, mistakes: list[str]) -> list[tuple[object, str]]:
    """The tables of an array, each with the path to it; they are counted from 1."""
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        mistakes.append(f"{name}: write tables, each with a line [[{name}]]")
        return []
    return [(table, f"{name}[{number}]") for number, table in enumerate(value, 1)]


def _target(
    table: object, path: str, options: Keys, lines: Mapping[str, int], mistakes: list[str]
) -> ConfiguredTarget:
    keys = {"address": Key(a_text, required=True), "name": Key(a_text), **options}
    good = checked(table, keys, path, mistakes)
    address, name = good.pop("address", ""), good.pop("name", "")
    return ConfiguredTarget(address, name, good, lines.get(path, 1))


def _told_twice(targets: Sequence[ConfiguredTarget]) -> Iterator[str]:
    """Targets of which one would hide the other: results and ``--target`` go by these words."""
    for key in ("address", "name"):
        first: dict[str, int] = {}
        for number, one in enumerate(targets, 1):
            word = getattr(one, key)
            if word and first.setdefault(word, number) != number:
                yield f"target[{number}].{key}: target[{first[word]}] has it too; one file each"


# --- waivers --------------------------------------------------------------------------------------


def _day(value: object) -> str:
    try:
        if isinstance(value, str):
            value = date.fromisoformat(value)
        if type(value) is date:
            return value.isoformat()
    except ValueError:
        pass
    raise ValueError("write the last day on which it holds, as 2027-06-30")


def _rule(value: object) -> str:
    """A rule by its id, or a pattern of some."""
    text = a_text(value)
    if "*" in text or "?" in text or "[" in text or text in RULES:
        return text
    near = nearest(text.upper(), RULES)
    hint = f"did you mean {near}?" if near else "'tlsprobe rules' lists them"
    raise ValueError(f"no such rule; {hint}")


_PATTERNS: Keys = {
    "behaviour": Key(a_text),
    "rule": Key(_rule),
    "sequence": Key(a_text),
    "tls": Key(a_text),
}
_WAIVER: Keys = {
    "reason": Key(a_text, required=True),
    "until": Key(_day),
    "by": Key(a_text),
    "target": Key(a_text),
    **_PATTERNS,
}


def _waiver(
    table: object, path: str, file: Path, lines: Mapping[str, int], mistakes: list[str]
) -> Waiver:
    good = checked(table, _WAIVER, path, mistakes)
    if isinstance(table, dict) and not set(table) & set(_PATTERNS):
        mistakes.append(f"{path}: write what it waives: {', '.join(_PATTERNS)}")
    where = f"{file}:{lines.get(path, 1)}"
    return Waiver(**{"reason": "", **good, "where": where})


# --- lines ----------------------------------------------------------------------------------------

_HEADER = re.compile(r"\s*\[(?P<several>\[?)\s*(?P<name>[\w-]+)\s*\]")
_KEY = re.compile(r"""\s*(?P<quote>["']?)(?P<name>[\w.-]+)(?P=quote)\s*=""")


def _lines(text: str) -> dict[str, int]:
    """Where each key stands, by its path, which ``tomllib`` does not tell."""
    counts: Counter[str] = Counter()
    found: dict[str, int] = {}
    path = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            counts[header["name"]] += 1
            place = f"[{counts[header['name']]}]" if header["several"] else ""
            path = f"{header['name']}{place}"
            found[path] = number
        elif key := _KEY.match(line):
            found.setdefault(f"{path}.{key['name']}" if path else key["name"], number)
    return found


def _located(file: Path, mistake: str, lines: Mapping[str, int]) -> str:
    """A mistake behind the line of its key; of a key that is missing, that of its table."""
    path = mistake.partition(":")[0]
    number = lines.get(path) or lines.get(path.rpartition(".")[0])
    return f"{file}:{number}: {mistake}" if number else f"{file}: {mistake}"
