"""How wide the matrix's columns are, and which of them share a screen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tlsprobe.report.glyphs import Glyphs
from tlsprobe.report.matrix import TURNED_CORNER, Matrix

WIDEST_LABEL = 26
"""As long as the longest named sequence; with nine columns of six it makes 80."""

NARROWEST_FACE = 5
"""A mark and a code of four characters."""

WIDEST_FACE = 12
"""Room for a code and a count; more would be taken from the words beside it."""


WIDEST_WORDS = 16
"""``reset-before-fin``, the longest outcome, whole."""


@dataclass(frozen=True, slots=True)
class Band:
    """Columns printed side by side: their numbers, and their widths (None: what is left over)."""

    label: int
    columns: tuple[int, ...]
    widths: tuple[int | None, ...]


def bands_of(matrix: Matrix, width: int, glyphs: Glyphs) -> list[Band]:
    """The matrix in bands that fit into ``width`` characters, one space between columns.

    Servers' names head their columns whole. Of a turned matrix, the names of sequences are broken
    at their hyphens: there are too many for more than that.
    """
    label = min(WIDEST_LABEL, max((len(row.label) for row in matrix.rows), default=0))
    label = max(label, len(matrix.corner))
    columns = range(len(matrix.columns))
    if any(_has_words(matrix, column) for column in columns):
        return [_worded_band(matrix, label, columns, glyphs)]
    widths = [min(WIDEST_FACE, _natural_width(matrix, column, glyphs)) for column in columns]
    return list(_filled(label, widths, width))


def _filled(label: int, widths: Sequence[int], width: int) -> Iterator[Band]:
    """As many columns a band as fit: a name that is broken up reads worse than a second band."""
    band: list[int] = []
    used = label
    for column, wide in enumerate(widths):
        if band and used + wide + 1 > width:
            yield Band(label, tuple(band), tuple(widths[c] for c in band))
            band, used = [], label
        band.append(column)
        used += wide + 1
    if band:
        yield Band(label, tuple(band), tuple(widths[c] for c in band))


def _worded_band(matrix: Matrix, label: int, columns: Sequence[int], glyphs: Glyphs) -> Band:
    widths: list[int | None] = []
    for column in columns:
        widest = WIDEST_WORDS if _has_words(matrix, column) else WIDEST_FACE
        widths.append(min(widest, _natural_width(matrix, column, glyphs)))
    widths[-1] = None  # what the wire saw takes what is left
    return Band(label, tuple(columns), tuple(widths))


def _has_words(matrix: Matrix, column: int) -> bool:
    return any(row.cells[column].words for row in matrix.rows)


def _natural_width(matrix: Matrix, column: int, glyphs: Glyphs) -> int:
    texts = (row.cells[column].text(glyphs) for row in matrix.rows)
    return max(NARROWEST_FACE, _head_width(matrix, column), *map(len, texts))


def _head_width(matrix: Matrix, column: int) -> int:
    head = matrix.columns[column]
    if matrix.corner != TURNED_CORNER:
        return len(head)
    *broken, last = head.split("-")
    return max(len(last), *(len(piece) + 1 for piece in broken)) if broken else len(last)
