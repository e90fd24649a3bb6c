"""Which columns share a line, and how wide each is."""

from __future__ import annotations

import pytest

from tlsprobe.report.layout import WIDEST_LABEL, Measure, bands_of

LABEL = Measure(30, 12)
MARKS = Measure(9, 9, is_marks=True)


@pytest.mark.parametrize("columns", [0, 1, 2, 9, 12, 40])
@pytest.mark.parametrize("width", [40, 80, 200])
def test_outcomes_hold_every_column_once_and_fit(columns: int, width: int) -> None:
    bands = bands_of([LABEL, *[MARKS] * columns], width)
    assert [c for band in bands for c in band.columns if c] == list(range(1, columns + 1))
    for band in bands:
        assert band.columns[0] == 0
        assert sum(band.widths) + len(band.widths) - 1 <= width


def test_a_band_has_a_column_even_where_none_fits() -> None:
    assert [band.columns for band in bands_of([LABEL, MARKS, MARKS], 20)] == [(0, 1), (0, 2)]


@pytest.mark.parametrize("width", [70, 80, 120])
def test_words_get_all_that_is_left(width: int) -> None:
    words = Measure(300, 16)
    (band,) = bands_of([LABEL, MARKS, words, words], width)
    assert band.widths[:2] == (WIDEST_LABEL, 9)
    assert band.widths[2] == band.widths[3]
    assert width - 1 <= sum(band.widths) + 3 <= width


def test_a_short_column_leaves_its_share_to_a_long_one() -> None:
    (band,) = bands_of([Measure(4, 4), Measure(10, 5), Measure(300, 16)], 80)
    assert band.widths == (4, 10, 64)


def test_no_word_is_cut() -> None:
    assert bands_of([LABEL, Measure(40, 20), Measure(40, 20)], 60) == []
    assert bands_of([], 60) == []
