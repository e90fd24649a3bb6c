"""What is measured again: on servers that our own connections fill, and what came late."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import trio

from tests.judge.playbook import C, S, play, silence, step
from tests.small_servers import SmallServer, WhenFull, WhenIdle, running
from tlsprobe.campaign import trials as campaign
from tlsprobe.campaign.again import room_unseen
from tlsprobe.campaign.driver import ONE_AT_A_TIME
from tlsprobe.campaign.judging import RunInJudgement
from tlsprobe.campaign.settings import Measured, Settings, Watcher
from tlsprobe.campaign.spoiled import (
    SLOW_NS,
    Driven,
    hasty_timer,
    is_shortened,
    is_steady,
    outlasts,
    spoiled,
    turned_away,
    was_timed_out,
)
from tlsprobe.catalogue import catalogue
from tlsprobe.drive.script import Patience
from tlsprobe.facts.file import FactsInMemory
from tlsprobe.language import format_groups
from tlsprobe.model.facts import CrowdedFact, Fact, PlanFact, PlannedCell, TrialFact
from tlsprobe.model.judgement import Doubt, Verdict
from tlsprobe.model.load import Load
from tlsprobe.model.run import Crowding, Trial
from tlsprobe.model.target import Login, Target, TlsVersion
from tlsprobe.model.trace import DriverEvent, EventKind, Stage, Trace
from tlsprobe.profiles import load_profile
from tlsprobe.protocols import make_conversation

PATIENT = Patience(5.0, 5.0, 0.01)
NOTHING_WRONG = {Verdict.PASS, Verdict.INCONCLUSIVE}


async def measure(port: int, *names: str, facts: FactsInMemory, **options: object) -> Measured:
    profile = load_profile("reference")
    target = Target("small", "127.0.0.1", port, profile.name, profile.protocol)
    converse = make_conversation(profile, target.host, Login(), target.port)
    chosen = [catalogue()[name].sequence for name in names]
    given = {"patience": PATIENT, "capture": "none", "tls": (TlsVersion.TLS13,), **options}
    settings = Settings(**given)  # type: ignore[arg-type]
    return await campaign.measure(
        target, converse, chosen, settings, Watcher(), trio.Event(), facts
    )


def run(server: SmallServer, folder: Path, *names: str, **options: object) -> tuple[Measured, bool]:
    """What was measured, and whether this machine was too slow for short times to mean anything.

    Then nothing is concluded from them: neither that the server is full nor what its timeout is.
    """
    facts = FactsInMemory()

    async def measured(port: int) -> Measured:
        return await measure(port, *names, facts=facts, **options)

    with running(server, folder) as port:
        found = trio.run(measured, port)
    kept_its_word(found)
    lags = (fact.load.lag_ns for fact in facts.read() if isinstance(fact, TrialFact) and fact.load)
    return found, max(lags) > SLOW_NS


def kept_its_word(found: Measured) -> None:
    """Holds what was spent against the bound that was told for it."""
    assert found.plan is not None and found.spent is not None
    crowded = found.judged.crowding is not None
    told = found.plan.if_crowded if crowded else found.plan.with_repeats
    assert told is not None
    assert found.spent.connections <= told


@pytest.mark.slow
def test_a_timeout_that_our_own_connections_shorten_is_measured_again(tmp_path: Path) -> None:
    """0.2 s in place of 2 s, while our waiters fill its slots."""
    server = SmallServer(slots=6, when_full=WhenFull.HURRIES, idle_s=2.0)
    found, was_slow = run(server, tmp_path, "idle-expiry", "idle-before-request", trials=12)
    assert server.most > server.slots
    assert {cell.verdict for cell in found.cells} <= NOTHING_WRONG
    if was_slow:
        return
    assert found.judged.idle is not None
    assert found.judged.idle.timeout_s == pytest.approx(2.0, abs=0.5)
    assert found.judged.crowding is not None
    assert found.judged.crowding.most_open < 32
    assert any("measuring again" in note for note in found.notes)
    assert all(cell.left_out.get("crowded", 0) > 0 for cell in found.cells)


@pytest.mark.slow
def test_a_timeout_that_stays_short_once_there_were_many_is_not_reported(tmp_path: Path) -> None:
    """As of a server that divides the timeout of a slot, and never multiplies it again."""
    server = SmallServer(slots=6, when_full=WhenFull.HURRIES_FOR_GOOD, idle_s=2.0)
    names = ("idle-expiry", "idle-before-request", "terminate")
    found, was_slow = run(server, tmp_path, *names, trials=12)
    assert server.most > server.slots
    assert {cell.verdict for cell in found.cells} <= NOTHING_WRONG
    if was_slow:
        return
    assert found.judged.idle is None
    assert found.judged.crowding is not None
    assert found.judged.crowding.most_open == 0
    assert any("start the server again" in note for note in found.notes)
    verdicts = {cell.sequence: cell.verdict for cell in found.cells}
    assert verdicts.pop("terminate") is Verdict.PASS
    assert set(verdicts.values()) == {Verdict.INCONCLUSIVE}


@pytest.mark.slow
def test_connections_that_a_full_server_refuses_are_measured_again(tmp_path: Path) -> None:
    server = SmallServer(slots=5, when_full=WhenFull.REFUSES)
    found, was_slow = run(server, tmp_path, "idle-expiry", "terminate", trials=12)
    assert server.refused > 0
    if was_slow:
        return
    assert found.judged.crowding is not None
    assert "turns connections away" in found.judged.crowding.because
    assert not any(cell.outcomes.get("error") for cell in found.cells)
    assert {cell.verdict for cell in found.cells} <= NOTHING_WRONG


@pytest.mark.slow
def test_connections_that_a_full_server_leaves_waiting_are_measured_again(tmp_path: Path) -> None:
    """As one does that accepts no more than it serves: the kernel takes the rest, and is silent."""
    server = SmallServer(slots=3, when_full=WhenFull.WAITS, idle_s=3.0)
    patience = Patience(1.0, 5.0, 0.01)
    names = ("idle-expiry", "idle-before-request", "terminate")
    found, was_slow = run(server, tmp_path, *names, trials=6, patience=patience)
    if was_slow:
        return
    assert found.judged.crowding is not None
    assert "leaves connections waiting" in found.judged.crowding.because
    assert found.judged.crowding.most_open < 32  # fewer; how many wait too long is the machine's
    assert not any(cell.outcomes.get("error") for cell in found.cells)
    assert {cell.verdict for cell in found.cells} <= NOTHING_WRONG


@pytest.mark.slow
def test_a_server_that_serves_one_at_a_time_is_measured_with_one_open(tmp_path: Path) -> None:
    """As one does that shakes hands where it accepts: no close of ours is why others wait."""
    server = SmallServer(slots=1, when_full=WhenFull.WAITS, idle_s=2.0)
    patience = Patience(1.0, 4.0, 0.01)
    names = ("idle-expiry", "idle-before-request", "terminate", "server-close-reply")
    found, was_slow = run(server, tmp_path, *names, trials=6, patience=patience)
    if was_slow:
        return
    assert found.judged.crowding is not None
    assert found.judged.crowding.most_open == 1
    assert found.judged.crowding.because == ONE_AT_A_TIME
    assert {cell.verdict for cell in found.cells} <= {Verdict.PASS, Verdict.INFO}


@pytest.mark.slow
def test_a_server_with_room_is_not_said_to_be_crowded(tmp_path: Path) -> None:
    found, was_slow = run(SmallServer(), tmp_path, "idle-expiry", "terminate", trials=6)
    assert found.judged.crowding is None
    verdicts = {cell.verdict for cell in found.cells}
    assert verdicts == {Verdict.PASS} or (was_slow and verdicts <= NOTHING_WRONG)


@pytest.mark.slow
def test_who_wants_one_connection_open_gets_no_more_of_them_for_it(tmp_path: Path) -> None:
    """It is not that the server has no room."""
    names = ("terminate", "close-notify-fin")
    found, was_slow = run(SmallServer(), tmp_path, *names, trials=2, connections=1)
    assert found.plan is not None and found.spent is not None
    assert was_slow or found.spent.connections == found.plan.connections


@pytest.mark.packet_socket
def test_an_idle_timer_that_resets_gets_a_control(tmp_path: Path) -> None:
    """What the half request left unread had no part in it: a whole one is reset as well."""
    server = SmallServer(when_idle=WhenIdle.ABORTS)
    found, was_slow = run(server, tmp_path, "idle-partial-request", trials=4, capture="packet")
    asked, control = found.cells
    assert (asked.sequence, control.sequence, control.role) == (
        *("idle-partial-request", "idle-expiry", "control"),
    )
    if was_slow:
        return
    assert set(asked.causes) == {"deliberate-abort"}
    mine = (one for one in found.trials if one.trial.sequence == asked.sequence)
    controls = [reset.control for one in mine for reset in one.judgement.resets]
    assert [control and control.name for control in controls] == ["idle-expiry"] * 4


# --- which trials --------------------------------------------------------------------------------

IN_TIME = play(C.goodbye(), step("terminate"), C.notify(), S.notify() + S.fin(), C.fin())
LATE = play(
    *(C.goodbye(), step("terminate"), silence(0.01), S.notify() + S.fin()),
    *(silence(0.02), C.notify(), S.rst()),
)
UNSERVED = play(silence(5), failure="not in time", stage=Stage.HANDSHAKE)
REFUSED = play(S.rst(active=True), failure="reset", stage=Stage.HANDSHAKE)
NAME = "terminate-close-notify"
ALONE = Load(1, 1)


def planned(name: str) -> PlannedCell:
    steps = format_groups(catalogue()[name].sequence.groups)
    return PlannedCell(name, steps, "1.3", 3, "asked")


def driven(*traces: Trace, name: str = NAME, load: Load = ALONE) -> list[Driven]:
    judging = RunInJudgement()
    judging.learn(PlanFact((planned(name),)))
    (cell,) = judging.plans
    return [
        Driven(cell, judging.judge(TrialFact(Trial(name, "1.3", n), trace, load)), load)
        for n, trace in enumerate(traces)
    ]


def test_what_came_late_is_driven_again_and_nothing_else() -> None:
    found = driven(IN_TIME, LATE, IN_TIME, REFUSED)
    assert [one.judged.trial.index for one in spoiled(found)] == [1]


def test_only_beside_others_can_a_connection_be_turned_away_for_want_of_room() -> None:
    assert turned_away(driven(IN_TIME, REFUSED)) == []
    (away,) = turned_away(driven(IN_TIME, REFUSED, load=Load(9, 3)))
    assert away.judged.trial.index == 1
    assert room_unseen(driven(IN_TIME, REFUSED, load=Load(9, 3)), 60.0) == 1
    assert room_unseen(driven(IN_TIME, REFUSED), 60.0) is None


def test_many_that_wait_beside_others_may_have_no_room_and_one_may_just_hang() -> None:
    beside = Load(9, 3)
    assert turned_away(driven(IN_TIME, *[UNSERVED] * 2, load=beside)) == []
    away = turned_away(driven(IN_TIME, *[UNSERVED] * 3, load=beside))
    assert [one.judged.trial.index for one in away] == [1, 2, 3]
    assert turned_away(driven(IN_TIME, *[UNSERVED] * 3)) == []


def test_a_response_without_end_is_no_connection_left_waiting() -> None:
    """Each such trial was driven twice more, and took some 256 MiB of a server each time."""
    flood = play(C.request(), S.data(9000), silence(5), S.data(9000), failure="too much")
    waits = play(C.request(), silence(5), failure="not in time")
    assert [one.judged.trial.index for one in spoiled(driven(flood, waits))] == [1]


def test_on_a_busy_machine_nobody_is_said_to_turn_connections_away() -> None:
    """One that was refused in a quick moment made a polite server a crowded one."""
    slow = Load(9, 3, 10 * SLOW_NS)
    refused = driven(REFUSED, load=Load(9, 3))
    assert turned_away(refused)
    assert turned_away([*refused, *driven(*[IN_TIME] * 4, load=slow)]) == []


def test_a_server_that_refuses_an_upload_has_room() -> None:
    """It ends the connection before the upload is whole, which is before our sequence begins."""
    early = play(C.request(), S.notify(), S.fin(), asked=False, ended_early=True)
    (away,) = turned_away(driven(early, load=Load(9, 3)))
    assert away.judged.judgement.doubt is Doubt.ENDED_EARLY
    assert turned_away(driven(early, name="upload-refused", load=Load(9, 3))) == []


@pytest.mark.parametrize(
    ("timeouts", "expected_s", "hasty"),
    [
        ((60.0, 60.01), 60.0, False),
        ((60.0, 60.01), 100.0, True),
        ((40.0, 60.0), 60.0, True),
        ((1.0, 1.01), 1.0, True),
    ],
)
def test_which_timeouts_are_looked_at_alone(
    timeouts: tuple[float, ...], expected_s: float, *, hasty: bool
) -> None:
    stories = [play(step("await"), silence(s), S.notify(), S.fin(), C.fin()) for s in timeouts]
    found = driven(*stories, name="idle-expiry", load=Load(20, 20))
    assert (hasty_timer(found, expected_s) is not None) is hasty
    assert room_unseen(found, expected_s) == (0 if hasty else None)


def test_what_a_crash_ended_is_no_timeout_that_our_connections_shortened() -> None:
    """It was said to be 0.35 s while 17 of ours are open, and alone 5 s."""
    stories = [play(step("await"), silence(s), S.notify(), S.fin(), C.fin()) for s in (0.3, 5.0)]
    early, late = driven(*stories, name="idle-expiry", load=Load(20, 20))
    judged = early.judged
    fell = replace(judged, judgement=replace(judged.judgement, doubt=Doubt.FELL))
    assert hasty_timer([early, late], 5.0) is early
    assert hasty_timer([early._replace(judged=fell), late], 5.0) is late


def test_a_connection_that_failed_has_no_timeout_to_outlast() -> None:
    waited = play(step("await"), silence(9))
    quick = play(step("await"), silence(0.2), S.notify(), S.fin(), C.fin())
    longest, shortest, failed = driven(waited, quick, REFUSED, name="idle-expiry")
    assert longest.judged.judgement.doubt is Doubt.NOT_REACHED
    assert outlasts(longest, shortest)
    assert not outlasts(longest, failed)


@pytest.mark.parametrize(("lag_s", "found"), [(0.0, True), (0.2, True), (2.0, False)])
def test_a_timeout_is_shortened_by_more_than_a_slow_machine_delays(
    lag_s: float, *, found: bool
) -> None:
    """A lag of 0.15 s hid that 5 s alone were 0.24 s together: the short one passed as measured."""
    quick = play(step("await"), silence(0.24), S.notify(), S.fin(), C.fin())
    waited = play(step("await"), silence(5), S.notify(), S.fin(), C.fin())
    (crowded,) = driven(quick, name="idle-expiry", load=Load(20, 20))
    (alone,) = driven(waited, name="idle-expiry", load=Load(1, 1, round(lag_s * 1e9)))
    assert is_shortened(crowded, alone) is found


@pytest.mark.parametrize(
    ("timeouts", "steady"),
    [((5.0, 5.1, 4.9), True), ((2.7, 5.4, 5.9), False), ((5.0, 5.0, None), False), ((None,), True)],
)
def test_a_timer_that_is_never_the_same_was_not_shortened(
    timeouts: tuple[float | None, ...], *, steady: bool
) -> None:
    """As of a server that looks for idle clients every few seconds."""
    vain = play(step("await"), silence(9))
    stories = [
        play(step("await"), silence(s), S.notify(), S.fin(), C.fin()) if s else vain
        for s in timeouts
    ]
    found = driven(*stories, name="idle-expiry")
    assert is_steady(found) is steady


# --- the later one counts ------------------------------------------------------------------------


def test_the_later_of_two_trials_has_the_say() -> None:
    judging = RunInJudgement()
    judging.learn(PlanFact((planned(NAME),)))
    for trace in (LATE, IN_TIME):
        judging.judge(TrialFact(Trial(NAME, "1.3", 0), trace, Load(1, 1)))
    (cell,) = judging.answer().cells
    assert (cell.trials, cell.repeated, cell.left_out) == (1, 1, {})
    assert cell.verdict is Verdict.PASS
    assert len(judging.answer().trials) == 1


def test_what_had_more_open_than_the_server_has_room_for_is_left_out() -> None:
    facts: list[Fact] = [
        PlanFact((planned(NAME),)),
        TrialFact(Trial(NAME, "1.3", 0), IN_TIME, Load(2, 12)),
        TrialFact(Trial(NAME, "1.3", 1), IN_TIME, Load(2, 2)),
        CrowdedFact(4, "it is full"),
    ]
    judging = RunInJudgement()
    for fact in facts:
        judging.learn(fact)
    judging.catch_up(lambda: facts)
    answer = judging.answer()
    assert [trial.judgement.doubt for trial in answer.trials] == [Doubt.CROWDED, None]
    (cell,) = answer.cells
    assert cell.left_out == {"crowded": 1}
    assert cell.verdict is Verdict.PASS
    assert answer.crowding == Crowding(4, "it is full")


def test_who_is_turned_away_by_slots_that_stay_short_was_turned_away_by_us() -> None:
    """The next client's handshake may take longer than what is left of a slot's timeout."""
    ended = "the server closed the connection during the handshake"
    away = play(S.fin(), failure=ended, stage=Stage.HANDSHAKE)
    facts: list[Fact] = [
        PlanFact((planned(NAME),)),
        TrialFact(Trial(NAME, "1.3", 0), away, Load(1, 1)),
        TrialFact(Trial(NAME, "1.3", 1), IN_TIME, Load(2, 2)),
        CrowdedFact(0, "it is full"),
    ]
    judging = RunInJudgement()
    for fact in facts:
        judging.learn(fact)
    judging.catch_up(lambda: facts)
    answer = judging.answer()
    assert [trial.judgement.doubt for trial in answer.trials] == [Doubt.CROWDED, None]
    assert answer.cells[0].verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("kept_s", "lag_s", "timed_out"), [(2, 1, True), (0.1, 1, False), (2, 0, False)]
)
def test_a_server_that_ends_a_handshake_of_ours_that_takes_long_is_no_dead_path(
    kept_s: float, lag_s: float, *, timed_out: bool
) -> None:
    """A timer of two seconds ended it; a forwarder without a server ends it at once."""
    story = play(silence(kept_s), S.fin(), failure="closed", stage=Stage.HANDSHAKE)
    times = (EventKind.CONNECTED, story.segments[0]), (EventKind.EOF, story.segments[-1])
    events = tuple(DriverEvent(segment.time_ns, kind) for kind, segment in times)
    load = Load(1, 1, round(lag_s * 1e9))
    assert was_timed_out(replace(story.drive, events=events), load) is timed_out
