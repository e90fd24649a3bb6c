"""Trials counted into a cell: verdict, distributions, why, durations and the example."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.judge.playbook import ALERT, C, S, crossing, gives_up, play, silence, step
from tlsprobe.judge.cell import MeasuredCell, cell_of, windows_of
from tlsprobe.judge.spread import spread
from tlsprobe.judge.verdict import judge, ladder_for
from tlsprobe.model.causes import Cause
from tlsprobe.model.judgement import Confidence, Control, LadderLine, Level, Result, Verdict
from tlsprobe.model.knowledge import NOTHING_KNOWN, CellEnds, Knowledge, Visible
from tlsprobe.model.load import Load
from tlsprobe.model.run import (
    BeforeAfter,
    Cell,
    CellPlan,
    JudgedTrial,
    ReaderCounts,
    ResetCounts,
    Spread,
    Trial,
)
from tlsprobe.model.sequence import Sequence, Step
from tlsprobe.model.trace import Coverage, Gap, Record, RecordKind, Side, Stage, Trace
from tlsprobe.model.verbs import Verb

CLEAN = play(C.notify(), S.notify() + S.fin(), C.fin())
CLEAN_SLOWLY = play(C.notify(), S.notify(), S.fin(), C.fin())
BARE_FIN = play(C.notify(), S.fin())
RESET = play(C.goodbye(), C.notify(), S.notify(), S.rst(active=True))
RESET_AND_ECHO = play(C.notify(), crossing(S.rst(active=True), C.fin()), S.rst())
AFTER_FIN = play(S.notify() + S.fin(), C.notify(), S.rst())
ABORTED = play(C.abort())
LATE = play(C.notify() + C.close(), S.notify(), C.rst(), S.fin())
HALF_CLOSE_CUT = play(C.request() + C.notify(), S.partial(), S.notify() + S.fin(), tls="1.2")
UNREACHED = play(S.fin(), failure="the server refused our certificate", stage=Stage.HANDSHAKE)
HOLED = replace(CLEAN, coverage=Coverage.HOLES)
HOLED_RESET = replace(RESET, coverage=Coverage.HOLES)


STARVED = play(silence(5), gives_up("in time"), failure="not in time", stage=Stage.HANDSHAKE)
"""Of which we had no processor, if that is known."""


def disagreeing() -> Trace:
    """The driver says that it sent a close_notify, and the capture has none."""
    trace = play(S.fin())
    assert trace.drive.mark is not None
    start = trace.drive.mark.client
    sent = Record(Side.CLIENT, start, start + ALERT, RecordKind.CLOSE_NOTIFY, 0, (1, 0))
    return replace(trace, drive=replace(trace.drive, records=(*trace.drive.records, sent)))


def plan(*verbs: Verb, role: str = "asked") -> CellPlan:
    sequence = Sequence("some-close", tuple((Step(verb),) for verb in verbs))
    return CellPlan(sequence, "; ".join(verbs), "1.3", 1, role)


def ladder(trace: Trace) -> tuple[LadderLine, ...]:
    return ladder_for(trace, judge(trace))


def judged(trace: Trace, index: int, knowledge: Knowledge = NOTHING_KNOWN) -> JudgedTrial:
    trial, judgement = Trial("some-close", "1.3", index), judge(trace, knowledge)
    return JudgedTrial(trial, judgement, failure=trace.drive.failure, ladder=ladder(trace))


def trials(*traces: Trace) -> tuple[JudgedTrial, ...]:
    return tuple(judged(trace, index) for index, trace in enumerate(traces))


def cell(*traces: Trace, path_alive: bool | None = None) -> Cell:
    return cell_of(MeasuredCell(plan(Verb.CLOSE_NOTIFY), trials(*traces), path_alive))


# --- verdict -------------------------------------------------------------------------------------


def test_trials_for_which_we_had_no_processor_are_left_out_of_their_cell() -> None:
    """One made the cell of a correct server an error, among nineteen that passed."""
    load = Load(1, 1, stalled_ns=5_000_000_000)
    starved = judged(STARVED, 9, Knowledge(load=load))
    some_close = plan(Verb.CLOSE_NOTIFY)
    among = cell_of(MeasuredCell(some_close, (*trials(*[CLEAN] * 9), starved)))
    assert (among.verdict, among.left_out) == (Verdict.PASS, {"busy": 1})
    alone = cell_of(MeasuredCell(some_close, (starved,)))
    assert alone.verdict is Verdict.INCONCLUSIVE
    assert alone.reason is not None
    assert "busy" in alone.reason
    assert cell(STARVED).verdict is Verdict.ERROR


@pytest.mark.parametrize(
    ("traces", "verdict"),
    [
        pytest.param((CLEAN,), Verdict.PASS, id="pass"),
        pytest.param((HALF_CLOSE_CUT,), Verdict.INFO, id="info"),
        pytest.param((RESET,), Verdict.WARN, id="warn"),
        pytest.param((BARE_FIN,), Verdict.FAIL, id="fail"),
        pytest.param((HOLED,), Verdict.INCONCLUSIVE, id="inconclusive"),
        pytest.param((UNREACHED,), Verdict.ERROR, id="error"),
        pytest.param((disagreeing(),), Verdict.ERROR, id="driver and capture disagree"),
        pytest.param((), Verdict.INCONCLUSIVE, id="no trial at all"),
        pytest.param((CLEAN, HALF_CLOSE_CUT), Verdict.INFO, id="info over pass"),
        pytest.param((HALF_CLOSE_CUT, CLEAN, RESET), Verdict.WARN, id="warn over info"),
        pytest.param((CLEAN, RESET, BARE_FIN), Verdict.FAIL, id="fail over warn"),
        pytest.param((CLEAN,) * 9 + (HOLED,), Verdict.INCONCLUSIVE, id="one hole among passes"),
        pytest.param((RESET, HOLED_RESET), Verdict.INCONCLUSIVE, id="inconclusive is not warn"),
        pytest.param((CLEAN,) * 9 + (UNREACHED,), Verdict.ERROR, id="one error among passes"),
        pytest.param((HOLED, UNREACHED), Verdict.ERROR, id="error over inconclusive"),
        pytest.param((HOLED, disagreeing()), Verdict.ERROR, id="disagreement over inconclusive"),
        pytest.param((BARE_FIN, UNREACHED), Verdict.ERROR, id="error is not fail"),
    ],
)
def test_verdict(traces: tuple[Trace, ...], verdict: Verdict) -> None:
    assert cell(*traces).verdict is verdict


def test_a_path_that_died_is_a_warning() -> None:
    dead = cell(CLEAN, path_alive=False)
    finding = dead.findings[-1]
    assert (dead.verdict, dead.path_alive) == (Verdict.WARN, False)
    assert (finding.rule, finding.result) == ("INTEROP-PATH", Result.WARN)
    assert finding.level is Level.INTEROP


def test_a_path_that_lives_is_noted() -> None:
    alive = cell(CLEAN, path_alive=True)
    assert (alive.verdict, alive.path_alive) == (Verdict.PASS, True)
    assert [f.result for f in alive.findings if f.rule == "INTEROP-PATH"] == [Result.PASS]


def test_a_path_that_nobody_tried_has_no_finding() -> None:
    untried = cell(CLEAN)
    assert untried.path_alive is None
    assert not [f for f in untried.findings if f.rule == "INTEROP-PATH"]


def test_a_dead_path_does_not_outweigh_an_error() -> None:
    assert cell(UNREACHED, path_alive=False).verdict is Verdict.ERROR


def test_a_path_that_let_no_trial_of_a_cell_through_had_died_before_it() -> None:
    """It is the matter of the cell behind which it died, and of none that came after."""
    found = cell(UNREACHED, UNREACHED, path_alive=False)
    assert found.path_alive is None
    assert not {f.rule for f in found.findings} & {"INTEROP-PATH"}
    assert cell(CLEAN, UNREACHED, path_alive=False).path_alive is False
    assert cell(UNREACHED, path_alive=True).path_alive is True


# --- counts --------------------------------------------------------------------------------------


def test_a_cell_is_named_by_its_plan() -> None:
    found = cell_of(MeasuredCell(plan(Verb.CLOSE_NOTIFY, Verb.FIN, role="control"), trials(CLEAN)))
    assert (found.sequence, found.steps) == ("some-close", "close_notify; fin")
    assert (found.tls, found.trials, found.role) == ("1.3", 1, "control")


def test_distributions_count_trials_the_commonest_first() -> None:
    found = cell(RESET, CLEAN, CLEAN, CLEAN, AFTER_FIN, CLEAN_SLOWLY)
    assert found.trials == 6
    assert next(iter(found.outcomes.items())) == ("clean", 4)
    assert found.outcomes == {"clean": 4, "reset-before-fin": 1, "reset-after-fin": 1}
    assert found.signatures == {"N nf F": 3, "N n f F": 1, "G N n r": 1, "nf N r": 1}
    assert found.reader == ReaderCounts(eof=5, reset=1)


def test_resets_are_counted_by_side_and_place_once_a_trial() -> None:
    found = cell(RESET, RESET, RESET_AND_ECHO, AFTER_FIN, ABORTED, LATE, CLEAN)
    server, client = BeforeAfter(3, 1), BeforeAfter(1, 1)
    assert found.resets == ResetCounts(server, client)


def test_causes_are_the_servers_and_count_trials() -> None:
    twice = play(S.fin(), C.notify(), S.rst(), C.fin(), S.rst())
    found = cell(AFTER_FIN, twice, RESET, ABORTED, LATE)
    assert found.causes == {
        "data-after-close": 2,
        "closed-already": 1,
        "unread-data-at-close": 1,
    }


def test_an_open_connection_times_a_reader_out() -> None:
    assert cell(play(C.notify())).reader == ReaderCounts(timeout=1)


def test_trials_that_never_began_count_as_errors_alone() -> None:
    found = cell(UNREACHED, CLEAN)
    assert found.outcomes == {"handshake-failed": 1, "clean": 1}
    assert found.signatures == {"N nf F": 1}
    assert found.reader == ReaderCounts(eof=1)
    assert {f.count for f in found.findings} == {1}
    assert found.reason == "in 1 of 2 trials: the server refused our certificate"
    assert cell(UNREACHED, UNREACHED).reason == "the server refused our certificate"
    assert cell(CLEAN).reason is None


@pytest.mark.parametrize(
    ("gap", "why"),
    [
        (Gap.ENDED, "the capture had ended by then"),
        (Gap.DROPPED, "the capture dropped packets"),
        (Gap.MISSING, "packets are missing from the capture"),
        (None, "packets are missing from the capture"),
    ],
)
def test_what_cannot_be_vouched_for_is_counted_with_its_reason(gap: Gap | None, why: str) -> None:
    found = cell(replace(HOLED, gap=gap), CLEAN, replace(HOLED, gap=gap))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.reason == f"in 2 of 3 trials: {why}"


def test_an_end_of_which_nobody_knows_whose_it_was_is_no_answer() -> None:
    """A run of idle connections alone, of a server that is elsewhere, had "nothing to report"."""
    proxys = play(C.fin(), S.fin())
    found = cell(proxys, CLEAN)
    assert found.verdict is Verdict.INCONCLUSIVE
    why = "nothing says that the server closed it, and no proxy before it"
    assert found.reason == f"in 1 of 2 trials: {why}"
    assert cell(proxys, proxys).reason == why
    assert {f.result for f in found.findings} >= {Result.INFO}
    known = Knowledge(near=True)
    for knowledge, verdict in ((known, Verdict.FAIL), (NOTHING_KNOWN, Verdict.INCONCLUSIVE)):
        ours = judged(proxys, 0, knowledge)
        assert cell_of(MeasuredCell(plan(), (ours,))).verdict is verdict


def test_what_is_amiss_whoever_ended_it_is_an_answer() -> None:
    found = cell(play(C.fin(), S.fin()), play(C.notify(), S.fin()))
    assert found.verdict is Verdict.FAIL


def test_an_early_end_is_a_reason_of_its_own() -> None:
    early = play(S.notify(), S.fin(), ended_early=True)
    found = cell(early, CLEAN)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.outcomes == {"ended-before-start": 1, "clean": 1}
    assert found.signatures == {"N nf F": 1}
    words = "the server ended the connection before the sequence began: close_notify, FIN"
    assert found.reason == f"in 1 of 2 trials: {words}"


# --- findings and why ----------------------------------------------------------------------------


def test_findings_count_trials_the_worst_first() -> None:
    found = cell(BARE_FIN, BARE_FIN, RESET, CLEAN)
    ranks = [Result.ERROR, Result.FAIL, Result.WARN, Result.INFO, Result.PASS]
    places = [ranks.index(f.result) for f in found.findings]
    assert places == sorted(places)
    notify = {f.result: f.count for f in found.findings if f.rule == "TLS13-NOTIFY"}
    assert notify == {Result.FAIL: 2, Result.PASS: 2}


def test_of_one_rules_findings_the_commonest_comes_first() -> None:
    by_reset = play(C.notify(), S.rst(active=True))
    found = cell(by_reset, BARE_FIN, BARE_FIN, BARE_FIN)
    counts = [f.count for f in found.findings if f.rule == "TLS13-NOTIFY"]
    assert counts == [3, 1]


def test_findings_hold_what_applied_only() -> None:
    assert Result.NOT_APPLICABLE not in {f.result for f in cell(RESET, CLEAN).findings}


def test_why_keeps_the_confidences_apart() -> None:
    alone, own = (
        CellEnds("close-notify-only", "1.3", 3, 0, 0, 3, 0, 3, frozenset(Visible)),
        CellEnds("x", "1.3", 3, 3, 0),
    )
    control = Control("terminate", 0, 3)
    known = judged(RESET, 2, Knowledge(control=control, cell_ends=(alone, own), own=own))
    measured = MeasuredCell(plan(Verb.TERMINATE), (*trials(RESET, RESET), known))
    medium, high = cell_of(measured).why
    assert {medium.cause, high.cause} == {Cause.UNREAD_AT_CLOSE}
    assert (medium.confidence, medium.count) == (Confidence.MEDIUM, 2)
    assert (high.confidence, high.count) == (Confidence.HIGH, 1)
    assert "'terminate'" in high.evidence[-1]
    assert medium.remedy and high.remedy


def test_why_keeps_sides_and_causes_apart_the_commonest_first() -> None:
    found = cell(AFTER_FIN, RESET, RESET, LATE).why
    assert found[0].cause == "unread-data-at-close"
    assert {(f.side, f.cause, f.count) for f in found} == {
        ("server", "unread-data-at-close", 2),
        ("server", "data-after-close", 1),
        ("client", "data-after-close", 1),
    }


def test_an_rst_of_ours_needs_no_remedy_and_one_asked_for_no_words() -> None:
    (facts,) = cell(LATE).why
    assert (facts.side, facts.remedy) == ("client", ())
    assert cell_of(MeasuredCell(plan(Verb.ABORT), trials(ABORTED))).why == ()


def test_why_is_empty_without_resets() -> None:
    assert cell(CLEAN, BARE_FIN).why == ()


# --- durations and the example -------------------------------------------------------------------


def test_a_spread_of_nothing_was_never_seen() -> None:
    assert spread([]) == Spread(0)


def test_a_spread_of_one_is_that_one() -> None:
    assert spread([7.5]) == Spread(1, 7.5, 7.5, 7.5, 7.5)


def test_a_spread_names_its_quantiles_whatever_the_order() -> None:
    found = spread([float(value) for value in range(100, -1, -1)])
    assert found == Spread(101, 0.0, 50.0, 95.0, 100.0)


def test_a_spread_stays_within_what_was_seen() -> None:
    found = spread([10.0, 20.0])
    assert (found.n, found.min, found.p50, found.max) == (2, 10.0, 15.0, 20.0)
    assert found.p95 is not None
    assert 15.0 < found.p95 <= 20.0


def test_durations_are_of_the_trials_that_had_them() -> None:
    found = cell(CLEAN, CLEAN_SLOWLY, BARE_FIN, UNREACHED).timing_us
    assert found["close_notify_to_fin"].n == 3
    assert found["close_notify_to_answer"].n == 2
    assert "goodbye_to_end" not in found


@pytest.mark.parametrize(
    ("traces", "chosen"),
    [
        pytest.param((CLEAN, RESET, CLEAN), 1, id="a reset"),
        pytest.param((AFTER_FIN, RESET), 1, id="a reset before the FIN rather than after"),
        pytest.param((AFTER_FIN, BARE_FIN), 1, id="what it fails for rather than a reset"),
        pytest.param((CLEAN_SLOWLY, CLEAN, CLEAN), 1, id="else the commonest"),
        pytest.param((CLEAN, CLEAN), 0, id="of equals the first"),
    ],
)
def test_the_example_shows_the_cell_best(traces: tuple[Trace, ...], chosen: int) -> None:
    example = cell(*traces).example
    assert example is not None
    assert example.trial == chosen
    assert example.signature == judge(traces[chosen]).signature
    assert example.ladder == ladder(traces[chosen])


@pytest.mark.parametrize(("verb", "shaped"), [(Verb.MUTE, True), (Verb.FIN, False)])
def test_an_example_says_that_our_own_path_treated_its_packets(verb: Verb, *, shaped: bool) -> None:
    example = cell_of(MeasuredCell(plan(verb), trials(CLEAN))).example
    assert example is not None
    assert example.shaped is shaped


def test_a_trial_without_a_ladder_is_no_example() -> None:
    first, second = trials(RESET, RESET)
    blank = replace(second, ladder=())
    example = cell_of(MeasuredCell(plan(), (blank, first))).example
    assert example is not None
    assert example.trial == 0
    assert cell_of(MeasuredCell(plan(), (blank,))).example is None


def test_a_version_that_the_server_refuses_is_unsupported() -> None:
    found = cell_of(MeasuredCell(plan(), refused="no TLS 1.3 here"))
    assert (found.verdict, found.reason) == (Verdict.UNSUPPORTED, "no TLS 1.3 here")


def test_the_window_is_that_of_connections_left_alone() -> None:
    """Told beside races: an answer would change it."""
    waiting = replace(plan(), sequence=Sequence("idle-expiry", ()))
    windows = windows_of([MeasuredCell(waiting, trials(CLEAN_SLOWLY)), MeasuredCell(plan())])
    assert windows == {"1.3": spread([100.0])}
    assert windows_of([MeasuredCell(waiting)]) == {}


# --- cells that answer nothing --------------------------------------------------------------------

WAITS = Knowledge(waits_idle=True)
SILENT = play(step("await"), silence(75), gives_up())
EXPIRED = play(step("await"), silence(60), S.notify() + S.fin(), C.fin())


def waiting(*traces: Trace) -> Cell:
    said = tuple(judged(trace, index, WAITS) for index, trace in enumerate(traces))
    return cell_of(MeasuredCell(plan(Verb.AWAIT), said))


def test_waiting_in_vain_is_not_passing() -> None:
    found = waiting(SILENT, SILENT)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.reason == (
        "not reached: no idle timer of the server fired while we waited for 75 s"
    )
    assert found.outcomes == {"open": 2}


def test_one_timer_that_fired_answers() -> None:
    assert waiting(SILENT, EXPIRED).verdict is Verdict.PASS


def test_what_breaks_a_rule_while_we_wait_breaks_it() -> None:
    fatal = play(step("await"), S.alert(80), silence(75), gives_up())
    assert waiting(fatal).verdict is Verdict.FAIL


def test_a_close_that_the_server_overtook_answers_nothing() -> None:
    overtaken = play(silence(1), S.notify() + S.fin(), C.notify(), step("close_notify"))
    found = cell(overtaken)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.reason is not None
    assert "before our sequence did anything" in found.reason
    assert cell(overtaken, CLEAN).verdict is Verdict.PASS
