"""Connections that a server ends together, as one does whose process dies, told from idle timers.

ARCHITECTURE.md, "What we may not conclude".
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.campaign.test_again import planned
from tests.judge.playbook import S, play
from tlsprobe.campaign.collapses import Absences, Collapses, Gone, close_of
from tlsprobe.campaign.judging import judged_run
from tlsprobe.model.facts import Fact, PathFact, PlanFact, TrialFact
from tlsprobe.model.judgement import Doubt, Verdict
from tlsprobe.model.load import Load
from tlsprobe.model.run import Trial
from tlsprobe.model.trace import DriverEvent, EventKind, Trace

MS = 1_000_000
MADE = play(S.fin())
START = 1_000_000_000_000
CRASH = START + 10_000 * MS


def quiet(ms: int, end_ns: int = CRASH, *, ended: bool = True) -> Trace:
    """A connection on which nothing was said for so long, until the server ended it, or we did."""
    last = EventKind.EOF if ended else EventKind.GAVE_UP
    events = DriverEvent(end_ns - ms * MS, EventKind.CONNECTED), DriverEvent(end_ns, last)
    return replace(MADE, drive=replace(MADE.drive, events=events, records=()), segments=())


ALERTED = play(S.notify() + S.fin()).drive.records

OUTLASTS = quiet(4000, ended=False)
"""What the same sequence was given at another time."""


def fallen(*traces: Trace) -> set[int]:
    seen = Collapses()
    for place, trace in enumerate((OUTLASTS, *traces)):
        seen.see(close_of(place, "idle-expiry", trace))
    return set(seen.fallen)


def test_those_that_end_at_one_moment_though_quiet_for_other_times_fell_together() -> None:
    assert fallen(quiet(100), quiet(300), quiet(900, CRASH + MS)) == {1, 2, 3}


@pytest.mark.parametrize(
    "traces",
    [
        (quiet(100), quiet(300)),  # two may be an accident
        (quiet(300), quiet(310), quiet(320)),  # a timer that was shortened for all
        (quiet(2000), quiet(2500), quiet(3000)),  # a timer that is looked at at every tick
        (quiet(100), quiet(300, CRASH + 20 * MS), quiet(900, CRASH + 40 * MS)),
        (quiet(10), quiet(20), quiet(40)),  # answers to what was said just then
    ],
)
def test_a_timer_and_an_accident_are_no_collapse(traces: tuple[Trace, ...]) -> None:
    assert not fallen(*traces)


def test_what_fell_with_others_tells_nothing_of_its_sequence_and_no_idle_timeout() -> None:
    """A crash on one close ended all that waited: "an idle timeout of 0.14 s", and 20 fails."""
    traces = OUTLASTS, quiet(100), quiet(300), quiet(900)
    facts: list[Fact] = [PlanFact((planned("idle-expiry"),))]
    facts += [
        TrialFact(Trial("idle-expiry", "1.3", number), trace, Load(4, 4))
        for number, trace in enumerate(traces)
    ]
    answer = judged_run(lambda: facts)
    assert [one.judgement.doubt for one in answer.trials[1:]] == [Doubt.FELL] * 3
    assert answer.idle is None or answer.idle.timeout_s is None
    assert answer.cells[0].verdict is Verdict.INCONCLUSIVE


def refused(at_ns: int) -> Trace:
    events = (DriverEvent(at_ns, EventKind.CONNECT),)
    return replace(MADE, drive=replace(MADE.drive, events=events, refused=True), segments=())


def absences(*seen: tuple[str, Trace]) -> list[Gone]:
    found = Absences()
    for place, (sequence, trace) in enumerate(seen):
        found.see(close_of(place, sequence, trace))
    return found.behind()


def crash(n: int, name: str = "bad") -> list[tuple[str, Trace]]:
    """A connection that ends at once, and one that meets nobody just behind it."""
    end = CRASH + n * 1000 * MS
    behind = [("next", refused(end + ms * MS)) for ms in (10, 99)]
    return [(name, quiet(1, end)), *behind]


def test_a_close_behind_which_nobody_listens_each_time_is_named() -> None:
    assert absences(*crash(0), *crash(1)) == [Gone("bad", times=2, trials=2, of=2)]


def test_a_single_absence_and_one_behind_other_closes_blame_none() -> None:
    assert not absences(*crash(0))
    assert not absences(*crash(0), *crash(1, "other"))
    well = [("bad", quiet(1, CRASH + n * 7000 * MS)) for n in range(3, 6)]
    assert not absences(*crash(0), *crash(1), *well)


def test_who_spoke_an_alert_did_not_crash() -> None:
    polite = replace(quiet(1), drive=replace(quiet(1).drive, records=ALERTED))
    again = replace(quiet(1, CRASH + 1000 * MS), drive=polite.drive)
    assert not absences(
        ("bad", polite), ("n", refused(CRASH + MS)), ("bad", again), ("n", refused(CRASH + 2 * MS))
    )


def test_who_was_quiet_when_the_server_went_away_may_have_been_ended_by_that() -> None:
    absences = Absences()
    for place, (name, trace) in enumerate((("idle", quiet(3650)), *crash(0))):
        absences.see(close_of(place, name, trace))
    assert absences.fallen == {0}


def test_who_was_ended_before_another_was_still_taken_was_not() -> None:
    absences = Absences()
    seen = ("idle", quiet(3000, CRASH - 400 * MS)), ("next", quiet(200)), *crash(0)
    for place, (name, trace) in enumerate(seen):
        absences.see(close_of(place, name, trace))
    assert absences.fallen == {1}


def test_those_that_ended_by_themselves_may_be_what_the_server_died_of() -> None:
    """A port-forward that dies of the resets of one close, all of them a second late."""
    absences = Absences()
    for place in range(3):
        absences.see(close_of(place, "terminate-close-notify", quiet(1000)))
    absences.see(close_of(3, "next", refused(CRASH + 10 * MS)))
    assert not absences.fallen


def test_a_path_that_is_dead_behind_other_closes_says_nothing_of_this_one() -> None:
    facts: list[Fact] = [PlanFact((planned("idle-expiry"), planned("terminate")))]
    for number, (name, trace) in enumerate((*crash(0, "terminate"), *crash(1, "terminate"))):
        facts.append(TrialFact(Trial(name, "1.3", number), trace, Load(1, 1)))
    facts.append(TrialFact(Trial("idle-expiry", "1.3", 9), OUTLASTS, Load(1, 1)))
    facts += [PathFact(name, "1.3", alive=False) for name in ("idle-expiry", "terminate")]
    alive = {cell.sequence: cell.path_alive for cell in judged_run(lambda: facts).cells}
    assert alive == {"idle-expiry": None, "terminate": False}
