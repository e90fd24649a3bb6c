"""Probabilities with honest intervals, and what became of requests that met the expiry."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.judge.playbook import C, Line, Note, S, gives_up, play, silence, step
from tlsprobe.judge.closing import closing_of
from tlsprobe.judge.race import ANSWERED, MET, attempt_of, race_of, wilson
from tlsprobe.judge.verdict import judge
from tlsprobe.model.causes import Cause
from tlsprobe.model.judgement import (
    Axes,
    Confidence,
    DataEnd,
    Doubt,
    ExpiryOutcome,
    Judgement,
    Outcome,
    Reader,
    Reset,
    TcpEnd,
    TlsEnd,
)
from tlsprobe.model.knowledge import Knowledge
from tlsprobe.model.run import JudgedTrial, Spread, Trial
from tlsprobe.model.trace import Coverage, EventKind, Side

IDLE = Knowledge(waits_idle=True)


def trial(
    outcome: Outcome,
    offset: float | None = None,
    met: ExpiryOutcome | None = None,
    doubt: Doubt | None = None,
    answer: float = 40.0,
) -> JudgedTrial:
    """A racer with this outcome: an answer, or a request at this distance from the expiry."""
    reset = outcome in {Outcome.RESET_BEFORE_FIN, Outcome.DATA_LOST}
    axes = Axes(
        TlsEnd.NOTIFIED,
        TcpEnd.RESET if reset else TcpEnd.FIN,
        DataEnd.COMPLETE,
        Reader.RESET if reset else Reader.EOF,
    )
    timing = {ANSWERED: answer} if offset is None else {MET: offset}
    judgement = Judgement(outcome, axes, (), (), (), doubt, timing_us=timing, met=met)
    return JudgedTrial(Trial("idle-expiry-race", "1.3", 0), judgement)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_an_interval_holds_its_share_and_stays_a_probability(counts: tuple[int, int]) -> None:
    hits, trials = counts
    low, high = wilson(hits, trials)
    assert 0 <= low <= hits / trials + 1e-12
    assert hits / trials - 1e-12 <= high <= 1


def test_wilsons_own_numbers() -> None:
    """3 of 1200, and 14 of 100."""
    assert wilson(3, 1200) == pytest.approx((0.00085, 0.00733), abs=5e-5)
    assert wilson(14, 100) == pytest.approx((0.0853, 0.2214), abs=5e-4)


def test_resets_are_counted_and_told_beside_the_window() -> None:
    trials = [trial(Outcome.RESET_BEFORE_FIN), trial(Outcome.RESET_AFTER_FIN)]
    race = race_of(trials, Spread(9, 8.0, 12.0, 20.0, 31.0))
    assert race is not None
    assert (race.trials, race.resets, race.probability) == (2, 1, 0.5)
    assert "1 of 2 expiries" in race.text
    assert "12 µs (p95 20 µs, max 31 µs)" in race.text


def test_whom_a_box_reset_has_run_no_race_with_the_server() -> None:
    """Its resets made a server look as if it lost every race."""
    lost = trial(Outcome.RESET_BEFORE_FIN)
    box = Reset(Side.SERVER, 9, 0, True, Cause.MIDDLEBOX, Confidence.MEDIUM, ())
    forged = replace(lost, judgement=replace(lost.judgement, resets=(box,)))
    race = race_of([trial(Outcome.RESET_AFTER_FIN), forged, forged])
    assert race is not None
    assert (race.trials, race.resets, race.missing) == (1, 0, 0)


def test_without_a_window_the_count_stands_alone() -> None:
    race = race_of([trial(Outcome.RESET_BEFORE_FIN)])
    assert race is not None
    assert race.window_us is None
    assert race.text.endswith("%).")
    assert "answered 40 µs after" in race.text


def test_what_came_late_or_not_at_all_is_left_out_and_counted() -> None:
    """Of 3 attempts, one landed: it is lost 0 of 1, and not 0 of 3."""
    late = trial(Outcome.CLEAN, doubt=Doubt.LATE, answer=5800.0)
    nothing = trial(Outcome.CLEAN, doubt=Doubt.LATE)
    nothing.judgement.timing_us.clear()
    race = race_of([trial(Outcome.CLEAN), late, nothing])
    assert race is not None
    assert (race.trials, race.resets, race.late, race.missing) == (1, 0, 1, 1)
    assert (race.distance_us.max, race.late_us.max) == (40.0, 5800.0)
    assert "0 of 1 expiries" in race.text
    assert "at another time, 5.8 ms after" in race.text


def test_where_nothing_was_in_time_no_probability_is_known() -> None:
    race = race_of([trial(Outcome.CLEAN, doubt=Doubt.LATE, answer=5800.0)])
    assert race is not None
    assert (race.trials, race.low, race.high) == (0, 0.0, 1.0)
    assert "no attempt was in time" in race.text


def test_requests_are_answered_refused_or_lost_by_distance() -> None:
    race = race_of(
        [
            trial(Outcome.CLEAN, -5000.0, ExpiryOutcome.ANSWERED),
            trial(Outcome.RESET_BEFORE_FIN, 0.0, ExpiryOutcome.LOST),
            trial(Outcome.NO_CLOSE_NOTIFY, 0.0, ExpiryOutcome.REFUSED),
        ]
    )
    assert race is not None
    early, late = race.met
    assert (early.offset_us, early.answered, early.refused, early.lost) == (-5000.0, 1, 0, 0)
    assert (late.offset_us, late.answered, late.refused, late.lost) == (0.0, 0, 1, 1)
    assert (early.from_us, early.to_us) == (None, -4000.0)
    assert (late.from_us, late.to_us) == (0.0, 200.0)
    assert race.resets == 1


def test_without_a_trial_there_is_no_race() -> None:
    assert race_of([]) is None


# --- attempts, by the capture --------------------------------------------------------------------


def raced(*lines: Line) -> tuple[Line, ...]:
    """An answer to the server's alert, with what the driver says of it."""
    return (step("answer"), silence(60), *lines)


