"""What a bystander can say: records inferred or missing, directions missing, forms of Linux."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.judge.playbook import (
    ALERT,
    FIRST,
    MESSAGE,
    C,
    Line,
    S,
    crossing,
    play,
    silence,
    stranger,
)
from tlsprobe.judge.causes import resets_of, wording
from tlsprobe.judge.closing import axes_of, closing_of, words_of
from tlsprobe.judge.ladder import ladder_of
from tlsprobe.model.causes import Cause
from tlsprobe.model.judgement import Confidence, Reader, Reset, signature
from tlsprobe.model.knowledge import Knowledge, NatEntry, Rewritten
from tlsprobe.model.trace import Coverage, Record, RecordKind, Segment, Side, Trace

HIGH, MEDIUM, LOW = Confidence.HIGH, Confidence.MEDIUM, Confidence.LOW
GIVE_UP = S.rst(active=True)


def bystander(*lines: Line, coverage: Coverage = Coverage.WHOLE) -> Trace:
    """The story as a capture tells it: records known by type, alerts and goodbyes inferred."""
    trace = play(*lines)
    drive = trace.drive
    seen = tuple(_inferred(record) for record in drive.records)
    passive = replace(stranger(trace).drive, records=seen, mark=drive.mark)
    return replace(trace, drive=passive, coverage=coverage)


def _inferred(record: Record) -> Record:
    kind = RecordKind.DATA if record.kind is RecordKind.GOODBYE else record.kind
    return record._replace(kind=kind, alert=None)


def why(trace: Trace) -> Reset:
    (reset,) = resets_of(trace)
    return reset


def said(reset: Reset) -> str:
    return " / ".join(reset.evidence)


def test_the_message_before_the_alert_asked_for_the_end() -> None:
    reset = why(bystander(C.goodbye(), C.notify(), S.notify(), GIVE_UP))
    assert (reset.cause, reset.confidence) == (Cause.UNREAD_AT_CLOSE, MEDIUM)
    assert f"{ALERT} bytes" in said(reset)
    assert f"packet {FIRST + 1} ends with the client's close_notify, probably" in said(reset)


def test_an_answered_alert_was_read() -> None:
    reset = why(bystander(C.notify(), S.notify(), GIVE_UP))
    assert (reset.cause, reset.confidence) == (Cause.DELIBERATE, MEDIUM)


def test_of_two_alerts_one_is_answered() -> None:
    reset = why(bystander(C.notify(), C.notify(), S.notify(), GIVE_UP))
    assert reset.cause is Cause.UNREAD_AT_CLOSE
    assert f"{ALERT} bytes" in said(reset)


def test_a_servers_alert_answers_no_request() -> None:
    reset = why(bystander(crossing(S.notify(), C.request()), GIVE_UP))
    assert reset.cause is Cause.UNREAD_AT_CLOSE
    assert f"{MESSAGE} bytes" in said(reset)


def test_unread_behind_the_fin_is_not_sure_for_a_bystander() -> None:
    """Whether a server that half-closed had read what came then is not on the wire."""
    reset = why(bystander(S.notify() + S.fin(), C.data(), GIVE_UP))
    assert (reset.cause, reset.confidence) == (Cause.UNREAD_AFTER_FIN, MEDIUM)
    assert reset.alternatives == (Cause.DELIBERATE,)


@pytest.mark.parametrize(
    ("lines", "trigger"),
    [
        pytest.param((C.goodbye(), C.notify(), S.notify(), GIVE_UP), FIRST + 1, id="unread"),
        pytest.param((S.fin(), C.notify(), S.rst()), FIRST + 1, id="data after close"),
        pytest.param((C.ack(), S.rst()), FIRST, id="no state"),
        pytest.param((GIVE_UP,), None, id="nobody"),
    ],
)
def test_what_provoked_it(lines: tuple[Line, ...], trigger: int | None) -> None:
    trace = bystander(*lines)
    assert why(trace).trigger == trigger


def test_a_refusal_was_provoked_by_the_syn() -> None:
    trace = play(C.syn(), S.refuse(), opened=False)
    assert why(trace).trigger == 1


def test_a_bystander_sees_what_there_is_in_spite_of_holes() -> None:
    trace = bystander(S.notify() + S.fin(), C.notify(), S.rst(), coverage=Coverage.HOLES)
    closing = closing_of(trace)
    assert signature(words_of(closing)) == "nf N r"
    assert axes_of(trace, closing).reader is Reader.EOF


def test_the_ladder_says_probably_and_tells_what_is_asked_for() -> None:
    trace = bystander(S.notify() + S.fin(), C.ack(), S.rst())
    resets = resets_of(trace)
    bare = ladder_of(trace, closing_of(trace), resets)
    asked = ladder_of(trace, closing_of(trace), resets, {FIRST + 1})
    assert "close_notify, probably" in bare[0].text
    assert [line.text for line in asked if line not in bare] == ["ACK"]


# --- Linux ----------------------------------------------------------------------------------------


def test_of_two_acknowledgements_of_a_fin_that_came_twice_the_first_was_taken() -> None:
    """A slow path had the server send its FIN again: each has its answer, and no one gave up."""
    twice = play(
        *(C.notify(), C.fin(), S.notify(), S.fin(), silence(0.2), S.again(FIRST + 3)),
        *(C.ack(), C.ack(), S.rst()),
    )
    assert (why(twice).cause, why(twice).confidence) == (Cause.CLOSED_ALREADY, HIGH)
    once = play(C.notify(), C.fin(), S.notify(), S.fin(), C.ack(), S.rst())
    assert why(once).cause is Cause.DELIBERATE


def test_what_acknowledges_a_packet_that_came_late_is_no_copy_of_the_fins_acknowledgement() -> None:
    """Two processors send: an old acknowledgement overtaken by the FIN drew another, and an RST."""
    fin = play(C.fin(), S.fin()).segments[-1]
    late = S.ack().but(start=fin.start)
    trace = play(C.fin(), S.fin(), C.ack(), late, C.ack(), S.rst())
    assert (why(trace).cause, why(trace).confidence) == (Cause.CLOSED_ALREADY, HIGH)
    copied = play(C.fin(), S.fin(), C.ack(), C.ack(), S.rst())
    assert why(copied).cause is Cause.DELIBERATE


def test_the_acknowledgement_of_a_fin_that_is_reset_is_linger2() -> None:
    for trace in (play(S.fin(), C.ack(), S.rst()), play(S.fin(), C.fin(), S.rst())):
        reset = why(trace)
        assert (reset.cause, reset.confidence) == (Cause.DELIBERATE, MEDIUM)
        assert reset.alternatives == (Cause.CLOSED_ALREADY,)


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param((C.ack(), C.fin()), id="a FIN"),
        pytest.param((C.ack(), silence(45), C.ack()), id="an ACK"),
        pytest.param((silence(45), C.ack()), id="the first ACK of the FIN, long after it"),
    ],
)
def test_what_asks_about_a_connection_that_is_over_is_told_so(lines: tuple[Line, ...]) -> None:
    """FIN_WAIT2 and TIME_WAIT end; it was called lost NAT state."""
    reset = why(play(S.fin(), *lines, S.rst()))
    assert (reset.cause, reset.confidence) == (Cause.CLOSED_ALREADY, HIGH)
    assert reset.alternatives == ()
    assert f"FIN in packet {FIRST}" in said(reset)


@pytest.mark.parametrize("length", [0, 1])
def test_a_keepalive_probe_that_meets_a_closed_connection_brings_no_data(length: int) -> None:
    at = play().segments[-1].ack
    assert at is not None
    probe = C.ack().but(start=at - 1, length=length)
    reset = why(play(S.fin(), C.ack(), silence(45), probe, S.rst()))
    assert (reset.cause, reset.confidence) == (Cause.CLOSED_ALREADY, HIGH)


@pytest.mark.parametrize("seconds", [9, 8820])
def test_a_bare_rst_that_nothing_provoked_is_the_senders_own(seconds: int) -> None:
    """Any acknowledgement on a quiet connection has its number: that proves nothing."""
    reset = why(play(C.ack(), silence(seconds), S.rst()))
    assert (reset.cause, reset.confidence) == (Cause.DELIBERATE, MEDIUM)
    assert set(reset.alternatives) == {Cause.MIDDLEBOX, Cause.NO_STATE}
    assert reset.trigger is None
    assert f"{seconds}.0 s of silence" in said(reset)


def test_what_was_acknowledged_provoked_nothing() -> None:
    reset = why(play(C.data(), S.ack(), silence(9), S.rst()))
    assert (reset.cause, reset.trigger) == (Cause.DELIBERATE, None)
    assert "nothing of the client waited" in said(reset)


def test_data_that_a_bare_rst_does_not_answer_waited_all_the_same() -> None:
    """Its number is behind the FIN, which the data do not acknowledge."""
    fin = play(S.fin()).segments[-1]
    late = C.data().but(ack=fin.start)
    reset = why(play(S.fin(), late, S.rst().but(start=fin.end + 1)))
    assert (reset.cause, reset.trigger) == (Cause.DELIBERATE, None)
    assert "of the client waited for an answer, whose number" in said(reset)


def test_a_slow_path_answers_slowly() -> None:
    """Three round trips are prompt, be they longer than a second."""
    trace = play(C.ack(), silence(2), S.rst(), rtt_ns=800_000_000)
    assert why(trace).trigger == FIRST
    assert why(play(C.ack(), silence(2), S.rst())).trigger is None


def test_keepalive_probes_without_an_answer() -> None:
    at = play().segments[-1].end
    probe = S.ack().but(start=at - 1)
    second = silence(1)
    reset = why(play(second, probe, second, probe, second, probe, second, GIVE_UP))
    assert (reset.cause, reset.confidence) == (Cause.KEEPALIVE, HIGH)
    assert "keepalive" in said(reset)


def test_a_reset_out_of_step_with_the_probes_is_not_sure() -> None:
    at = play().segments[-1].end
    probe = S.ack().but(start=at - 1)
    reset = why(play(probe, silence(10), probe, silence(1), GIVE_UP))
    assert (reset.cause, reset.confidence) == (Cause.KEEPALIVE, MEDIUM)
    assert reset.alternatives == (Cause.DELIBERATE,)
    single = why(play(probe, silence(1), GIVE_UP))
    assert (single.cause, single.confidence) == (Cause.KEEPALIVE, MEDIUM)
    assert why(play(probe, GIVE_UP)).cause is Cause.DELIBERATE


def test_a_byte_that_is_sent_for_the_first_time_is_no_probe() -> None:
    """An acknowledgement before it stands where a probe would, once the byte is sent."""
    told = play(silence(1), S.ack(), silence(1), S.data(1), silence(1), GIVE_UP)
    assert why(told).cause is not Cause.KEEPALIVE


def test_probes_in_half_a_capture_may_have_been_answered() -> None:
    probe, second = S.ack().but(start=play().segments[-1].end - 1), silence(1)
    trace = bystander(second, probe, second, probe, second, GIVE_UP)
    assert why(trace).confidence is HIGH
    half = tuple(s for s in trace.segments if s.side is Side.SERVER)
    reset = why(replace(trace, segments=half))
    assert (reset.cause, reset.confidence) == (Cause.KEEPALIVE, MEDIUM)


def test_probes_that_follow_at_once_were_sent_by_no_timer() -> None:
    probe = S.ack().but(start=play().segments[-1].end - 1)
    assert why(play(probe, probe, silence(0.5), GIVE_UP)).confidence is MEDIUM


def test_a_syn_ack_is_not_refused() -> None:
    """Where its SYN was not captured, the client's abort stands behind it with fitting numbers."""
    whole = stranger(play(C.rst(active=True), asked=False))
    syn_ack = next(s for s in whole.segments if s.syn and s.ack is not None)
    rst = whole.segments[-1]._replace(ack=syn_ack.end + 1)
    assert why(replace(whole, segments=(syn_ack, rst))).cause is not Cause.REFUSED


