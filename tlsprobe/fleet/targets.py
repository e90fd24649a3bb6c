"""Lists of targets, as people keep them: what is in one, or every mistake in it at once.

Read are plain lines (``HOST:PORT``, with ``#`` comments), CSV with a header, TOML with
``[[target]]`` tables, the JSON and YAML of Prometheus' ``file_sd``, and what ``kubectl get
ingress,service -o json`` prints. What a list says of a target besides its address is either an
option of ``tlsprobe run``, or a label.

Source: the Prometheus configuration reference (``file_sd_config``); the Kubernetes API reference
(Ingress v1, Service v1).
"""

from __future__ import annotations

import csv
import io
import json
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple

from tlsprobe.campaign.targets import parse_target
from tlsprobe.catalogue import find_sequences
from tlsprobe.errors import TlsprobeError, UsageError
from tlsprobe.keys import Key, Keys, a_text, checked
from tlsprobe.model.fleet import FleetTarget
from tlsprobe.model.protocols import UNKNOWN
from tlsprobe.model.target import TlsVersion, endpoint
from tlsprobe.profiles import load_profile
from tlsprobe.profiles.guess import profile_for_port

MOST_BYTES = 64 * 1024 * 1024
"""A longer list is refused."""

MOST_TRIALS, LONGEST_S = 10_000, 86_400.0
"""The most trials of a cell, and the longest wait in seconds, that a list may ask for."""

SHOWN_MISTAKES = 50
"""So many mistakes are printed; the others are counted."""

_HTTPS = 443


# --- options of a target ----------------------------------------------------------------------


def _a_count(value: object) -> int:
    text = str(value).strip()
    is_count = text.isdecimal() and len(text) < 20 and not isinstance(value, bool)
    if not is_count or not 1 <= int(text) <= MOST_TRIALS:
        raise ValueError(f"write a whole number from 1 to {MOST_TRIALS}")
    return int(text)


def _some_seconds(value: object) -> float:
    try:
        seconds = float(str(value)) if not isinstance(value, bool) else 0.0
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= LONGEST_S:
        raise ValueError(f"write seconds, from 0.1 to {LONGEST_S:.0f}")
    return seconds


def _listed(value: object) -> list[str]:
    words = value if isinstance(value, list) else str(value).split("|")
    return [a_text(word).strip() for word in words]


def _versions(value: object) -> list[str]:
    words = _listed(value if isinstance(value, list | str) else str(value))
    if any(word not in set(TlsVersion) for word in words):
        raise ValueError(f"write {' or '.join(TlsVersion)}")
    return words


def _a_profile(value: object) -> str:
    name = a_text(value)
    try:
        load_profile(name)
    except TlsprobeError as error:
        raise ValueError(error.message) from None
    return name


def _sequences(value: object) -> list[str]:
    words = _listed(value)
    for word in words:
        try:
            find_sequences(word)
        except UsageError as error:
            raise ValueError(error.message.splitlines()[0]) from None
    return words


OPTIONS: Keys = {
    "profile": Key(_a_profile),
    "sequence": Key(_sequences),
    "trials": Key(_a_count),
    "tls": Key(_versions),
    "patience": Key(_some_seconds),
    "idle-limit": Key(_some_seconds),
    "sni": Key(a_text),
    "alpn": Key(_listed),
    "user": Key(a_text),
    "database": Key(a_text),
}
"""What a list may say of a target, by the name of the option of ``tlsprobe run``."""

_LABELS = "labels"
_NAMES: Keys = {"address": Key(a_text, required=True), "name": Key(a_text)}


# --- entries ----------------------------------------------------------------------------------


class Entry(NamedTuple):
    """What a list says of one target, unchecked, and where it says so; ``wrong``: what is amiss."""

    place: str
    said: Mapping[str, Any]
    labels: Mapping[str, Any] = {}
    wrong: str = ""


