"""Judging a run: from its facts alone, at once or as they come in, with the same result.

ARCHITECTURE.md, "Facts, knowledge, judgement": nothing edits a judgement; when the knowledge grows,
the trace is judged again, and cause and rules come of one call.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.campaign.made_runs import (
    ALONE,
    LEFT,
    PLAN,
    WITHOUT,
    judged,
    planned,
    repeated,
    run_of,
    trial,
)
from tests.judge.playbook import Act, C, Line, S, gives_up, play, silence, step
from tlsprobe.campaign.judging import CONTROL, RunInJudgement, judged_run
from tlsprobe.catalogue import catalogue, control_of
from tlsprobe.model.causes import Cause
from tlsprobe.model.facts import (
    Fact,
    KernelFact,
    PathFact,
    PlanFact,
    ReachedFact,
    TrialFact,
)
from tlsprobe.model.far_side import FarFact, ResetNumbers
from tlsprobe.model.judgement import Confidence, Control, Doubt, Result, Verdict
from tlsprobe.model.kernel import KernelReset
from tlsprobe.model.trace import Coverage, Stage, Trace

UNREAD = play(C.goodbye(), C.notify(), S.notify(), S.rst(active=True))
RESET_ANYWAY = play(C.goodbye(), S.notify(), S.rst(active=True))
CLEAN = play(C.goodbye(), S.notify() + S.fin(), C.fin())
AFTER_FIN = play(S.notify() + S.fin(), C.notify(), S.rst())
HOLES = play(C.goodbye(), S.rst(active=True), coverage=Coverage.HOLES)
IDLE = play(silence(60), S.notify(), S.fin())
FAILED = play(S.fin(), failure="no", stage=Stage.HANDSHAKE)
SLOW = play(C.goodbye(), silence(60), S.notify(), S.fin())
STORIES = (UNREAD, RESET_ANYWAY, CLEAN, AFTER_FIN, HOLES, IDLE, SLOW, FAILED)

ALERT_CLEAN = play(C.notify(), S.notify() + S.fin(), C.fin())
ALERT_RESET = play(C.notify(), S.notify(), S.rst(active=True))


def test_the_control_of_the_tests_is_the_catalogues() -> None:
    control = control_of(catalogue()[LEFT].sequence)
    assert control is not None
    assert control.groups == catalogue()[WITHOUT].sequence.groups


@pytest.mark.parametrize(("caught", "foreign"), [(0, False), (2, False), (3, True)])
def test_where_a_box_was_caught_its_perfect_forgeries_are_not_the_servers(
    caught: int, foreign: bool
) -> None:
    """A server that would have answered is not blamed for what only looks like its own RST.

    Nor is it where nobody was caught: its MUST is not broken by an RST that anybody can send.
    """
    perfect = play(C.notify(), S.rst(active=True))
    given_away = play(C.notify(), S.rst(active=True).but(ttl=61))
    facts = [trial(ALONE, n, given_away if n < caught else perfect) for n in range(5)]
    told = run_of(PlanFact((planned(ALONE),)), *facts).trials[-1].judgement
    (reset,) = told.resets
    assert (reset.cause is Cause.MIDDLEBOX) is foreign
    assert reset.confidence is Confidence.MEDIUM
    assert [r.rule for r in told.results if r.result is Result.FAIL] == []
    warned = [r.rule for r in told.results if r.result is Result.WARN]
    assert warned == ([] if foreign else ["INTEROP-RESET-BEFORE-FIN"])


DROPS = play(C.notify(), S.rst(active=True))
"""A reset without an alert, which looks like the server's own."""

NOTIFIED = play(C.goodbye(), C.notify(), S.notify() + S.fin(), C.fin())
"""A clean close in which a box sees our alert as well."""

SILENT = "TLS13-NOTIFY"


def silence_of_server(*facts: Fact) -> Result:
    """What is said of the first trial's missing alert."""
    told = run_of(PlanFact((planned(ALONE), planned(LEFT))), *facts).trials[0].judgement
    return next(r.result for r in told.results if r.rule == SILENT)


