"""The compatibility matrix of many servers: who closes alike, and the table in that order.

A vendor is a column: a run, or the reason why there is none. All formats print this one value.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from tlsprobe.catalogue import catalogue
from tlsprobe.model.run import Cell, Run
from tlsprobe.report.alike import Distances, distances, fingerprint, grouped
from tlsprobe.report.matrix import Matrix, by_target, column_names, transposed
from tlsprobe.report.questions import group_names


@dataclass(frozen=True, slots=True)
class Vendor:
    """A server: ``name`` is that of its folder, ``title`` heads its column.

    Without a ``run``, ``reason`` says why it could not be measured. ``version`` and
    ``tls_library`` are what the server calls itself, None where it does not.
    """

    name: str
    title: str
    run: Run | None = None
    reason: str = ""
    version: str | None = None
    tls_library: str | None = None

    @property
    def folder(self) -> str:
        """The name as that of a folder, with nothing in it that a file system dislikes."""
        return re.sub(r"[^A-Za-z0-9._@-]+", "-", self.name).strip("-.") or "vendor"

    def versions(self) -> str:
        """``1.22.1, OpenSSL 3.0.17``, and what is not known said so."""
        server = self.version or "version not recorded"
        return f"{server}, {self.tls_library or 'TLS library not recorded'}"


@dataclass(frozen=True, slots=True)
class Group:
    """Servers that close alike: a letter to find them by, and what sets them apart."""

    letter: str
    habits: str
    members: tuple[Vendor, ...]


@dataclass(frozen=True, slots=True)
class Compatibility:
    """The measured vendors in groups, the others with their reasons.

    ``apart`` holds the distances between the ``measured``, in their order.
    """

    groups: tuple[Group, ...]
    absent: tuple[Vendor, ...]
    apart: Distances

    @property
    def measured(self) -> tuple[Vendor, ...]:
        """Those with a run, group by group."""
        return tuple(vendor for group in self.groups for vendor in group.members)

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs, group by group."""
        return runs_of(self.measured)

    @property
    def sequences(self) -> tuple[str, ...]:
        """The sequences that anybody was asked, in the catalogue's order."""
        cells = (cell for run in self.runs for cell in asked(run))
        return tuple(sorted(dict.fromkeys(cell.sequence for cell in cells), key=place_of))

    def cells(self, *, is_transposed: bool = False) -> list[tuple[Vendor, Cell]]:
        """Every cell that was asked for: vendor by vendor, or sequence by sequence."""
        cells = [(v, cell) for v in self.measured if v.run is not None for cell in asked(v.run)]
        if is_transposed:
            return sorted(cells, key=lambda pair: (*_by_sequence(pair[1]), pair[1].tls))
        order = {id(vendor): place for place, vendor in enumerate(self.measured)}
        return sorted(cells, key=lambda pair: (order[id(pair[0])], *_by_sequence(pair[1])))

    def letter_of(self, vendor: Vendor) -> str:
        """The group of a measured vendor; "" for an absent one."""
        return next((g.letter for g in self.groups if vendor in g.members), "")


Absent = tuple[str, str, str]
"""A vendor that could not be measured: its name, its title and the reason."""


def vendors_of(runs: Sequence[Run], absent: Sequence[Absent] = ()) -> tuple[Vendor, ...]:
    """The runs as columns, and those that are absent.

    A run of the lab goes by its vendor and title; of two of one vendor the second by its profile
    too. Other runs go by their targets' names. Who was measured after all is not absent.
    """
    measured: list[Vendor] = []
    for target, run in zip(column_names(runs), runs, strict=True):
        vendor = _vendor(target, run)
        if any(vendor.name == other.name for other in measured):
            vendor = _set_apart(vendor, run, {other.name for other in measured})
        measured.append(vendor)
    names = {vendor.name for vendor in measured}
    missing = (
        Vendor(*one[:2], None, one[2]) for one in dict.fromkeys(absent) if one[0] not in names
    )
    return (*measured, *missing)


def _set_apart(vendor: Vendor, run: Run, taken: set[str]) -> Vendor:
    """The vendor by its profile too, or by its time where that is taken as well."""
    suffixes = (run.target.profile, run.started)
    also = next((suffix for suffix in suffixes if f"{vendor.name}-{suffix}" not in taken), "")
    title = vendor.title if also in vendor.title else f"{vendor.title} ({also})"
    return replace(vendor, name=f"{vendor.name}-{also}", title=title)


def _vendor(target: str, run: Run) -> Vendor:
    facts = run.server
    if facts is None:
        return Vendor(target, target, run)
    return Vendor(
        facts.vendor, facts.title, run, version=facts.version, tls_library=facts.tls_library
    )


def compatibility_of(vendors: Sequence[Vendor]) -> Compatibility:
    """The vendors in groups. The same vendors in the same order always give the same groups."""
    measured = [vendor for vendor in vendors if vendor.run is not None]
    table = distances([fingerprint(run) for run in runs_of(measured)])
    order = grouped(table)
    members = [tuple(measured[number] for number in numbers) for numbers in order]
    names = group_names([runs_of(group) for group in members])
    groups = tuple(
        Group(letter_at(index), name, group)
        for index, (name, group) in enumerate(zip(names, members, strict=True))
    )
    flat = [number for numbers in order for number in numbers]
    apart = tuple(tuple(table[one][other] for other in flat) for one in flat)
    return Compatibility(groups, tuple(v for v in vendors if v.run is None), apart)


def table_of(compatibility: Compatibility, *, is_transposed: bool = False) -> Matrix:
    """Sequences down, vendors across, each headed by its group's letter; or transposed."""
    heads = tuple(
        f"{group.letter} {vendor.title}"
        for group in compatibility.groups
        for vendor in group.members
    )
    absent = [vendor.title for vendor in compatibility.absent]
    matrix = by_target(compatibility.runs, heads, absent)
    rows = tuple(sorted(matrix.table.rows, key=lambda row: place_of(str(row[0]))))
    table = replace(matrix.table, rows=rows)
    return replace(matrix, table=transposed(table) if is_transposed else table)


def place_of(sequence: str) -> int:
    """Where the catalogue has a sequence; those of one's own come last."""
    return _places().get(sequence, len(_places()))


def _by_sequence(cell: Cell) -> tuple[int, str]:
    return place_of(cell.sequence), cell.sequence


def letter_at(index: int) -> str:
    """A, B, ... Z, AA, AB, ... as spreadsheets count."""
    before, last = divmod(index, 26)
    return (letter_at(before - 1) if before else "") + chr(ord("A") + last)


def asked(run: Run) -> list[Cell]:
    """The cells of a run without its controls."""
    return [cell for cell in run.cells if cell.role == "asked"]


def asked_by_sequence(run: Run) -> dict[str, list[Cell]]:
    """The same by sequence, in the order of the run."""
    found: dict[str, list[Cell]] = {}
    for cell in asked(run):
        found.setdefault(cell.sequence, []).append(cell)
    return found


def runs_of(vendors: Sequence[Vendor]) -> tuple[Run, ...]:
    """The runs of those that have one."""
    return tuple(vendor.run for vendor in vendors if vendor.run is not None)


@cache
def _places() -> dict[str, int]:
    return {name: place for place, name in enumerate(catalogue())}
