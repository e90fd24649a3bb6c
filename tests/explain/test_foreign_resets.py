"""Resets that nobody prepared: before the connection, between two of them, and with a text."""

from __future__ import annotations

import msgspec
import pytest

from tests.explain.talk import (
    ACK,
    ALERT_13,
    CCS,
    CLIENT,
    CLIENT_HELLO,
    DATA,
    FIN,
    FINISHED_13,
    PSH,
    RST,
    SERVER,
    START_NS,
    SYN,
    Talk,
    explained,
    flow_of,
    host,
    record,
    sealed,
    server_hello,
    tls13,
)
from tests.explain.test_explain import as_text, only
from tlsprobe.captures.summary import Summary
from tlsprobe.explain import Filter
from tlsprobe.explain.choice import choose
from tlsprobe.model.causes import Cause
from tlsprobe.model.explanation import Harm
from tlsprobe.model.judgement import Confidence, Provoked, Reader
from tlsprobe.model.trace import Side
from tlsprobe.packets.packet import Endpoint, flow_key
from tlsprobe.report.explain import reader_of
from tlsprobe.report.explain_document import encode_explanation
from tlsprobe.report.pages.explain import explain_page
from tlsprobe.report.render_markdown import render_markdown

HIGH, MEDIUM, LOW = Confidence.HIGH, Confidence.MEDIUM, Confidence.LOW


def refused(talk: Talk, seconds: float = 0.0) -> Talk:
    return talk.wait(seconds).s(RST | ACK, seq=0, window=0, ip_id=0)


# --- before the connection ------------------------------------------------------------------------


def test_an_rst_before_the_syn_ack_of_the_same_syn_was_forged() -> None:
    """It was called a refusal, with nothing listening, although the exchange went on."""
    talk = refused(Talk().c(SYN)).s(SYN | ACK).c().c(PSH | ACK, DATA).s(PSH | ACK, DATA)
    told = only(flow_of(talk))
    assert (told.reset.cause, told.reset.confidence) == (Cause.MIDDLEBOX, HIGH)


def test_one_that_is_accepted_and_comes_to_nothing_is_less_sure() -> None:
    told = only(flow_of(refused(Talk().c(SYN)).s(SYN | ACK)))
    assert (told.reset.cause, told.reset.confidence) == (Cause.MIDDLEBOX, MEDIUM)
    assert told.reset.alternatives == (Cause.REFUSED,)


def test_a_syn_that_is_tried_again_and_taken_was_refused_before() -> None:
    talk = refused(Talk().c(SYN))
    talk.seqs[0] -= 1
    talk.wait(1).c(SYN).s(SYN | ACK).c().c(PSH | ACK, DATA)
    told = only(flow_of(talk))
    assert (told.reset.cause, told.reset.confidence) == (Cause.REFUSED, MEDIUM)
    assert told.reset.alternatives == (Cause.MIDDLEBOX,)
    assert "asks again in packet 3, and is let in" in " ".join(told.reset.evidence)
    assert "ECONNREFUSED" not in render_markdown(explain_page(explained(talk)))


def test_each_retried_syn_has_its_own_refusal() -> None:
    talk = Talk()
    for _ in range(3):
        refused(talk.wait(0.5).c(SYN))
        talk.seqs[0] -= 1
    flow = flow_of(talk)
    assert [told.reset.cause for told in flow.resets] == [Cause.REFUSED] * 3
    assert [told.trigger for told in flow.resets] == [1, 3, 5]
    assert reader_of(flow).startswith("ECONNREFUSED")
    assert "REJECT" in " ".join(flow.resets[0].reset.evidence)


def test_what_a_client_answers_while_it_connects_is_not_sure() -> None:
    """A forged FIN came before the SYN-ACK; the client goes on."""
    talk = Talk().c(SYN).s(FIN | ACK, seq=7000)
    talk.c(RST, seq=talk.seqs[1], ack=None, window=0).s(SYN | ACK).c().c(PSH | ACK, DATA)
    (reset,) = (told.reset for told in flow_of(talk).resets)
    assert (reset.side, reset.confidence) == (Side.CLIENT, LOW)


