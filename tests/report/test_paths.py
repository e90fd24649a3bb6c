"""Which resets exist only nearby or only far away, in runs built by hand."""

from __future__ import annotations

import pytest

from tests.report.builders import clean, make_run
from tlsprobe.model.run import Cell
from tlsprobe.report.paths import Along, Count, Where, chance, differences, distance_sentences

PLACES = ("next door", "1 ms away", "20 ms away")


def reset(times: int, trials: int = 20, tls: str = "1.3") -> Cell:
    cell = clean(trials=trials, tls=tls)
    outcomes = {"reset-before-fin": times, "clean": trials - times}
    return Cell(**{**{name: getattr(cell, name) for name in cell.__slots__}, "outcomes": outcomes})


def along(*times: int, trials: int = 20, tls: tuple[str, ...] = ("1.3",)) -> list[Along]:
    return [
        Along("nginx", where, where, rank, make_run(*(reset(n, trials, v) for v in tls)))
        for rank, (n, where) in enumerate(zip(times, PLACES, strict=False))
    ]


@pytest.mark.parametrize(
    ("times", "where"),
    [
        ((20, 20, 0), Where.NEARBY),
        ((0, 0, 20), Where.FAR),
        ((0, 20, 20), Where.FAR),
        ((20, 0, 20), Where.SOMEWHERE),
    ],
)
def test_where_a_reset_exists(times: tuple[int, ...], where: Where) -> None:
    (found,) = differences(along(*times))
    assert found.where is where
    assert found.certain
    assert f"ends reset-before-fin {where}: next door: {times[0]} of 20" in found.sentence


def test_the_order_is_that_of_distance_not_of_measuring() -> None:
    (found,) = differences(reversed(along(20, 20, 0)))
    assert found.where is Where.NEARBY


@pytest.mark.parametrize("times", [(20, 20, 20), (0, 0, 0), (3, 18, 1)])
def test_what_is_on_all_paths_or_none_is_no_difference(times: tuple[int, ...]) -> None:
    assert differences(along(*times)) == ()
    (said,) = distance_sentences(along(*times))
    assert "at every distance" in said


def test_one_reset_among_few_trials_may_be_chance() -> None:
    (found,) = differences(along(0, 0, 1, trials=3))
    assert not found.certain
    assert "(may be chance)" in found.sentence


def test_versions_that_agree_share_a_sentence() -> None:
    (found,) = differences(along(20, 20, 0, tls=("1.2", "1.3")))
    assert "in TLS 1.2 and 1.3" in found.sentence


def test_a_single_path_has_nothing_to_compare() -> None:
    assert distance_sentences(along(20)) == ()


def test_chance_is_fishers() -> None:
    counts = (Count("near", 0, 5), Count("far", 5, 5))
    assert chance(counts) == pytest.approx(1 / 252)
