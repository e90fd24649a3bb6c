"""Stories that the judge once told wrongly."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.judge.playbook import FIRST, Act, C, Line, S, crossing, play, silence
from tlsprobe.judge.causes import is_open
from tlsprobe.judge.verdict import judge
from tlsprobe.model.causes import Cause
from tlsprobe.model.judgement import Confidence, Judgement, Outcome, Result
from tlsprobe.model.trace import Coverage, DriverEvent, EventKind, Trace


def causes(judgement: Judgement) -> list[Cause]:
    return [reset.cause for reset in judgement.resets]


def result(rule: str, trace: Trace) -> Result:
    found = {r.rule: r.result for r in judge(trace).results}
    return found.get(rule, Result.NOT_APPLICABLE)


def test_row_8_a_response_cut_short_was_asked_for_by_what_was_read() -> None:
    (reset,) = judge(play(C.request(), S.partial(), S.rst(active=True))).resets
    assert (reset.cause, reset.confidence) == (Cause.DELIBERATE, Confidence.MEDIUM)
    assert any("discarded" in sentence for sentence in reset.evidence)


def test_row_9_a_pure_ack_behind_the_fin() -> None:
    (reset,) = judge(play(S.fin(), C.ack(), S.rst())).resets
    # Linux does so with TCP_LINGER2 below 0, by its own word an abort
    assert (reset.cause, reset.confidence) == (Cause.DELIBERATE, Confidence.MEDIUM)
    assert reset.alternatives == (Cause.CLOSED_ALREADY,)


def test_row_9_twice_is_row_9() -> None:
    judgement = judge(play(C.goodbye(), C.notify(), S.rst(), S.rst()))
    assert causes(judgement) == [Cause.NO_STATE, Cause.NO_STATE]


@pytest.mark.parametrize(
    ("lines", "triggers"),
    [
        ((S.fin(), crossing(C.data(), C.notify()), S.rst(), S.rst()), (FIRST + 1, FIRST + 2)),
        ((S.fin(), C.notify(), C.fin(), S.rst(), S.rst()), (FIRST + 1, FIRST + 2)),
        ((C.goodbye(), C.notify(), S.rst(), S.rst()), (FIRST, FIRST + 1)),
        ((C.notify(), S.rst(active=True), C.fin(), S.rst()), (FIRST, FIRST + 2)),
    ],
)
def test_each_bare_rst_names_its_own_trigger(
    lines: tuple[Line, ...], triggers: tuple[int, ...]
) -> None:
    for reset, trigger in zip(judge(play(*lines)).resets, triggers, strict=True):
        assert f"packet {trigger}" in " ".join(reset.evidence)


def test_row_10_silence_before_the_first_of_two_segments() -> None:
    (reset,) = judge(play(silence(350), C.goodbye(), C.notify(), S.rst())).resets
    assert any("350" in sentence for sentence in reset.evidence)


@pytest.mark.parametrize(
    "lines",
    [
        (S.rst(active=True).but(ttl=50), S.rst(active=True).but(ttl=50, start=1860)),
        (S.rst(active=True).but(ttl=50, ip_id=0),),
    ],
)
def test_row_2_signs_of_a_middlebox(lines: tuple[Line, ...]) -> None:
    assert set(causes(judge(play(*lines)))) == {Cause.MIDDLEBOX}


def test_no_control_is_wanted_that_settles_nothing() -> None:
    judgement = judge(play(S.notify() + S.fin(), C.ack(), S.rst(active=True)))
    assert not any(map(is_open, judgement.resets))


def test_without_a_capture_the_opening_is_left_out() -> None:
    told = judge(play(C.notify(), S.notify(), S.fin(), coverage=Coverage.NONE))
    assert told.signature == "N n f"


def test_without_a_capture_each_end_counts_once() -> None:
    closed = play(C.fin(), S.fin(), C.close(), coverage=Coverage.NONE)
    assert judge(closed).signature == "F f"
    reset = play(S.rst(active=True), coverage=Coverage.NONE)
    piped = (
        *reset.drive.events,
        DriverEvent(reset.drive.events[-1].time_ns, EventKind.BROKEN_PIPE),
    )
    assert judge(replace(reset, drive=replace(reset.drive, events=piped))).signature == "r"


@pytest.mark.parametrize(("tls", "description"), [("1.2", 90), ("1.2", 100), ("1.3", 90)])
def test_a_warning_does_not_stand_for_a_close_notify(tls: str, description: int) -> None:
    rule = f"TLS{tls.replace('.', '')}-NOTIFY"
    assert result(rule, play(S.alert(description, level=1), S.fin(), tls=tls)) is Result.FAIL


@pytest.mark.parametrize(
    "lines", [(C.notify(), C.abort()), (C.notify() + C.close(), S.notify(), C.rst())]
)
def test_a_client_that_reset_is_owed_no_answer(lines: tuple[Line, ...]) -> None:
    assert result("TLS12-ANSWER", play(*lines, tls="1.2")) is Result.NOT_APPLICABLE


@pytest.mark.parametrize("rule", ["TLS13-NOTIFY", "HTTP-TLS-ALERT"])
@pytest.mark.parametrize("leave", [C.abort(), C.close()])
def test_who_leaves_with_bytes_unread_does_not_know_whether_an_alert_was_among_them(
    rule: str, leave: Act
) -> None:
    """A server that ends with its response is on its way out when our abort comes."""
    unread = play(C.request(), S.response(), S.unknown(24), S.fin(), leave, protocol="http1")
    assert result(rule, unread) is Result.NOT_APPLICABLE
    assert judge(unread).outcome is Outcome.CLIENT_RESET
    read = play(C.request(), S.response(), S.fin(), leave, protocol="http1")
    assert result(rule, read) is Result.FAIL
    assert judge(read).outcome is Outcome.NO_CLOSE_NOTIFY
    told = play(C.request(), S.response(), S.notify(), S.fin(), leave, protocol="http1")
    assert result(rule, told) is Result.PASS


@pytest.mark.parametrize("rule", ["INTEROP-LEAK", "HTTP-CLOSE"])
def test_who_gives_the_socket_up_does_not_see_whether_the_server_ends(rule: str) -> None:
    seen = play(C.goodbye(), C.fin(), protocol="http1")
    assert result(rule, seen) in {Result.WARN, Result.FAIL}
    unseen = play(C.goodbye(), C.close(), protocol="http1")
    assert result(rule, unseen) is Result.NOT_APPLICABLE


def test_an_error_alert_is_not_called_a_close_notify() -> None:
    results = judge(play(C.notify(), S.alert(80), S.fin(), tls="1.2")).results
    (text,) = [r.text for r in results if r.rule == "TLS12-ANSWER"]
    assert "with a close_notify" not in text


@pytest.mark.parametrize("lines", [(S.rst(active=True),), (S.notify() + S.fin(), C.fin())])
def test_aborting_a_socket_that_is_gone_sends_nothing(lines: tuple[Line, ...]) -> None:
    trace = play(*lines)
    aborted = (*trace.drive.events, DriverEvent(trace.drive.events[-1].time_ns, EventKind.ABORTED))
    trace = replace(trace, drive=replace(trace.drive, events=aborted))
    assert result("SELF-NOTIFY", trace) is Result.PASS


def test_an_idle_connection_that_stays_was_not_ended_gracefully() -> None:
    trace = play(silence(60), S.notify(), protocol="http1")
    assert result("HTTP-IDLE-GRACEFUL", trace) is not Result.PASS
