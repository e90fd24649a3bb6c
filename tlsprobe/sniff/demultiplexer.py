"""Files frames by connection, as they arrive: the part of the capture that the probe looks at.

Only connections that were announced are followed and written to the capture file. Others to the
same server are somebody else's traffic: they are counted, nothing more.

An announcement names a port, and a port is used again: what comes from it may be late packets of
the connection before, or those of the next one. A connection is therefore asked for by the time in
which its SYN was sent, and packets belong to it by their numbers (`tlsprobe.flows.tracker`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from tlsprobe.captures.pcapng_writer import Writer
from tlsprobe.flows.connection import NOTHING, Connection, Flow
from tlsprobe.flows.tracker import Pair
from tlsprobe.model.trace import RST_TEXT
from tlsprobe.packets.decode import Decoder, Malformed
from tlsprobe.packets.frames import ETHERNET, key_of
from tlsprobe.packets.packet import Endpoint, Packet, endpoints, flow_key, reverse
from tlsprobe.sniff.protocol import Arrival

KEPT_WHOLE = 8 * 1024 * 1024
"""Of one port this many bytes are written to the file, then only frame headers."""
WRITTEN_WHOLE = 256 * 1024 * 1024
"""Of all ports together this many bytes are written to the file, then only what is held of each
frame: a server that floods would fill the disk."""
HEADERS = 192
"""More than link, IPv6 and TCP headers with all their options take up."""
HELD = HEADERS + RST_TEXT
"""Of each frame this much is held in memory until somebody asks for its connection."""
WAITING = 1 << 20
"""So many bytes of a port's frames wait undecoded."""
LATEST = 1 << 16
"""So many segments are kept of one connection: all, but for a flood."""
FORMER = 8192
"""So many ports are remembered with the numbers of their latest connection."""
OLDER = 64
"""So many connections of a port are kept beside those that were announced."""

_GRAIN_NS = 1000
"""What a capture program may cut off from a packet's time."""
LATER_THAN_ANY_NS = 1 << 63

_HELD = struct.Struct("=BQQII")
"""Of a frame that waits its way, number, time, length on the wire, and how many bytes follow."""


@dataclass(slots=True, eq=False)
class _Port:
    """A client's port: its connections, how many were announced and not taken, and its bytes.

    Frames are decoded when a connection is taken: all in a row, and none while a step is timed.
    They wait behind each other in one piece of memory, which takes half of what values would: there
    may be thousands of connections that do nothing for minutes.
    """

    pair: Pair
    expected: int = 0
    size: int = 0
    older: list[Connection] = field(default_factory=list)
    waiting: bytearray = field(default_factory=bytearray)

    def follow(self, decoder: Decoder, link: int) -> None:
        """Decodes what waits, and files it by connection."""
        decode, choose = decoder.decode, self.pair.choose
        waiting, self.waiting = bytes(self.waiting), bytearray()
        unpack, head, end = _HELD.unpack_from, _HELD.size, 0
        while end < len(waiting):
            way, number, time_ns, length, held = unpack(waiting, end)
            begin = end + head
            end = begin + held
            try:
                packet = decode(waiting[begin:end], link, length, time_ns, number)
            except Malformed:
                continue
            if packet is not None and not packet.copy:
                (choose(packet, way) or self._begin(packet)).add(packet, way)

    def _begin(self, packet: Packet) -> Connection:
        connection = Connection(self.pair.key, packet, latest=LATEST)
        gone = self.pair.begin(connection)
        if gone is not None and not gone.released:
            self.older = [*self.older[-OLDER - self.expected :], gone]
        return connection

    def untaken(self) -> list[Connection]:
        """Those that nobody has taken, the oldest first."""
        every = (*self.older, *self.pair.connections())
        return [connection for connection in every if not connection.released]

    def take(self, since_ns: int, until_ns: int) -> Flow:
        """The latest connection that was opened in this time, or else one without a SYN."""
        untaken = self.untaken()
        for one in reversed(untaken):
            if one.opened_ns is not None and since_ns - _GRAIN_NS <= one.opened_ns <= until_ns:
                return one.release(0)
        for one in untaken:
            if one.opened_ns is None and one.first_ns <= until_ns and since_ns <= one.last_ns:
                segments, coverage = one.release(0)
                return Flow(tuple(s for s in segments if s.time_ns >= since_ns), coverage)
        return NOTHING


