"""Probabilities with honest intervals, and what became of requests that met the expiry."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsprobe.judge.race import race_of, wilson
from tlsprobe.model.judgement import (
    Axes,
    DataEnd,
    Judgement,
    Met,
    Outcome,
    Reader,
    TcpEnd,
    TlsEnd,
)
from tlsprobe.model.run import JudgedTrial, Spread, Trial


def trial(outcome: Outcome, offset: float | None = None, met: Met | None = None) -> JudgedTrial:
    """A racer with this outcome; what became of a request at this distance from the expiry."""
    reset = outcome in {Outcome.RESET_BEFORE_FIN, Outcome.DATA_LOST}
    axes = Axes(
        TlsEnd.NOTIFIED,
        TcpEnd.RESET if reset else TcpEnd.FIN,
        DataEnd.COMPLETE,
        Reader.RESET if reset else Reader.EOF,
    )
    timing = {"raced": 0.0} if offset is None else {"request_after_expiry": offset}
    judgement = Judgement(outcome, axes, (), (), (), timing_us=timing, met=met)
    return JudgedTrial(Trial("idle-expiry-race", "1.3", 0), judgement)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_an_interval_holds_its_share_and_stays_a_probability(counts: tuple[int, int]) -> None:
    hits, trials = counts
    low, high = wilson(hits, trials)
    assert 0 <= low <= hits / trials + 1e-12
    assert hits / trials - 1e-12 <= high <= 1


def test_wilsons_own_numbers() -> None:
    """3 of 1200, and 14 of 100: FIELD-NOTES 5."""
    assert wilson(3, 1200) == pytest.approx((0.00085, 0.00733), abs=5e-5)
    assert wilson(14, 100) == pytest.approx((0.0853, 0.2214), abs=5e-4)


def test_resets_are_counted_and_told_beside_the_window() -> None:
    trials = [trial(Outcome.RESET_BEFORE_FIN), trial(Outcome.RESET_AFTER_FIN)]
    race = race_of(trials, Spread(9, 8.0, 12.0, 20.0, 31.0))
    assert race is not None
    assert (race.trials, race.resets, race.probability) == (2, 1, 0.5)
    assert "1 of 2 expiries" in race.text
    assert "12 µs (p95 20, max 31)" in race.text


def test_without_a_window_the_count_stands_alone() -> None:
    race = race_of([trial(Outcome.RESET_BEFORE_FIN)])
    assert race is not None
    assert race.window_us is None
    assert race.text.endswith("%).")


def test_requests_are_answered_refused_or_lost_by_distance() -> None:
    race = race_of(
        [
            trial(Outcome.CLEAN, -5000.0, Met.ANSWERED),
            trial(Outcome.RESET_BEFORE_FIN, 0.0, Met.LOST),
            trial(Outcome.NO_CLOSE_NOTIFY, 0.0, Met.REFUSED),
        ]
    )
    assert race is not None
    early, late = race.met
    assert (early.offset_us, early.answered, early.refused, early.lost) == (-5000.0, 1, 0, 0)
    assert (late.offset_us, late.answered, late.refused, late.lost) == (0.0, 0, 1, 1)
    assert race.resets == 1


def test_without_a_trial_there_is_no_race() -> None:
    assert race_of([]) is None
