"""Steps of ours that came late, by the packets, and what that takes away from a verdict.

ARCHITECTURE.md, "What we may not conclude": from a step that reached the wire late, and from a wait
in vain while everything was slow.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.judge.playbook import FIRST, C, Line, Note, S, due, gives_up, play, silence, step, told
from tlsprobe.judge.cell import MeasuredCell, cell_of
from tlsprobe.judge.closing import closing_of
from tlsprobe.judge.lateness import steps_of
from tlsprobe.judge.rules import RULES
from tlsprobe.judge.verdict import judge
from tlsprobe.language import parse
from tlsprobe.model.judgement import Doubt, Judgement, Outcome, Verdict
from tlsprobe.model.knowledge import Knowledge, Timer
from tlsprobe.model.load import Load
from tlsprobe.model.run import Cell, CellPlan, JudgedTrial, Trial
from tlsprobe.model.trace import Coverage, DriverEvent, EventKind, Mark, RecordKind, Stage, Trace

STEPS = "request; terminate; close_notify; drain"


def cell(*judgements: Judgement) -> Cell:
    plan = CellPlan(parse(STEPS, "x"), STEPS, "1.3", len(judgements))
    trials = (JudgedTrial(Trial("x", "1.3", n), j) for n, j in enumerate(judgements))
    return cell_of(MeasuredCell(plan, tuple(trials)))


TIMED_RULES = {rule.id for rule in RULES.values() if rule.timed}


def rules(judgement: Judgement) -> set[str]:
    return {result.rule for result in judgement.results}


def goodbye_then(*lines: Line) -> Judgement:
    return judge(play(C.goodbye(), step("terminate"), *lines))


IN_TIME = (C.notify(), step("close_notify"), S.notify() + S.fin(), C.fin())
OVERTAKEN = (S.notify() + S.fin(), silence(0.02), C.notify(), step("close_notify"), S.rst())


def test_segments_back_to_back_are_in_time() -> None:
    judgement = goodbye_then(*IN_TIME)
    assert judgement.doubt is None
    assert judgement.timing_us["step_late"] == pytest.approx(200)  # the FIN behind the server's


def test_a_segment_that_the_servers_end_overtook_shows_another_close() -> None:
    """The alert was to leave with the goodbye; it met a server that had closed 20 ms before."""
    late = silence(0.003)
    judgement = goodbye_then(late, *OVERTAKEN)
    assert judgement.doubt is Doubt.LATE
    assert not rules(judgement) & TIMED_RULES
    assert "TLS13-NOTIFY" in rules(judgement)  # whenever we came, it has notified


def test_a_late_segment_that_met_the_same_server_stands() -> None:
    judgement = goodbye_then(silence(0.4), *IN_TIME)
    assert judgement.doubt is None
    assert "INTEROP-RESET-BEFORE-FIN" in rules(judgement)


@pytest.mark.parametrize(("late_s", "doubt"), [(0.002, None), (0.06, Doubt.LATE)])
def test_a_late_reply_that_drew_a_reset(late_s: float, doubt: Doubt | None) -> None:
    """A server that reads for 50 ms behind its FIN resets nobody who is in time."""
    story = (step("await"), S.notify() + S.fin(), silence(late_s), C.notify(), S.rst())
    judgement = judge(play(*story))
    assert judgement.doubt is doubt


@pytest.mark.parametrize("cut", ["in two", "in two records", "sent again"])
def test_whatever_part_of_a_late_reply_drew_the_reset(cut: str) -> None:
    """A record in two packets, a message in two, and what was sent again were all as late."""
    reply: tuple[Line, ...] = (C.data(600),)
    if cut == "in two":
        reply = C.split(C.data(600), 200)
    elif cut == "in two records":
        reply = C.data(400), C.data(200)
    else:
        reply = C.data(600), silence(0.2), C.again(FIRST + 1)
    story = (step("await"), S.notify() + S.fin(), silence(0.06), *reply, S.rst())
    assert judge(play(*story)).doubt is Doubt.LATE


HALF, REST = C.split(C.data(60_000), 30_000)


@pytest.mark.parametrize(
    ("between", "doubt"),
    [
        ((silence(0.004), S.ack()), None),  # the window was full, and let the rest go
        ((S.ack(), silence(0.004)), Doubt.LATE),
        ((S.ack(), silence(0.004), S.ack()), Doubt.LATE),  # which acknowledges nothing new
    ],
)
def test_the_rest_of_an_upload_is_as_late_as_what_let_it_go(
    between: tuple[Line, ...], doubt: Doubt | None
) -> None:
    story = C.data(), step("send"), HALF, *between, REST, S.rst()
    assert judge(play(*story)).doubt is doubt


def test_a_step_in_time_behind_a_late_one_is_not_late() -> None:
    """What had to wait was the first; the second left back to back with it, as it was to."""
    late = step("await"), S.data(), silence(0.06), C.data(), step("send"), S.ack()
    assert judge(play(*late, C.notify(), step("close_notify"), S.rst())).doubt is None


@pytest.mark.parametrize(("late_s", "doubt"), [(0.001, None), (0.03, Doubt.LATE)])
def test_a_wait_of_our_own_counts_from_when_it_was_to_end(
    late_s: float, doubt: Doubt | None
) -> None:
    story = (step("sleep"), silence(0.05), due(), silence(late_s), C.notify(), S.rst())
    judgement = goodbye_then(S.notify() + S.fin(), *story)
    assert judgement.doubt is doubt
    assert judgement.timing_us["step_late"] == pytest.approx(late_s * 1e6 + 100)


def test_a_wait_counts_from_its_end_where_the_server_is_told_something_behind_it() -> None:
    """To signal takes no time: what leaves behind it was due when the wait before it ended."""
    story = (step("pause"), silence(0.05), due(), step("signal"), told(), C.data(), S.rst())
    judgement = goodbye_then(S.notify() + S.fin(), *story)
    assert judgement.doubt is None
    assert judgement.timing_us["step_late"] < 1000


def test_facts_that_do_not_tell_when_a_wait_was_to_end_make_nothing_late() -> None:
    """Those of earlier versions: half a second of sleep is no lateness of half a second."""
    story = (step("sleep"), silence(0.5), C.notify(), S.rst())
    for before in ((), (step("await"),)):
        assert goodbye_then(*before, S.notify() + S.fin(), *story).doubt is None


def test_without_packets_no_lateness_is_known() -> None:
    unseen = play(C.goodbye(), silence(1), C.notify(), S.notify(), S.fin(), coverage=Coverage.NONE)
    assert steps_of(unseen, closing_of(unseen)) == ()


@given(st.floats(0, 1), st.booleans())
def test_no_lateness_spoils_what_nothing_happened_to_meanwhile(
    late_s: float, with_fin: bool
) -> None:
    end = (S.notify() + S.fin(),) if with_fin else (S.notify(), S.fin())
    judgement = goodbye_then(silence(late_s), C.notify(), *end, C.fin())
    assert judgement.doubt is None


# --- waiting in vain -----------------------------------------------------------------------------


def waiting(
    patience_s: float, response_s: float = 0.0, lag_s: float = 0.0, stalled_s: float = 0.0
) -> Judgement:
    story = (C.notify(), step("close_notify"), step("drain"), silence(patience_s))
    trace = play(*story, gives_up("drain"), tls="1.2", rtt_ns=100_000 + round(response_s * 1e9))
    request = next(r for r in trace.drive.records if r.kind is RecordKind.DATA)
    begun = Mark(request.time_ns, request.start, 0)
    trace = replace(trace, drive=replace(trace.drive, begun=begun))
    load = Load(1, 1, lag_ns=round(lag_s * 1e9), stalled_ns=round(stalled_s * 1e9))
    return judge(trace, Knowledge(load=load))


def test_patience_that_ran_out_on_a_quick_machine_is_an_answer() -> None:
    judgement = waiting(0.8)
    assert judgement.doubt is None
    assert any(result.result == "fail" for result in judgement.results)


def test_patience_that_ran_out_while_we_wrote_is_as_long_as_it_was() -> None:
    """A server that reads no more of an upload has had all of it; no step is noted by then."""
    upload = play(C.request(60_000), S.ack().but(ack=9_000), silence(2), gives_up("stopped"))
    assert judge(upload, Knowledge(load=Load(1, 1, 25_000_000))).doubt is None


@pytest.mark.parametrize("slow", [{"response_s": 0.4}, {"lag_s": 0.3}, {"stalled_s": 0.3}])
def test_patience_that_ran_out_while_everything_was_slow_is_none(slow: dict[str, float]) -> None:
    judgement = waiting(0.8, **slow)
    assert judgement.doubt is Doubt.BUSY
    assert judgement.results == ()
    assert waiting(5.0, **slow).doubt is None


@pytest.mark.parametrize(
    ("stalled_s", "ran_out", "doubt"),
    [(4.9, True, Doubt.BUSY), (2.0, True, None), (4.9, False, None)],
    ids=["no processor", "some of the time", "the server refused us"],
)
def test_a_handshake_for_which_we_had_no_processor_is_no_servers_fault(
    stalled_s: float, *, ran_out: bool, doubt: Doubt | None
) -> None:
    """Five in 2,640 trials of a correct server, beside eight busy processes."""
    story = silence(5), gives_up("in time"), C.fin(), S.fin()  # which ends what we left
    trace = play(*story, failure="not finished in time", stage=Stage.HANDSHAKE, asked=False)
    events = [e for e in trace.drive.events if ran_out or e.kind is not EventKind.GAVE_UP]
    left = DriverEvent(trace.drive.events[-1].time_ns, EventKind.LEFT)
    trace = replace(trace, drive=replace(trace.drive, events=(*events, left)))
    load = Load(1, 1, stalled_ns=round(stalled_s * 1e9))
    assert judge(trace, Knowledge(load=load)).doubt is doubt


def held(stalled_s: float) -> Judgement:
    """A server that ends the connection when its idle timer fires, five seconds after our FIN."""
    story = (C.notify() + C.fin(), step("drain"), silence(5), S.notify() + S.fin())
    five = (4_900_000_000, 5_100_000_000)
    load = Load(1, 1, stalled_ns=round(stalled_s * 1e9))
    return judge(play(*story), Knowledge(timers=(Timer(five, five),), load=load))


def test_slowness_is_a_servers_own_where_processors_were_free() -> None:
    found = {r.rule: r.result for r in held(0.04).results}
    assert found["INTEROP-LEAK"] == "warn"
    assert held(2.0).doubt is Doubt.BUSY


STRAINED = Knowledge(load=Load(1, 1, stalled_ns=150_000_000))
"""We waited for a processor for most of a trial that is over in a few milliseconds."""

LOST = pytest.mark.parametrize(
    "lost",
    [
        (C.request(), S.partial(), S.notify() + S.fin()),
        (C.request(), S.partial(), S.rst(active=True)),
    ],
    ids=["FIN", "RST"],
)


@LOST
def test_no_busy_machine_cuts_a_response_short(lost: tuple[Line, ...]) -> None:
    """The server ended it in the packets, while things went on: no timer fired, nobody was slow."""
    judgement = judge(play(*lost), STRAINED)
    assert judgement.doubt is None
    assert {r.rule: r.result for r in judgement.results}["INTEROP-DATA-LOST"] == "warn"


def test_a_server_may_have_decided_to_end_before_it_had_the_request() -> None:
    """One that closes right behind the handshake, late: the request lay there unread."""
    assert judge(play(C.request(), S.notify() + S.fin())).doubt is None
    assert judge(play(C.request(), S.notify() + S.fin()), STRAINED).doubt is Doubt.BUSY


def test_a_busy_server_may_not_have_come_to_a_request_when_its_timer_fired() -> None:
    judgement = judge(play(C.request(), silence(1), S.notify() + S.fin()), STRAINED)
    slow = replace(STRAINED, load=Load(1, 1, stalled_ns=500_000_000))
    assert judgement.doubt is None
    assert judge(play(C.request(), silence(1), S.notify() + S.fin()), slow).doubt is Doubt.BUSY


def test_what_arrived_and_was_not_read_may_hold_the_answer() -> None:
    story = (C.notify(), step("close_notify"), step("drain"), S.data(), silence(1), S.fin())
    trace = play(*story, gives_up("drain"), tls="1.2")
    drive = trace.drive
    assert judge(trace).doubt is None
    unread = replace(trace, drive=replace(drive, records=drive.records[:-1]))
    assert judge(unread).doubt is Doubt.BUSY


_MEETS = Note(EventKind.MEETS, "-1000")

UNREAD = pytest.mark.parametrize(
    "waits",
    [
        (step("await"), silence(2)),
        (step("meet"), silence(1), _MEETS, C.request(), S.response(), step("drain"), silence(2)),
        (step("meet"), silence(1), step("drain"), silence(2)),  # came too late to race
        (silence(1), C.notify(), step("sleep"), due(), silence(1), C.fin(), silence(2)),  # late
    ],
    ids=["idle", "met", "missed", "late"],
)
"""What a driver does and waits for; the server's last words come when it has waited."""


