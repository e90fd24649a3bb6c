"""Resets as stacks other than today's Linux make them, and SYNs that meet an earlier connection."""

from __future__ import annotations

import random

import pytest

from tests.explain.talk import (
    ACK,
    ALERT_12,
    ALERT_13,
    DATA,
    FIN,
    PSH,
    RST,
    SYN,
    Talk,
    flow_of,
    tls12,
    tls13,
)
from tlsprobe.model.causes import Cause
from tlsprobe.model.explanation import ExplainedReset, Harm
from tlsprobe.model.judgement import Confidence
from tlsprobe.model.trace import Side

HIGH, MEDIUM = Confidence.HIGH, Confidence.MEDIUM


def reset_of(talk: Talk) -> ExplainedReset:
    return flow_of(talk).resets[0]


def said_of(talk: Talk) -> str:
    return " ".join(reset_of(talk).reset.evidence)


# --- an answer that looks like a decision ---------------------------------------------------------


@pytest.mark.parametrize(("window", "is_open"), [(0, True), (500, False)])
def test_windows_answers_late_data_with_an_ack(window: int, *, is_open: bool) -> None:
    """And leaves no window: the socket was closed, and nothing need have been unread."""
    talk = tls13().c(PSH | ACK, ALERT_13).c(FIN | ACK).s(PSH | ACK, ALERT_13).s(FIN | ACK)
    told = reset_of(talk.c(RST | ACK, window=window))
    assert told.reset.cause is Cause.UNREAD_AFTER_FIN
    assert (Cause.DATA_AFTER_CLOSE in told.reset.alternatives) is is_open


# --- a SYN on ports that the other side still holds -----------------------------------------------


def stale() -> Talk:
    """The server answers the SYN out of an earlier connection; the client refuses that."""
    talk = Talk().c(SYN).s(ACK, seq=90_000, ack=77_777)
    talk.c(RST, seq=77_777, ack=None, window=0, ip_id=0, timestamps=False)
    talk.seqs[0] -= 1
    return talk


def test_a_syn_that_met_another_connection_was_refused_by_its_own_kernel() -> None:
    """It was called a lost NAT entry, or an abort, of a client that was only connecting."""
    talk = stale().wait(3).c(SYN).s(SYN | ACK).c().c(PSH | ACK, DATA).s(PSH | ACK, DATA)
    told = reset_of(talk)
    assert (told.reset.side, told.reset.cause) == (Side.CLIENT, Cause.CLOSED_ALREADY)
    assert (told.reset.alternatives, told.harm) == ((), Harm.NOBODY)
    assert "another connection" in said_of(talk)
    assert "SYN again after 3.0 s (packet 4)" in said_of(talk)


def test_an_answer_to_the_syn_itself_is_of_this_connection() -> None:
    talk = Talk().c(SYN).s(ACK).bare_rst(way=0)
    assert reset_of(talk).reset.cause is Cause.NO_STATE


# --- a stack that gives up ------------------------------------------------------------------------


def given_up(tries: int = 5, seq: int | None = None, *, timestamps: bool = False) -> Talk:
    """The server sends two segments, and again and again the first of them."""
    talk = tls12().c()
    first = talk.seqs[1]
    talk.s(PSH | ACK, DATA).s(PSH | ACK, DATA)
    for n in range(tries):
        talk.wait(0.3 * 2**n).s(PSH | ACK, DATA, seq=first)
    seq = first + len(DATA) if seq is None else seq
    talk.wait(0.3 * 2**tries)
    return talk.s(RST | ACK, seq=seq, window=0, timestamps=timestamps)


def test_who_gave_up_sending_again_was_not_forged() -> None:
    """Windows counts from what it sent again, and leaves the timestamps out: two signs of a box."""
    told = reset_of(given_up())
    assert (told.reset.cause, told.reset.confidence) == (Cause.KEEPALIVE, MEDIUM)
    assert told.harm is Harm.NOBODY
    assert "sent the same bytes 6 times" in said_of(given_up())


def test_who_gave_up_at_its_next_byte_did_not_do_so_for_nothing_unread() -> None:
    talk = given_up()
    assert reset_of(given_up(seq=talk.seqs[1], timestamps=True)).reset.cause is Cause.KEEPALIVE


def test_who_tried_once_more_may_have_decided_otherwise() -> None:
    assert reset_of(given_up(tries=1)).reset.cause is not Cause.KEEPALIVE


def test_who_was_heard_meanwhile_had_not_vanished() -> None:
    talk = given_up()
    *before, rst = talk.packets
    talk.packets = before
    talk.c(ACK, ack=before[-1].seq)
    talk.packets.append(rst._replace(time_ns=talk.now + 1))
    assert reset_of(talk).reset.cause is not Cause.KEEPALIVE


# --- what is no sign of a box ---------------------------------------------------------------------


def with_ids(talk: Talk, counting: bool) -> Talk:
    chance = random.Random(7)
    ids = (3 * n if counting else chance.randrange(1, 2**16) for n in range(len(talk.packets)))
    talk.packets = [p._replace(ip_id=one) for p, one in zip(talk.packets, ids, strict=True)]
    return talk


@pytest.mark.parametrize("counting", [True, False])
def test_only_a_counter_can_be_broken(counting: bool) -> None:
    """Some stacks draw IP IDs at random, and those that do leave timestamps out of an RST."""
    talk = with_ids(tls13(), counting).s(RST | ACK, ip_id=50_000, timestamps=False)
    assert (reset_of(talk).reset.cause is Cause.MIDDLEBOX) is counting