def test_what_the_run_and_the_kernel_vouch_for_is_held_against_the_server() -> None:
    """No box knows what is said inside TLS, or has the server's kernel say that it reset."""
    resets, clean = repeated(ALONE, DROPS), repeated(LEFT, NOTIFIED)
    assert silence_of_server(*resets) is Result.INFO  # a box may reset whatever it sees
    assert silence_of_server(*resets, *clean) is Result.FAIL
    odd = trial(LEFT, 3, play(C.notify(), S.rst(active=True).but(ttl=61)))
    assert silence_of_server(*resets, *clean, odd) is Result.INFO
    rst = next(s for s in DROPS.segments if s.rst)
    ends = ("192.0.2.2", 443), ("192.0.2.1", 40000)
    word = KernelFact((KernelReset(rst.time_ns, *ends, "TCP_CLOSE", "TCP_STATE"),))
    assert silence_of_server(ReachedFact("192.0.2.2:443", {}), word, *resets) is Result.FAIL


def rst() -> Act:
    return S.rst(active=True)


@pytest.mark.parametrize(
    ("reset", "alike", "others"),
    [
        pytest.param((C.notify(),), (C.notify(),), (C.fin(),), id="alert"),
        pytest.param((C.fin(),), (C.fin(), C.notify()), (C.notify(),), id="FIN"),
        pytest.param(
            (C.notify(), C.data()), (C.notify(), C.data()), (C.notify(),), id="behind alert"
        ),
        pytest.param((C.request(70_000),), (C.data(90_000),), (C.request(),), id="upload"),
        pytest.param((C.malformed(),), (C.malformed(),), (C.data(),), id="malformed"),
        pytest.param((C.handshake(),), (C.handshake(),), (C.data(),), id="renegotiation"),
    ],
)
def test_a_box_that_resets_at_what_it_sees_does_not_vouch_for_itself(
    reset: tuple[Line, ...], alike: tuple[Line, ...], others: tuple[Line, ...]
) -> None:
    """It resets both ends, always, and nothing else gives it away."""

    def vouched(clean: tuple[Line, ...]) -> bool:
        ends = play(*clean, S.notify() + S.fin())
        facts = *repeated(ALONE, play(*reset, rst())), *repeated(LEFT, ends)
        told = run_of(PlanFact((planned(ALONE), planned(LEFT))), *facts).trials[0].judgement
        assert told.resets[0].cause is not Cause.MIDDLEBOX
        assert told.resets[0].confidence is Confidence.MEDIUM
        return told.resets[0].vouched

    assert not vouched(others)
    assert vouched(alike)


def test_a_box_that_resets_what_is_used_again_after_a_silence_does_not_vouch_for_itself() -> None:
    """The RST comes at once behind the request: the silence was before it."""
    idle = repeated(ALONE, play(silence(4), C.request(), rst()))
    prompt = repeated(LEFT, play(C.request(), S.response(), S.notify() + S.fin()))
    told = run_of(PlanFact((planned(ALONE), planned(LEFT))), *idle, *prompt).trials[0].judgement
    assert not told.resets[0].vouched
    assert Result.FAIL not in {r.result for r in told.results}


UPLOAD = "upload-refused"


def answering(seconds: float | None) -> Trace:
    """An upload that the server answers so late, or not (None) within 1.6 s."""
    sent = C.request(60_000), step("drain")
    if seconds is None:
        return play(*sent, silence(1.6), gives_up("drain"))
    return play(*sent, silence(seconds), S.response(), silence(1.6), gives_up("drain"))


@pytest.mark.parametrize(("seconds", "doubt"), [(0.5, Doubt.BUSY), (0.05, None)])
def test_who_takes_long_to_answer_elsewhere_may_only_be_slower_here(
    seconds: float, doubt: Doubt | None
) -> None:
    """Patience that was three times the time of another answer proves no loss of this one."""
    plan = PlanFact((planned(UPLOAD), planned(UPLOAD, tls="1.2")))
    told = run_of(
        plan, trial(UPLOAD, 0, answering(None)), trial(UPLOAD, 0, answering(seconds), "1.2")
    )
    silent = told.trials[0].judgement
    assert silent.doubt is doubt
    lost = [r for r in silent.results if r.rule == "INTEROP-DATA-LOST" and r.result is Result.WARN]
    assert bool(lost) is (doubt is None)


