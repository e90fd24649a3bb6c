"""Our causes beside the kernel's reasons: which RST goes with which event, and what agrees."""

from __future__ import annotations

from tlsprobe.lab.kernel_comparison import APART_NS, compare, endpoint_of
from tlsprobe.model.causes import Cause
from tlsprobe.model.judgement import (
    Axes,
    Confidence,
    DataEnd,
    Judgement,
    Outcome,
    Reader,
    Reset,
    TcpEnd,
    TlsEnd,
)
from tlsprobe.model.kernel import REASONS, KernelReset
from tlsprobe.model.run import Disagreement, JudgedTrial, Trial, Truth
from tlsprobe.model.trace import Side

SERVER = ("127.0.0.1", 443)
ONE, TWO = ("127.0.0.1", 50001), ("127.0.0.1", 50002)
NOWHERE = ("0.0.0.0", 0)
AXES = Axes(TlsEnd.NOTIFIED, TcpEnd.FIN_RESET, DataEnd.COMPLETE, Reader.EOF)
MS = 1_000_000


def reset(
    time_ns: int,
    cause: Cause,
    *alternatives: Cause,
    side: Side = Side.SERVER,
    packet: int = 7,
    passive: bool = False,
) -> Reset:
    sure = Confidence.HIGH
    return Reset(side, packet, time_ns, True, cause, sure, (), alternatives, passive)


def trial(client: tuple[str, int] | None, *resets: Reset, index: int = 0) -> JudgedTrial:
    judgement = Judgement(Outcome.CLEAN, AXES, (), resets, ())
    text = f"{client[0]}:{client[1]}" if client else ""
    return JudgedTrial(Trial("fin-only", "1.3", index), judgement, client=text)


def told(
    time_ns: int,
    reason: str,
    state: str = "TCP_CLOSE",
    src: tuple[str, int] = SERVER,
    dst: tuple[str, int] = ONE,
) -> KernelReset:
    return KernelReset(time_ns, src, dst, state, reason)


UNREAD, LATE, ABORT = Cause.UNREAD_AT_CLOSE, Cause.DATA_AFTER_CLOSE, Cause.DELIBERATE


def test_nothing_to_compare() -> None:
    assert compare([], [], SERVER) == Truth()
    assert compare([trial(None), trial(ONE)], [], SERVER) == Truth()


def test_the_cause_itself_agrees() -> None:
    found = compare(
        [trial(ONE, reset(10_000, UNREAD))], [told(12_000, "TCP_ABORT_ON_CLOSE")], SERVER
    )
    assert found == Truth(resets=1, agreed=1)


def test_a_cause_that_was_left_open_agrees_and_is_counted_apart() -> None:
    found = compare([trial(ONE, reset(10_000, UNREAD, ABORT))], [told(12_000, "TCP_STATE")], SERVER)
    assert found == Truth(resets=1, agreed_by_alternative=1)


def test_a_disagreement_is_told_with_everything_to_find_it() -> None:
    seen = trial(ONE, reset(10_000, UNREAD, LATE, packet=99), index=2)
    found = compare([seen], [told(12_000, "TCP_STATE")], SERVER)
    expected = Disagreement(
        *("fin-only", "1.3", 2, Side.SERVER, 99, UNREAD, Confidence.HIGH, (LATE,)),
        state="TCP_CLOSE",
        reason="TCP_STATE",
    )
    assert found == Truth(resets=1, disagreements=(expected,))


def test_each_goes_with_its_own_connection() -> None:
    trials = [trial(ONE, reset(10_000, UNREAD)), trial(TWO, reset(10_000, ABORT))]
    events = [told(11_000, "TCP_STATE", dst=TWO), told(11_500, "TCP_ABORT_ON_CLOSE")]
    assert compare(trials, events, SERVER) == Truth(resets=2, agreed=2)


