"""The decision table of causes, row by row: both sides, and what Linux was seen to send.

ARCHITECTURE.md, "Reading an RST": the shapes, and the order in which evidence settles most.
"""

from __future__ import annotations

import ast
import inspect
from dataclasses import replace

import pytest

from tests.judge.playbook import (
    ALERT,
    FIRST,
    MESSAGE,
    Act,
    C,
    Line,
    S,
    crossing,
    play,
    silence,
    stranger,
)
from tlsprobe.judge.causes import resets_of, table
from tlsprobe.model.causes import Cause
from tlsprobe.model.judgement import Confidence, Reset
from tlsprobe.model.knowledge import Knowledge
from tlsprobe.model.trace import Coverage, DriverEvent, EventKind, Side, Trace

HIGH, MEDIUM, LOW = Confidence.HIGH, Confidence.MEDIUM, Confidence.LOW


def why(*lines: Line, ipv6: bool = False) -> Reset:
    """The one RST of a story."""
    return only(play(*lines, ipv6=ipv6))


def only(trace: Trace) -> Reset:
    (reset,) = resets_of(trace)
    return reset


def said(reset: Reset) -> str:
    return " / ".join(reset.evidence)


def names(reset: Reset, *packets: int) -> bool:
    """Whether the evidence speaks of all these packets, by number."""
    words = said(reset).replace(",", " ").replace(":", " ").replace(")", " ").split()
    return {str(packet) for packet in packets} <= set(words)


def words(row: ast.FunctionDef) -> tuple[set[Cause], set[Cause]]:
    """The causes that a row may answer with, and all that it mentions."""
    answered: set[Cause] = set()
    mentioned: set[Cause] = set()
    for node in ast.walk(row):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "Cause":
            mentioned.add(Cause[node.attr])
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Diagnosis":
            named = ast.unparse(node.args[0]).rpartition(".")[2]
            answered |= {Cause[named]} if named in Cause.__members__ else set()
    return answered, mentioned


