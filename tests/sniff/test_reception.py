"""Packets that one call takes: lengths, times, bytes, where they came from."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from tlsprobe.sniff.reception import AT_ONCE, LARGEST_FRAME, Reception, Source

SO_TIMESTAMPNS = 35
ETH_P_IP = 0x0800
LOOPBACK = 772  # ARPHRD_LOOPBACK


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two sockets for datagrams, of which the first is told when they came."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs,
    ):
        ours.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        ours.bind(("127.0.0.1", 0))
        theirs.connect(ours.getsockname())
        yield ours, theirs


def taken(reception: Reception) -> list[tuple[bytes, int]]:
    """Bytes and time of what one call takes."""
    return [
        (bytes(reception.frames[at : at + length]), seconds * 10**9 + nanoseconds)
        for at, (length, seconds, nanoseconds) in zip(
            range(0, AT_ONCE * LARGEST_FRAME, LARGEST_FRAME), reception.receive(), strict=False
        )
    ]


def test_each_packet_has_its_length_its_time_and_its_bytes(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    reception = Reception(ends[0])
    for sizes in ((1, 1500, 60_000, 0, 7), (40_000, 2)):  # slots are used anew
        sent = [bytes((index,)) * size for index, size in enumerate(sizes)]
        begun = time.time_ns()
        for data in sent:
            ends[1].send(data)
        found = taken(reception)
        assert [data for data, _ in found] == sent
        times = [time_ns for _, time_ns in found]
        assert times == sorted(times)
        assert begun <= times[0] <= times[-1] <= time.time_ns()
    assert reception.receive() == []


def test_what_does_not_fit_into_one_call_is_left_for_the_next(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    reception, count = Reception(ends[0]), AT_ONCE + 3
    for number in range(count):
        ends[1].send(b"%d" % number)
    found = taken(reception)
    assert len(found) == AT_ONCE
    found += taken(reception)
    assert [data for data, _ in found] == [b"%d" % number for number in range(count)]


def test_what_the_system_refuses_is_an_error(ends: tuple[socket.socket, socket.socket]) -> None:
    reception = Reception(ends[0])
    ends[0].close()
    with pytest.raises(OSError, match="file descriptor"):
        reception.receive()


@pytest.mark.packet_socket
def test_where_a_packet_came_from(ends: tuple[socket.socket, socket.socket]) -> None:
    everything = socket.htons(3)
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, everything) as packets:
        packets.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        packets.bind(("lo", 3))
        reception, marked = Reception(packets), b"where from?"
        ends[1].send(marked)
        ends[0].recv(100)  # by now both copies have passed
        sources: set[Source] = set()
        while found := taken(reception):
            slots = [slot for slot, (data, _) in enumerate(found) if marked in data]
            sources.update(map(reception.source, slots))
    index = socket.if_nametoindex("lo")
    assert sources == {
        (ETH_P_IP, index, LOOPBACK, direction, bytes(6))
        for direction in (socket.PACKET_HOST, socket.PACKET_OUTGOING)
    }
