"""Connections that a server ends together, as one does whose process dies, told from idle timers.

ARCHITECTURE.md, "What we may not conclude".
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.campaign.test_again import planned
from tests.judge.playbook import S, play
from tlsprobe.campaign.collapses import Absences, Close, Collapses, Gone, close_of
from tlsprobe.campaign.crashes import Crashes
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


def settled(*traces: Trace) -> set[int]:
    seen = Collapses()
    for place, trace in enumerate(traces):
        seen.see(close_of(place, "idle-expiry", trace))
    seen.settle()
    return set(seen.fallen)


DUE = tuple(quiet(3000 + n, CRASH + n * 100 * MS) for n in range(1, 5))
"""What a timer of three seconds ended, each at its own time."""


def test_what_a_reload_ends_shortly_before_its_timer_fell_with_the_others() -> None:
    """nginx, reloaded each few seconds, was said to have a timeout of 2.2 s, where 3 is true."""
    assert settled(quiet(1700), quiet(1900), quiet(2600), *DUE) == {0, 1, 2}


def test_with_those_one_that_ended_early_may_have_ended_by_itself() -> None:
    alone = quiet(2600, CRASH - 900 * MS)
    assert settled(quiet(1700), quiet(1900), quiet(2600), *DUE, alone) == {0, 1, 2, 7}
    assert not settled(*DUE, alone)


def test_where_no_sharp_timer_is_known_the_times_of_those_that_end_together_tell() -> None:
    fell = [quiet(ms) for ms in (500, 900, 1200, 1500, 1900)]
    assert settled(*fell, quiet(2500, CRASH + 9 * MS)) == {*range(5)}
    assert not settled(*fell[:3], quiet(2500, CRASH + 9 * MS))  # an accident may be of so many


def test_those_that_ended_with_one_whose_time_was_over_may_have_ended_at_a_tick() -> None:
    """mosquitto's, which counts from elsewhere for some."""
    ticked = [quiet(ms) for ms in (500, 900, 1200, 1500, 1900, 2490)]
    assert not settled(*ticked, quiet(2500, CRASH + 9 * MS))


@pytest.mark.parametrize("tick_ms", [1000, 3000])
def test_a_timer_that_is_looked_at_at_every_tick_is_no_reload(tick_ms: int) -> None:
    """Three seconds, or up to a tick more."""
    ends = [CRASH + n * tick_ms * MS for n in range(4)]
    times = [3000 + tick_ms * part // 4 for part in range(4)]
    assert not settled(*(quiet(ms, end) for end in ends for ms in times))


def died_of(name: str, end_ns: int, *, alerted: bool = False, quiet_ms: int = 20) -> Close:
    started, said = end_ns - 500 * MS, end_ns - quiet_ms * MS
    return Close(0, name, None, started, end_ns, 0, alerted, end_ns, said)


def waiting(place: int, ms: int, end_ns: int, *, ended: bool = True) -> Close:
    end = end_ns if ended else None
    return Close(
        place, "idle-expiry", None, end_ns - ms * MS, end, ms * MS, False, end_ns, 0, waits=True
    )


def crashes(*closes: Close) -> tuple[list[Gone], set[int]]:
    found = Crashes()
    for close in closes:
        found.see(close)
    return found.behind(), set(found.fallen)


LATER = CRASH + 2_000 * MS
BESIDE = waiting(1, 9000, LATER + 3_000 * MS, ended=False)
"""One that the same process did not serve, or that nothing ended."""


def test_a_close_that_others_end_with_each_time_is_named_and_they_fell() -> None:
    """A worker behind a parent that goes on listening: no connection is refused."""
    first = died_of("upload", CRASH), waiting(2, 900, CRASH)
    second = died_of("upload", LATER), waiting(3, 300, LATER + MS)
    named = Gone("upload", times=2, trials=2, of=2)
    assert crashes(BESIDE, *first, *second) == ([named], {2, 3})
    assert crashes(BESIDE, *first) == ([], set())  # once may be an accident


@pytest.mark.parametrize(
    "others",
    [
        [died_of("upload", CRASH + n * 7_00 * MS) for n in range(3, 6)],  # which ended none
        [died_of("terminate", CRASH), died_of("terminate", LATER)],  # either may be why
    ],
)
def test_a_close_that_others_end_with_by_chance_is_not_named(others: list[Close]) -> None:
    first = died_of("upload", CRASH), waiting(2, 900, CRASH)
    second = died_of("upload", LATER), waiting(3, 300, LATER + MS)
    assert crashes(BESIDE, *first, *second, *others) == ([], set())


@pytest.mark.parametrize("how", [{"alerted": True}, {"quiet_ms": 2000}])
def test_who_said_goodbye_or_was_left_open_until_a_reload_killed_nobody(how: Any) -> None:
    first = died_of("upload", CRASH, **how), waiting(2, 900, CRASH)
    second = died_of("upload", LATER, **how), waiting(3, 300, LATER + MS)
    assert crashes(BESIDE, *first, *second) == ([], set())


def test_a_timer_that_fires_just_then_fell_with_nobody() -> None:
    first = died_of("upload", CRASH), waiting(2, 8900, CRASH)
    second = died_of("upload", LATER), waiting(3, 9000, LATER + MS)
    assert crashes(BESIDE, *first, *second) == ([], set())


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