def test_a_refusal_without_its_syn_is_left_open() -> None:
    trace = stranger(play(S.rst(active=True)))
    alone = trace.segments[-1]._replace(start=0, ack=1, window=0)
    assert Cause.REFUSED in why(replace(trace, segments=(alone,))).alternatives
    assert (
        Cause.REFUSED not in why(replace(trace, segments=(alone._replace(window=9),))).alternatives
    )


def test_in_a_capture_data_may_have_drawn_what_the_acknowledgement_of_the_fin_seems_to() -> None:
    story = S.fin(), C.ack(), S.rst()
    ours, theirs = why(play(*story)), why(bystander(*story))
    assert (ours.cause, theirs.cause) == (Cause.DELIBERATE, Cause.DELIBERATE)
    assert Cause.DATA_AFTER_CLOSE not in ours.alternatives
    assert Cause.DATA_AFTER_CLOSE in theirs.alternatives
    again = why(bystander(S.fin(), C.ack(), C.ack(), S.rst()))  # captured twice
    assert again.cause is Cause.DELIBERATE


def test_data_right_behind_an_rst_may_have_been_there_before_it() -> None:
    late = S.fin(), C.ack(), silence(9), C.ack(), S.rst()
    assert why(bystander(*late)).confidence is HIGH
    reset = why(bystander(*late, C.data()))
    assert (reset.cause, reset.confidence) == (Cause.CLOSED_ALREADY, MEDIUM)
    assert reset.alternatives[0] is Cause.DATA_AFTER_CLOSE
    assert why(bystander(*late, silence(0.1), C.data())).confidence is HIGH


