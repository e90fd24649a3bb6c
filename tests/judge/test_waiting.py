"""What waiting shows, and what it does not.

ARCHITECTURE.md, "What we may not conclude": from an idle timer that did not fire, and from an end
that comes when it fires.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.judge.playbook import STEP_NS, C, Line, S, gives_up, play, silence, step
from tests.judge.scenarios import driven
from tlsprobe.judge.closing import closing_of
from tlsprobe.judge.digest import digest_of
from tlsprobe.judge.verdict import judge
from tlsprobe.judge.waiting import waited_of
from tlsprobe.model.judgement import Doubt, Judgement, Outcome
from tlsprobe.model.knowledge import Knowledge, Timer
from tlsprobe.model.load import Load
from tlsprobe.model.trace import Coverage, DriverEvent, EventKind, Remark, RemarkKind, Trace

STEP_US = STEP_NS / 1000
WAITS = Knowledge(waits_idle=True)
FIVE = Timer((4_990_000_000, 5_020_000_000), (5_000_000_000, 5_030_000_000))


def waited(trace: Trace) -> dict[str, float]:
    return waited_of(trace, closing_of(trace))


# --- durations ------------------------------------------------------------------------------------


def test_idle_time_counts_from_the_openings_last_payload() -> None:
    found = waited(play(C.ack(), silence(60), S.notify() + S.fin()))
    assert found["idle_to_end"] == 60e6 + 2 * STEP_US


def test_time_from_the_accept_counts_from_the_syn_ack() -> None:
    found = waited(play(silence(60), S.notify() + S.fin()))
    assert found["accept_to_end"] == 60e6 + 6 * STEP_US


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param((C.notify(), silence(5), S.fin()), id="the client acted first"),
        pytest.param((silence(5),), id="nobody did anything"),
    ],
)
def test_only_silence_is_idle(lines: tuple[Line, ...]) -> None:
    assert "idle_to_end" not in waited(play(*lines))


@pytest.mark.parametrize("first", [S.data(), C.data()])
def test_silence_behind_a_greeting_or_half_a_request_is_idle(first: Line) -> None:
    assert waited(play(first, silence(5), S.fin()))["idle_to_end"] == pytest.approx(5e6, rel=1e-3)


def test_what_the_server_says_into_the_silence_restarts_nothing() -> None:
    trace = play(C.ack(), silence(3), S.data(), silence(2), S.data() + S.notify() + S.fin())
    assert waited(trace)["idle_to_end"] < 3e6
    mark = trace.drive.mark
    assert mark is not None
    waits = DriverEvent(mark.time_ns + 1, EventKind.STEP, "await")
    told = driven(trace, events=(*trace.drive.events, waits))
    assert waited(told)["idle_to_end"] == pytest.approx(5e6, rel=1e-3)


def test_idle_time_without_a_capture_counts_from_the_mark() -> None:
    trace = play(silence(2), S.fin(), asked=False, coverage=Coverage.NONE)
    assert waited(trace)["idle_to_end"] == pytest.approx(2e6, rel=1e-3)
    assert "accept_to_end" not in waited(trace)


# --- timers that were not reached -----------------------------------------------------------------


def test_a_timer_that_did_not_fire_was_not_reached() -> None:
    trace = play(step("await"), silence(75), gives_up())
    judgement = judge(trace, WAITS)
    assert judgement.doubt is Doubt.NOT_REACHED
    assert judgement.conclusive, "what was seen can be vouched for"
    assert judgement.timing_us == {"waited": pytest.approx(75e6)}


def test_an_end_that_came_after_we_had_stopped_waiting_is_no_timers() -> None:
    trace = play(step("await"), silence(75), gives_up(), C.request(), S.rst())
    assert judge(trace, WAITS).doubt is Doubt.NOT_REACHED


@pytest.mark.parametrize("end", [S.notify(), S.fin(), S.rst(active=True), S.alert(80)])
def test_a_timer_that_fired_was_reached(end: Line) -> None:
    assert judge(play(step("await"), silence(60), end), WAITS).doubt is None


def test_a_request_that_met_the_expiry_is_an_answer_whatever_came_of_it() -> None:
    trace = play(silence(5), C.request(), S.response())
    events = (*trace.drive.events, DriverEvent(0, EventKind.MEETS, "-500"))
    assert judge(driven(trace, events=events), WAITS).doubt is None


# --- ends that are no timer's ---------------------------------------------------------------------


def test_a_racer_behind_a_response_that_ends_the_connection_met_no_expiry() -> None:
    """It passed: the request was said to have been refused cleanly at the idle expiry."""
    trace = play(silence(0.001), S.notify(), silence(2), C.request())
    events = (*trace.drive.events, DriverEvent(0, EventKind.MEETS, "1000"))
    assert judge(driven(trace, events=events), WAITS).doubt is Doubt.WITH_RESPONSE


@pytest.mark.parametrize("kind", [RemarkKind.CLOSE_ANNOUNCED, RemarkKind.CLOSE_IMPLIED])
def test_a_response_that_closes_is_no_idle_timeout(kind: RemarkKind) -> None:
    """A machine that is busy may take its time to close."""
    trace = play(step("await"), silence(0.2), S.notify() + S.fin())
    said = driven(trace, remarks=(Remark(kind, "close"),))
    judgement = judge(said, WAITS)
    assert judgement.doubt is Doubt.WITH_RESPONSE
    assert "idle_to_end" not in judgement.timing_us
    assert digest_of(said).silence is None


def test_an_end_right_behind_the_response_is_no_idle_timeout() -> None:
    judgement = judge(play(step("await"), silence(0.02), S.notify() + S.fin()), WAITS)
    assert judgement.doubt is Doubt.WITH_RESPONSE
    assert "idle_to_end" not in judgement.timing_us


@pytest.mark.parametrize(("quiet", "timer"), [(0.2, False), (5, True)])
def test_a_server_that_speaks_unasked_and_ends_at_once_has_no_timer(
    quiet: float, *, timer: bool
) -> None:
    """Daytime, on a busy machine; behind a longer silence the same words are a farewell."""
    judgement = judge(play(step("await"), silence(quiet), S.data(12) + S.notify(), S.fin()), WAITS)
    assert judgement.doubt is (None if timer else Doubt.WITH_RESPONSE)
    assert ("idle_to_end" in judgement.timing_us) is timer


# --- sequences that the server overtook -----------------------------------------------------------


@pytest.mark.parametrize(("quiet", "doubt"), [(1, Doubt.OVERTAKEN), (0.01, Doubt.WITH_RESPONSE)])
def test_a_server_that_ended_first_answers_nothing_of_our_close(quiet: float, doubt: Doubt) -> None:
    """Right behind its response it does so each time, though no word of a raw protocol says so."""
    ours = (C.notify(), step("close_notify"), C.fin(), step("fin"))
    assert judge(play(silence(quiet), S.notify() + S.fin(), *ours)).doubt is doubt


@pytest.mark.parametrize("kind", [RemarkKind.CLOSE_ANNOUNCED, RemarkKind.CLOSE_IMPLIED])
def test_a_server_that_ends_by_what_its_response_says_was_not_too_quick(kind: RemarkKind) -> None:
    """Whoever drives it once more finds the same: HTTP/1.0, or `Connection: close` each time."""
    trace = play(S.notify(), C.notify(), step("close_notify"), C.fin(), step("fin"), S.fin())
    assert judge(driven(trace, remarks=(Remark(kind, "close"),))).doubt is Doubt.WITH_RESPONSE


def test_an_end_that_crossed_our_close_answers_nothing_of_it() -> None:
    behind = play(C.notify(), step("close_notify"), S.notify() + S.fin(), C.fin())
    ours = behind.segments[7]
    assert judge(behind).doubt is None
    unaware = tuple(
        s._replace(ack=ours.start) if s.fin and s.number == 9 else s for s in behind.segments
    )
    assert judge(replace(behind, segments=unaware)).doubt is Doubt.OVERTAKEN


def test_an_answer_to_half_a_record_overtakes_nothing() -> None:
    """A server may refuse an upload when it has read its head."""
    head, rest = C.split(C.request(100_000), 1_000)
    trace = play(head, S.response(), S.notify() + S.fin(), rest, step("send upload"))
    assert judge(trace).doubt is None


def test_a_server_that_was_given_the_first_word_overtakes_nothing() -> None:
    trace = play(step("await"), S.notify() + S.fin(), C.notify(), step("close_notify"))
    assert judge(trace).doubt is None


# --- ends at the idle timer -----------------------------------------------------------------------


def goodbye(seconds: float) -> Judgement:
    trace = play(C.goodbye(), step("terminate"), silence(seconds), S.notify() + S.fin())
    return judge(trace, Knowledge(timers=(FIVE,)))


def test_an_end_at_the_idle_timer_is_no_answer() -> None:
    judgement = goodbye(5.0)
    assert judgement.outcome is Outcome.OPEN
    assert judgement.signature == "G nf", "what was seen stays told"
    assert any("idle timer" in note for note in judgement.notes)


@pytest.mark.parametrize("seconds", [0.01, 1.0, 4.5, 9.0])
def test_an_end_at_another_time_is_an_answer(seconds: float) -> None:
    assert goodbye(seconds).outcome is Outcome.CLEAN


def test_a_goodbye_that_is_met_at_the_timer_is_judged_like_one_that_is_never_met() -> None:
    """Otherwise ``--patience`` alone would decide between pass and warn."""
    impatient = judge(play(C.goodbye(), step("terminate"), silence(2)))
    about_the_alert = {"TLS13-WARNING-LEVEL", "TLS13-AFTER-OWN-ALERT"}
    told = [r for r in goodbye(5.0).results if r.rule not in about_the_alert]
    assert told == list(impatient.results)


def test_a_reset_at_the_timer_is_no_answer_either() -> None:
    trace = play(C.goodbye(), step("terminate"), silence(5), S.rst(active=True))
    judgement = judge(trace, Knowledge(timers=(FIVE,)))
    assert judgement.outcome is Outcome.OPEN
    assert judgement.resets, "the RST was sent all the same"
    assert "INTEROP-RESET-BEFORE-FIN" not in {r.rule for r in judgement.results}


def test_a_timer_that_counts_from_the_accept_is_known_again() -> None:
    old = Timer((3_000_000_000, 4_500_000_000), (5_000_000_000, 5_010_000_000))
    trace = play(
        *(C.request(), step("send"), silence(2), S.response()),
        *(C.goodbye(), step("terminate"), silence(3), S.fin()),
    )
    assert judge(trace, Knowledge(timers=(old,))).outcome is Outcome.OPEN


def test_what_is_quick_has_no_silence() -> None:
    assert digest_of(play(C.goodbye(), silence(0.1), S.fin())).silence is None
    assert digest_of(play(C.goodbye(), silence(3), S.fin())).silence is not None


# --- a slow answer is no timer --------------------------------------------------------------------

ONE = Timer((990_000_000, 1_010_000_000), None)


def stream(tail: Line, chunks: int = 10) -> tuple[Line, ...]:
    """A response that takes a second, a tenth between two parts of it, and what comes behind it."""
    parts = (line for _ in range(chunks - 1) for line in (silence(0.1), S.partial()))
    return (C.request() + C.notify(), *parts, silence(0.1), S.response(), tail)


@pytest.mark.parametrize("end", [S.notify() + S.fin(), S.rst(active=True)], ids=["fin", "rst"])
def test_an_end_behind_a_response_of_a_second_is_no_timer_of_a_second(end: Line) -> None:
    trace = play(*stream(end), tls="1.2")
    judgement = judge(trace, Knowledge(timers=(ONE,)))
    assert judgement == judge(trace)
    assert judgement.outcome is not Outcome.OPEN


def test_a_response_that_begins_late_is_no_timer_either() -> None:
    late = play(C.request() + C.notify(), silence(1), S.response(), S.notify() + S.fin(), tls="1.2")
    assert judge(late, Knowledge(timers=(ONE,))).outcome is Outcome.CLEAN


@pytest.mark.parametrize("farewell", [(), (S.data(),)], ids=["silent", "with words"])
def test_a_timer_that_fires_behind_a_slow_response_is_known_again(
    farewell: tuple[Line, ...],
) -> None:
    story = (*stream(silence(1)), *farewell, S.notify() + S.fin())
    judgement = judge(play(*story), Knowledge(timers=(ONE,)))
    assert judgement.outcome is Outcome.OPEN
    assert any("idle timer" in note for note in judgement.notes)


@pytest.mark.parametrize(("stalled_s", "doubt"), [(0.0, None), (0.2, None), (0.3, Doubt.BUSY)])
def test_a_slow_machine_answers_when_a_timer_would_fire(
    stalled_s: float, doubt: Doubt | None
) -> None:
    """Nobody knows whether that is the answer, or what the timer did."""
    load = Load(1, 1, stalled_ns=round(stalled_s * 1e9))
    trace = play(C.notify(), silence(1), S.notify() + S.fin(), tls="1.2")
    judgement = judge(trace, Knowledge(timers=(ONE,), load=load))
    assert judgement.doubt is doubt
    assert bool(judgement.results) is (doubt is None)