def read_targets(text: str, source: str) -> tuple[FleetTarget, ...]:
    """The targets of a list; ``source`` is its name, whose ending may tell its format.

    Raises UsageError with every mistake and its place, before anything is opened.
    """
    if len(text) > MOST_BYTES:
        raise UsageError(f"{source} is longer than 64 MiB", "split it: --shard i/n takes parts")
    text = text.removeprefix("\ufeff")  # which spreadsheets and editors put before UTF-8
    mistakes: list[str] = []
    found: list[FleetTarget] = []
    seen: dict[tuple[str, str], str] = {}
    for entry in _reader_for(text, source)(text, source):
        target = _target(entry, mistakes)
        if target is None:
            continue
        again = seen.setdefault((target.address, target.name), entry.place)
        if again != entry.place:
            mistakes.append(f"{entry.place}: {target.title} stands at {again} already")
            continue
        found.append(target)
    if mistakes:
        raise refused(source, mistakes)
    if not found:
        raise UsageError(f"{source} names no target", "write one HOST:PORT a line")
    return tuple(found)


def refused(source: str, mistakes: Sequence[str]) -> UsageError:
    """The error that tells all mistakes in a list, each with its place."""
    count = "a mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    more = len(mistakes) - SHOWN_MISTAKES
    told = [*mistakes[:SHOWN_MISTAKES], *([f"... and {more} more"] if more > 0 else [])]
    lines = "\n".join(told)
    return UsageError(f"{source} has {count}:\n{lines}", "nothing was opened; correct these lines")


def _target(entry: Entry, mistakes: list[str]) -> FleetTarget | None:
    """The target of an entry, or None with what is wrong in ``mistakes``."""
    if entry.wrong:
        mistakes.append(f"{entry.place}: {entry.wrong}")
        return None
    wrong: list[str] = []
    good = checked(dict(entry.said), {**_NAMES, **OPTIONS}, "", wrong)
    labels = {str(name): str(value) for name, value in entry.labels.items()}
    address = good.pop("address", "").strip()
    if _has_halves((address, *map(str, good.values()), *labels, *labels.values())):
        wrong.append("it holds halves of characters, which are no text")
    elif address:
        try:
            parse_target(address, load_profile(good.get("profile", UNKNOWN)))
        except UsageError as error:
            wrong.append(error.message)
    mistakes += [f"{entry.place}: {mistake}" for mistake in wrong]
    if wrong:
        return None
    return FleetTarget(address, good.pop("name", ""), good, labels, entry.place)


def _has_halves(words: Iterable[str]) -> bool:
    """Whether there are surrogates, which JSON can spell and nothing can be written with."""
    return any("\ud800" <= sign <= "\udfff" for word in words for sign in word)


# --- formats ----------------------------------------------------------------------------------

_Reader = Callable[[str, str], Iterable[Entry]]


def _reader_for(text: str, source: str) -> _Reader:
    """By the ending of its name, or else by what it looks like."""
    ending = source.rpartition(".")[2].lower()
    if ending in _BY_ENDING:
        return _BY_ENDING[ending]
    if text.lstrip()[:1] in {"{", "["} and not re.match(r"\s*\[\S+\]:\d+\s*$", text, re.M):
        return _toml if re.search(r"^\s*\[\[\s*target\s*\]\]", text, re.M) else _json
    if re.search(r"^\s*\[\[\s*target\s*\]\]", text, re.M):
        return _toml
    if re.search(r"^\s*-?\s*targets\s*:", text, re.M):
        return _yaml
    head = next((line for line in _split(text) if line.strip()), "")
    return _csv if "," in head and "address" in _words(head) else _lines


def _split(text: str) -> list[str]:
    """The lines as editors count them: `str.splitlines` knows more ends of a line than they do."""
    return re.split(r"\r\n|\n|\r", text)


def _words(head: str) -> list[str]:
    return [word.strip().lower() for word in head.split(",")]