def test_an_alert_and_a_fin_may_be_missing_before_it() -> None:
    """The number was taken for one that nobody has, and a window for the second sign."""
    talk = tls12().c(PSH | ACK, ALERT_12).c(FIN | ACK)
    talk.s(RST, ack=None, seq=talk.seqs[1] + len(ALERT_12) + 1, ip_id=0, timestamps=False)
    assert reset_of(talk).reset.cause is not Cause.MIDDLEBOX
    far = tls12().c(PSH | ACK, ALERT_12).c(FIN | ACK)
    far.s(RST, ack=None, seq=far.seqs[1] + 1460, ip_id=0, timestamps=False)
    assert reset_of(far).reset.cause is Cause.MIDDLEBOX


def test_who_acknowledged_more_since_had_its_connection() -> None:
    """An acknowledgement provoked nothing when the sender went on taking what came behind it."""
    talk = Talk().open().c(PSH | ACK, b"GET / HTTP/1.0\r\n\r\n").s().s(PSH | ACK, DATA).c()
    told = reset_of(talk.wait(0.065).bare_rst(way=0))
    assert (told.reset.cause, told.trigger) == (Cause.DELIBERATE, None)


def test_who_had_ended_the_connection_still_answers_what_was_overtaken() -> None:
    """Several RSTs in a row, of which one repeats the number of an older acknowledgement."""
    talk = Talk().open().s(PSH | ACK, DATA).c()
    old = talk.seqs[1]
    talk.c(PSH | ACK, DATA).s(FIN | ACK).c(PSH | ACK, DATA).bare_rst()
    causes = [told.reset.cause for told in flow_of(talk.bare_rst(seq=old)).resets]
    assert causes[0] is Cause.DATA_AFTER_CLOSE
    assert causes[1] in {Cause.DATA_AFTER_CLOSE, Cause.CLOSED_ALREADY}


def test_what_crossed_the_fin_did_not_come_behind_it() -> None:
    talk = Talk().open().s(PSH | ACK, DATA)
    acked = talk.seqs[1]
    talk.s(PSH | ACK, DATA).c(FIN | ACK, ack=acked)
    talk.bare_rst(way=0, seq=talk.packets[-2].ack)
    told = reset_of(talk)
    assert (told.reset.cause, told.trigger) == (Cause.DATA_AFTER_CLOSE, 5)
    assert "packet 5 crossed that FIN and brought" in said_of(talk)


# --- protocols without TLS ------------------------------------------------------------------------


def test_no_close_notify_is_missed_where_nobody_speaks_tls() -> None:
    plain = Talk().open().c(PSH | ACK, b"PING\r\n").s(PSH | ACK, b"PONG\r\n")
    assert "close_notify" not in said_of(plain.c().wait(65).c(RST | ACK))
    assert "sent no close_notify" in said_of(tls13().c().wait(65).c(RST | ACK))


def test_a_client_is_not_said_to_have_answered_a_response() -> None:
    assert "nothing shows that" in said_of(tls13().c().c(RST | ACK))
    assert "had been answered, so nothing of the client" in said_of(tls13().s(RST | ACK))


# --- what a text leaves out -----------------------------------------------------------------------


def evenly(*waits: float, ttl: int | None = None) -> Talk:
    """Acknowledgements that nothing answers, and an RST behind them."""
    talk = Talk().open().c(PSH | ACK, DATA).s(PSH | ACK, DATA).c()
    for seconds in waits[:-1]:
        talk.wait(seconds).c()
    talk.wait(waits[-1]).c(RST | ACK)
    talk.packets = [p._replace(ttl=ttl, ip_id=None, df=None) for p in talk.packets]
    return talk


def test_probes_whose_numbers_a_text_leaves_out() -> None:
    """tcpdump prints no number of a segment without data: it was called a deliberate abort."""
    told = reset_of(evenly(6, 2, 2, 2))
    assert (told.reset.cause, told.reset.confidence) == (Cause.KEEPALIVE, MEDIUM)
    assert (told.reset.alternatives, told.harm) == ((Cause.DELIBERATE,), Harm.NOBODY)
    assert "at even intervals (packets 7 to 9)" in said_of(evenly(6, 2, 2, 2))


@pytest.mark.parametrize(
    "talk",
    [evenly(6, 2, 2, 5), evenly(2, 2), evenly(6, 0.1, 0.1, 0.1), evenly(6, 2, 2, 2, ttl=64)],
    ids=["at another time", "too few", "too soon", "with numbers"],
)
def test_what_only_looks_like_probes(talk: Talk) -> None:
    assert reset_of(talk).reset.cause is not Cause.KEEPALIVE


def test_the_same_reset_once_more_hurts_whom_the_first_did() -> None:
    """One was a scanner's, and harmless; its copy had lost every user his connection."""
    talk = Talk().c(SYN).s(SYN | ACK)
    talk.bare_rst(way=0, seq=talk.seqs[0]).bare_rst(way=0, seq=talk.seqs[0])
    first, again = flow_of(talk).resets
    assert (first.harm, again.harm) == (Harm.NOBODY, Harm.NOBODY)
    assert first.trigger == again.trigger == 2