def test_what_a_late_answer_answers_did_not_come_before_the_fin() -> None:
    """What drew it is missing, and the last packet with its number is older than the FIN."""
    reset = why(bystander(C.ack(), S.fin(), S.rst().but(start=play().segments[-1].end)))
    assert reset.confidence is not HIGH


def test_the_same_rst_once_more_is_no_other_one() -> None:
    once, twice = resets_of(bystander(C.goodbye(), C.notify(), GIVE_UP, GIVE_UP))
    assert (once.cause, once.confidence) == (twice.cause, twice.confidence)
    assert f"is the RST in packet {once.packet} once more" in said(twice)
    once, twice = resets_of(bystander(S.fin(), C.ack(), C.ack(), S.rst(), S.rst()))
    assert (once.cause, once.confidence) == (twice.cause, twice.confidence)


def test_answered_probes_are_no_reason() -> None:
    at = play().segments[-1].end
    probe = S.ack().but(start=at - 1)
    assert "keepalive" not in said(why(play(probe, C.ack(), probe, C.ack(), GIVE_UP)))


def test_closed_with_bytes_under_way_is_not_sure() -> None:
    reset = why(play(crossing(S.data(), C.data()), S.rst()))
    assert (reset.cause, reset.confidence) == (Cause.DATA_AFTER_CLOSE, MEDIUM)
    assert reset.alternatives == (Cause.NO_STATE,)
    assert f"{MESSAGE} bytes" in said(reset)