def _lines(text: str, source: str) -> Iterator[Entry]:
    for number, line in enumerate(_split(text), 1):
        said = line.partition("#")[0].split()
        if not said:
            continue
        wrong = [word for word in said[1:] if not word.partition("=")[1] or word.startswith("=")]
        told = f"cannot read '{wrong[0]}': write name=value, or a # before it" if wrong else ""
        pairs = dict(word.split("=", 1) for word in said[1:] if word not in wrong)
        if again := _twice(word.split("=")[0] for word in said[1:] if word not in wrong):
            told = told or f"'{again}' is said twice"
        options = {name: value for name, value in pairs.items() if name in {*OPTIONS, "name"}}
        others = {name: value for name, value in pairs.items() if name not in options}
        yield Entry(f"{source}:{number}", {"address": said[0], **options}, others, told)


def _twice(words: Iterable[str]) -> str:
    """The first word that comes twice; empty if none does."""
    return next((word for word, count in Counter(words).items() if count > 1), "")


def _csv(text: str, source: str) -> Iterator[Entry]:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        yield from _rows_of(rows, source)
    except csv.Error as error:
        raise UsageError(f"{source}:{rows.line_num}: not CSV: {error}", "correct it") from None


def _rows_of(rows: Any, source: str) -> Iterator[Entry]:
    head = [word.strip() for word in next(rows, [])]
    if "address" not in {word.lower() for word in head}:
        hint = "write a first line such as address,profile,team"
        raise UsageError(f"{source}:1: no column is called address", hint)
    if again := _twice(word.lower() if word.lower() in _COLUMNS else word for word in head if word):
        raise UsageError(f"{source}:1: two columns are called {again}", "rename one of them")
    for row in rows:
        if not any(word.strip() for word in row):
            continue
        place = f"{source}:{rows.line_num}"
        said = {
            name.lower() if name.lower() in _COLUMNS else name: value.strip()
            for name, value in zip(head, row, strict=False)
            if value.strip()
        }
        options = {name: value for name, value in said.items() if name in _COLUMNS}
        labels = {name: value for name, value in said.items() if name not in _COLUMNS}
        wrong = "more columns than the first line names" if len(row) > len(head) else ""
        yield Entry(place, options, labels, wrong)


_COLUMNS = frozenset({*OPTIONS, *_NAMES})


def _toml(text: str, source: str) -> Iterator[Entry]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{source}: not TOML: {error}", "correct the line that it names") from None
    numbers = [n for n, line in enumerate(_split(text), 1) if _TABLE.match(line)]
    for key in document.keys() - {"target"}:
        yield Entry(source, {}, wrong=f"'{key}' is not read: write tables, each with [[target]]")
    tables = document.get("target", [])
    for at, table in enumerate(tables if isinstance(tables, list) else [tables]):
        place = f"{source}:{numbers[at]}" if at < len(numbers) else source
        if not isinstance(table, dict):
            yield Entry(place, {}, wrong="write tables, each with a line [[target]]")
            continue
        labels = table.pop(_LABELS, {})
        if isinstance(labels, dict):
            yield Entry(place, table, labels)
        else:
            yield Entry(place, {}, wrong=f'{_LABELS}: write a table, {{ team = "web" }}')


_TABLE = re.compile(r"\s*\[\[\s*target\s*\]\]")


def _json(text: str, source: str) -> Iterator[Entry]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{source}: not JSON: {error}", "correct the place it names") from None
    return _document(document, source)


def _yaml(text: str, source: str) -> Iterator[Entry]:
    try:
        yaml: Any = import_module("yaml")  # an extra of the package, which few need
    except ImportError:
        hint = "pip install 'tlsprobe[fleet]', or give the list as JSON"
        raise UsageError(f"{source}: reading YAML needs PyYAML", hint) from None
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        told = " ".join(str(error).split())
        raise UsageError(f"{source}: not YAML: {told}", "correct the place it names") from None
    return _document(document, source)


