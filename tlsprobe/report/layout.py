"""How wide the columns of a table are on a terminal, and which of them share its width.

A table of outcomes is cut into bands of as many columns as fit: a name that is broken up reads
worse than a second band. A table with words in it stays whole, its words folded, as long as no
word has to be cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

WIDEST_LABEL = 26
"""As long as the longest named sequence; with nine columns of six it makes 80."""

NARROWEST_MARKS = 5
"""A mark and a code of four characters."""

WIDEST_MARKS = 12
"""Room for a code and a count; more would be taken from the words beside it."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What a column asks for: the width of its longest cell, and that of its longest word."""

    natural: int
    least: int
    is_marks: bool = False


@dataclass(frozen=True, slots=True)
class Band:
    """Columns side by side: their numbers, the first column always among them, and widths."""

    columns: tuple[int, ...]
    widths: tuple[int, ...]


def bands_of(measures: Sequence[Measure], width: int) -> list[Band]:
    """The columns in bands that fit into ``width``, one space apart; none if they cannot."""
    if not measures:
        return []
    first, *others = measures
    label = min(WIDEST_LABEL, first.natural)
    if all(column.is_marks for column in others):
        spare = width - sum(map(_width_of_marks, others)) - len(others)
        return list(_bands_of_marks(max(label, min(first.natural, spare)), others, width))
    widths = _shared(label, others, width)
    return [Band(tuple(range(len(measures))), widths)] if widths else []


def _bands_of_marks(label: int, columns: Sequence[Measure], width: int) -> Iterator[Band]:
    band, widths = [0], [label]
    for number, column in enumerate(columns, 1):
        wide = _width_of_marks(column)
        if len(band) > 1 and sum(widths) + len(widths) + wide > width:
            yield Band(tuple(band), tuple(widths))
            band, widths = [0], [label]
        band.append(number)
        widths.append(wide)
    yield Band(tuple(band), tuple(widths))


def _width_of_marks(column: Measure) -> int:
    return max(NARROWEST_MARKS, min(WIDEST_MARKS, column.natural))


def _shared(label: int, columns: Sequence[Measure], width: int) -> tuple[int, ...]:
    """The widths, words sharing what marks and labels leave; none if a word does not fit."""
    words = [column for column in columns if not column.is_marks]
    left = width - label - len(columns)
    left -= sum(_width_of_marks(column) for column in columns if column.is_marks)
    if sum(column.least for column in words) > left:
        return ()
    most = _evenly(words, left)
    widths = (
        _width_of_marks(column) if column.is_marks else _granted(column, most) for column in columns
    )
    return (label, *widths)


def _evenly(columns: Sequence[Measure], left: int) -> int:
    """The greatest width for each of the columns with which together they need no more."""
    widest = max(column.natural for column in columns)
    return max(
        (
            most
            for most in range(1, widest + 1)
            if sum(_granted(column, most) for column in columns) <= left
        ),
        default=1,
    )


def _granted(column: Measure, most: int) -> int:
    return max(column.least, min(column.natural, most))
