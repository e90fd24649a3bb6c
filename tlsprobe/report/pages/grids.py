"""The matrix to be looked around in: one server's by TLS version, or one row for each of many."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol

from tlsprobe.behaviours import behaviours_of
from tlsprobe.catalogue import catalogue
from tlsprobe.model.behaviour import Harm
from tlsprobe.model.judgement import Verdict
from tlsprobe.model.run import Cell, Run
from tlsprobe.report.blocks import Drawer, Grid, GridCell, Line, Mark, Table, Text
from tlsprobe.report.compatibility import Compatibility, Vendor, asked_by_sequence, place_of
from tlsprobe.report.matrix import SEQUENCE, SERVER, UNSUPPORTED, target_cell
from tlsprobe.report.pages.drawers import Drawers
from tlsprobe.waiving import is_all_waived, worst_standing

CHAPTERS = {
    "client-first": "The client ends first",
    "unfinished": "In the middle of something",
    "goodbye": "Goodbye",
    "idle": "Idle after a request",
    "before-request": "Idle before a request",
    "partial-request": "Idle in the middle of a request",
    "race": "Race with the idle expiry",
    "before-handshake": "Before the handshake",
    "handshake": "In the handshake",
    "control": "Alerts, key updates and broken records",
    "wire": "What happens on the way",
    "limits": "Limits of the server",
    "shutdown": "The server is stopped or reloaded",
}
"""The chapters of the catalogue, as headings."""

OWN_CHAPTER = "Sequences of one's own"
NOT_MEASURED = "Not measured"

HARMS = {
    Harm.BREAKS: "Breaks something for most clients",
    Harm.MAY_BREAK: "May break something",
    Harm.NOISE: "Makes noise in logs and metrics",
}
ONLY_WAIVED = "Nothing but what is waived"
HURTS_NOBODY = "Hurts nobody"
HEADINGS = (*HARMS.values(), ONLY_WAIVED, HURTS_NOBODY)


def chapter_of(sequence: str) -> str:
    """The heading that a sequence belongs under."""
    entry = catalogue().get(sequence)
    return OWN_CHAPTER if entry is None else CHAPTERS.get(entry.group, entry.group)


def run_grid(run: Run, table: Table, *, pack: str = "") -> Grid:
    """One server: a row for each sequence, in the columns of the table that text shows."""
    drawers = Drawers(run)
    sequences = list(dict.fromkeys(cell.sequence for cell in run.cells))
    order = sorted(range(len(sequences)), key=_by_chapter(sequences))
    cells = {(cell.sequence, cell.tls): cell for cell in run.cells}
    versions = {f"TLS {tls}": tls for _, tls in cells}
    rows = []
    for place in order:
        name = sequences[place]
        rows.append(
            tuple(
                _run_cell(drawers, cells.get((name, versions.get(column.head, ""))), text)
                for column, text in zip(table.columns[1:], table.rows[place][1:], strict=True)
            )
        )
    lines = tuple(Line(_words(table.rows[n][0]), chapter_of(sequences[n])) for n in order)
    columns = tuple(Line(column.head) for column in table.columns[1:])
    every = partial(drawers.every, pack)
    return Grid((SEQUENCE, ""), lines, columns, tuple(rows), table, every)


def _run_cell(drawers: Drawers, cell: Cell | None, text: Text) -> GridCell:
    """A cell of outcomes opens its drawer; one of words says what they say."""
    if cell is None:
        return GridCell(text)
    opens = f"#{drawers.name(cell.sequence)}"
    return GridCell(text, opens, drawers.harm([cell]), drawers.numbers(cell))


def _by_chapter(sequences: Sequence[str]) -> Callable[[int], int]:
    chapters = list(dict.fromkeys(map(chapter_of, sequences)))
    return lambda place: chapters.index(chapter_of(sequences[place]))


def _words(text: Text) -> str:
    return text if isinstance(text, str) else "".join(str(part) for part in text)


class Pages(Protocol):
    """Where the pages of a site are, as seen from the page of the grid."""

    def server(self, folder: str) -> str:
        """The page of a server."""

    def sequence(self, name: str) -> str:
        """The page of a sequence; empty if it has none."""

    def cell(self, folder: str, drawer: str) -> str:
        """A drawer in the page of a server."""


def many_grid(compatibility: Compatibility, table: Table, pages: Pages | None = None) -> Grid:
    """Many servers: a row each, by the worst that they do, and a column for each sequence.

    Without ``pages`` of a site to lead to, the grid has all the drawers.
    """
    sequences = sorted(compatibility.sequences, key=_chapter_place)
    measured = [(vendor, heading_of(vendor)) for vendor in compatibility.measured]
    rows: list[Line] = []
    cells: list[tuple[GridCell, ...]] = []
    packs: list[tuple[Drawers, str]] = []
    for vendor, heading in sorted(measured, key=lambda pair: HEADINGS.index(pair[1])):
        if vendor.run is None:
            continue
        prefix = "" if pages else f"{vendor.folder}-"
        own = Drawers(vendor.run, prefix, vendor.title, has_cards=False)
        rows.append(Line(vendor.title, heading, pages.server(vendor.folder) if pages else ""))
        cells.append(tuple(_server_row(vendor, vendor.run, own, sequences, pages)))
        packs += [] if pages else [(own, vendor.folder)]
    for vendor in compatibility.absent:
        rows.append(Line(vendor.title, NOT_MEASURED))
        missing = GridCell((Mark(Verdict.UNSUPPORTED, UNSUPPORTED[0]),))
        cells.append((missing,) * len(sequences))
    columns = tuple(
        Line(name, chapter_of(name), pages.sequence(name) if pages else "") for name in sequences
    )
    every = partial(_all_of, packs)
    return Grid((SERVER, SEQUENCE), tuple(rows), columns, tuple(cells), table, every)


def _all_of(packs: Sequence[tuple[Drawers, str]]) -> Iterator[Drawer]:
    for drawers, pack in packs:
        yield from drawers.every(pack)


def _server_row(
    vendor: Vendor, run: Run, own: Drawers, sequences: Sequence[str], pages: Pages | None
) -> Iterator[GridCell]:
    by_sequence = asked_by_sequence(run)
    for sequence in sequences:
        cells = by_sequence.get(sequence)
        if not cells:
            yield GridCell()
            continue
        drawer = own.name(sequence)
        opens = pages.cell(vendor.folder, drawer) if pages else f"#{drawer}"
        yield GridCell(target_cell(cells), opens, own.harm(cells))


def heading_of(vendor: Vendor) -> str:
    """Which of the headings a server belongs under: by the worst that it does and nobody waived."""
    found = behaviours_of(vendor.run) if vendor.run else ()
    if is_all_waived(found):
        return ONLY_WAIVED
    return HARMS.get(worst_standing(found) or Harm.NONE, HURTS_NOBODY)


def _chapter_place(sequence: str) -> tuple[int, int]:
    """Chapter by chapter, each in the catalogue's order."""
    chapters = [*CHAPTERS.values(), OWN_CHAPTER]
    chapter = chapter_of(sequence)
    return chapters.index(chapter) if chapter in chapters else len(chapters), place_of(sequence)
