"""What both sides of a router tell of a run that one side cannot: pure, from two captures.

The probe sees the client's side alone, where a reset is a reset. The other side tells whether the
server sent it, under which name a connection reached the server, and what never got there.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Set
from dataclasses import dataclass, field

from tlsprobe.judge.causes import wording
from tlsprobe.lab.paths_sides import (
    from_server,
    is_reset,
    only_here,
    opens,
    origins,
    rewrites,
    to_server,
)
from tlsprobe.model.causes import Cause
from tlsprobe.model.facts import Fact, PathFact
from tlsprobe.model.far_side import FarFact, Renaming, ResetNumbers
from tlsprobe.model.target import endpoint
from tlsprobe.model.trace import Flag
from tlsprobe.packets.decode import packets_in
from tlsprobe.packets.frames import ETHERNET, Frame
from tlsprobe.packets.packet import Endpoint, Packet

_HALF = 1 << 31

SHOWN = 3
"""How many connections a report names one by one."""


@dataclass(frozen=True, slots=True)
class PathFindings:
    """``sides`` tells of each connection what both captures show of it; ``swallowed`` counts
    packets of clients, known or not, that went into the router and did not come out.
    """  # noqa: D205 - two of the facts, one sentence

    sides: tuple[FarFact, ...] = ()
    swallowed: int = 0

    @property
    def renamed(self) -> tuple[FarFact, ...]:
        """The connections that reached the server under another name than they began with."""
        return tuple(side for side in self.sides if side.renaming is not None)

    @property
    def made_on_the_way(self) -> tuple[FarFact, ...]:
        """The connections that got an RST which the server never sent."""
        return tuple(side for side in self.sides if side.made)


def findings_of(
    client_side: Iterable[Frame],
    server_side: Iterable[Frame],
    server: Endpoint,
    *,
    whole: bool = True,
) -> PathFindings:
    """What the captures on both sides of a router tell of connections to the server.

    Packets keep their numbers through a router, and lose them in one that ends connections: this
    is for the first kind. Where the captures are not ``whole``, a packet that one of them lacks
    proves nothing.
    """
    near, far = (list(packets_in(side, ETHERNET)) for side in (client_side, server_side))
    behind = origins(near, far, server)
    renamings = {
        behind[found.before]: Renaming(
            _text(found.before), _text(found.after), found.number, found.reset
        )
        for found in rewrites(far, server)
        if found.before in behind
    }
    theirs = _resets(from_server(near, server))
    alone = only_here(theirs, _resets(from_server(far, server))) if whole else ()
    gone = only_here(to_server(near, server), to_server(far, server)) if whole else ()
    made, lost = ({packet.number for packet in packets} for packets in (alone, gone))
    sides = (
        seen.fact(renamings.get(seen.client)) for seen in _connections(near, server, made, lost)
    )
    return PathFindings(tuple(side for side in sides if side is not None), len(lost))


@dataclass(slots=True)
class _Connection:
    """A connection on the client's side of the router, while its packets are read.

    ``first_client`` and ``first_server`` are the numbers of the first bytes, None until known.
    """

    client: Endpoint
    began_ns: int
    first_client: int
    first_server: int | None = None
    sent: list[ResetNumbers] = field(default_factory=list)
    made: list[ResetNumbers] = field(default_factory=list)
    swallowed: int = 0

    def numbers(self, rst: Packet) -> ResetNumbers | None:
        """An RST's numbers as offsets, as far as they can be told."""
        if self.first_server is None:
            return None
        ack = None if rst.ack is None else _offset(rst.ack, self.first_client)
        return ResetNumbers(_offset(rst.seq, self.first_server), ack)

    def fact(self, renaming: Renaming | None) -> FarFact | None:
        """What there is to tell of it, if anything."""
        if not (self.sent or self.made or renaming or self.swallowed):
            return None
        sent, made = tuple(self.sent), tuple(self.made)
        return FarFact(_text(self.client), self.began_ns, sent, made, renaming, self.swallowed)


def _connections(
    near: Iterable[Packet], server: Endpoint, made: Set[int], lost: Set[int]
) -> list[_Connection]:
    """The connections to the server, with their resets and what of them was swallowed.

    ``made`` and ``lost`` are the numbers of packets that one side alone has seen.
    """
    found: list[_Connection] = []
    current: dict[Endpoint, _Connection] = {}
    for packet in near:
        if opens(packet) and packet.dst == server:
            known = current.get(packet.src)
            if known is None or known.first_client != packet.seq + 1:  # else it was sent again
                current[packet.src] = _Connection(packet.src, packet.time_ns, packet.seq + 1)
                found.append(current[packet.src])
        connection = current.get(packet.src if packet.dst == server else packet.dst)
        if connection is None:
            continue
        connection.swallowed += packet.number in lost
        if packet.src == server and packet.flags & Flag.SYN:
            connection.first_server = packet.seq + 1
        elif packet.src == server and is_reset(packet):
            numbers = connection.numbers(packet)
            if numbers is not None:
                (connection.made if packet.number in made else connection.sent).append(numbers)
    return found


def _offset(number: int, first: int) -> int:
    """How far a sequence number is behind the first byte's, the short way round."""
    return (number - first + _HALF) % (2 * _HALF) - _HALF


def notes_on(findings: PathFindings, how: str, forgotten: int = 0) -> tuple[str, ...]:
    """The findings in sentences, for the run's report.

    ``how`` says what was done to the router, ``forgotten`` to how many idle connections.
    """
    said = [f"on the way: {how}"]
    renamed = findings.renamed
    if forgotten and not renamed:
        said.append(
            f"that was done while {_count(forgotten)} idled, and none of them changed its"
            " port: this kernel keeps the entries"
        )
    said += [_renamed(one) for one in renamed[:SHOWN]]
    if len(renamed) > SHOWN:
        said.append(f"and {len(renamed) - SHOWN} connections more were renamed like that")
    if findings.made_on_the_way:
        said.append(
            f"in {_count(len(findings.made_on_the_way))} the RST in the server's name was made"
            " by the router: it is in the client-side capture and not in the server-side one"
        )
    if findings.swallowed:
        packets = "packet" if findings.swallowed == 1 else "packets"
        said.append(
            f"{findings.swallowed} {packets} of clients went into the router and never came out"
        )
    return tuple(said)


def after_closes(facts: Iterable[Fact]) -> tuple[str, ...]:
    """How often the path was dead after each sequence."""
    checks: dict[str, list[bool]] = {}
    for fact in facts:
        if isinstance(fact, PathFact):
            checks.setdefault(fact.sequence, []).append(fact.alive)
    return tuple(
        f"after {sequence} the path was dead {alive.count(False)} of {len(alive)} times"
        for sequence, alive in checks.items()
    )


def _renamed(side: FarFact) -> str:
    assert side.renaming is not None
    cause = f": {Cause.NO_STATE} (confidence high)" if side.renaming.reset is not None else ""
    return f"{wording.renamed(side.client, side.renaming)}{cause}"


def _resets(packets: Iterable[Packet]) -> list[Packet]:
    return [packet for packet in packets if is_reset(packet)]


def _text(end: Endpoint) -> str:
    return endpoint(str(ipaddress.ip_address(end[0])), end[1])


def _count(count: int) -> str:
    return "1 connection" if count == 1 else f"{count} connections"
