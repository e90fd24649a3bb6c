"""A grid as HTML takes it: rows and columns in groups, the kinds of cells, drawers packed."""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from tlsprobe.model.behaviour import Harm
from tlsprobe.model.judgement import Verdict
from tlsprobe.report.blocks import Drawer, Grid, GridCell, Line, Mark, Text, marks_in
from tlsprobe.report.glyphs import UNICODE
from tlsprobe.report.matrix import MEANINGS, SEQUENCE

WIDE = 12
"""A grid of more columns has their heads upright."""


def grid_view(
    grid: Grid, draw: Callable[[Drawer], str], said: Callable[[Text], object]
) -> dict[str, Any]:
    """What the macro of a grid is given.

    ``draw`` makes the markup of a drawer, ``said`` prepares running text.
    """
    cells = [[_cell(cell, said) for cell in row] for row in grid.cells]
    lines = list(zip(grid.rows, cells, strict=True))
    drawers = list(grid.drawers())
    return {
        "axes": grid.axes,
        "columns": grid.columns,
        "is_wide": len(grid.columns) > WIDE,
        "column_groups": _groups(grid.columns),
        "groups": [(name, list(rows)) for name, rows in groupby(lines, lambda line: line[0].group)],
        "chapters": _chapters(grid),
        "verdicts": _verdicts(grid),
        "harms": _harms(grid),
        "drawers": [draw(one) for one in drawers if not one.pack],
        "packs": _packs(drawers, draw),
    }


def _cell(cell: GridCell, said: Callable[[Text], object]) -> dict[str, Any]:
    marks = marks_in(cell.text)
    kinds = [f"v-{verdict}" for verdict in dict.fromkeys(mark.verdict for mark in marks)]
    kinds += [f"h-{cell.harm.replace(' ', '-')}"] if cell.harm else []
    return {
        "kind": " ".join(kinds),
        "opens": cell.opens,
        "marks": [_sign(mark) for mark in marks] if cell.opens else [],
        "numbers": cell.numbers,
        "text": said(cell.text),
    }


def _sign(mark: Mark) -> str:
    """The mark with its code; that not all trials ended so is said in short, by a tilde."""
    return f"{UNICODE.marks[mark.verdict]} {mark.code}{'~' if mark.counts else ''}"


def _groups(lines: Sequence[Line]) -> list[tuple[str, int]]:
    """The names over columns that stand together; none where nothing is grouped."""
    groups = [(name, len(list(members))) for name, members in groupby(lines, lambda x: x.group)]
    return groups if any(name for name, _ in groups) else []


def _chapters(grid: Grid) -> list[tuple[str, str]]:
    """The chapters, from whichever side the sequences are on."""
    lines = grid.rows if grid.axes[0] == SEQUENCE else grid.columns
    return [(name, name) for name in dict.fromkeys(line.group for line in lines) if name]


def _verdicts(grid: Grid) -> list[tuple[str, str]]:
    seen = {mark.verdict for row in grid.cells for cell in row for mark in marks_in(cell.text)}
    return [(v, MEANINGS[v].partition(":")[0]) for v in Verdict if v in seen]


def _harms(grid: Grid) -> list[tuple[str, str]]:
    seen = {cell.harm for row in grid.cells for cell in row if cell.harm}
    return [(harm.replace(" ", "-"), str(harm)) for harm in Harm if harm in seen]


def _packs(drawers: Sequence[Drawer], draw: Callable[[Drawer], str]) -> list[tuple[str, str]]:
    """Drawers by their pack, compressed: of thousands a reader opens a few."""
    packed = [one for one in drawers if one.pack]
    return [
        (name, b64encode(zlib.compress("".join(map(draw, group)).encode(), 9)).decode())
        for name, group in groupby(packed, lambda one: one.pack)
    ]
