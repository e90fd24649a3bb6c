"""Packets that are taken many at once leave a connection as they do one by one."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

from tests.captures.files import ACK, FIN, PSH, RST, SYN, ip
from tlsprobe.captures import frame_reading, plain_packets
from tlsprobe.captures.reader import open_capture_file
from tlsprobe.explain import Explanation, Filter, explain
from tlsprobe.flows import connection as flows_connection
from tlsprobe.flows.connection import Connection
from tlsprobe.flows.tracker import connections
from tlsprobe.packets import frames
from tlsprobe.packets.stretch import Stretch

NEVER = 1 << 60
ETHERNET = bytes(12) + b"\x08\x00"
HELLO = b"\x16\x03\x03\x00\x26\x01" + bytes(37)
DATA = b"\x17\x03\x03\x00\x14" + bytes(20)
TWO = DATA + b"\x17\x03\x03\x00\x30"
"""A record and the beginning of the next one."""
SAID = {
    "data": DATA,
    "two": TWO,
    "inside": b"G" * 48,
    "alert": b"\x15\x03\x03\x00\x1a" + bytes(26),
    "hello": HELLO,
    "quit": b"QUIT\r\n",
    "http": b"GET / HTTP/1.1\r\n\r\n",
    "odd": DATA + b"\x17\x03",
    "nothing": b"",
}
FLAGS = {"fin": FIN | ACK, "rst": RST, "syn": SYN, "syn-ack": SYN | ACK, "push": PSH | ACK}


@dataclass
class Wire:
    """Connections from two ports, packet by packet as they are asked for."""

    clock: int = 10**9
    seq: dict[tuple[int, bool], int] = field(default_factory=dict)
    frames: list[tuple[int, bytes]] = field(default_factory=list)
    ids: int = 0

    def say(self, port: int, there: bool, what: str) -> None:
        seq = self.seq.setdefault((port, there), 2**32 - 300)
        ack = self.seq.setdefault((port, not there), 2**32 - 300)
        flags, payload = ACK, SAID.get(what, b"")
        self.clock += -50 if what == "early" else 10
        self.ids = self.ids if what == "twice" else self.ids + 1
        if what == "again":
            seq, payload = seq - len(DATA), DATA
        elif what == "lost":
            seq += 40
        elif what == "strange":
            ack += 2**31
        elif what == "behind":
            ack -= 30
        flags = FLAGS.get(what, ACK)
        seq, ack = seq % 2**32, ack % 2**32
        if what == "twice" and self.frames:
            self.frames.append((self.clock, self.frames[-1][1]))
            return
        packet = ip(there, flags, seq, ack, payload, port, self.ids % 65536)
        self.frames.append((self.clock, ETHERNET + packet))
        if what != "again":
            self.seq[port, there] = seq + len(payload) + (flags & (FIN | SYN) != 0)

    def pcap(self) -> bytes:
        data = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, frames.ETHERNET)
        for clock, frame in self.frames:
            size = len(frame)
            data += struct.pack("<IIII", clock // 10**6, clock % 10**6, size, size) + frame
        return data


ports, ways = st.sampled_from([40000, 40001]), st.booleans()
usual = st.sampled_from(["data", "data", "nothing", "push", "two", "inside"])
others = st.sampled_from(
    [*SAID, "fin", "rst", "syn", "syn-ack", "again", "lost", "strange", "behind", "early", "twice"]
)
turns = st.lists(st.tuples(ports, ways, usual), min_size=1, max_size=4)
parts = st.lists(
    st.tuples(st.one_of(turns, st.lists(st.tuples(ports, ways, others), max_size=2)), st.just(0))
    | st.tuples(turns, st.integers(1, 90)),
    max_size=8,
)
Parts = list[tuple[list[tuple[int, bool, str]], int]]
OPEN = [(40000, True, "syn"), (40000, False, "syn-ack"), (40000, True, "nothing")]
HELLOS = [(40000, True, "hello"), (40000, False, "hello")]
BACK_AND_FORTH = [(40000, False, "data"), (40000, True, "nothing"), (40000, True, "data")]
LONG: Parts = [(OPEN, 0), (HELLOS, 0), (BACK_AND_FORTH, 200), ([(40000, False, "rst")], 0)]


def captured(parts: Parts) -> bytes:
    wire = Wire()
    for turns, more in parts:
        for _ in range(more + 1):
            for port, there, what in turns:
                wire.say(port, there, what)
    return wire.pcap()


def state(one: Connection) -> object:
    """All that anybody may ask of a connection."""
    streams = [(s.base, s.reached, s.acked, s.opened, s.spoke, s.is_whole()) for s in one.streams]
    walks = []
    for walk in one.walks:
        walk.finish()
        plain = walk.plain_to, walk.plain_words
        walks.append((walk.found, walk.left_out, plain, walk.lost, walk.reached, walk.owed))
    return (
        one.key, one.opener, one.first_ns, one.last_ns, one.ended, one.rsts, one.left_out, one.held,
        one.copies, one.doubtful, one.segments(0), one.coverage, streams, walks,
    )  # fmt: skip


def both(data: bytes, fewest: int, room: int) -> Iterator[tuple[list[object], Explanation, int]]:
    """What comes of the packets one by one, and of many at once; and of how many."""
    for many in (NEVER, 0):
        with pytest.MonkeyPatch.context() as patch, os.fdopen(os.memfd_create("x"), "w+b") as out:
            patch.setattr(frame_reading, "MANY", many)
            patch.setattr(frame_reading, "FEWEST", fewest)
            patch.setattr(plain_packets, "ROOM", room)
            patch.setattr(plain_packets, "_OPENING", 2)
            patch.setattr(flows_connection, "OPENING", 2)
            out.write(data)
            out.flush()
            taken: list[int] = []
            go_on = Connection.go_on

            def counted(self: Connection, stretch: Stretch, way: int) -> bool:
                is_taken = go_on(self, stretch, way)  # noqa: B023 - called at once
                taken.extend([len(stretch.fields.number)] * is_taken)  # noqa: B023
                return is_taken

            patch.setattr(Connection, "go_on", counted)
            with open_capture_file(f"/proc/self/fd/{out.fileno()}") as reading:
                keys = frozenset(reading.summary().halves)
                found = [state(one) for one in connections(reading.stretches(keys.__contains__))]
                told = explain(reading, Filter(quiet=True))
            yield sorted(found, key=str), told, sum(taken)


@pytest.mark.slow
@given(parts, st.integers(1, 30), st.sampled_from([1 << 24, 3000]))
@example(LONG[2:], 24, 1 << 24)
@example([LONG[2], ([(40000, True, "again")], 0), *LONG[2:]], 24, 1 << 24)
@example([LONG[2], ([(40000, True, "early")], 0), (BACK_AND_FORTH, 30)], 24, 1 << 24)
@example([LONG[2], ([(40000, False, "two")], 0)], 24, 1 << 24)
@example([([(40000, True, "lost"), *[(40000, False, "data")] * 6], 90)], 2, 3000)
def test_a_connection_is_the_same_in_the_end(parts: Parts, fewest: int, room: int) -> None:
    """Damaged in every way between: repeated, lost, early, doubled, of another connection."""
    data = captured([(OPEN, 0), (HELLOS, 0), *parts])
    (one_by_one, told, none), (at_once, quick, some) = both(data, fewest, room)
    assert not none
    event("taken at once" if some else "one by one")
    assert at_once == one_by_one
    assert quick.flows == told.flows


def test_most_of_a_long_connection_is_taken_at_once() -> None:
    (one_by_one, _, _), (at_once, _, some) = both(captured(LONG), 24, 1 << 24)
    assert at_once == one_by_one
    assert some > 2 * 550


def test_what_is_no_tls_is_known_by_its_last_words() -> None:
    """Which are a goodbye here, and come at once with what went before."""
    talk = [(40000, True, "inside"), (40000, False, "nothing")]
    goodbye = [(40000, True, "quit"), (40000, False, "nothing")]
    data = captured([(OPEN, 0), (talk, 60), (goodbye, 0), ([(40000, False, "rst")], 0)])
    (one_by_one, told, _), (at_once, quick, some) = both(data, 24, 1 << 24)
    assert at_once == one_by_one
    assert quick.flows == told.flows
    assert some > 2 * 100