def test_every_cause_is_the_answer_of_some_row_and_named_with_what_it_can_be_taken_for() -> None:
    tree = ast.parse(inspect.getsource(table))
    rows = [words(node) for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert set().union(*(answered or mentioned for answered, mentioned in rows)) == set(Cause)
    for answered, mentioned in rows:
        for cause in answered:
            left = {str(other) for other in mentioned - {cause}}
            assert left <= set(cause.row.alike), (cause, left)


def test_no_rst_no_cause() -> None:
    assert resets_of(play(C.notify(), S.notify() + S.fin(), C.fin())) == ()


def test_a_reset_says_whose_it_is_and_which_packet() -> None:
    trace = play(C.goodbye(), C.notify(), S.notify(), S.rst(active=True))
    reset = only(trace)
    assert (reset.side, reset.packet, reset.before_fin) == (Side.SERVER, FIRST + 3, True)
    assert reset.time_ns == trace.segments[-1].time_ns
    assert not why(S.fin(), C.notify(), S.rst()).before_fin


# --- row 1 ---------------------------------------------------------------------------------------


def test_row_1_the_answer_to_a_syn_is_a_refusal() -> None:
    reset = only(play(C.syn(), S.refuse(), opened=False))
    assert (reset.cause, reset.confidence) == (Cause.REFUSED, HIGH)
    assert names(reset, 1, 2)


def test_row_1_wants_the_acknowledgement_of_the_syn() -> None:
    reset = only(play(C.syn(), S.refuse().but(ack=5), opened=False))
    assert reset.cause is not Cause.REFUSED


def test_row_1_is_about_connections_that_never_were() -> None:
    reset = only(play(S.rst(active=True).but(ack=0), asked=False))
    assert reset.cause is not Cause.REFUSED


# --- rows 3 and 4 --------------------------------------------------------------------------------


def test_row_3_data_reached_a_closed_socket() -> None:
    reset = why(S.notify() + S.fin(), C.ack(), C.notify(), S.rst())
    assert (reset.side, reset.cause) == (Side.SERVER, Cause.DATA_AFTER_CLOSE)
    assert reset.confidence is HIGH
    assert names(reset, FIRST, FIRST + 2, FIRST + 3)
    assert f"{ALERT} bytes" in said(reset)


def test_row_3_with_crossing_ends() -> None:
    """The RST repeats our ack, which lies below the server's FIN."""
    trace = play(crossing(S.fin(), C.notify()), S.rst())
    fin, _, rst = trace.segments[-3:]
    assert rst.start == fin.end
    reset = only(trace)
    assert (reset.cause, reset.confidence) == (Cause.DATA_AFTER_CLOSE, HIGH)
    assert names(reset, FIRST, FIRST + 1)


def test_row_3_names_the_segment_with_payload_not_the_ack_before_it() -> None:
    reset = why(S.fin(), C.ack(), C.notify(), C.ack(), S.rst())
    assert reset.cause is Cause.DATA_AFTER_CLOSE
    assert names(reset, FIRST + 2)
    assert not names(reset, FIRST + 1)


def test_row_3_of_psql_whose_server_answers_after_it_left() -> None:
    """Terminate, close_notify and FIN at once; the late close_notify meets a closed socket."""
    reset = why(C.goodbye() + C.notify() + C.close(), S.notify(), C.rst())
    assert (reset.side, reset.cause) == (Side.CLIENT, Cause.DATA_AFTER_CLOSE)
    assert reset.confidence is HIGH
    assert not reset.before_fin
    assert names(reset, FIRST, FIRST + 1, FIRST + 2)


def test_row_3_of_a_client_in_somebody_elses_capture() -> None:
    reset = only(stranger(play(C.goodbye() + C.notify() + C.fin(), S.notify(), C.rst())))
    assert (reset.side, reset.cause) == (Side.CLIENT, Cause.DATA_AFTER_CLOSE)


def test_row_3_holds_when_the_fin_was_retransmitted() -> None:
    reset = why(S.fin(), S.again(FIRST), C.notify(), S.rst())
    assert reset.cause is Cause.DATA_AFTER_CLOSE
    assert not reset.before_fin


def test_row_4_a_second_bare_rst_is_the_echo_of_the_first() -> None:
    first, echo = resets_of(play(S.fin(), C.notify(), S.rst(), C.fin(), S.rst()))
    assert (first.cause, first.confidence) == (Cause.DATA_AFTER_CLOSE, HIGH)
    assert (echo.cause, echo.confidence) == (Cause.CLOSED_ALREADY, HIGH)  # it brought no data
    assert echo.packet == FIRST + 4
    assert names(echo, FIRST + 2, FIRST + 4)


def test_row_4_also_follows_an_rst_in_place_of_a_fin() -> None:
    """The first RST closed the socket; what comes then is its echo, not a lost state."""
    lines = (C.goodbye(), crossing(S.rst(active=True), C.notify()), S.rst())
    first, echo = resets_of(play(*lines))
    assert first.cause in {Cause.UNREAD_AT_CLOSE, Cause.DELIBERATE}
    assert echo.cause is Cause.DATA_AFTER_CLOSE
    assert names(echo, first.packet)


def test_a_repetition_that_crossed_the_reset_draws_an_echo() -> None:
    """Its first copy had been acknowledged: it was called a second abort, on purpose."""
    bare = S.rst().but(start=play(C.goodbye(), C.notify()).segments[-1].ack)
    lines = (C.goodbye(), C.notify(), S.notify(), C.again(FIRST + 1), S.rst(active=True), bare)
    first, echo = resets_of(play(*lines), Knowledge(near=True))
    assert first.cause is Cause.UNREAD_AT_CLOSE
    assert (echo.cause, echo.confidence) == (Cause.DATA_AFTER_CLOSE, MEDIUM)
    assert names(echo, FIRST + 3)


def test_the_echo_is_no_surer_than_the_reset_that_it_follows() -> None:
    """A box that reset both ends left the server no socket: it had not closed."""
    trace = stranger(play(S.rst(active=True), C.notify(), S.rst()))
    first, echo = resets_of(trace)
    assert Cause.MIDDLEBOX in first.alternatives
    assert (echo.cause, echo.confidence) == (Cause.DATA_AFTER_CLOSE, MEDIUM)
    assert echo.alternatives == (Cause.NO_STATE,)
    first, echo = resets_of(trace, Knowledge(near=True))
    assert Cause.MIDDLEBOX not in first.alternatives
    assert echo.confidence is HIGH


# --- rows 5 to 8 ---------------------------------------------------------------------------------


def test_row_5_half_closed_then_closed_with_data_unread() -> None:
    trace = play(S.notify() + S.fin(), C.notify(), S.rst(active=True))
    (reset,) = resets_of(trace, Knowledge(near=True))  # elsewhere a box may have made it
    assert (reset.cause, reset.confidence) == (Cause.UNREAD_AFTER_FIN, HIGH)
    assert not reset.before_fin
    assert f"{ALERT} bytes" in said(reset)
    assert names(reset, FIRST, FIRST + 2)


def test_row_5_of_a_client() -> None:
    """psql's other ending: the server's close_notify lay unread when it closed."""
    reset = why(C.goodbye() + C.notify() + C.fin(), S.notify(), C.rst(active=True))
    assert (reset.side, reset.cause) == (Side.CLIENT, Cause.UNREAD_AFTER_FIN)
    assert reset.confidence is HIGH


def test_row_6_closed_with_data_unread() -> None:
    reset = why(C.goodbye(), C.notify(), S.notify(), S.rst(active=True))
    assert (reset.cause, reset.confidence) == (Cause.UNREAD_AT_CLOSE, MEDIUM)
    assert reset.alternatives == (Cause.DELIBERATE, Cause.MIDDLEBOX)
    assert f"{ALERT} bytes" in said(reset)  # the goodbye was acted on, or it would still be open
    assert names(reset, FIRST + 1, FIRST + 3)


def test_row_6_when_our_fin_was_there_too() -> None:
    reset = why(C.goodbye(), C.notify() + C.fin(), S.notify(), S.rst(active=True))
    assert reset.cause is Cause.UNREAD_AT_CLOSE
    assert f"{ALERT} bytes" in said(reset)


def test_row_6_counts_only_what_the_rst_acknowledges() -> None:
    """The close_notify crossed the RST: it had not arrived and was not unread."""
    lines = (C.data(), crossing(S.rst(active=True), C.notify()))
    reset = why(*lines)
    assert reset.cause is Cause.UNREAD_AT_CLOSE
    assert f"{MESSAGE} bytes" in said(reset)
    assert not names(reset, FIRST + 2)


def test_row_6_from_a_capture_alone() -> None:
    reset = only(stranger(play(C.goodbye(), C.notify(), S.rst(active=True))))
    assert (reset.cause, reset.confidence) == (Cause.UNREAD_AT_CLOSE, MEDIUM)
    assert reset.alternatives == (Cause.DELIBERATE, Cause.MIDDLEBOX)


def test_row_6_of_a_client_that_leaves_the_answer_unread() -> None:
    reset = why(C.goodbye() + C.notify(), S.notify(), C.rst(active=True))
    assert (reset.side, reset.cause) == (Side.CLIENT, Cause.UNREAD_AT_CLOSE)


def test_row_6_leaves_out_what_came_after_the_rst_was_sent() -> None:
    """It acknowledges half of our data: the other half was still on its way."""
    reset = why(C.data(), S.rst(active=True).but(ack=_half_of_the_data()))
    assert reset.cause is Cause.UNREAD_AT_CLOSE
    assert f"{MESSAGE // 2} bytes" in said(reset)


def _half_of_the_data() -> int:
    return play(C.data()).segments[-1].end - MESSAGE // 2


def test_row_7_a_goodbye_is_no_unread_data() -> None:
    """It asks for an end and gets one: a server that resets on it meant to."""
    reset = why(C.goodbye(), S.rst(active=True))
    assert (reset.cause, reset.confidence) == (Cause.DELIBERATE, MEDIUM)


@pytest.mark.parametrize("first", [C.notify(), C.goodbye()])
def test_row_6_a_goodbye_behind_an_end_need_not_have_been_read(first: Act) -> None:
    reset = why(first, S.notify(), C.goodbye(), S.rst(active=True))
    assert reset.cause is Cause.UNREAD_AT_CLOSE
    assert f"{MESSAGE} bytes" in said(reset)


def test_row_7_everything_was_answered() -> None:
    reset = why(S.notify(), S.rst(active=True))
    assert (reset.cause, reset.confidence) == (Cause.DELIBERATE, MEDIUM)
    assert reset.alternatives == (Cause.UNREAD_AT_CLOSE, Cause.MIDDLEBOX)
    assert "no close_notify" not in said(reset)


def test_row_7_from_a_capture_alone() -> None:
    assert only(stranger(play(S.rst(active=True)))).cause is Cause.DELIBERATE


def test_row_8_without_a_close_notify() -> None:
    reset = why(S.rst(active=True))
    assert (reset.cause, reset.confidence) == (Cause.DELIBERATE, MEDIUM)
    assert "no close_notify" in said(reset)


def test_our_own_abort_is_deliberate_and_certain() -> None:
    reset = why(C.notify(), C.abort())
    assert (reset.side, reset.cause, reset.confidence) == (Side.CLIENT, Cause.DELIBERATE, HIGH)
    assert reset.alternatives == ()


# --- rows 9 to 11 --------------------------------------------------------------------------------


@pytest.mark.parametrize("line", [C.notify(), C.request(), C.fin()])
def test_row_9_nobody_knows_the_connection(line: Line) -> None:
    """Anybody can send such an RST: silence that a NAT is known to wait for makes it surer."""
    reset = why(line, S.rst())
    assert (reset.cause, reset.confidence) == (Cause.NO_STATE, MEDIUM)
    assert reset.alternatives == (Cause.MIDDLEBOX, Cause.DELIBERATE)
    assert why(silence(350), line, S.rst()).confidence is HIGH
    assert names(reset, FIRST, FIRST + 1)
    assert reset.before_fin


def test_row_9_an_acknowledgement_asks_for_nothing_unless_it_breaks_a_silence() -> None:
    """It acknowledges what the sender, which knew the connection then, had just said."""
    soon, late = why(C.ack(), S.rst()), why(silence(350), C.ack(), S.rst())
    assert (soon.cause, soon.confidence) == (Cause.NO_STATE, MEDIUM)
    assert set(soon.alternatives) == {Cause.DELIBERATE, Cause.MIDDLEBOX}
    assert (late.cause, late.confidence) == (Cause.NO_STATE, HIGH)


def test_row_9_of_a_client_that_was_restarted() -> None:
    reset = why(S.notify(), C.rst())
    assert (reset.side, reset.cause) == (Side.CLIENT, Cause.NO_STATE)


def test_row_3_wants_data_a_bare_fin_is_none() -> None:
    assert why(S.fin(), C.fin(), S.rst()).cause is not Cause.DATA_AFTER_CLOSE


def test_row_11_otherwise_unknown_with_what_is_left() -> None:
    reset = why(S.rst(active=True).but(start=0))
    assert (reset.cause, reset.confidence) == (Cause.UNKNOWN, LOW)
    assert reset.alternatives


# --- row 0, and both sides in one story ----------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "usual", "lowered"),
    [
        ((S.fin(), C.notify(), S.rst()), HIGH, MEDIUM),
        ((C.notify(), S.rst(active=True)), MEDIUM, LOW),
        ((S.rst(active=True).but(start=0),), LOW, LOW),
    ],
)
def test_row_0_holes_cost_one_level(
    lines: tuple[Line, ...], usual: Confidence, lowered: Confidence
) -> None:
    whole, holed = only(play(*lines)), only(play(*lines, coverage=Coverage.HOLES))
    assert (whole.confidence, holed.confidence) == (usual, lowered)
    assert holed.cause is whole.cause
    assert "holes" in said(holed)
    assert "holes" not in said(whole)