@pytest.mark.parametrize(
    ("control", "cause", "confidence"),
    [
        (CLEAN, Cause.UNREAD_AT_CLOSE, Confidence.HIGH),
        (RESET_ANYWAY, Cause.DELIBERATE, Confidence.MEDIUM),
    ],
)
def test_a_control_that_comes_later_tells_the_cause(
    control: Trace, cause: Cause, confidence: Confidence
) -> None:
    alone: list[Fact] = [PlanFact((planned(ALONE),)), *repeated(ALONE, ALERT_CLEAN)]
    cells = judged(PLAN, trial(LEFT, 0, UNREAD), *repeated(WITHOUT, control), *alone)
    (why,) = cells[LEFT].why
    assert (why.cause, why.confidence) == (cause, confidence)
    assert (
        "TCP-RST-ON-UNREAD" in {f.rule for f in cells[LEFT].findings} or cause is Cause.DELIBERATE
    )


def test_a_control_does_not_make_it_sure_where_an_alert_alone_is_reset_or_untried() -> None:
    """It leaves out what provokes the abort: the server may mean to reset upon an alert."""
    facts: list[Fact] = [PLAN, trial(LEFT, 0, UNREAD), *repeated(WITHOUT, CLEAN)]
    (why,) = judged(*facts)[LEFT].why
    assert (why.cause, why.confidence) == (Cause.UNREAD_AT_CLOSE, Confidence.MEDIUM)
    alone: list[Fact] = [PlanFact((planned(ALONE),)), *repeated(ALONE, ALERT_RESET)]
    (why,) = judged(*facts, *alone)[LEFT].why
    assert (why.cause, why.confidence) == (Cause.DELIBERATE, Confidence.MEDIUM)


def test_three_clean_controls_do_not_make_a_rare_reset_sure() -> None:
    alone: list[Fact] = [PlanFact((planned(ALONE),)), *repeated(ALONE, ALERT_CLEAN)]
    rare = [trial(LEFT, number, CLEAN) for number in range(1, 20)]
    clean = repeated(WITHOUT, CLEAN)
    (why,) = judged(PLAN, trial(LEFT, 0, UNREAD), *rare, *clean, *alone)[LEFT].why
    assert (why.cause, why.confidence) == (Cause.UNREAD_AT_CLOSE, Confidence.MEDIUM)


def test_cause_and_rules_never_disagree() -> None:
    """48 committed cells said deliberate-abort beside a pass because data was unread."""
    cells = judged(
        PLAN, trial(LEFT, 0, UNREAD), *(trial(WITHOUT, n, RESET_ANYWAY) for n in range(3))
    )
    assert cells[LEFT].causes == {"deliberate-abort": 1}
    assert "TCP-RST-ON-UNREAD" not in {finding.rule for finding in cells[LEFT].findings}


def test_a_control_speaks_for_its_own_version_alone() -> None:
    other = PlanFact((planned(WITHOUT, tls="1.2"),))
    clean = repeated(WITHOUT, CLEAN, tls="1.2")
    (why,) = judged(PLAN, other, trial(LEFT, 0, UNREAD), *clean)[LEFT].why
    assert why.confidence is Confidence.MEDIUM


def test_trials_that_nobody_planned_know_nothing_of_each_other() -> None:
    facts = (trial(LEFT, 0, UNREAD), *repeated(WITHOUT, CLEAN))
    run = run_of(*facts)
    assert run.cells == ()
    assert run.trials[0].judgement.resets[0].control is None


def test_a_reset_tells_which_control_had_its_say() -> None:
    facts: tuple[Fact, ...] = (PLAN, trial(LEFT, 0, UNREAD), *repeated(WITHOUT, CLEAN))
    (reset,) = run_of(*facts).trials[0].judgement.resets
    assert reset.control == Control(WITHOUT, 0, 3)