@pytest.mark.parametrize("waits_idle", [False, True])
@pytest.mark.parametrize("tls", ["1.2", "1.3"])
@UNREAD
def test_what_had_come_and_was_not_read_takes_every_answer_away(
    waits: tuple[Line, ...], tls: str, waits_idle: bool
) -> None:
    trace = unread(play(*waits, S.notify() + S.fin(), gives_up(), tls=tls))
    judgement = judge(trace, Knowledge(waits_idle=waits_idle))
    assert judgement.doubt is Doubt.BUSY
    assert judgement.results == ()


@pytest.mark.parametrize("waits_idle", [False, True])
@pytest.mark.parametrize("tls", ["1.2", "1.3"])
@pytest.mark.parametrize("end", [S.fin(), S.rst(active=True)], ids=["fin", "rst"])
@UNREAD
def test_what_comes_when_we_have_stopped_reading_is_no_part_of_it(
    waits: tuple[Line, ...], end: Line, tls: str, waits_idle: bool
) -> None:
    """The driver stays a moment longer than its patience, and reads no more."""
    known = Knowledge(waits_idle=waits_idle)
    trace = unread(play(*waits, gives_up(), S.notify(), end, tls=tls))
    without = play(*waits, gives_up(), tls=tls)
    left_open = replace(without, drive=trace.drive)
    assert judge(trace, known) == judge(left_open, known)
    assert judge(trace, known).outcome is Outcome.OPEN