RACED = Note(EventKind.RACED, "")


def meets(planned_us: int) -> Note:
    return Note(EventKind.MEETS, str(planned_us))


@pytest.mark.parametrize(
    ("delay_s", "doubt"), [(0.0, None), (0.0005, None), (0.0058, Doubt.LATE), (0.138, Doubt.LATE)]
)
def test_an_answer_is_timed_by_the_packets(delay_s: float, doubt: Doubt | None) -> None:
    lines = raced(S.notify(), silence(delay_s), C.notify(), RACED, S.fin(), C.fin())
    judgement = judge(play(*lines), IDLE)
    assert judgement.doubt is doubt
    assert judgement.timing_us[ANSWERED] == pytest.approx(delay_s * 1e6 + 100)


def test_a_trial_that_sent_nothing_has_run_no_race() -> None:
    lines = raced(S.notify(), S.fin(), C.fin())
    judgement = judge(play(*lines), IDLE)
    assert judgement.doubt is Doubt.LATE
    assert ANSWERED not in judgement.timing_us
    race = race_of([JudgedTrial(Trial("idle-expiry-race", "1.3", 0), judgement)])
    assert race is not None
    assert (race.trials, race.missing) == (0, 1)


def test_a_timer_that_did_not_fire_was_not_reached() -> None:
    judgement = judge(play(step("answer"), silence(60), gives_up()), IDLE)
    assert judgement.doubt is Doubt.NOT_REACHED


@pytest.mark.parametrize("late_s", [0.086, 0.138])
def test_a_request_that_was_to_come_first_and_came_after_the_alert(late_s: float) -> None:
    """Said to be 5 ms early, it was on the wire 86 to 138 ms after the server's alert."""
    lines = (step("meet"), silence(60), meets(-5000), S.notify() + S.fin(), silence(late_s))
    judgement = judge(play(*lines, C.request(), S.rst()), IDLE)
    assert judgement.doubt is Doubt.LATE
    assert judgement.timing_us[MET] == pytest.approx(late_s * 1e6 + 100)
    assert "INTEROP-IDLE-RACE" not in {result.rule for result in judgement.results}


def test_a_request_that_was_answered_is_timed_against_the_expected_expiry() -> None:
    lines = (step("meet"), silence(60), meets(-1000), silence(0.0002), C.request(), S.response())
    judgement = judge(play(*lines, silence(60), S.notify(), S.fin()), IDLE)
    assert judgement.doubt is None
    assert judgement.timing_us[MET] == pytest.approx(-700)  # due at -1000, 300 later


def test_without_a_capture_nobody_knows_when_an_attempt_came() -> None:
    lines = raced(S.notify(), C.notify(), RACED, S.fin(), C.fin())
    told = play(*lines, coverage=Coverage.NONE)
    attempt = attempt_of(told, closing_of(told))
    assert attempt is not None
    assert attempt.after_expiry_ns is None
    assert not attempt.is_in_time
