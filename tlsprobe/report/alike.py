"""How alike servers close, and which of them belong together.

The distance of two servers is the share of what was measured of both in which they end otherwise:
neither ever did what the other mostly does. (Where a server races with our packets, two runs of
the very same one may differ in what came out on top.)

Groups come of average linkage: the two nearest join, again and again, until no two are near
enough. Ties go to whoever was named first, so that the same runs always give the same groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from tlsprobe.catalogue import catalogue
from tlsprobe.model.run import Cell, Run
from tlsprobe.report.ending import Ending, ending_of, events_of

ALIKE = 0.1
"""Groups whose members end otherwise in no more than this share of the cells, on average."""

UNCOMPARED = frozenset({"race"})
"""Chapters whose outcome is a race with the clock, not a habit of the server."""

Place = tuple[str, str]
"""A cell's sequence and TLS version."""


@dataclass(frozen=True, slots=True)
class CellProfile:
    """How a server ended a cell: what most trials showed, and all that any did."""

    outcome: str
    events: str
    outcomes: frozenset[str]
    endings: frozenset[str]

    def is_like(self, other: CellProfile) -> bool:
        """Whether one of the two was seen to do what the other mostly does."""
        outcomes = self.outcome in other.outcomes or other.outcome in self.outcomes
        return outcomes and (self.events in other.endings or other.events in self.endings)


Fingerprint = Mapping[Place, CellProfile]
"""How a server ended each cell that compares with others'."""

Distances = tuple[tuple[float, ...], ...]


def fingerprint(run: Run) -> Fingerprint:
    """How a server ends each sequence that compares with others'."""
    return {
        (cell.sequence, cell.tls): _profile_of(cell, ending)
        for cell in run.cells
        if cell.role == "asked" and cell.sequence not in races() and (ending := ending_of(cell))
    }


def differences(one: Fingerprint, other: Fingerprint) -> list[Place]:
    """Where the two servers end otherwise, in the order of the first."""
    return [at for at, profile in one.items() if at in other and not profile.is_like(other[at])]


def distance(one: Fingerprint, other: Fingerprint) -> float:
    """0 for servers that end alike wherever both were measured, 1 where nothing is alike."""
    shared = len(one.keys() & other.keys())
    return len(differences(one, other)) / shared if shared else 1.0


def _profile_of(cell: Cell, ending: Ending) -> CellProfile:
    outcomes = frozenset(outcome for outcome, count in cell.outcomes.items() if count)
    endings = frozenset(events_of(signature) for signature in cell.signatures)
    return CellProfile(ending.outcome, ending.events, outcomes, endings | {ending.events})


def distances(prints: Sequence[Fingerprint]) -> Distances:
    """Everybody's distance from everybody."""
    return tuple(tuple(distance(one, other) for other in prints) for one in prints)


def grouped(table: Distances, within: float = ALIKE) -> list[list[int]]:
    """The numbers 0, 1, ... in groups, neighbours next to each other.

    The groups, and the members in each, stand in the order of the tree that joins them all.
    """
    groups = [[number] for number in range(len(table))]
    while len(groups) > 1:
        apart, first, second = _nearest(groups, table)
        if apart > within:
            break
        groups[first] = _joined(groups[first], groups[second], table)
        del groups[second]
    return _in_order(groups, table)


def _in_order(groups: list[list[int]], table: Distances) -> list[list[int]]:
    """The groups joined on to one line, and cut again where they were apart."""
    home = {number: index for index, group in enumerate(groups) for number in group}
    lines = [list(group) for group in groups]
    while len(lines) > 1:
        _, first, second = _nearest(lines, table)
        lines[first] = _joined(lines[first], lines[second], table)
        del lines[second]
    ordered: dict[int, list[int]] = {}
    for number in lines[0] if lines else []:
        ordered.setdefault(home[number], []).append(number)
    return list(ordered.values())


def _nearest(groups: list[list[int]], table: Distances) -> tuple[float, int, int]:
    pairs = ((i, j) for i in range(len(groups)) for j in range(i + 1, len(groups)))
    return min((_average(groups[i], groups[j], table), i, j) for i, j in pairs)


def _average(one: list[int], other: list[int], table: Distances) -> float:
    # rounded: sums in another order must not decide a tie
    apart = sum(table[i][j] for i in one for j in other)
    return round(apart / (len(one) * len(other)), 9)


def _joined(one: list[int], other: list[int], table: Distances) -> list[int]:
    """Both in one line, in the order in which neighbours are most alike."""
    turns = [(a, b) for a in (one, one[::-1]) for b in (other, other[::-1])]
    left, right = min(turns, key=lambda turn: table[turn[0][-1]][turn[1][0]])
    return left + right


@cache
def races() -> frozenset[str]:
    """The sequences whose outcome is such a race."""
    return frozenset(name for name, entry in catalogue().items() if entry.group in UNCOMPARED)
