"""What changed from one version of a server to the next, and what cannot be told apart.

Pure: it takes judged runs of the versions of one vendor. Compared are behaviours, cell by cell. A
change is one only if all trials of a cell in the earlier version showed the behaviour and none in
the later one did, or the other way round. A cell whose verdict is inconclusive decides nothing, nor
does a sequence that is a race, be it by its nature or because trials of one version differ: what a
few trials show of a race is chance.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from itertools import pairwise

from tlsprobe.behaviours import FOLLOWS, behaviours_of, phase_of
from tlsprobe.catalogue import catalogue
from tlsprobe.model.behaviour import Phase
from tlsprobe.model.profile import LabChange
from tlsprobe.model.run import Cell, Run

AT = "@"
"""What stands between vendor and version in the name of a results folder."""

ENOUGH = 3
"""Fewer trials of a cell decide nothing."""

_CONCLUSIVE = frozenset({"pass", "fail", "warn", "info"})

_ENDED = {
    "no-close-notify": "ends with a close_notify where it did not",
    "no-answer": "answers a close_notify",
    "reset-before-fin": "no RST in place of a FIN",
    "reset-after-fin": "no RST after the FIN",
    "data-lost": "a response that is owed arrives whole",
}
"""What the end of a behaviour is called where that has a name of its own."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One version: its name as the server says it, its TLS library, and what was measured."""

    version: str
    tls_library: str
    run: Run