class Demultiplexer:
    """All expected connections to one server.

    ``kept`` counts the frames filed, ``others`` those of connections nobody announced,
    ``last_ns`` is the time of the latest frame seen. ``translated``: NAT on this machine gives
    packets other addresses than the sockets have; ``servers_met`` are those that they went to.
    """

    def __init__(self, server: Endpoint, link: int = ETHERNET, *, translated: bool = False) -> None:
        self.server = server
        self.link = link
        self.servers_met: set[Endpoint] = set()
        self.writer: Writer | None = None
        self.kept = 0
        self.others = 0
        self.last_ns = 0
        self._written = 0
        self._decoder = Decoder()
        self._everyone = False
        self._ways: dict[bytes, tuple[_Port, int]] = {}
        self._former: dict[bytes, Pair] = {}
        self._translated: dict[int, bytes] | None = {} if translated else None
        self._seen_as: dict[bytes, list[bytes]] = {}

    def expect(self, client: Endpoint, port: int | None = None) -> None:
        """From now on packets of this port are kept, until `take` was called as often.

        ``port`` is the server's, where it has several.
        """
        there = self._way_there(client, port)
        known = self._ways.get(there)
        if known is None:
            pair = self._former.pop(there) if there in self._former else Pair(there)
            known = self._ways[there] = _Port(pair), 0
            self._ways[reverse(there)] = known[0], 1
            if self._translated is not None:
                self._translated[client[1]] = there
        known[0].expected += 1

    def expect_everyone(self) -> None:
        """From now on the packets of all connections to the server are kept."""
        self._everyone = True

    def _way_there(self, client: Endpoint, port: int | None) -> bytes:
        address, usual = self.server
        return flow_key(client, (address, usual if port is None else port))

    def take(
        self,
        client: Endpoint,
        since_ns: int = 0,
        until_ns: int = LATER_THAN_ANY_NS,
        port: int | None = None,
    ) -> Flow:
        """The connection that this client opened in this time; the latest, if several.

        What is returned is no longer held, and the port no longer expected if nobody else does.
        """
        there = self._way_there(client, port)
        known = self._ways.get(there)
        if known is None:
            return NOTHING
        ours = known[0]
        ours.follow(self._decoder, self.link)
        flow = ours.take(since_ns, until_ns)
        ours.expected -= 1
        if ours.expected <= 0:
            del self._ways[there], self._ways[reverse(there)]
            self._remember(there, ours.pair)
            self._forget_translation(there, client[1])
        return flow

    def take_everyone(self) -> list[tuple[Endpoint, Flow]]:
        """Every connection that was kept, with its client, port by port in order of time."""
        ports = [port for port, way in self._ways.values() if way == 0]
        for port in ports:
            port.follow(self._decoder, self.link)
        return [(one.ends[0], one.release(0)) for port in ports for one in port.untaken()]

    def _remember(self, there: bytes, pair: Pair) -> None:
        """Late packets of what was taken are to be known when the port is used again."""
        for connection in pair.connections():
            connection.release(0)
        self._former[there] = pair
        if len(self._former) > FORMER:
            del self._former[next(iter(self._former))]

    def file(self, arrivals: Iterable[Arrival]) -> None:
        """Files a batch. The hot loop of the parent: a lookup and two appends a frame."""
        ways, writer, number, pack = self._ways, self.writer, self.kept, _HELD.pack
        time_ns = self.last_ns
        for time_ns, length, data in arrivals:
            key = key_of(data, self.link)
            known = ways.get(key) or self._met(key)
            if known is None:
                self.others += 1
                continue
            number += 1
            port, way = known
            port.size += length
            kept = data if port.size <= KEPT_WHOLE else data[:HEADERS]
            if writer is not None:
                self._written += len(kept)
                seen = kept if self._written <= WRITTEN_WHOLE else kept[:HELD]
                writer.packet(time_ns, seen, length)
            waiting, held = port.waiting, kept[:HELD]
            waiting += pack(way, number, time_ns, length, len(held))
            waiting += held
            if len(waiting) >= WAITING:
                port.follow(self._decoder, self.link)
        self.kept, self.last_ns = number, time_ns
        if writer is not None:
            writer.flush()

    def _met(self, key: bytes) -> tuple[_Port, int] | None:
        """A port that nobody announced, where everyone is expected, or one by another name."""
        if self._translated and key:
            return self._under_other_addresses(key)
        if not self._everyone or not key:
            return None
        source, destination = endpoints(key)
        if self.server not in (source, destination):
            return None
        self.expect(source if destination == self.server else destination)
        return self._ways.get(key)

    def _under_other_addresses(self, key: bytes) -> tuple[_Port, int] | None:
        """The announced connection whose addresses NAT has changed: its port of ours has stayed.

        Of the two directions one alone may have other addresses than the socket (on loopback).
        """
        assert self._translated is not None
        source, destination = endpoints(key)
        there, way, server = self._translated.get(source[1]), 0, destination
        if there is None:
            there, way, server = self._translated.get(destination[1]), 1, source
        if there is None:
            return None
        if server != self.server:
            self.servers_met.add(server)
        known = self._ways[key] = self._ways[there][0], way
        self._seen_as.setdefault(there, []).append(key)
        return known

    def _forget_translation(self, there: bytes, port: int) -> None:
        if self._translated is not None:
            self._translated.pop(port, None)
            for key in self._seen_as.pop(there, ()):
                self._ways.pop(key, None)