def test_the_client_s_resets_are_not_the_server_s() -> None:
    ours = trial(ONE, reset(10_000, ABORT, side=Side.CLIENT))
    found = compare([ours], [told(11_000, "TCP_STATE", src=ONE, dst=SERVER)], SERVER)
    assert found == Truth(resets=1, agreed=1)
    other_way = compare([ours], [told(11_000, "TCP_STATE")], SERVER)
    assert (other_way.resets, len(other_way.unmatched), other_way.not_seen) == (0, 1, 1)


def test_a_decision_is_told_after_its_packet_and_an_answer_before() -> None:
    """As it was seen: each event is nearer to the other's packet than to its own."""
    both = trial(ONE, reset(10_000, ABORT), reset(20_000, LATE, passive=True))
    events = [told(17_000, "NO_SOCKET", state="UNKNOWN"), told(19_500, "TCP_STATE")]
    assert compare([both], events, SERVER) == Truth(resets=2, agreed=2)


def test_of_two_answers_each_has_its_own_event() -> None:
    both = trial(ONE, reset(10_000, LATE, passive=True), reset(20_000, LATE, passive=True))
    events = [
        told(1_000, "TCP_TIMEWAIT_SOCKET", state="TCP_TIME_WAIT"),
        told(13_000, "TCP_FLAGS", state="TCP_LISTEN"),
    ]
    assert compare([both], events, SERVER) == Truth(resets=2, agreed=2)


def test_an_answer_to_a_syn_has_an_ack_and_is_an_answer_all_the_same() -> None:
    seen = trial(ONE, reset(10_000, Cause.REFUSED))
    event = told(8_000, "NO_SOCKET", state="UNKNOWN")
    assert compare([seen], [event], SERVER) == Truth(resets=1, agreed=1)


def test_the_trace_s_rounding_does_not_put_an_event_on_the_other_side() -> None:
    seen = trial(ONE, reset(10_400, ABORT))
    events = [told(10_000, "TCP_STATE"), told(10_400 + 20 * MS, "TCP_ABORT_ON_CLOSE")]
    assert compare([seen], events, SERVER) == Truth(resets=1, agreed=1, not_seen=1)


def test_one_event_speaks_of_one_packet() -> None:
    twice = trial(ONE, reset(10_000, ABORT), reset(10_500, ABORT))
    found = compare([twice], [told(11_000, "TCP_STATE")], SERVER)
    assert (found.resets, found.agreed, len(found.unmatched)) == (1, 1, 1)
    assert found.unmatched[0].reason == ""


def test_what_is_long_past_is_another_connection_s() -> None:
    found = compare(
        [trial(ONE, reset(2 * APART_NS, ABORT))], [told(APART_NS // 2, "TCP_STATE")], SERVER
    )
    assert (found.resets, len(found.unmatched), found.not_seen) == (0, 1, 1)


def test_a_listening_socket_s_reset_names_no_client() -> None:
    seen = trial(ONE, reset(10_000, Cause.NO_STATE))
    events = [told(11_000, "TCP_FLAGS", state="TCP_LISTEN", src=("0.0.0.0", 443), dst=NOWHERE)]
    assert compare([seen], events, SERVER) == Truth(resets=1, agreed=1)


def test_what_nobody_saw_is_not_agreement() -> None:
    late = told(11_000, "TCP_ABORT_ON_CLOSE", src=ONE, dst=SERVER)
    other_server = told(11_000, "TCP_STATE", src=("127.0.0.1", 444), dst=ONE)
    found = compare([trial(ONE)], [late, other_server], SERVER, lost=3)
    assert found == Truth(not_seen=1, lost=3)


def test_every_reason_that_a_cause_names_is_known_and_every_known_one_is_a_causes() -> None:
    assert {reason for cause in Cause for reason in cause.row.kernel} == set(REASONS)


def test_endpoints_are_read_as_they_are_written() -> None:
    assert endpoint_of("127.0.0.1:443") == ("127.0.0.1", 443)
    assert endpoint_of("[::1]:443") == ("::1", 443)
