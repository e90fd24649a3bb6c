"""Goodbyes in the open: what they are, and that nobody misses what answers them."""

from __future__ import annotations

import pytest

from tests.explain.talk import (
    ACK,
    ALERT_13,
    DATA,
    FIN,
    PSH,
    RST,
    Talk,
    flow_of,
    host,
    sealed,
    tls13,
)
from tests.explain.test_explain import only
from tlsprobe.explain.farewells import says_farewell
from tlsprobe.model.causes import Cause
from tlsprobe.model.explanation import Harm
from tlsprobe.model.judgement import Provoked

ASKED, SAID = b"MAIL FROM:<a@mail.example>\r\n", b"250 OK\r\n"
QUIT, BYE = b"QUIT\r\n", b"221 2.0.0 Bye\r\n"


@pytest.mark.parametrize(
    "words",
    [
        QUIT,
        BYE,
        b"quit :gone home\r\n",
        b"*1\r\n$4\r\nQUIT\r\n",
        b"a001 LOGOUT\r\n",
        b"* BYE logging out\r\n",
        b"</stream:stream>",
        b"\x88\x82\1\2\3\4\5\6",
        b"\x88\x02\x03\xe8",
        b"\0\0\x08\x07\0\0\0\0\0" + bytes(8),
        b"X\0\0\0\x04",
        b"\x01\0\0\0\x01",
        b"\xe0\0",
        b"0\x05\x02\x01\x03B\0",
        b"0\x84\0\0\0\x06\x02\x02\0\xadB\0",
    ],
)
def test_a_goodbye_is_known_by_its_words(words: bytes) -> None:
    assert says_farewell(words)


@pytest.mark.parametrize(
    "words",
    [
        b"",
        b"QUITE\r\n",
        b"NOOP\r\nQUIT\r\n",
        b"GET /LOGOUT HTTP/1.1\r\n\r\n",
        b"220 ready\r\n",
        b"\x88\x82\1\2\3\4\5",
        b"\x89\x00",
        b"\0\0\x08\x07\0\0\0\0\1" + bytes(8),
        b"\0\0\x08\x06\0\0\0\0\0" + bytes(8),
        b"X\0\0\0\x05",
    ],
)
def test_what_only_looks_like_one_is_none(words: bytes) -> None:
    assert not says_farewell(words)


def mail(last: bytes) -> Talk:
    talk = Talk().open().s(PSH | ACK, b"220 ready\r\n").c(PSH | ACK, ASKED).s(PSH | ACK, SAID)
    return talk.c(PSH | ACK, last)


def test_nobody_misses_the_answer_to_a_goodbye() -> None:
    """The client was said to lose it, as it does the response to anything else."""
    told = only(flow_of(mail(QUIT).c(FIN | ACK).s(PSH | ACK, b"closing\r\n").bare_rst(way=0)))
    assert (told.reset.cause, told.reset.provoked) == (Cause.DATA_AFTER_CLOSE, Provoked.GOODBYE)
    assert told.harm is Harm.NOBODY
    assert told.remedy is not None and "the server's farewell" in told.remedy.hurts
    lost = only(flow_of(mail(ASKED).c(FIN | ACK).s(PSH | ACK, SAID).bare_rst(way=0)))
    assert (lost.reset.provoked, lost.harm) == (Provoked.DATA, Harm.LOST)


def test_a_goodbye_that_meets_a_closed_socket_is_no_lost_request() -> None:
    talk = mail(ASKED).s(PSH | ACK, SAID).s(FIN | ACK)
    met = only(flow_of(talk.c(PSH | ACK, QUIT).bare_rst()))
    assert (met.reset.provoked, met.harm) == (Provoked.GOODBYE, Harm.NOBODY)


def test_one_that_is_left_unread_is_none_either() -> None:
    left = only(flow_of(mail(QUIT).s(RST | ACK)))
    assert (left.reset.cause, left.harm) == (Cause.UNREAD_AT_CLOSE, Harm.ERROR)
    asked = only(flow_of(mail(DATA).s(RST | ACK)))
    assert (asked.reset.cause, asked.harm) == (Cause.UNREAD_AT_CLOSE, Harm.LOST)


@pytest.mark.parametrize(("port", "proxied"), [(443, True), (22, False), (445, False)])
def test_no_proxy_of_http_answers_for_another_protocol(port: int, *, proxied: bool) -> None:
    talk = Talk(server=(host("192.0.2.2"), port)).open().c(PSH | ACK, ASKED).s(RST | ACK)
    told = only(flow_of(talk))
    assert told.remedy is not None and ("502" in told.remedy.hurts) is proxied


def closing(size: int, *, answered: bool = True) -> Talk:
    """A client that ends TLS and closes, and is sent more."""
    talk = tls13()
    if not answered:
        talk.c(PSH | ACK, DATA)
    talk.c(PSH | ACK, ALERT_13).c(FIN | ACK)
    return talk.s(PSH | ACK, sealed(size), ack=talk.seqs[0] - 1).bare_rst(0, seq=talk.seqs[0] - 1)


@pytest.mark.parametrize(
    ("talk", "provoked", "harm"),
    [
        (closing(34), Provoked.LATE, Harm.UNCLEAR),
        (closing(900), Provoked.LATE, Harm.UNCLEAR),
        (closing(34, answered=False), Provoked.DATA, Harm.LOST),
    ],
    ids=["a little", "more", "the answer"],
)
def test_what_comes_behind_the_end_of_tls_may_be_a_farewell(
    talk: Talk, provoked: Provoked, harm: Harm
) -> None:
    """HTTP/2's servers answer a close_notify with GOAWAY: it was a lost response."""
    told = only(flow_of(talk))
    assert (told.reset.cause, told.reset.provoked) == (Cause.DATA_AFTER_CLOSE, provoked)
    assert told.harm is harm


@pytest.mark.parametrize(
    ("talk", "provoked", "harm"),
    [
        (tls13().c(PSH | ACK, sealed(30) + ALERT_13).s(RST | ACK), Provoked.LATE, Harm.ERROR),
        (
            tls13().c(PSH | ACK, sealed(30)).c(PSH | ACK, ALERT_13).s(RST | ACK),
            Provoked.LATE,
            Harm.ERROR,
        ),
        (
            tls13().c(PSH | ACK, sealed(30)).wait(0.04).s().c(PSH | ACK, ALERT_13).s(RST | ACK),
            Provoked.LATE,
            Harm.ERROR,
        ),
        (
            tls13().c(PSH | ACK, sealed(30)).s().wait(1).c(PSH | ACK, ALERT_13).s(RST | ACK),
            Provoked.DATA,
            Harm.LOST,
        ),
        (tls13().c(PSH | ACK, sealed(30)).s(RST | ACK), Provoked.DATA, Harm.LOST),
        (
            tls13().s(FIN | ACK).c(PSH | ACK, sealed(30) + ALERT_13).bare_rst(),
            Provoked.LATE,
            Harm.UNCLEAR,
        ),
    ],
    ids=[
        "at once",
        "in the same flight",
        "held back",
        "after a while",
        "alone",
        "at a closed socket",
    ],
)
def test_who_ends_tls_right_behind_his_data_may_wait_for_nothing(
    talk: Talk, provoked: Provoked, harm: Harm
) -> None:
    """HTTP/2's clients say GOAWAY in front of a close_notify: its answer was lost."""
    told = only(flow_of(talk))
    assert (told.reset.provoked, told.harm) == (provoked, harm)
