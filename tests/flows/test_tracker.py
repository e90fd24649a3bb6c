"""Packets sorted into connections, and how little of each is held."""

from __future__ import annotations

import pytest

from tests.explain.talk import ACK, CLIENT, FIN, PSH, SYN, Talk, tls13
from tlsprobe.flows.connection import LATEST, OPENING, Connection
from tlsprobe.flows.tracker import connections
from tlsprobe.model.trace import Coverage, Side


def one(talk: Talk) -> Connection:
    (found,) = connections(talk.packets)
    return found


def test_offsets_count_from_the_first_byte() -> None:
    segments = one(Talk().open().c(PSH | ACK, b"abc").s(PSH | ACK, b"de").c()).segments(0)
    assert [s.start for s in segments] == [-1, -1, 0, 0, 0, 3]
    assert [s.ack for s in segments] == [None, 0, 0, 0, 3, 2]
    assert [s.side for s in segments[:2]] == [Side.CLIENT, Side.SERVER]


def test_the_opener_is_known_from_either_half_of_the_handshake() -> None:
    assert one(Talk().open()).opener == 0
    assert one(Talk().s(SYN | ACK)).opener == 1
    assert one(Talk().c()).opener is None


def test_a_connection_is_whole_or_not() -> None:
    talk = tls13()
    assert one(talk).coverage is Coverage.WHOLE
    del talk.packets[-2]
    assert one(talk).coverage is Coverage.HOLES
    del talk.packets[:3]
    assert one(talk).coverage is Coverage.HOLES


def test_reordered_is_not_missing() -> None:
    talk = tls13()
    talk.packets[-2], talk.packets[-3] = talk.packets[-3], talk.packets[-2]
    assert one(talk).coverage is Coverage.WHOLE


def test_of_a_long_connection_both_ends_are_held() -> None:
    talk = Talk().open()
    for _ in range(1000):
        talk.c(PSH | ACK, b"x")
    found = one(talk)
    segments = found.segments(0)
    assert len(segments) == OPENING + LATEST
    assert found.left_out == len(talk.packets) - len(segments)
    assert segments[-1].end == 1000
    assert found.coverage is Coverage.WHOLE


def test_simultaneous_open_is_one_connection() -> None:
    talk = Talk().c(SYN)
    talk.s(SYN, ack=None).c(SYN | ACK, seq=1000).s(SYN | ACK, seq=5000)
    assert len(list(connections(talk.packets))) == 1


def test_a_syn_sent_again_is_the_same_connection() -> None:
    talk = Talk().c(SYN)
    talk.c(SYN, seq=1000).s(SYN | ACK)
    assert len(list(connections(talk.packets))) == 1


def test_too_much_is_let_go_oldest_first() -> None:
    talks = [Talk(client=(CLIENT[0], 1000 + i)).open().s(ACK | FIN) for i in range(50)]
    packets = [p for talk in talks for p in talk.packets]
    found = connections(packets, held=60)
    early = [next(found) for _ in range(5)]
    assert {c.ends[0][1] for c in early} <= set(range(1000, 1015))
    assert len(early) + len(list(found)) == 50


@pytest.mark.parametrize("first", [0, 2**32 - 3, 2**31])
def test_numbers_wrap(first: int) -> None:
    talk = Talk(seqs=[first, first]).open().c(PSH | ACK, b"abcdef").s().c(PSH | ACK, b"g").s()
    assert one(talk).coverage is Coverage.WHOLE
    assert one(talk).segments(0)[-1].ack == 7
