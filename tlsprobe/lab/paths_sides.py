"""What the two sides of a box in between tell together: rewritten ports, made-up and lost packets.

Translation of addresses changes who a packet is from and leaves its sequence numbers alone. Who a
stranger is that goes on with a known connection's numbers, the judge says (`judge.rewritten`), as
it does for `explain`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tlsprobe.judge.rewritten import continued
from tlsprobe.model.knowledge import NatEntry
from tlsprobe.model.trace import Flag
from tlsprobe.packets.packet import Endpoint, Packet, text

_SYN, _RST, _FIN, _ACK = Flag.SYN, Flag.RST, Flag.FIN, Flag.ACK
_MASK = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A connection that was given another name on its way.

    Endpoints are as the capture has them: ``before`` shook hands, ``after`` never did and goes on
    with its numbers in packet ``number``. ``reset`` is the number of the server's RST to
    ``after``, None if there was none.
    """

    server: Endpoint
    before: Endpoint
    after: Endpoint
    number: int
    time_ns: int
    reset: int | None


@dataclass(slots=True)
class _Flow:
    """How far a flow of the server-side capture has come: the next numbers of both sides."""

    shaken: bool = False
    client_next: int | None = None
    server_next: int | None = None


def rewrites(packets: Iterable[Packet], server: Endpoint) -> tuple[Rewrite, ...]:
    """Every connection to the server that changed its name, in a capture from the server's side."""
    flows: dict[Endpoint, _Flow] = {}
    found: dict[Endpoint, Rewrite] = {}
    for packet in packets:
        source, destination = packet.src, packet.dst
        if destination == server:
            rewrite = _taken_up(flows, source, packet)
            if rewrite is not None:
                found[source] = Rewrite(
                    server, rewrite, source, packet.number, packet.time_ns, None
                )
            _client_sent(flows.setdefault(source, _Flow()), packet)
        elif source == server:
            if packet.flags & _RST and destination in found and found[destination].reset is None:
                found[destination] = replace(found[destination], reset=packet.number)
            _server_sent(flows.setdefault(destination, _Flow()), packet)
    return tuple(found.values())


def origins(
    client_side: Iterable[Packet], server_side: Iterable[Packet], server: Endpoint
) -> dict[Endpoint, Endpoint]:
    """Who is behind each translated endpoint: the same SYN was seen on both sides.

    Keys are endpoints of the server's side, values those of the client's.
    """
    by_number = {
        packet.seq: packet.src for packet in client_side if opens(packet) and packet.dst == server
    }
    return {
        packet.src: by_number[packet.seq]
        for packet in server_side
        if opens(packet) and packet.dst == server and packet.seq in by_number
    }


def only_here(here: Iterable[Packet], there: Iterable[Packet]) -> list[Packet]:
    """The packets of one side of a box that were not seen on its other side.

    Told by their numbers, flags and length, which a box that only forwards or translates leaves
    alone. What comes twice here has to be there twice.
    """
    left = Counter(map(_marks, there))
    alone: list[Packet] = []
    for packet in here:
        marks = _marks(packet)
        if left[marks]:
            left[marks] -= 1
        else:
            alone.append(packet)
    return alone


def is_reset(packet: Packet) -> bool:
    """Whether it carries the RST flag."""
    return packet.flags & _RST != 0


def from_server(packets: Sequence[Packet], server: Endpoint) -> list[Packet]:
    """Those that say they are from the server."""
    return [packet for packet in packets if packet.src == server]


def to_server(packets: Sequence[Packet], server: Endpoint) -> list[Packet]:
    """Those that are for the server."""
    return [packet for packet in packets if packet.dst == server]


def opens(packet: Packet) -> bool:
    """Whether it is a SYN, and no answer to one."""
    return packet.flags & (_SYN | _ACK) == _SYN


def _marks(packet: Packet) -> tuple[int | None, ...]:
    return packet.seq, packet.ack, packet.flags, packet.length


def _taken_up(flows: dict[Endpoint, _Flow], source: Endpoint, packet: Packet) -> Endpoint | None:
    """Whose flow a packet of a stranger goes on with."""
    if source in flows or packet.ack is None or packet.flags & (_SYN | _RST):
        return None
    server = text(packet.dst)
    names = {text(name): name for name, flow in flows.items() if flow.shaken}
    known = (
        NatEntry(name, server, flow.client_next, flow.server_next)
        for name, flow in ((name, flows[end]) for name, end in names.items())
        if flow.client_next is not None and flow.server_next is not None
    )
    found = continued(text(source), server, packet.seq, packet.ack, known)
    return names[found.was.client] if found else None


def _client_sent(flow: _Flow, packet: Packet) -> None:
    if packet.flags & _RST:
        return
    flow.shaken = flow.shaken or opens(packet)
    occupied = packet.length + bool(packet.flags & _SYN) + bool(packet.flags & _FIN)
    flow.client_next = (packet.seq + occupied) & _MASK


def _server_sent(flow: _Flow, packet: Packet) -> None:
    if packet.flags & _RST:
        return
    occupied = packet.length + bool(packet.flags & _SYN) + bool(packet.flags & _FIN)
    flow.server_next = (packet.seq + occupied) & _MASK
