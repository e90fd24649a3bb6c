"""One sniffer for several servers: each gets its own frames, and nobody another's."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from tests.flows.wire import CLIENT, FIN, SERVER, SYN, Talk, arrivals, frames
from tlsprobe.drive.tcp import only_from
from tlsprobe.model.target import Ports
from tlsprobe.packets.frames import ETHERNET
from tlsprobe.sniff import shared as sharing
from tlsprobe.sniff.backends import Where
from tlsprobe.sniff.demultiplexer import Demultiplexer
from tlsprobe.sniff.route import Interface
from tlsprobe.sniff.shared import SharedCaptures, Sorter, shared_captures

ELSEWHERE = (bytes([127, 0, 0, 2]), 443)
PORTS = Ports(33_000, 33_999)


def whole(server: tuple[bytes, int]) -> Talk:
    return Talk(server=server).opens().exchanges().closes()


def test_each_server_gets_its_frames_in_their_order() -> None:
    sorter = Sorter()
    one, other = Demultiplexer(SERVER), Demultiplexer(ELSEWHERE)
    for each in (one, other):
        each.expect(CLIENT)
    first, second = (arrivals(*frames(whole(server))) for server in (SERVER, ELSEWHERE))
    mixed = [frame for pair in zip(first, second, strict=True) for frame in pair]
    with sorter.taking(one), sorter.taking(other):
        sorter.file(mixed)
    assert one.kept == len(first)
    assert other.kept == len(second)
    alone = Demultiplexer(SERVER)
    alone.expect(CLIENT)
    alone.file(first)
    assert one.take(CLIENT) == alone.take(CLIENT)


def test_two_who_probe_one_server_both_see_it() -> None:
    sorter = Sorter()
    one, other = Demultiplexer(SERVER), Demultiplexer(SERVER)
    one.expect(CLIENT)
    batch = arrivals(*frames(whole(SERVER)))
    with sorter.taking(one), sorter.taking(other):
        sorter.file(batch)
    assert one.kept == len(batch)
    assert (other.kept, other.others) == (0, len(batch))


def test_what_comes_for_nobody_is_dropped() -> None:
    sorter = Sorter()
    one = Demultiplexer(SERVER)
    one.expect(CLIENT)
    with sorter.taking(one):
        sorter.file([(1, 4, b"junk"), *arrivals(*frames(whole(ELSEWHERE)))])
    sorter.file(arrivals(*frames(whole(SERVER))))
    assert (one.kept, one.others) == (0, 0)


def test_a_socket_connects_from_the_ports_that_it_may_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        only_from(client, PORTS)
        client.connect(server.getsockname())
        assert PORTS.first <= client.getsockname()[1] <= PORTS.last


def test_a_sniffer_that_broke_off_is_not_given_to_the_next_who_needs_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[SimpleNamespace] = []

    async def first_that_works(*_: object) -> tuple[SimpleNamespace, list[str]]:
        await trio.lowlevel.checkpoint()
        started.append(SimpleNamespace(broken=None, reap=trio.lowlevel.checkpoint))
        return started[-1], []

    monkeypatch.setattr(sharing, "first_that_works", first_that_works)
    monkeypatch.setattr(sharing, "beside", lambda *_: trio.open_nursery())
    where = Where(Interface("lo", loopback=True, link=ETHERNET), None, None)

    async def main() -> list[Any]:
        async with shared_captures(PORTS) as every:
            first, same = [await every._sniffer(where, ("any",)) for _ in range(2)]
            started[0].broken = "the capturing process ended"
            other = await every._sniffer(where, ("any",))
            return [one.backend for one in (first, same, other)]

    found = trio.run(main)
    assert [started.index(one) for one in found] == [0, 0, 1]


@pytest.mark.packet_socket
def test_servers_that_nobody_knew_share_a_sniffer() -> None:
    async def main() -> None:
        async with shared_captures(PORTS) as shared, trio.open_nursery() as nursery:
            for host in ("127.0.0.1", "127.0.0.2", "127.0.0.1"):
                nursery.start_soon(connects, shared, host)

    trio.run(main)


async def connects(shared: SharedCaptures, host: str) -> None:
    """A connection to a server of its own is in the capture, from its SYN to its FINs."""
    with socket.create_server((host, 0)) as server, socket.socket() as client:
        port = server.getsockname()[1]
        async with shared.capture("auto", host, port, require=True, pcapng=None) as capture:
            only_from(client, PORTS)
            client.setblocking(False)
            client.connect_ex((host, port))
            name = client.getsockname()
            capture.expect(name)
            peer, _ = await trio.to_thread.run_sync(server.accept)
            peer.close()
            client.close()
            await capture.settle()
            flow = capture.take(name)
            assert flow.segments[0].flags & SYN
            assert sum(bool(one.flags & FIN) for one in flow.segments) == 2
            assert capture.others == 0
            assert capture.dropped == 0