def test_what_the_far_side_saw_is_known_about_its_connection_alone() -> None:
    (rst,) = (segment for segment in UNREAD.segments if segment.rst)
    numbers = (ResetNumbers(rst.start, rst.ack),)
    client, began = "192.0.2.1:40000", UNREAD.drive.events[0].time_ns
    facts: list[Fact] = [PLAN, trial(LEFT, 0, UNREAD)]
    expected = {
        FarFact(client, began + 1, made=numbers): Cause.MIDDLEBOX,
        FarFact("192.0.2.1:40001", began + 1, made=numbers): Cause.UNREAD_AT_CLOSE,
        FarFact(client, began - 1, made=numbers): Cause.UNREAD_AT_CLOSE,
        FarFact(client, began + 10**12, made=numbers): Cause.UNREAD_AT_CLOSE,
    }
    for far, cause in expected.items():
        (reset,) = run_of(*facts, far).trials[0].judgement.resets
        assert reset.cause is cause


# --- at once, or as it comes in ------------------------------------------------------------------


TRIALS = st.builds(
    trial,
    name=st.sampled_from([LEFT, WITHOUT, "idle-expiry", "unplanned"]),
    index=st.integers(0, 5),
    trace=st.sampled_from(STORIES),
    tls=st.sampled_from(["1.2", "1.3"]),
)
FACTS = st.lists(
    TRIALS
    | st.builds(PathFact, st.sampled_from([LEFT, WITHOUT]), st.just("1.3"), st.booleans())
    | st.just(ReachedFact("h:1", {"1.2": "no such version"})),
    max_size=12,
)


@pytest.mark.slow
@settings(deadline=None)
@given(FACTS, st.data())
def test_as_it_comes_in_or_at_once_is_the_same(facts: list[Fact], data: st.DataObject) -> None:
    known: list[Fact] = [PLAN, PlanFact((planned(LEFT, tls="1.2"),))]
    run = RunInJudgement()
    for fact in known:
        run.learn(fact)
    for fact in facts:
        known.append(fact)
        if isinstance(fact, TrialFact):
            run.judge(fact)
        else:
            run.learn(fact)
        if data.draw(st.booleans()):
            run.answer()
        if data.draw(st.booleans()):
            run.catch_up(lambda: known)
    run.catch_up(lambda: known)
    found, whole = run.answer(), judged_run(lambda: known)
    assert (found.cells, found.idle, found.trials) == (whole.cells, whole.idle, whole.trials)
    assert judged_run(lambda: known) == whole


def test_nothing_is_read_again_while_nothing_more_is_known() -> None:
    run = RunInJudgement()
    run.learn(PLAN)
    for number in range(3):
        run.judge(trial(LEFT, number, CLEAN))
        run.judge(trial(LEFT, number + 3, AFTER_FIN))

    def unread() -> Iterable[Fact]:
        raise AssertionError("nothing is to be read")

    run.catch_up(unread)
    assert not run.answer().revised


def test_what_is_learned_later_is_judged_again() -> None:
    trials = [trial(LEFT, 0, UNREAD), *repeated(WITHOUT, CLEAN)]
    run = RunInJudgement()
    run.learn(PLAN)
    for fact in trials:
        run.judge(fact)
    before = run.answer().trials[0].judgement.resets[0]
    run.catch_up(lambda: [PLAN, *trials])
    after = run.answer()
    assert (before.control, before.confidence) == (None, Confidence.MEDIUM)
    assert after.trials[0].judgement.resets[0].control == Control(WITHOUT, 0, 3)
    assert after.revised


# --- cells ---------------------------------------------------------------------------------------


def test_controls_come_behind_what_was_asked_for() -> None:
    added = PlanFact((planned(WITHOUT, role=CONTROL),))
    later = PlanFact((planned("fin-only"), planned(LEFT)))
    facts: tuple[Fact, ...] = (PlanFact((planned(LEFT),)), added, later)
    names = [cell.sequence for cell in run_of(*facts).cells]
    assert names == [LEFT, "fin-only", WITHOUT]


