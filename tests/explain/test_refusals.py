"""Who refuses in a sealed alert, and ends of which one alone speaks TLS; beside each, none."""

from __future__ import annotations

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
from tlsprobe.explain import Filter
from tlsprobe.model.causes import Cause
from tlsprobe.model.explanation import Harm, Trouble
from tlsprobe.model.judgement import Provoked
from tlsprobe.report.troubles import trouble_sentence

GET = b"GET / HTTP/1.1\r\nHost: db.example\r\n\r\n"
PLAIN = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
FLIGHT = server_hello() + CCS + sealed(50) + sealed(900) + FINISHED_13


def troubles(talk: Talk) -> list[Trouble]:
    return [one for flow in explained(talk, wanted=Filter()).flows for one in flow.troubles]


def said(talk: Talk) -> list[tuple[str, str, str, bool]]:
    return [(str(one.kind), str(one.side), one.what, one.sure) for one in troubles(talk)]


def greeted(**fields: object) -> Talk:
    return Talk(**fields).open().c(PSH | ACK, CLIENT_HELLO)  # type: ignore[arg-type]


def test_a_client_whose_handshake_is_an_alert_refused_the_certificate() -> None:
    talk = greeted().s(PSH | ACK, FLIGHT).c(PSH | ACK | FIN, CCS + ALERT_13).s(ACK | FIN).c()
    assert said(talk) == [("fatal-alert", "client", "sealed-client", False)]
    (one,) = troubles(talk)
    assert one.packets == (6,)
    assert "the client refused to go on, probably (packet 6)" in trouble_sentence(one)


def test_who_finished_and_ended_refused_nothing() -> None:
    """A health check shakes hands and says goodbye."""
    talk = greeted().s(PSH | ACK, FLIGHT).c(PSH | ACK | FIN, CCS + FINISHED_13 + ALERT_13)
    assert said(talk.s(PSH | ACK | FIN, ALERT_13).c()) == []


def test_an_alert_behind_a_hole_may_follow_a_finished_that_was_not_captured() -> None:
    talk = greeted().s(PSH | ACK, FLIGHT).c(PSH | ACK, CCS + FINISHED_13).c(PSH | ACK, ALERT_13)
    del talk.packets[-2]
    assert said(talk.c(ACK | FIN).s(ACK | FIN).c()) == []


def test_a_server_that_says_no_more_than_an_alert_refused_the_client() -> None:
    talk = greeted().s(PSH | ACK, FLIGHT)
    talk.c(PSH | ACK, CCS + sealed(700) + FINISHED_13).s(PSH | ACK | FIN, ALERT_13)
    talk.c(ACK | FIN).s()
    assert said(talk) == [("fatal-alert", "server", "sealed-server", False)]
    assert "misses one, or has closed at once" in trouble_sentence(troubles(talk)[0])


@pytest.mark.parametrize("tail", [ALERT_13, ALERT_13 + ALERT_13])
def test_an_alert_behind_data_is_a_goodbye(tail: bytes) -> None:
    talk = tls13().s(PSH | ACK | FIN, tail).c(PSH | ACK | FIN, ALERT_13).s()
    assert said(talk) == []


def test_tls_to_a_port_of_plain_text() -> None:
    talk = greeted().s(PSH | ACK | FIN, PLAIN).c(ACK | FIN).s()
    assert said(talk) == [("no-tls", "server", "plain-answer", True)]
    assert "is for plain text" in trouble_sentence(troubles(talk)[0])


def test_plain_text_to_a_port_of_tls() -> None:
    talk = Talk().open().c(PSH | ACK, GET).s(PSH | ACK | FIN, record(21, b"\x02\x32"))
    talk.c(ACK | FIN).s()
    assert ("no-tls", "client", "tls-answer", True) in said(talk)


@pytest.mark.parametrize(("port", "expected"), [(443, True), (40_001, False)])
def test_who_ends_without_a_word_on_plain_text_perhaps_wants_tls(
    port: int, *, expected: bool
) -> None:
    talk = Talk(server=(CLIENT[0], port)).open().c(PSH | ACK, GET).s(ACK | FIN).c(ACK | FIN).s()
    what = ("no-tls", "client", "tls-silence", False)
    assert said(talk) == ([what] if expected else [])


def test_who_ends_without_a_word_on_a_hello() -> None:
    talk = greeted().s(ACK | FIN).c(ACK | FIN).s()
    assert said(talk) == [("no-tls", "server", "plain-silence", False)]


@pytest.mark.parametrize(
    "talk",
    [
        Talk().open().c(PSH | ACK, GET).s(PSH | ACK | FIN, PLAIN).c(ACK | FIN).s(),
        greeted().c(ACK | FIN).s(ACK | FIN).c(),
        greeted().s(PSH | ACK, FLIGHT).c(ACK | FIN).s(ACK | FIN).c(),
        Talk().open().s(PSH | ACK, b"220 hello\r\n").c(ACK | FIN).s(ACK | FIN).c(),
        Talk().open().c(PSH | ACK, b"STARTTLS\r\n").s(PSH | ACK, b"220 go\r\n").c(FIN | ACK),
        greeted().s(PSH | ACK, PLAIN).c(RST),
    ],
    ids=["plain", "client first", "in the handshake", "banner", "starttls", "reset"],
)
def test_who_understand_each_other_or_did_not_wait_are_no_trouble(talk: Talk) -> None:
    assert said(talk) == []


