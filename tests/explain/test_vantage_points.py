"""What one place of a capture shows of resets by boxes, lost answers, and translated addresses.

The scenes were made with real kernels in three network namespaces, whose tracepoint told the truth.
"""

from __future__ import annotations

from typing import Any

from tests.explain.talk import (
    ACK,
    CLIENT_HELLO,
    DATA,
    FIN,
    PSH,
    RST,
    SYN,
    Talk,
    explained,
    flow_of,
    host,
    tls13,
)
from tlsprobe.model.causes import Cause
from tlsprobe.model.explanation import ExplainedFlow, ExplainedReset, Harm
from tlsprobe.model.judgement import Confidence, Provoked
from tlsprobe.model.trace import Side
from tlsprobe.packets.packet import Endpoint

BOX: dict[str, Any] = {"ttl": 60, "timestamps": False, "ip_id": 0}
ASKED, SAID = b"question\n", b"answer\n"


def asked() -> Talk:
    return Talk().open().c(PSH | ACK, ASKED).s(PSH | ACK, SAID).c()


def resets(flow: ExplainedFlow) -> list[ExplainedReset]:
    return list(flow.resets)


def test_who_was_reset_by_a_box_had_not_closed() -> None:
    """The firewall rejected the server's answer: what it had under way hides no FIN of its own."""
    talk = Talk().open().c(PSH | ACK, ASKED).s()
    talk.s(PSH | ACK, SAID, ack=talk.seqs[0])
    talk.c(RST, b"", ack=None, window=0, seq=talk.seqs[0], **BOX).wait(0.3)
    talk.c(PSH | ACK, ASKED, ack=talk.seqs[1] - len(SAID))
    box, answer = resets(flow_of(talk.bare_rst(seq=talk.seqs[1] - len(SAID))))
    assert box.reset.cause is Cause.MIDDLEBOX
    assert answer.reset.cause is Cause.NO_STATE
    assert (answer.reset.provoked, answer.harm) == (Provoked.DATA, Harm.LOST)


def test_what_a_box_sends_behind_a_clients_own_reset_hurts_nobody() -> None:
    talk = asked().c(RST | ACK).wait(0.2)
    own, box = resets(flow_of(talk.s(RST, ack=None, window=0, seq=9_999, df=False, **BOX)))
    assert own.harm is Harm.ERROR
    assert (box.reset.cause, box.reset.provoked) == (Cause.MIDDLEBOX, Provoked.BEHIND_RESET)
    assert box.harm is Harm.NOBODY
    assert box.remedy is not None
    assert box.remedy.hurts.startswith("Nobody")


def test_what_a_client_without_its_state_is_sent_is_no_request() -> None:
    (told,) = resets(flow_of(asked().wait(3).s(PSH | ACK, SAID).bare_rst(way=0)))
    assert (told.reset.side, told.reset.cause) == (Side.CLIENT, Cause.NO_STATE)
    assert told.harm is Harm.LOST
    assert told.remedy is not None
    assert "request" not in told.remedy.hurts


def test_a_client_whose_window_was_shut_had_not_read() -> None:
    talk = Talk().open().c(PSH | ACK, ASKED).s(PSH | ACK, DATA).s(PSH | ACK, DATA)
    (told,) = resets(flow_of(talk.c(window=0).wait(1).c(RST | ACK)))
    assert (told.reset.cause, told.reset.confidence) == (Cause.UNREAD_AT_CLOSE, Confidence.MEDIUM)
    assert Cause.DELIBERATE in told.reset.alternatives
    opened = talk.packets[:-1]
    again = Talk(packets=opened, seqs=talk.seqs, number=talk.number, now=talk.now)
    (other,) = resets(flow_of(again.c(window=400).c(RST | ACK)))
    assert other.reset.cause is Cause.DELIBERATE


def probed(*, late: float) -> Talk:
    """A server whose probes are answered here, and which resets after as long again, or not."""
    talk = asked()
    for _ in range(2):
        talk.wait(1).s(seq=talk.seqs[1] - 1).c()
    return talk.wait(late).s(RST | ACK)


def test_probes_that_are_answered_here_may_not_be_there() -> None:
    (told,) = resets(flow_of(probed(late=1)))
    assert told.reset.cause is Cause.DELIBERATE
    assert Cause.KEEPALIVE in told.reset.alternatives
    (sooner,) = resets(flow_of(probed(late=0.4)))
    assert Cause.KEEPALIVE not in sooner.reset.alternatives


