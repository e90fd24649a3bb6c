"""What the two sides of a box in between tell together: rewritten ports, made-up and lost packets.

Translation of addresses changes who a packet is from and leaves its sequence numbers alone. Who a
stranger is that goes on with a known connection's numbers, the judge says (`judge.rewritten`), as
it does for `explain`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from tlsprobe.flows.live import Endpoint
from tlsprobe.judge.rewritten import continued
from tlsprobe.model.knowledge import NatEntry
from tlsprobe.model.trace import Flag
from tlsprobe.packets.frames import ETHERNET, Frame, Packet, decode
from tlsprobe.packets.packet import text

_SYN, _RST, _FIN, _ACK = (int(flag) for flag in (Flag.SYN, Flag.RST, Flag.FIN, Flag.ACK))
_MASK = 0xFFFF_FFFF


class Dated(NamedTuple):
    """A TCP packet with its number in the capture and its time."""

    number: int
    time_ns: int
    packet: Packet


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


def tcp_packets(frames: Iterable[Frame], link: int = ETHERNET) -> Iterator[Dated]:
    """The TCP packets among frames."""
    for number, time_ns, data in frames:
        packet = decode(data, link)
        if packet is not None:
            yield Dated(number, time_ns, packet)


def rewrites(packets: Iterable[Dated], server: Endpoint) -> tuple[Rewrite, ...]:
    """Every connection to the server that changed its name, in a capture from the server's side."""
    flows: dict[Endpoint, _Flow] = {}
    found: dict[Endpoint, Rewrite] = {}
    for number, time_ns, packet in packets:
        source, destination = _ends(packet)
        if destination == server:
            rewrite = _taken_up(flows, source, packet)
            if rewrite is not None:
                found[source] = Rewrite(server, rewrite, source, number, time_ns, None)
            _client_sent(flows.setdefault(source, _Flow()), packet)
        elif source == server:
            if packet.flags & _RST and destination in found and found[destination].reset is None:
                found[destination] = replace(found[destination], reset=number)
            _server_sent(flows.setdefault(destination, _Flow()), packet)
    return tuple(found.values())


def origins(
    client_side: Iterable[Dated], server_side: Iterable[Dated], server: Endpoint
) -> dict[Endpoint, Endpoint]:
    """Who is behind each translated endpoint: the same SYN was seen on both sides.

    Keys are endpoints of the server's side, values those of the client's.
    """
    by_number = {
        p.seq: _ends(p)[0] for _, _, p in client_side if _opens(p) and _ends(p)[1] == server
    }
    return {
        _ends(p)[0]: by_number[p.seq]
        for _, _, p in server_side
        if _opens(p) and _ends(p)[1] == server and p.seq in by_number
    }


def only_here(here: Iterable[Dated], there: Iterable[Dated]) -> list[Dated]:
    """The packets of one side of a box that were not seen on its other side.

    Told by their numbers, flags and length, which a box that only forwards or translates leaves
    alone. What comes twice here has to be there twice.
    """
    left = [_marks(packet) for _, _, packet in there]
    counts: dict[tuple[int, ...], int] = {}
    for marks in left:
        counts[marks] = counts.get(marks, 0) + 1
    alone: list[Dated] = []
    for dated in here:
        marks = _marks(dated.packet)
        if counts.get(marks, 0):
            counts[marks] -= 1
        else:
            alone.append(dated)
    return alone


def is_reset(packet: Packet) -> bool:
    """Whether it carries the RST flag."""
    return packet.flags & _RST != 0


def from_server(packets: Sequence[Dated], server: Endpoint) -> list[Dated]:
    """Those that say they are from the server."""
    return [dated for dated in packets if _ends(dated.packet)[0] == server]


def to_server(packets: Sequence[Dated], server: Endpoint) -> list[Dated]:
    """Those that are for the server."""
    return [dated for dated in packets if _ends(dated.packet)[1] == server]


def _ends(packet: Packet) -> tuple[Endpoint, Endpoint]:
    source = packet.source, packet.source_port
    return source, (packet.destination, packet.destination_port)


def _opens(packet: Packet) -> bool:
    return packet.flags & (_SYN | _ACK) == _SYN


def _marks(packet: Packet) -> tuple[int, ...]:
    return packet.seq, packet.ack, packet.flags, packet.length


def _taken_up(flows: dict[Endpoint, _Flow], source: Endpoint, packet: Packet) -> Endpoint | None:
    """Whose flow a packet of a stranger goes on with."""
    if source in flows or packet.flags & (_SYN | _RST):
        return None
    server = text((packet.destination, packet.destination_port))
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
    flow.shaken = flow.shaken or _opens(packet)
    occupied = packet.length + bool(packet.flags & _SYN) + bool(packet.flags & _FIN)
    flow.client_next = (packet.seq + occupied) & _MASK


def _server_sent(flow: _Flow, packet: Packet) -> None:
    if packet.flags & _RST:
        return
    occupied = packet.length + bool(packet.flags & _SYN) + bool(packet.flags & _FIN)
    flow.server_next = (packet.seq + occupied) & _MASK