@dataclass(frozen=True, slots=True)
class Series:
    """The versions of one vendor, the oldest first."""

    vendor: str
    title: str
    versions: tuple[Measured, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """A behaviour that came or went with a version.

    ``cells`` are (sequence, TLS version), those in which every trial says so. ``why`` is what the
    server's notes say of it, where they say something.
    """

    version: str
    before: str
    kind: str
    sentence: str
    phase: Phase | None
    cells: tuple[tuple[str, str], ...]
    why: tuple[LabChange, ...] = ()


@dataclass(frozen=True, slots=True)
class Untold:
    """A behaviour of which these cells may differ between versions, and may not."""

    sentence: str
    cells: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """What came of a series; ``decided`` is how many cells all its versions have decided."""

    series: Series
    changes: tuple[Change, ...]
    untold: tuple[Untold, ...]
    decided: int


class _State(Enum):
    """Whether a cell of one version shows a behaviour."""

    ALWAYS = auto()
    NEVER = auto()
    UNDECIDED = auto()


_Name = tuple[str, str]
"""A sequence and a TLS version."""

_Kind = tuple[str, Phase | None]
"""A kind of behaviour in a phase of the connection."""


def series_of(runs: Mapping[str, Run]) -> list[Series]:
    """The series among runs by the names of their folders: vendors of two versions or more."""
    found: dict[str, list[Measured]] = {}
    titles: dict[str, str] = {}
    for name, run in runs.items():
        vendor, at, version = name.partition(AT)
        if at and run.server is not None:
            titles[vendor] = run.server.title.removesuffix(f" {version}")
            library = run.server.tls_library or "TLS library unknown"
            said = run.server.version or version
            found.setdefault(vendor, []).append(Measured(_named(version, said), library, run))
    return [
        Series(vendor, titles[vendor], tuple(_told_apart(sorted(some, key=_age))))
        for vendor, some in sorted(found.items(), key=lambda item: titles[item[0]].lower())
        if len(some) > 1
    ]


def _age(one: Measured) -> tuple[object, ...]:
    return _order(one.version), _order(one.tls_library.rpartition(" ")[2])


def _told_apart(versions: Sequence[Measured]) -> Iterator[Measured]:
    """One server on several TLS libraries is named with its library."""
    named = Counter(one.version for one in versions)
    for one in versions:
        is_again = named[one.version] > 1
        yield replace(one, version=f"{one.version} ({one.tls_library})") if is_again else one


def compared(series: Series, notes: Sequence[LabChange] = ()) -> Compared:
    """What the versions of a series have in common and what not.

    ``notes`` is what the server's own say of its changes.
    """
    tables = [_Table(one.run) for one in series.versions]
    shared = [name for name in tables[0].cells if all(name in t.cells for t in tables)]
    kinds = {kind: words for table in tables for kind, words in table.kinds.items()}
    changes: list[Change] = []
    untold: list[Untold] = []
    for kind, words in kinds.items():
        ours = [name for name in shared if kind[1] is phase_of(name[0])]
        raced = {name[0] for name in ours if any(t.is_mixed(kind[0], name) for t in tables)}
        steady = [name for name in ours if name[0] not in raced]
        changed = list(_changes(series, tables, kind, words, steady))
        changes += (replace(one, why=tuple(_why(one, notes))) for one in changed)
        told = {cell for change in changed for cell in change.cells}
        open_ = tuple(
            c for c in ours if c not in told and _may_differ(tables, kind, c, c[0] in raced)
        )
        if open_:
            untold.append(Untold(words, open_))
    order = [one.version for one in series.versions]
    changes.sort(key=lambda change: order.index(change.version))
    decided = sum(all(table.is_decided(name) for table in tables) for name in shared)
    return Compared(series, tuple(changes), tuple(untold), decided)


class _Table:
    """What one version showed: behaviours by cell."""

    def __init__(self, run: Run) -> None:
        self.cells: dict[_Name, Cell] = {
            (cell.sequence, cell.tls): cell
            for cell in run.cells
            if cell.role == "asked" and not _is_race(cell.sequence)
        }
        self.kinds: dict[_Kind, str] = {}
        self._counts: dict[tuple[str, _Name], int] = {}
        for behaviour in behaviours_of(run):
            for seen in behaviour.seen:
                name = (seen.sequence, seen.tls)
                self.kinds[behaviour.kind, phase_of(seen.sequence)] = _bare(behaviour.sentence)
                key = (behaviour.kind, name)
                self._counts[key] = max(self._counts.get(key, 0), seen.count)

    def is_decided(self, name: _Name) -> bool:
        """Whether the cell can tell anything."""
        cell = self.cells[name]
        whole = cell.trials >= ENOUGH and not cell.left_out
        return whole and cell.verdict in _CONCLUSIVE

    def is_mixed(self, kind: str, name: _Name) -> bool:
        """Whether some trials of the cell show it and some do not: they race for it."""
        return 0 < self._counts.get((kind, name), 0) < self.cells[name].trials

    def state(self, kind: str, name: _Name) -> _State:
        """Whether the cell shows it; what a worse behaviour covers is not decided."""
        count = self._counts.get((kind, name), 0)
        covered = any(kind in hides and (by, name) in self._counts for by, hides in FOLLOWS.items())
        if not self.is_decided(name) or (covered and not count):
            return _State.UNDECIDED
        if count == 0:
            return _State.NEVER
        return _State.ALWAYS if count >= self.cells[name].trials else _State.UNDECIDED


def _changes(
    series: Series, tables: Sequence[_Table], kind: _Kind, words: str, names: Sequence[_Name]
) -> Iterator[Change]:
    """Each version that is unlike the one before it."""
    for (old, was), (new, now) in pairwise(zip(series.versions, tables, strict=True)):
        found: dict[bool, list[_Name]] = {True: [], False: []}
        for name in names:
            states = (was.state(kind[0], name), now.state(kind[0], name))
            if states == (_State.NEVER, _State.ALWAYS):
                found[True].append(name)
            elif states == (_State.ALWAYS, _State.NEVER):
                found[False].append(name)
        for came, cells in found.items():
            if cells:
                gone = _ENDED.get(kind[0], f"no longer: {words}")
                sentence = words if came else gone
                yield Change(new.version, old.version, kind[0], sentence, kind[1], tuple(cells))


def _why(change: Change, notes: Sequence[LabChange]) -> Iterator[LabChange]:
    """The notes about this kind of behaviour that are of a version between the two."""
    old, new = _order(change.before), _order(change.version)
    for note in notes:
        if change.kind in note.about and old < _order(note.since) <= new:
            yield note


def _may_differ(tables: Sequence[_Table], kind: _Kind, name: _Name, is_raced: bool) -> bool:
    """Whether a cell shows it in some version, and some version does not decide."""
    states = {table.state(kind[0], name) for table in tables}
    if is_raced:
        return states != {_State.NEVER}
    return _State.UNDECIDED in states and len(states) > 1


def _is_race(sequence: str) -> bool:
    entry = catalogue().get(sequence)
    return entry is not None and entry.group == "race"


def _bare(sentence: str) -> str:
    return sentence.rstrip(".")


def _named(name: str, said: str) -> str:
    """A version as the server says it; a fork's name stays before it."""
    fork = re.match(r"([a-z]+)-\d", name)
    return f"{fork[1]} {said}" if fork else said.removeprefix("v")


def _order(version: str) -> tuple[bool, tuple[int, ...]]:
    """By number; forks behind what they forked from."""
    return version[:1].isalpha(), tuple(map(int, re.findall(r"\d+", version)))
