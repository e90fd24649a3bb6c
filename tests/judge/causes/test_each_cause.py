"""Each cause of the table: a close of which it is the answer, and one alike of which it is not.

ARCHITECTURE.md, "Reading an RST": what is seen of each cause.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.judge.playbook import TTL, Act, Actor, C, S, play, silence
from tlsprobe.judge.causes import resets_of
from tlsprobe.model.causes import Cause
from tlsprobe.model.trace import Trace

FORGED = S.rst(active=True).but(ttl=TTL - 11, ip_id=9000)


def probe(actor: Actor) -> Act:
    """A keepalive probe: the byte before its next one."""
    last = play().segments[-1]
    at = last.end if actor is S else last.ack
    assert at is not None
    return actor.ack().but(start=at - 1)


def probes_of_the_server(*behind: Act) -> Trace:
    """Its keepalive probes, and then what it sends when it gives up."""
    one = probe(S), silence(1)
    return play(*one, *one, *one, *behind)


@dataclass(frozen=True)
class Row:
    """``alike`` differs from ``shows`` in what decides; its first RST has another cause."""

    shows: Trace
    alike: Trace


TABLE = {
    Cause.REFUSED: Row(
        shows=play(C.syn(), S.refuse(), opened=False),
        alike=play(C.syn(), S.refuse().but(ack=5), opened=False),
    ),
    Cause.MIDDLEBOX: Row(
        shows=play(FORGED),
        alike=play(S.rst(active=True).but(ttl=TTL - 11)),
    ),
    Cause.DATA_AFTER_CLOSE: Row(
        shows=play(S.notify() + S.fin(), C.ack(), C.notify(), S.rst()),
        alike=play(S.notify() + S.fin(), C.ack(), C.fin(), S.rst()),
    ),
    Cause.CLOSED_ALREADY: Row(
        shows=play(S.fin(), C.ack(), silence(45), probe(C), S.rst()),
        alike=play(S.fin(), C.ack(), silence(45), C.notify(), S.rst()),
    ),
    Cause.UNREAD_AFTER_FIN: Row(
        shows=play(S.notify() + S.fin(), C.notify(), S.rst(active=True)),
        alike=play(S.notify(), C.notify(), S.rst(active=True)),
    ),
    Cause.UNREAD_AT_CLOSE: Row(
        shows=play(C.goodbye(), C.notify(), S.notify(), S.rst(active=True)),
        alike=play(C.goodbye(), S.notify(), S.rst(active=True)),
    ),
    Cause.DELIBERATE: Row(
        shows=play(S.notify(), S.rst(active=True)),
        alike=play(C.data(), S.notify(), S.rst(active=True)),
    ),
    Cause.KEEPALIVE: Row(
        shows=probes_of_the_server(S.rst(active=True)),
        alike=probes_of_the_server(C.ack(), S.rst(active=True)),
    ),
    Cause.NO_STATE: Row(
        shows=play(C.request(), S.rst()),
        alike=play(S.fin(), C.request(), S.rst()),
    ),
    Cause.UNKNOWN: Row(
        shows=play(S.rst(active=True).but(start=0)),
        alike=play(S.rst(active=True)),
    ),
}


def test_every_cause_is_in_the_table() -> None:
    """A new cause needs both traces: without the second it may answer everything."""
    assert TABLE.keys() == set(Cause)


@pytest.mark.parametrize("cause", TABLE)
def test_a_cause_is_found(cause: Cause) -> None:
    assert resets_of(TABLE[cause].shows)[0].cause is cause


@pytest.mark.parametrize("cause", TABLE)
def test_a_cause_is_not_found_where_what_decides_is_missing(cause: Cause) -> None:
    assert resets_of(TABLE[cause].alike)[0].cause is not cause