def test_the_clients_resets_are_never_the_servers() -> None:
    """PostgreSQL and psql: each resets, each for its own reason."""
    lines = (C.goodbye() + C.notify() + C.close(), S.notify(), S.rst(active=True), C.rst())
    server, client = resets_of(play(*lines, S.ack()))
    assert (server.side, server.cause) == (Side.SERVER, Cause.UNREAD_AT_CLOSE)
    assert (client.side, client.packet) == (Side.CLIENT, FIRST + 3)
    assert not client.before_fin
    assert server.before_fin


def test_ipv6_has_no_ip_id_and_the_same_causes() -> None:
    for lines in (
        (S.fin(), C.notify(), S.rst()),
        (S.fin(), C.notify(), S.rst(active=True)),
        (C.goodbye(), C.notify(), S.notify(), S.rst(active=True)),
        (C.notify(), S.rst()),
    ):
        assert why(*lines, ipv6=True).cause is why(*lines).cause
        assert why(*lines, ipv6=True).confidence is why(*lines).confidence


def test_missing_timestamps_prove_nothing() -> None:
    trace = play(C.goodbye(), C.notify(), S.notify(), S.rst(active=True))
    without = tuple(s._replace(timestamps=False) for s in trace.segments)
    assert resets_of(replace(trace, segments=without)) == resets_of(trace)