def unread(trace: Trace) -> Trace:
    """The same, of a driver that read neither the server's last record nor its end."""
    drive = trace.drive
    events = tuple(e for e in drive.events if e.kind not in {EventKind.EOF, EventKind.RESET})
    return replace(trace, drive=replace(drive, events=events, records=drive.records[:-1]))


# --- cells ---------------------------------------------------------------------------------------

LATE = goodbye_then(silence(0.003), *OVERTAKEN)
GOOD = goodbye_then(*IN_TIME)


def test_a_cell_of_late_trials_alone_is_no_pass_and_says_how_late() -> None:
    found = cell(LATE, LATE)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.reason is not None
    assert "our step came 23." in found.reason and "ms late" in found.reason


def test_the_trials_that_were_in_time_decide() -> None:
    found = cell(GOOD, LATE, GOOD)
    assert found.verdict is Verdict.PASS
    assert found.left_out == {"late": 1}


def test_what_does_not_depend_on_time_is_found_in_late_trials_too() -> None:
    silent = goodbye_then(silence(0.003), S.fin(), silence(0.02), C.notify(), S.rst())
    assert silent.doubt is Doubt.LATE
    assert cell(silent).verdict is Verdict.FAIL


def test_a_rule_that_depends_on_time_is_judged_in_what_was_in_time_and_others_in_all() -> None:
    found = cell(GOOD, LATE, GOOD)
    judged = {one.rule: one.judged for one in found.findings}
    assert judged["INTEROP-RESET-BEFORE-FIN"] == 2
    assert {one.asked(found.trials) for one in found.findings if one.judged is None} == {3}
    assert {name for name, of in judged.items() if of is not None} == {
        name for name in judged if RULES[name].timed
    }


def test_the_answers_are_the_outcomes_of_what_was_in_time() -> None:
    found = cell(GOOD, LATE, GOOD)
    assert (sum(found.outcomes.values()), found.answers) == (3, {"clean": 2})
    assert cell(GOOD, GOOD).answers == cell(LATE, LATE).answers == {}
