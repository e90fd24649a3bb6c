"""A server that says why it ends connections, as PostgreSQL does where one of its processes dies.

A backend that dies has the postmaster end all others with a warning (57P02), and refuse whoever
comes until it has recovered (57P03). Of such a server was said that it had no room for three
connections, and the close that it died of was not named.
"""

from __future__ import annotations

from dataclasses import replace

from tests.campaign.test_again import IN_TIME, REFUSED, driven, planned
from tests.campaign.test_collapses import CRASH, LATER, MADE, MS, crashes, died_of, quiet
from tlsprobe.campaign.collapses import Absences, Close, Gone, close_of
from tlsprobe.campaign.crashes import Crashes
from tlsprobe.campaign.judging import judged_run
from tlsprobe.campaign.presence import is_turned_away
from tlsprobe.campaign.shutting import IN_A_ROW, ShutOuts, is_kept_out
from tlsprobe.campaign.spoiled import turned_away
from tlsprobe.model.facts import Fact, PlanFact, TrialFact
from tlsprobe.model.judgement import Doubt, Verdict
from tlsprobe.model.load import Load
from tlsprobe.model.run import Trial
from tlsprobe.model.trace import DriverEvent, EventKind, Remark, RemarkKind, Stage, Trace

CRASHED = (Remark(RemarkKind.CRASHED, "57P02: because of crash of another server process"),)
RECOVERING = (Remark(RemarkKind.RECOVERING, "57P03: the database system is in recovery mode"),)


def told(end_ns: int, ms: int = 20) -> Trace:
    made = quiet(ms, end_ns)
    return replace(made, drive=replace(made.drive, remarks=CRASHED))


def wordless(end_ns: int) -> Trace:
    """One that was shaking hands then."""
    made = quiet(10, end_ns)
    drive = replace(made.drive, stage=Stage.HANDSHAKE, failure="the server ended it", begun=None)
    return replace(made, drive=drive)


def refused(at_ns: int) -> Trace:
    kinds = EventKind.CONNECT, EventKind.CONNECTED, EventKind.HANDSHAKEN, EventKind.EOF
    events = tuple(DriverEvent(at_ns + n * MS, kind) for n, kind in enumerate(kinds))
    drive = replace(MADE.drive, stage=Stage.GREETING, failure="the server refused", events=events)
    return replace(MADE, drive=replace(drive, remarks=RECOVERING))


def victim(place: int, end_ns: int) -> Close:
    return close_of(place, "terminate", told(end_ns))


def test_the_close_behind_which_others_are_told_of_a_death_is_named() -> None:
    first = died_of("fin-only", CRASH), victim(2, CRASH + MS)
    second = died_of("fin-only", LATER), victim(3, LATER + MS)
    named = Gone("fin-only", times=2, trials=2, of=2)
    assert crashes(*first, *second) == ([named], {2, 3})


def test_one_that_was_told_once_fell_though_nobody_is_named_yet() -> None:
    assert crashes(died_of("fin-only", CRASH), victim(2, CRASH + MS)) == ([], {2})


def test_who_was_shaking_hands_then_fell_too_and_killed_nobody() -> None:
    found = Crashes()
    for end_ns in (CRASH, LATER):
        found.see(victim(1, end_ns))
        found.see(close_of(2, "close-notify-fin", wordless(end_ns + 80 * MS)))
        found.see(close_of(3, "idle-expiry", wordless(end_ns - 80 * MS), waits=True))
    assert (found.behind(), set(found.fallen)) == ([], {1, 2, 3})


def test_the_close_behind_which_the_server_recovers_is_named() -> None:
    absences = Absences()
    for end_ns in (CRASH, LATER):
        absences.see(close_of(1, "fin-only", quiet(1, end_ns)))
        absences.see(close_of(2, "terminate", refused(end_ns + 30 * MS)))
    assert absences.behind() == [Gone("fin-only", times=2, trials=2, of=2)]


def test_who_recovers_is_away_and_not_full() -> None:
    found = refused(CRASH).drive
    assert is_turned_away(found)
    assert not is_kept_out(found)


def test_what_a_death_ended_met_no_limit() -> None:
    seen = ShutOuts()
    served = quiet(1, LATER).drive
    greeted = *served.events[:1], DriverEvent(LATER, EventKind.HANDSHAKEN)
    seen.see(replace(served, events=greeted, owed=0))
    for number in range(IN_A_ROW):
        seen.see(wordless(CRASH + number * MS).drive)
    assert seen.were_seen
    seen.see(told(CRASH + 10 * MS).drive)
    for number in range(IN_A_ROW):
        seen.see(replace(refused(CRASH + number * MS).drive, ended_early=True))
    assert not seen.were_seen


def test_a_cell_that_met_a_server_in_recovery_is_inconclusive() -> None:
    facts: list[Fact] = [PlanFact((planned("fin-only"),))]
    facts.append(TrialFact(Trial("fin-only", "1.3", 0), refused(CRASH), Load(1, 1)))
    answer = judged_run(lambda: facts)
    assert answer.trials[0].judgement.doubt is Doubt.FELL
    assert answer.cells[0].verdict is Verdict.INCONCLUSIVE


def test_where_processes_die_whom_the_server_ended_met_no_limit() -> None:
    """It was measured again with ever fewer open, the close that it died of among them."""
    seen = driven(IN_TIME, REFUSED, load=Load(9, 3))
    assert len(turned_away(seen)) == 1
    assert turned_away(seen, dies=True) == []
    crashed = Crashes()
    assert not crashed.were_told
    crashed.see(victim(1, CRASH))
    assert crashed.were_told
