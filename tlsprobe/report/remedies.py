"""What came of remedies: how often a server did something before and after, cell by cell.

Pure: it takes judged runs of a vendor as it is and with each remedy that its profile names. A
difference counts only if chance alone would hardly make it (Fisher's exact test).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import comb

from tlsprobe.behaviours import BEFORE_FIN, DATA_LOST, FOLLOWS, behaviours_of
from tlsprobe.model.behaviour import Tried, TriedInLab
from tlsprobe.model.causes import Cause
from tlsprobe.model.profile import LabRemedy, Profile
from tlsprobe.model.run import Cell, Run

CHANCE = 0.01
"""A difference that chance makes less often than this is one."""

ENOUGH = 10
"""Fewer trials of a cell decide nothing."""

_WORSE = frozenset({BEFORE_FIN, DATA_LOST, "leak", "path-dead"})
"""Kinds of behaviour that a client is the worse for."""

_CONCLUSIVE = frozenset({"pass", "fail", "warn", "info"})


class Effect(StrEnum):
    """What a remedy does, the best first."""

    HELPS = "helps"
    IN_PART = "helps in part"
    HELPS_NOT = "does not help"
    WORSE = "makes worse"
    NOTHING = "nothing to cure"
    UNDECIDED = "not decided"


_QUOTED = {
    Effect.HELPS: Tried.HELPS,
    Effect.IN_PART: Tried.IN_PART,
    Effect.HELPS_NOT: Tried.HELPS_NOT,
    Effect.WORSE: Tried.WORSE,
}


@dataclass(frozen=True, slots=True)
class Often:
    """In ``count`` of so many trials, of which ``left_out`` may say nothing of it."""

    count: int
    trials: int
    left_out: int = 0

    @property
    def fewest(self) -> int:
        """How many trials say something of it for certain."""
        return max(self.trials - self.left_out, self.count)

    def __str__(self) -> str:
        late = f", {self.left_out} left out" if self.left_out else ""
        return f"{self.count}/{self.trials}{late}"


@dataclass(frozen=True, slots=True)
class Came:
    """A kind of behaviour that came with a remedy, in its words."""

    kind: str
    sentence: str
    before: Often
    after: Often


@dataclass(frozen=True, slots=True)
class TriedCell:
    """A remedy in one cell. ``before`` and ``after``: how often it showed what it is against.

    ``came`` is what it shows more often with the remedy. ``kind`` is the behaviour that decided,
    empty where there was none.
    """

    sequence: str
    tls: str
    effect: Effect
    kind: str = ""
    sentence: str = ""
    before: Often | None = None
    after: Often | None = None
    came: tuple[Came, ...] = ()


@dataclass(frozen=True, slots=True)
class TriedRemedy:
    """A remedy with what came of it in each cell that it is for."""

    vendor: str
    title: str
    version: str
    remedy: LabRemedy
    cells: tuple[TriedCell, ...]

    @property
    def effect(self) -> Effect:
        """What it does in all: worse anywhere is worse, and some of it is in part."""
        found = {cell.effect for cell in self.cells} or {Effect.UNDECIDED}
        if Effect.WORSE in found:
            return Effect.WORSE
        for nothing in (Effect.NOTHING, Effect.UNDECIDED):
            if len(found) > 1:
                found.discard(nothing)
        return found.pop() if len(found) == 1 else Effect.IN_PART


def tried_remedies(runs: Mapping[str, Run], profiles: Iterable[Profile]) -> list[TriedRemedy]:
    """What came of each remedy that was measured; ``runs`` by the names of their folders."""
    found = []
    for profile in profiles:
        plain = runs.get(profile.name)
        for remedy in profile.lab.remedies if profile.lab is not None else ():
            treated = runs.get(remedy.on(profile.name))
            if plain is not None and treated is not None:
                found.append(_tried(profile, remedy, plain, treated))
    return found


def as_quoted(tried: TriedRemedy) -> Iterator[TriedInLab]:
    """What reports of the same server quote: a setting, in the closes where its effect is known.

    What a client can do is tried in each run itself.
    """
    for cell in tried.cells if tried.remedy.values else ():
        effect = _QUOTED.get(cell.effect)
        if effect is not None and cell.kind:
            yield TriedInLab(
                says=tried.remedy.says,
                server=f"{tried.title} {tried.version}".rstrip(),
                kind=cell.kind,
                sequence=cell.sequence,
                tls=cell.tls,
                effect=effect,
                before=str(cell.before),
                after=str(cell.after),
            )


def _tried(profile: Profile, remedy: LabRemedy, plain: Run, treated: Run) -> TriedRemedy:
    before, after = _Table(plain), _Table(treated)
    cells = []
    for sequence, tls in before.cells:
        then = (remedy.instead or sequence, tls)
        if sequence in remedy.sequences and then in after.cells:
            cells.append(_cell(remedy, before, after, (sequence, tls), then))
    server = plain.server
    title = server.title if server is not None else profile.title
    version = (server.version or "") if server is not None else ""
    return TriedRemedy(profile.name, title, version, remedy, tuple(cells))


_Name = tuple[str, str]
"""A sequence and a TLS version."""


class _Table:
    """How often the cells of a run show each kind of behaviour."""

    def __init__(self, run: Run) -> None:
        self.cells: dict[_Name, Cell] = {
            (cell.sequence, cell.tls): cell for cell in run.cells if cell.role == "asked"
        }
        self.words: dict[str, str] = {}
        self._counts: dict[tuple[str, _Name], int] = {}
        for behaviour in behaviours_of(run):
            if behaviour.cause == Cause.CLOSED_ALREADY:
                continue  # the connection was over: nothing that a remedy would be for
            self.words.setdefault(behaviour.kind, behaviour.sentence.rstrip("."))
            for seen in behaviour.seen:
                key = (behaviour.kind, (seen.sequence, seen.tls))
                self._counts[key] = max(self._counts.get(key, 0), seen.count)

    def is_decided(self, name: _Name) -> bool:
        """Whether enough trials of the cell can tell anything."""
        cell = self.cells[name]
        in_time = cell.trials - sum(cell.left_out.values())
        return in_time >= ENOUGH and cell.verdict in _CONCLUSIVE

    def often(self, kind: str, name: _Name) -> Often:
        """How often the cell shows it."""
        cell = self.cells[name]
        count = self._counts.get((kind, name), 0)
        return Often(count, cell.trials, sum(cell.left_out.values()))

    def hides(self, kind: str, name: _Name) -> bool:
        """Whether a worse behaviour of the cell covers this one."""
        return any(kind in what and self.often(by, name).count for by, what in FOLLOWS.items())


def _cell(remedy: LabRemedy, before: _Table, after: _Table, name: _Name, then: _Name) -> TriedCell:
    decided = before.is_decided(name) and after.is_decided(then)
    kinds = [kind for kind in remedy.against if before.often(kind, name).count]
    if not (decided or kinds):
        return TriedCell(*name, Effect.UNDECIDED)
    came = tuple(_came(remedy, before, after, name, then)) if decided else ()
    if not kinds:
        effect = Effect.WORSE if _is_worse(came) else Effect.NOTHING
        return TriedCell(*name, effect, came=came)
    kind = max(kinds, key=lambda one: before.often(one, name).count)
    old, new = before.often(kind, name), after.often(kind, then)
    effect = Effect.WORSE if _is_worse(came) else _effect(old, new)
    effect = effect if decided else Effect.UNDECIDED
    return TriedCell(*name, effect, kind, before.words[kind], old, new, came)


def _came(
    remedy: LabRemedy, before: _Table, after: _Table, name: _Name, then: _Name
) -> Iterator[Came]:
    for kind, words in after.words.items():
        old, new = before.often(kind, name), after.often(kind, then)
        if is_more(new, old) and not before.hides(kind, name):
            yield Came(kind, words, old, new)


def _is_worse(came: Iterable[Came]) -> bool:
    return any(one.kind in _WORSE for one in came)


def _effect(old: Often, new: Often) -> Effect:
    if is_more(old, new):
        return Effect.IN_PART if new.count else Effect.HELPS
    if is_more(new, old):
        return Effect.WORSE
    would_show = is_more(old, Often(0, new.trials, new.left_out))
    may_help = _chance((old.count, old.fewest), (new.count, new.trials)) < CHANCE
    return Effect.HELPS_NOT if would_show and not may_help else Effect.UNDECIDED


def is_more(one: Often, other: Often) -> bool:
    """Whether something came more often than in other trials, and hardly by chance.

    It has to hold whatever the trials show that were left out.
    """
    return _chance((one.count, one.trials), (other.count, other.fewest)) < CHANCE


def _chance(one: tuple[int, int], other: tuple[int, int]) -> float:
    """How likely so many or more of the cases fall to the first by chance.

    Both are cases and trials.
    """
    (ours, tried), (theirs, tried_too) = one, other
    cases = ours + theirs
    ways = sum(
        comb(tried, hits) * comb(tried_too, cases - hits)
        for hits in range(ours, min(cases, tried) + 1)
        if cases - hits <= tried_too
    )
    return ways / comb(tried + tried_too, cases)