def test_a_version_that_is_refused_is_unsupported() -> None:
    cells = judged(PLAN, ReachedFact("h:1", {"1.3": "handshake refused"}))
    assert {cell.verdict for cell in cells.values()} == {Verdict.UNSUPPORTED}
    assert cells[LEFT].reason == "handshake refused"


def test_the_way_that_a_server_was_reached_last_counts() -> None:
    cells = judged(PLAN, ReachedFact("h:1", {"1.3": "no"}), ReachedFact("h:1", {}))
    assert cells[LEFT].verdict is Verdict.INCONCLUSIVE


def test_a_path_that_died_once_is_dead() -> None:
    dead, alive = PathFact(LEFT, "1.3", alive=False), PathFact(LEFT, "1.3", alive=True)
    assert judged(PLAN, dead, alive)[LEFT].path_alive is False
    assert judged(PLAN, alive)[LEFT].path_alive is True


def test_the_first_trial_of_each_signature_has_its_ladder() -> None:
    nowhere = replace(FAILED, drive=replace(FAILED.drive, mark=None))
    stories = (nowhere, CLEAN, CLEAN, UNREAD)
    trials = [trial(LEFT, number, story) for number, story in enumerate(stories)]
    assert [bool(t.ladder) for t in run_of(PLAN, *trials).trials] == [False, True, False, True]


def test_the_idle_timeout_is_read_off_the_same_trials() -> None:
    facts: tuple[Fact, ...] = (PLAN, trial("idle-expiry", 0, IDLE))
    idle = run_of(*facts).idle
    assert idle is not None
    assert (round(idle.timeout_s or 0), idle.how) == (60, "close_notify, fin")


# --- timers that the run measured -----------------------------------------------------------------

FIVE_SECONDS = play(step("await"), silence(5), S.notify() + S.fin())
LATE_END = play(C.goodbye(), step("terminate"), silence(5), S.notify() + S.fin(), C.fin())


def test_an_end_at_the_timer_that_the_run_measured_is_no_answer() -> None:
    alone_ = judged(PLAN, *repeated(WITHOUT, LATE_END))
    assert alone_[WITHOUT].outcomes == {"clean": 3}
    cells = judged(PLAN, *repeated(WITHOUT, LATE_END), *repeated("idle-expiry", FIVE_SECONDS))
    assert cells["idle-expiry"].verdict is Verdict.PASS
    assert cells[WITHOUT].outcomes == {"open": 3}
    assert {f.rule: f.result for f in cells[WITHOUT].findings}["INTEROP-LEAK"] is Result.WARN


def test_a_server_that_was_slow_to_shake_hands_has_no_timer_of_every_length() -> None:
    """Cold, it took 0.1 to 3 s; what it did 0.4 s after our alert is an answer all the same."""
    idle = [
        trial("idle-expiry", n, play(step("await"), silence(1), S.fin(), rtt_ns=rtt))
        for n, rtt in enumerate((1_000_000, 500_000_000, 1_500_000_000))
    ]
    late = play(C.goodbye(), step("terminate"), silence(0.41), S.fin(), rtt_ns=1_000_000_000)
    cells = judged(PLAN, *idle, *repeated(WITHOUT, late))
    assert cells[WITHOUT].outcomes == {"no-close-notify": 3}


def test_a_timer_that_closes_with_the_response_is_none() -> None:
    """Taken for one it would be met by everything that the server does at once."""
    at_once = play(step("await"), silence(0.02), S.notify() + S.fin())
    run = run_of(PLAN, *repeated("idle-expiry", at_once))
    assert run.idle is not None
    assert run.idle.timeout_s is None
    (cell,) = (cell for cell in run.cells if cell.sequence == "idle-expiry")
    assert cell.verdict is Verdict.INCONCLUSIVE
    assert cell.reason is not None
    assert "with its response" in cell.reason


def test_a_cell_whose_timer_did_not_fire_is_not_reached() -> None:
    in_vain = play(step("await"), silence(75), gives_up())
    (cell,) = (
        cell
        for cell in run_of(PLAN, *repeated("idle-expiry", in_vain)).cells
        if cell.sequence == "idle-expiry"
    )
    assert cell.verdict is Verdict.INCONCLUSIVE
