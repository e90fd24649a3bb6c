"""Files frames by connection, as they arrive: the part of the capture that the probe looks at.

Only connections that were announced are kept and written to the capture file. Others to the same
server are somebody else's traffic: they are counted, nothing more.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import starmap

from tlsprobe.captures.pcapng_writer import Writer
from tlsprobe.flows.live import Endpoint
from tlsprobe.packets.frames import ETHERNET, Frame, flow_key, key

KEPT_WHOLE = 8 * 1024 * 1024
"""Of one connection this many bytes are held, in memory and on disk, then only frame headers."""
HEADERS = 192
"""More than link, IPv6 and TCP headers with all their options take up."""

Arrival = tuple[int, int, bytes]
"""A frame's time in nanoseconds, its length on the wire, and its bytes."""


class FlowBuffer:
    """The frames of one connection that nobody has taken yet."""

    __slots__ = ("frames", "size")

    def __init__(self) -> None:
        self.frames: list[tuple[int, int, bytes]] = []
        self.size = 0


class Demultiplexer:
    """The drawers of all expected connections to one server.

    ``kept`` counts the frames filed, ``others`` those of connections nobody announced,
    ``last_ns`` is the time of the latest frame seen.
    """

    def __init__(self, server: Endpoint, link: int = ETHERNET) -> None:
        self.server = server
        self.link = link
        self.writer: Writer | None = None
        self.kept = 0
        self.others = 0
        self.last_ns = 0
        self._drawers: dict[bytes, FlowBuffer] = {}

    def expect(self, client: Endpoint) -> None:
        """Opens a drawer; frames still in an older one of the same client are let go."""
        drawer = FlowBuffer()
        for way in self._ways(client):
            self._drawers[way] = drawer

    def take(self, client: Endpoint) -> list[Frame]:
        """The frames of a connection, in the order of arrival. It is no longer expected."""
        there, back = self._ways(client)
        drawer = self._drawers.pop(there, None)
        self._drawers.pop(back, None)
        return list(starmap(Frame, drawer.frames)) if drawer else []

    def file(self, arrivals: Iterable[Arrival]) -> None:
        """Files a batch. The hot loop of the parent: a lookup and two appends a frame."""
        drawers, link, writer = self._drawers, self.link, self.writer
        time_ns = self.last_ns
        for time_ns, length, data in arrivals:
            drawer = drawers.get(flow_key(data, link) or b"")
            if drawer is None:
                self.others += 1
                continue
            self.kept += 1
            drawer.size += length
            kept = data if drawer.size <= KEPT_WHOLE else data[:HEADERS]
            if writer is not None:
                writer.packet(time_ns, kept, length)
            drawer.frames.append((self.kept, time_ns, kept))
        self.last_ns = time_ns
        if writer is not None:
            writer.flush()

    def _ways(self, client: Endpoint) -> tuple[bytes, bytes]:
        return key(client, self.server), key(self.server, client)