def test_a_half_open_scan_is_no_middlebox_and_what_comes_later_another_connection() -> None:
    talk = Talk().c(SYN, df=False).s(SYN | ACK)
    talk.bare_rst(way=0, seq=talk.seqs[0])
    talk.wait(15).c(PSH | ACK, DATA, df=False).bare_rst(way=1)
    client, server = flow_of(talk).resets
    assert (client.reset.side, client.reset.cause) == (Side.CLIENT, Cause.NO_STATE)
    assert client.trigger == 2
    assert "half-open" in " ".join(client.reset.evidence)
    assert (server.reset.side, server.reset.cause) == (Side.SERVER, Cause.NO_STATE)
    assert "RST in packet 3" in " ".join(server.reset.evidence)


def test_who_resets_the_answer_and_asks_again_is_no_scanner() -> None:
    """A virtual address was translated, and its answer was not: nobody was said to be hurt."""
    talk = Talk().c(SYN).s(SYN | ACK)
    talk.bare_rst(way=0)
    talk.seqs = [talk.seqs[0] - 1, talk.seqs[1] - 1]
    talk.wait(1).c(SYN).s(SYN | ACK).bare_rst(way=0)
    first, second = flow_of(talk).resets
    assert (first.reset.cause, first.reset.provoked) == (Cause.NO_STATE, Provoked.WANTED_SYN)
    assert (first.harm, second.harm) == (Harm.ERROR, Harm.NOBODY)
    assert "packet 4 is the same SYN again" in " ".join(first.reset.evidence)
    assert first.remedy is not None and "virtual IP" in " ".join(first.remedy.sentences)


def test_signs_of_a_foreign_sender_come_from_later_packets_too() -> None:
    """Of a sender that was not heard of before; they do so for some seconds."""

    def told(seconds: float) -> tuple[Cause, int]:
        talk = Talk().c(SYN).s(RST | ACK, seq=77, ttl=9, window=0)
        talk.wait(seconds).s(SYN | ACK).c().c(PSH | ACK, DATA).s(PSH | ACK, DATA)
        (reset,) = (told.reset for told in flow_of(talk).resets)
        return reset.cause, sum("TTL" in sentence for sentence in reset.evidence)

    assert told(0.1) == (Cause.MIDDLEBOX, 1)
    assert told(15)[1] == 0


# --- a text in the RST ----------------------------------------------------------------------------


def test_a_text_in_an_rst_is_shown_and_is_no_data() -> None:
    text = b"BOX-7: \x1b[31mno pool member\n"
    talk = tls13().s(RST | ACK, text)
    flow = flow_of(talk)
    (told,) = flow.resets
    assert told.reset.text == "BOX-7: \x1b[31mno pool member"
    assert Cause.MIDDLEBOX in told.reset.alternatives
    assert flow.signature == "r"
    page = " ".join(render_markdown(explain_page(explained(talk))).split())
    assert 'does not belong to the stream: "BOX-7: ' in page
    assert "no pool member" in page and "\x1b" not in page
    (document,) = msgspec.json.decode(encode_explanation(explained(talk)))["flows"]
    assert document["resets"][0]["text"] == "BOX-7: \\x1b[31mno pool member"


def test_a_long_text_is_cut_and_one_that_is_none_spelled_out() -> None:
    (told,) = flow_of(tls13().s(RST | ACK, b"x" * 1000)).resets
    assert any(sentence.endswith('xxx..."') for sentence in told.reset.evidence)
    (told,) = flow_of(tls13().s(RST | ACK, b"\xff\xfe")).resets
    assert told.reset.text == "\\xff\\xfe"


def test_a_text_does_not_move_what_comes_later() -> None:
    """The next data stands where the RST stood, not behind its text."""
    talk = tls13().s(RST | ACK, b"forged").s(PSH | ACK, DATA).c()
    flow = flow_of(talk)
    assert flow.complete
    assert all("retransmission" not in line.text for line in flow.ladder)


# --- alerts that are no close_notify --------------------------------------------------------------