def test_a_second_rst_at_the_same_place_is_told_like_the_first() -> None:
    first, second = resets_of(play(C.notify(), S.rst(active=True), S.rst(active=True)))
    assert second.cause is first.cause


def test_an_abort_of_ours_does_not_explain_a_passive_rst() -> None:
    trace = play(C.fin(), S.notify(), C.rst())
    last = trace.drive.events[-1]
    events = (*trace.drive.events, DriverEvent(last.time_ns, EventKind.ABORTED))
    reset = only(replace(trace, drive=replace(trace.drive, events=events)))
    assert reset.cause is Cause.DATA_AFTER_CLOSE


def test_our_own_abort_is_not_surer_than_the_kernel_where_bytes_may_be_unread() -> None:
    """The kernel looks at what is unread before it looks at linger (tcp_close)."""
    trace = _unread_by_us(C.data(), S.data() + S.notify(), C.abort(), closes=False)
    unread = only(trace)
    assert (unread.cause, unread.confidence) == (Cause.UNREAD_AT_CLOSE, Confidence.MEDIUM)
    assert unread.alternatives == (Cause.DELIBERATE,)
    assert f"{MESSAGE + ALERT} bytes" in said(unread)


def test_our_own_close_tells_that_the_rest_was_unread() -> None:
    """No linger was asked for, so that nothing but unread data can have reset."""
    reset = only(_unread_by_us(C.data(), S.data() + S.notify(), C.rst(active=True), closes=True))
    assert (reset.cause, reset.confidence) == (Cause.UNREAD_AT_CLOSE, HIGH)
    assert reset.alternatives == ()