def _document(document: Any, source: str) -> Iterator[Entry]:
    if isinstance(document, dict) and "kind" in document:
        return _kubernetes(document, source)
    if isinstance(document, list):
        return _file_sd(document, source)
    hint = "a list of {targets: [...], labels: {...}}, or what kubectl get -o json prints"
    raise UsageError(f"{source} is neither of the documents that are read", hint)


def _file_sd(groups: list[Any], source: str) -> Iterator[Entry]:
    for number, group in enumerate(groups, 1):
        place = f"{source}: group {number}"
        if not isinstance(group, dict) or not isinstance(group.get("targets"), list):
            yield Entry(place, {}, wrong="it has no list of targets")
            continue
        labels = group.get(_LABELS) or {}
        if not isinstance(labels, dict):
            yield Entry(place, {}, wrong=f"its {_LABELS} are no table of names and values")
            continue
        for at, address in enumerate(group["targets"], 1):
            yield Entry(f"{place}, target {at}", {"address": address}, labels)


# --- Kubernetes -------------------------------------------------------------------------------


def _kubernetes(document: Mapping[str, Any], source: str) -> Iterator[Entry]:
    items = document.get("items") if document["kind"] == "List" else [document]
    seen = set()
    for number, item in enumerate(items if isinstance(items, list) else [], 1):
        if not isinstance(item, dict):
            continue
        meta = _table(item, "metadata")
        name, space = str(meta.get("name", "")), str(meta.get("namespace", "default"))
        kind = str(item.get("kind", ""))
        labels = {"kind": kind.lower(), "namespace": space, "object": name}
        place = f"{source}: item {number} ({kind} {space}/{name})"
        found = {"Ingress": _ingress, "Service": _service}.get(kind)
        for said in found(item, name, space) if found else ():
            # A host of several objects, each with paths of its own, is one server.
            if said["address"] not in seen:
                seen.add(said["address"])
                yield Entry(place, said, labels)


def _table(of: Mapping[str, Any], *path: str) -> dict[str, Any]:
    for key in path:
        found = of.get(key)
        of = found if isinstance(found, dict) else {}
    return dict(of)


def _rows(of: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found = of.get(key)
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def _ingress(item: Mapping[str, Any], _name: str, _space: str) -> Iterator[dict[str, str]]:
    """The hosts for which an Ingress has certificates; all of its own where it does not say."""
    spec = _table(item, "spec")
    hosts: list[Any] = []
    for row in _rows(spec, "tls"):
        named = row.get("hosts")
        every = [rule.get("host") for rule in _rows(spec, "rules")]
        hosts += named if isinstance(named, list) and named else every
    for host in dict.fromkeys(str(host) for host in hosts if host):
        if not host.startswith("*"):
            yield {"address": endpoint(host, _HTTPS), "sni": host, "profile": "https"}


def _service(item: Mapping[str, Any], name: str, space: str) -> Iterator[dict[str, str]]:
    """The ports of a Service that speak TLS, by number or by name, where they are reached."""
    spec = _table(item, "spec")
    outside = [
        str(row.get("hostname") or row.get("ip"))
        for row in _rows(_table(item, "status", "loadBalancer"), "ingress")
    ]
    for row in _rows(spec, "ports"):
        port = row.get("port")
        words = f"{row.get('name', '')} {row.get('appProtocol', '')}".lower()
        if row.get("protocol", "TCP") != "TCP":
            continue  # QUIC has ports of its own
        if not isinstance(port, int) or not _speaks_tls(port, words):
            continue
        for host in outside or [f"{name}.{space}.svc"]:
            yield {"address": endpoint(host, port)}


def _speaks_tls(port: int, words: str) -> bool:
    known = profile_for_port(port) != UNKNOWN
    return known or any(word in words for word in ("https", "tls", "ssl"))


_BY_ENDING: Mapping[str, _Reader] = {
    "csv": _csv,
    "toml": _toml,
    "json": _json,
    "yml": _yaml,
    "yaml": _yaml,
}