def with_client_certificate() -> Talk:
    """TLS 1.3 up to the client's last flight, which holds a certificate and a request."""
    talk = Talk().open().c(PSH | ACK, CLIENT_HELLO)
    talk.s(PSH | ACK, server_hello() + CCS + sealed(50) + sealed(900) + FINISHED_13)
    return talk.c(PSH | ACK, CCS + sealed(900) + sealed(300) + FINISHED_13)


def test_an_alert_before_any_data_of_the_server_refuses() -> None:
    """A refused client certificate was taken for a close_notify, and an abort behind it."""
    talk = with_client_certificate().s(PSH | ACK, ALERT_13).s(RST | ACK)
    flow = flow_of(talk)
    told = only(flow)
    assert flow.signature == "a r"
    assert (told.reset.cause, told.reset.confidence) == (Cause.UNREAD_AT_CLOSE, MEDIUM)
    assert told.reset.provoked is Provoked.HANDSHAKE


@pytest.mark.parametrize(
    "talk",
    [
        pytest.param(
            with_client_certificate().s(PSH | ACK, sealed(250) + sealed(250)), id="tickets"
        ),
        pytest.param(with_client_certificate().c(PSH | ACK, ALERT_13), id="the client has ended"),
        pytest.param(with_client_certificate().wait(60), id="an idle timer"),
    ],
)
def test_others_are_close_notify(talk: Talk) -> None:
    flow = flow_of(talk.s(PSH | ACK | FIN, ALERT_13).c(FIN | ACK))
    assert "a" not in flow.signature.lower()


def test_a_plain_alert_of_tls_12_is_one_in_text_too() -> None:
    talk = Talk().open().c(PSH | ACK, bytes(217)).s(PSH | ACK, bytes(1400))
    talk.c(PSH | ACK, bytes(1482)).s(PSH | ACK, bytes(7)).s(RST | ACK)
    flow = flow_of(as_text(talk), kind="text")
    told = only(flow)
    assert flow.signature == "a r"
    assert (told.reset.cause, told.reset.confidence) == (Cause.UNREAD_AT_CLOSE, MEDIUM)
    assert told.reset.provoked is Provoked.HANDSHAKE


def test_seven_bytes_of_a_protocol_without_tls_are_no_alert() -> None:
    """Redis answers PING with +PONG and a line end."""
    talk = Talk().open().c(PSH | ACK, bytes(14)).s(PSH | ACK, bytes(5)).c(PSH | ACK, bytes(14))
    flow = flow_of(as_text(talk.s(PSH | ACK, bytes(7)).s(RST | ACK)), kind="text")
    assert "a" not in flow.signature


# --- what ended nothing ---------------------------------------------------------------------------


def forged_before_the_answer() -> Talk:
    """An RST and a FIN in the server's name, the client's answer to them, and all goes on."""
    talk = refused(Talk().c(SYN)).s(FIN | ACK, seq=0)
    talk.seqs[1] -= 1
    talk.bare_rst(0)
    return talk.s(SYN | ACK).c().c(PSH | ACK, DATA).s(PSH | ACK, DATA).c()


def test_ends_before_the_answer_hurt_nobody_where_all_goes_on() -> None:
    """The client's answer to the forged FIN got the remedies of a NAT that forgets."""
    flow = flow_of(forged_before_the_answer())
    forged, answer = (told.reset for told in flow.resets)
    assert (forged.cause, answer.side, answer.cause) == (
        *(Cause.MIDDLEBOX, Side.CLIENT, Cause.NO_STATE),
    )
    assert not forged.heeded and not answer.heeded
    assert flow.reader is Reader.TIMEOUT, "the server's end is not in the capture"
    page = render_markdown(explain_page(explained(forged_before_the_answer())))
    assert "Nobody: its receiver went on" in page
    assert "NAT" not in page


def test_an_rst_in_the_midst_that_nobody_heeds_is_no_end() -> None:
    talk = Talk().open().c(PSH | ACK, DATA).s(PSH | ACK, DATA).c()
    talk.s(RST, seq=99_000, ack=None, window=0, ttl=250, ip_id=0, df=False)
    flow = flow_of(talk.s(PSH | ACK, DATA).c().s(FIN | ACK).c(FIN | ACK))
    assert not only(flow).reset.heeded
    assert flow.reader is Reader.EOF