@pytest.mark.parametrize(("window", "cause"), [(0, "DATA_AFTER_CLOSE"), (512, "NO_STATE")])
def test_a_window_that_is_all_but_shut_hides_a_fin(window: int, cause: str) -> None:
    assert why(play(C.data().but(window=window), S.rst())).cause is Cause[cause]


def test_after_the_handshake_alone_a_full_accept_queue_is_possible() -> None:
    trace = play(opened=False)
    handshake = play(asked=False).segments[:3]
    rst = handshake[1]._replace(number=4, flags=4, start=0, ack=None, window=0, ip_id=0)
    reset = why(replace(trace, segments=(*handshake, rst)))
    assert (reset.cause, reset.confidence) == (Cause.NO_STATE, MEDIUM)
    assert "tcp_abort_on_overflow" in said(reset)


# --- what is missing, what is foreign -------------------------------------------------------------


def only(trace: Trace, side: Side) -> Trace:
    kept = tuple(s for s in trace.segments if s.side is side)
    return replace(trace, segments=kept, coverage=Coverage.HOLES)


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        ((S.fin(), C.notify(), S.rst()), Cause.DATA_AFTER_CLOSE),
        ((C.notify(), S.rst()), Cause.NO_STATE),
        ((C.goodbye(), C.notify(), GIVE_UP), Cause.UNREAD_AT_CLOSE),
        ((GIVE_UP,), Cause.DELIBERATE),
    ],
)
def test_one_direction_is_enough_for_a_guess(lines: tuple[Line, ...], cause: Cause) -> None:
    reset = why(only(bystander(*lines), Side.SERVER))
    assert (reset.cause, reset.confidence) == (cause, LOW)
    assert "nothing of the client's direction" in said(reset)