def _unread_by_us(*lines: Line, closes: bool) -> Trace:
    """A close of ours before which we read nothing of what came in the story."""
    trace = play(*lines)
    mark = trace.drive.mark
    assert mark is not None
    ours = (r for r in trace.drive.records if r.side is Side.CLIENT or r.end <= mark.server)
    deed = EventKind.CLOSED if closes else EventKind.ABORTED
    events = [event for event in trace.drive.events if event.kind is not EventKind.ABORTED]
    events.append(DriverEvent(trace.segments[-1].time_ns, deed))
    return replace(trace, drive=replace(trace.drive, records=tuple(ours), events=tuple(events)))


def test_our_kernel_refuses_what_answers_another_connections_syn() -> None:
    """A NAT used the port again; it was called a box that resets in our name."""
    stale = S.ack().but(start=-90_000, ack=-80_000)
    trace = play(C.syn(), stale, C.rst(), C.again(1), stale, C.rst(), C.again(1), opened=False)
    found = [(r.side, r.cause, r.confidence) for r in resets_of(trace)]
    assert found == [(Side.CLIENT, Cause.CLOSED_ALREADY, Confidence.HIGH)] * 2


@pytest.mark.parametrize("spoken", [True, False])
def test_behind_a_fin_that_ends_a_silence_nobody_is_sure_who_refuses(spoken: bool) -> None:
    """A box that ends idle connections in both names refuses what comes later in the server's."""
    alert = [S.notify()] if spoken else []
    lines: tuple[Line, ...] = (silence(2), *alert, S.fin(), C.request(), S.rst())
    told = only(play(*lines))
    assert (told.cause, Cause.MIDDLEBOX in told.alternatives) == (
        Cause.DATA_AFTER_CLOSE,
        not spoken,
    )
    assert told.confidence is (Confidence.HIGH if spoken else Confidence.MEDIUM)
    (near,) = resets_of(play(*lines), Knowledge(near=True))
    assert near.confidence is Confidence.HIGH