def test_one_whose_receiver_says_no_more_is_heeded() -> None:
    """Acknowledgements of what came before it prove nothing."""
    talk = Talk().open().c(PSH | ACK, DATA).s(PSH | ACK, DATA).s(RST | ACK).c()
    flow = flow_of(talk)
    assert only(flow).reset.heeded
    assert flow.reader is Reader.RESET


def test_what_came_behind_its_own_sides_reset_is_no_lost_state() -> None:
    """A scanner's half-open connection, and other data on the same ports later."""
    talk = Talk().c(SYN).s(SYN | ACK).bare_rst(0).wait(15).c(PSH | ACK, DATA).bare_rst()
    scan, late = (told.reset for told in flow_of(talk).resets)
    assert (scan.provoked, late.provoked) == (Provoked.SYN, Provoked.BEHIND_RESET)
    page = render_markdown(explain_page(explained(talk)))
    assert "NAT" not in page
    assert "such as a scanner" in page


# --- alerts that nothing seals --------------------------------------------------------------------

PLAIN_NOTIFY = bytes.fromhex("15030100020100")
PLAIN_FAILURE = bytes.fromhex("15030300020228")


@pytest.mark.parametrize(
    ("talk", "signature"),
    [
        (Talk().open().c(PSH | ACK, PLAIN_NOTIFY).s(PSH | ACK, PLAIN_FAILURE), "N a"),
        (
            Talk().open().c(PSH | ACK, PLAIN_NOTIFY + CLIENT_HELLO).s(PSH | ACK, PLAIN_FAILURE),
            "NH a",
        ),
        (Talk().open().c(PSH | ACK, PLAIN_NOTIFY).c(PSH | ACK, CLIENT_HELLO), "N H"),
        (Talk().open().c(PSH | ACK, CLIENT_HELLO + PLAIN_NOTIFY), "N"),
        (Talk().open().c(PSH | ACK, CLIENT_HELLO).s(PSH | ACK, PLAIN_FAILURE), "a"),
        (
            Talk().open().c(PSH | ACK, CLIENT_HELLO).s(PSH | ACK, PLAIN_FAILURE + PLAIN_NOTIFY),
            "an",
        ),
        (
            Talk().open().c(PSH | ACK, PLAIN_NOTIFY[:6]).c(PSH | ACK, PLAIN_NOTIFY[6:]),
            "N",
        ),
        (Talk().open().c(PSH | ACK, PLAIN_NOTIFY + b"HELO there"), "D"),
    ],
    ids=[
        *("before any hello", "with the hello behind it", "a hello after it"),
        *("behind the hello", "the server's whole answer", "two", "cut", "not TLS at all"),
    ],
)
def test_an_alert_that_nothing_seals_is_one_wherever_it_stands(talk: Talk, signature: str) -> None:
    """Only one alone in its segment, at the very beginning, was known as one."""
    assert flow_of(talk).signature == signature


def test_the_servers_flight_is_a_handshake_though_the_client_never_finished() -> None:
    """It was data, where the client's alert came with its hello."""
    talk = Talk().open().c(PSH | ACK, CLIENT_HELLO + PLAIN_NOTIFY)
    talk.s(PSH | ACK, server_hello() + CCS + sealed(800)).c().s(FIN | ACK)
    assert flow_of(talk).signature == "N h f"


def test_a_handshake_that_fails_at_once_is_an_alert_in_text_too() -> None:
    """All that the server says is seven bytes: it was called a handshake."""
    talk = Talk().open().c(PSH | ACK, bytes(217)).s(PSH | ACK, bytes(7)).s(FIN | ACK)
    assert flow_of(as_text(talk), kind="text").signature == "a f"


def test_a_client_that_refuses_a_certificate_leaves_the_rest_of_the_flight_unread() -> None:
    """OpenSSL reads record by record, and the kernel says TCP_ABORT_ON_CLOSE of this reset."""
    unknown_ca = bytes.fromhex("15030300020230")
    flight = server_hello() + record(22, bytes(900)) + record(22, bytes(300)) + record(22, bytes(4))
    talk = Talk().open().c(PSH | ACK, CLIENT_HELLO).s(PSH | ACK, flight).c()
    reset = only(flow_of(talk.c(PSH | ACK, unknown_ca).c(RST | ACK))).reset
    assert (reset.cause, reset.confidence) == (Cause.UNREAD_AT_CLOSE, MEDIUM)
    assert reset.alternatives == (Cause.DELIBERATE, Cause.MIDDLEBOX)