def test_a_hello_that_was_captured_in_part_tells_nothing() -> None:
    talk = greeted().s(PSH | ACK, DATA).c(ACK | FIN).s(ACK | FIN)
    del talk.packets[0]
    assert not any(kind == "no-tls" for kind, *_ in said(talk))


# --- what answers, and what was not captured ------------------------------------------------------


def test_tickets_answer_the_handshake_and_not_the_request_that_came_with_it() -> None:
    """stunnel, whose backend is gone, resets with the request unread (TCP_ABORT_ON_CLOSE)."""
    talk = greeted().s(PSH | ACK, FLIGHT).c(PSH | ACK, CCS + FINISHED_13).c(PSH | ACK, DATA)
    talk.s(PSH | ACK, sealed(250) + sealed(250)).c().s(RST | ACK)
    (told,) = flow_of(talk).resets
    assert told.reset.cause is Cause.UNREAD_AT_CLOSE
    assert told.harm is Harm.LOST
    assert any("200 bytes" in one or "205 bytes" in one for one in told.reset.evidence)
    answered = greeted().s(PSH | ACK, FLIGHT).c(PSH | ACK, CCS + FINISHED_13).c(PSH | ACK, DATA)
    answered.s(PSH | ACK, sealed(250) + sealed(250)).s(PSH | ACK, DATA).c().s(RST | ACK)
    (told,) = flow_of(answered).resets
    assert told.reset.cause is Cause.DELIBERATE


def test_tickets_before_a_request_leave_the_handshake_read() -> None:
    talk = greeted().s(PSH | ACK, FLIGHT).c(PSH | ACK, CCS + FINISHED_13)
    talk.s(PSH | ACK, sealed(250) + sealed(250)).c().s(RST | ACK)
    (told,) = flow_of(talk).resets
    assert told.reset.cause is Cause.DELIBERATE


@pytest.mark.parametrize("relative", [False, True])
def test_a_bare_rst_behind_a_fin_answers_what_was_left_out(*, relative: bool) -> None:
    """Who shortens a trace leaves out the client's packets: it was the server's own abort."""
    talk = Talk(relative=relative).open().c(PSH | ACK, GET).s(PSH | ACK | FIN, PLAIN)
    talk.c(PSH | ACK, GET).bare_rst()
    left_out = [p for p in talk.packets if p.flags & SYN or p.src == talk.server]
    talk.packets[:] = left_out
    (told,) = flow_of(talk).resets
    assert (told.reset.cause, told.reset.provoked) == (Cause.DATA_AFTER_CLOSE, Provoked.UNSEEN)
    assert Cause.CLOSED_ALREADY in told.reset.alternatives
    assert told.harm is Harm.UNCLEAR
    assert told.remedy is not None
    assert told.remedy.hurts.startswith("Unclear")


def test_with_all_of_the_clients_packets_there_is_nothing_to_answer() -> None:
    talk = Talk().open().c(PSH | ACK, GET).s(PSH | ACK | FIN, PLAIN).c().wait(20).bare_rst()
    (told,) = flow_of(talk).resets
    assert told.reset.cause is Cause.DELIBERATE


# --- behind an address that is translated, and behind the server's FIN ----------------------------


@pytest.mark.parametrize("acknowledged", [1001, 1002])
def test_a_syn_that_is_refused_behind_a_translated_address(acknowledged: int) -> None:
    asked = Talk(server=(host("192.0.2.99"), 443)).c(SYN)
    answer = Talk(now=asked.now).s(RST | ACK, seq=0, ack=acknowledged, window=0)
    (flow,) = explained(asked, answer, wanted=Filter()).flows
    (told,) = flow.resets
    is_the_same = acknowledged == 1001
    assert (told.reset.cause is Cause.REFUSED) is is_the_same
    assert any("192.0.2.99:443" in one for one in told.reset.evidence) is is_the_same


@pytest.mark.parametrize("closed", [True, False])
def test_who_closed_before_hears_nothing_of_a_clients_reset(*, closed: bool) -> None:
    talk = tls13().s(PSH | ACK | (FIN if closed else 0), DATA).c().wait(1).c(RST | ACK)
    (told,) = flow_of(talk).resets
    assert told.remedy is not None
    assert ("A server that had closed hears nothing" in told.remedy.hurts) is closed
    assert told.harm is Harm.ERROR


@pytest.mark.parametrize("same", [True, False])
def test_a_connection_under_two_addresses_is_called_one(*, same: bool) -> None:
    """A node of Kubernetes sees it as the pod does, and as the backend of the service does."""
    asked = Talk(server=(host("192.0.2.99"), 80)).open().c(PSH | ACK, GET).s(RST | ACK)
    begun = [1000, 5000] if same else [1000, 5001]
    passed = Talk(now=START_NS + 1000, seqs=begun).open().c(PSH | ACK, GET).s(RST | ACK)
    notes = explained(asked, passed, wanted=Filter()).source.notes
    told = [note for note in notes if "on either side of a translation of addresses" in note]
    assert len(told) == (1 if same else 0)
    assert all("192.0.2.1:40000 to 192.0.2.99:80 is 192.0.2.1:40000 to" in note for note in told)