def test_a_missing_beginning_is_called_that() -> None:
    trace = bystander(S.fin(), C.notify(), S.rst())
    late = replace(trace, segments=trace.segments[5:], coverage=Coverage.HOLES)
    assert "beginning" in said(why(late))


def test_lost_nat_state_is_sure_although_the_beginning_is_missing() -> None:
    trace = bystander(C.data(), S.rst(), coverage=Coverage.HOLES)
    trace = replace(trace, segments=trace.segments[5:])
    renamed = Rewritten(NatEntry("192.0.2.1:1", "192.0.2.2:443", 1, 2), "192.0.2.1:9")
    (reset,) = resets_of(trace, Knowledge(rewritten=renamed))
    assert (reset.cause, reset.confidence) == (Cause.NO_STATE, HIGH)
    assert wording.rewritten(renamed) in reset.evidence


def with_df(segments: tuple[Segment, ...], last: bool) -> tuple[Segment, ...]:
    return (*(s._replace(df=True) for s in segments[:-1]), segments[-1]._replace(df=last))


@pytest.mark.parametrize("df", [True, False])
def test_the_df_bit_is_a_sign(df: bool) -> None:
    trace = play(C.notify(), S.rst())
    reset = why(replace(trace, segments=with_df(trace.segments, df)))
    assert ("DF bit" in said(reset)) is not df
    assert reset.cause is Cause.NO_STATE


def test_text_without_ttl_and_id_has_no_signs() -> None:
    trace = play(C.notify(), GIVE_UP.but(ttl=3, ip_id=9))
    bare = tuple(s._replace(ttl=None, ip_id=None) for s in trace.segments)
    assert "note" not in said(why(replace(trace, segments=bare)))


def test_an_acknowledgement_before_the_first_byte_is_no_probe() -> None:
    """It stands one byte before what is sent next, as a probe does."""
    reset = why(play(S.fin(), C.ack(), C.data(1), S.rst()))
    assert (reset.cause, reset.trigger) == (Cause.DATA_AFTER_CLOSE, FIRST + 2)


def test_what_its_sender_has_acknowledged_provoked_no_reset() -> None:
    """A box that answers our alert with a bare RST is overtaken by the server's own answer."""
    alert = C.notify()
    late = S.rst().but(start=_next_byte())
    reset = why(play(alert, S.notify(), S.fin(), late))
    assert reset.cause is not Cause.DATA_AFTER_CLOSE
    assert reset.trigger is None
    assert reset.confidence is not Confidence.HIGH


def _next_byte() -> int:
    """The server's next number behind the usual opening."""
    return play(C.notify(), S.rst()).segments[-1].start


def test_an_answer_behind_an_rst_of_nobody_is_not_surely_a_close() -> None:
    """The first may be a box's, which ended the server's connection in the client's name."""
    nobody = S.rst(active=True).but(start=_next_byte() + 100)
    first, second = resets_of(play(nobody, C.notify(), S.rst()))
    assert first.cause is Cause.UNKNOWN
    assert second.confidence is not Confidence.HIGH
    assert Cause.NO_STATE in {second.cause, *second.alternatives}