def test_what_it_read_before_it_went_on_is_not_unread() -> None:
    """Beside it: the handshake was answered, and the alert came later."""
    talk = tls13().c(PSH | ACK, sealed(200)).s(PSH | ACK, sealed(300)).c(PSH | ACK, ALERT_13)
    reset = only(flow_of(talk.c(RST | ACK))).reset
    assert reset.cause is Cause.DELIBERATE


# --- what was not captured ------------------------------------------------------------------------


@pytest.mark.parametrize(("kept", "harm"), [(2, Harm.NOBODY), (9, Harm.LOST)])
def test_without_its_headers_tls_is_known_by_the_sizes_of_its_records(
    kept: int, harm: Harm
) -> None:
    """A snap length of 68: a close_notify behind the server's FIN was a lost request.

    Where the header of a record would be seen, it is none.
    """
    body = bytes(kept)
    talk = Talk().open().c(PSH | ACK, body, length=300).s(PSH | ACK, body, length=900).c()
    talk.s(FIN | ACK).c(PSH | ACK, body, length=31).bare_rst()
    told = only(flow_of(talk))
    assert (told.reset.cause, told.harm) == (Cause.DATA_AFTER_CLOSE, harm)


# --- what a text leaves out -----------------------------------------------------------------------


def answered_then_reset() -> Talk:
    talk = Talk().open().c(PSH | ACK, bytes(200)).s(PSH | ACK, bytes(300)).c()
    return talk.s(RST | ACK)


def test_without_a_hop_limit_a_box_cannot_be_excluded() -> None:
    """As in tcpdump's and Wireshark's lines: the reset may be anybody's."""
    seen = only(flow_of(answered_then_reset()))
    unseen = only(flow_of(as_text(answered_then_reset()), kind="text"))
    assert seen.reset.cause is unseen.reset.cause is Cause.DELIBERATE
    assert Cause.MIDDLEBOX in unseen.reset.alternatives
    assert (seen.reset.odd, unseen.reset.odd) == (False, True)
    assert any("hop limit" in sentence for sentence in unseen.reset.evidence)
    assert not any("hop limit" in sentence for sentence in seen.reset.evidence)


@pytest.mark.parametrize(("ack", "foreign"), [(1401, False), (1150, True), (9000, True)])
def test_an_odd_acknowledgement_may_be_a_boxs(ack: int, *, foreign: bool) -> None:
    """It covers less than its sender had acknowledged before, or more than the peer had sent."""
    talk = Talk().open().c(PSH | ACK, bytes(200)).s(PSH | ACK, bytes(300)).c(PSH | ACK, bytes(200))
    told = only(flow_of(as_text(talk.s(RST | ACK, ack=ack)), kind="text"))
    assert told.reset.odd is foreign
    assert Cause.MIDDLEBOX in told.reset.alternatives


@pytest.mark.parametrize("taken", [True, False])
def test_a_refused_syn_is_no_connection_that_goes_on_elsewhere(*, taken: bool) -> None:
    """A scanner's next probe has its numbers, from the next port: no address was rewritten."""
    summary = Summary()
    asking, answering = flow_key(CLIENT, SERVER), flow_key(SERVER, CLIENT)
    numbers = (7).to_bytes(4, "big") + (9).to_bytes(4, "big")
    summary.note(asking, 1, START_NS, SYN, numbers)
    summary.note(answering, 2, START_NS, SYN | ACK if taken else RST | ACK, numbers[::-1])
    assert len([*choose(summary, Filter()).nat_entries()]) == taken


# --- from where the capture is --------------------------------------------------------------------


LOOPBACK = (host("127.0.0.1"), 40000), (host("127.0.0.1"), 443)
ONE_HOST = (host("192.0.2.1"), 40000), (host("192.0.2.1"), 443)