HOST: Endpoint = (host("192.0.2.77"), 443)


def virtual(*, answered: bool = False) -> list[Talk]:
    """A client that asks a virtual address, and gets its answer from the machine behind that."""
    asking = Talk(server=HOST).c(SYN)
    if answered:
        asking.s(SYN | ACK).c()
    behind = Talk(now=asking.now)
    behind.seqs[0] += 1
    return [asking, behind.s(SYN | ACK).bare_rst(way=0)]


def test_an_answer_from_behind_a_virtual_address_is_missed() -> None:
    talks = virtual()
    (told,) = [told for flow in explained(*talks).flows for told in flow.resets]
    assert (told.reset.provoked, told.harm) == (Provoked.WANTED_SYN, Harm.ERROR)
    assert any("192.0.2.77:443 with that very number" in line for line in told.reset.evidence)
    in_print = [told for flow in explained(*talks, kind="text").flows for told in flow.resets]
    assert [told.harm for told in in_print] == [Harm.ERROR]


def test_one_that_is_answered_there_too_is_none() -> None:
    (told,) = [told for flow in explained(*virtual(answered=True)).flows for told in flow.resets]
    assert (told.reset.provoked, told.harm) == (Provoked.SYN, Harm.NOBODY)


def test_who_talks_with_a_server_under_two_addresses_is_no_server() -> None:
    """Both sides of a translation in one capture: the client's port seems to have two clients."""
    one = Talk().open().c(PSH | ACK, ASKED).s(PSH | ACK, SAID)
    two = Talk(server=(host("192.0.2.77"), 6013), now=one.now)
    two.c(PSH | ACK, ASKED).s(PSH | ACK, SAID).s(RST | ACK)
    flow = next(flow for flow in explained(one, two).flows if flow.resets)
    assert flow.server == "192.0.2.77:6013"
    assert flow.resets[0].reset.side is Side.SERVER


def test_one_response_need_not_answer_two_requests() -> None:
    """A server that ends with its first response leaves the second request unread."""
    talk = Talk().open().c(PSH | ACK, ASKED).c(PSH | ACK, ASKED).s(PSH | ACK, SAID).s(RST | ACK)
    (told,) = resets(flow_of(talk))
    assert Cause.UNREAD_AT_CLOSE in {told.reset.cause, *told.reset.alternatives}
    assert not any("nothing of the client was left unread" in line for line in told.reset.evidence)
    assert any("packets 4 to 5" in line for line in told.reset.evidence)
    one = Talk().open().c(ACK, ASKED).c(PSH | ACK, ASKED).s(PSH | ACK, SAID).s(RST | ACK)
    (other,) = resets(flow_of(one))
    assert any("nothing of the client was left unread" in line for line in other.reset.evidence)


def test_a_syn_on_the_ports_of_a_connection_tells_that_its_client_forgot_it() -> None:
    """As after a crash: the server acknowledges the old one, and is told that there is none."""
    old = asked()
    new = Talk(now=old.now + 2 * 10**8, seqs=[900_000, 800_000]).c(SYN)
    old.now = new.now
    old.s().bare_rst(way=0)
    new.now = old.now
    new.c(SYN, seq=900_000).s(SYN | ACK).c().c(PSH | ACK, ASKED).s(PSH | ACK, SAID)
    (told,) = [told for flow in explained(old, new).flows for told in flow.resets]
    assert (told.reset.cause, told.reset.confidence) == (Cause.CLOSED_ALREADY, Confidence.HIGH)
    assert any("packet 8" in line and "same ports" in line for line in told.reset.evidence)
    assert told.harm is Harm.NOBODY


def test_a_client_of_tls_at_a_port_for_plain_text_is_told_so() -> None:
    """Its library reads five bytes of what comes, and leaves the rest unread."""
    asks = Talk().open().c(PSH | ACK, CLIENT_HELLO)
    answer = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"
    flow = flow_of(asks.s(PSH | ACK, answer).s(FIN | ACK).c(RST | ACK))
    assert any("packet 5" in note and "plain text" in note for note in flow.notes)
    in_tls = flow_of(tls13().c(RST | ACK))
    assert not any("plain text" in note for note in in_tls.notes)