def reset_at_its_hello(ends: tuple[Endpoint, Endpoint]) -> Talk:
    talk = Talk(*ends).open().c(PSH | ACK, CLIENT_HELLO)
    return talk.s(RST | ACK)


@pytest.mark.parametrize("ends", [LOOPBACK, ONE_HOST, (CLIENT, SERVER)])
@pytest.mark.parametrize("is_text", [False, True])
def test_a_box_may_reset_what_leaves_the_host(
    ends: tuple[Endpoint, Endpoint], *, is_text: bool
) -> None:
    """A firewall that dislikes a name resets the ClientHello, and it is unanswered then."""
    talk = reset_at_its_hello(ends)
    flow = flow_of(as_text(talk), kind="text") if is_text else flow_of(talk)
    reset = only(flow).reset
    assert (reset.cause, reset.confidence) == (Cause.UNREAD_AT_CLOSE, MEDIUM)
    assert (Cause.MIDDLEBOX in reset.alternatives) is (ends == (CLIENT, SERVER))


def test_on_one_host_an_abort_is_nobody_elses() -> None:
    talk = Talk(*LOOPBACK).open().c(PSH | ACK, bytes(200)).s(PSH | ACK, bytes(300)).c()
    reset = only(flow_of(as_text(talk.s(RST | ACK)), kind="text")).reset
    assert (reset.cause, reset.alternatives) == (Cause.DELIBERATE, (Cause.UNREAD_AT_CLOSE,))


@pytest.mark.parametrize(("ends", "is_near"), [(LOOPBACK, True), ((CLIENT, SERVER), False)])
def test_the_kernel_tells_what_a_capture_at_one_end_does_not(
    ends: tuple[Endpoint, Endpoint], *, is_near: bool
) -> None:
    told = only(flow_of(Talk(*ends).open().c(PSH | ACK, bytes(100)).s(RST | ACK)))
    assert told.capture is not None
    assert ("in between" not in told.capture) is is_near
    assert "tcp_send_reset" in told.capture


# --- before the connection, and no answer to its SYN ----------------------------------------------


def missed(ack: int | None, talk: Talk | None = None) -> Talk:
    """An RST that comes to a SYN and does not acknowledge it."""
    flags = RST if ack is None else RST | ACK
    return (talk or Talk().c(SYN)).s(flags, seq=0, ack=ack, window=0, ip_id=0)


@pytest.mark.parametrize("ack", [77_777, 1000, 1002, None])
def test_a_client_that_connects_takes_no_rst_that_does_not_acknowledge_its_syn(
    ack: int | None,
) -> None:
    """It was called a deliberate abort, with ECONNRESET for the reader."""
    flow = flow_of(missed(ack))
    told = only(flow)
    assert (told.reset.cause, told.reset.confidence, told.harm) == (
        Cause.UNKNOWN,
        LOW,
        Harm.UNCLEAR,
    )
    assert (told.trigger, told.reset.provoked) == (1, Provoked.SYN)
    assert (flow.reader, reader_of(flow)) == (
        Reader.TIMEOUT,
        "nothing: no connection had come about",
    )
    assert "nothing of the client follows" in " ".join(told.reset.evidence)
    assert "deliberate" not in render_markdown(explain_page(explained(missed(ack))))


def test_one_that_sends_its_syn_again_was_not_hurt() -> None:
    talk = missed(77_777)
    talk.seqs[0] -= 1
    told = only(flow_of(talk.wait(1).c(SYN)))
    assert (told.reset.cause, told.reset.heeded, told.harm) == (Cause.UNKNOWN, False, Harm.NOBODY)
    assert "SYN again after 1.0 s (packet 3)" in " ".join(told.reset.evidence)
    assert told.remedy is not None and "went on trying" in told.remedy.hurts


@pytest.mark.parametrize("ack", [1001, 1006])
def test_a_syn_with_data_is_refused_by_an_rst_that_acknowledges_any_of_it(ack: int) -> None:
    """TCP Fast Open: what covers the SYN is taken, with or without its data."""
    told = only(flow_of(missed(ack, Talk().c(SYN, b"hello"))))
    assert (told.reset.cause, told.reset.heeded, told.trigger) == (Cause.REFUSED, True, 1)
