"""Gives the lines of a packet list the numbers that they do not print.

Wireshark prints TCP's numbers only where TCP is the topmost protocol of a frame. Of the others
(``TLSv1.2 97 Encrypted Alert``) a line tells both hosts and the frame's size. What is missing
follows from the neighbours: the connection, if only one between these hosts goes on there; the
payload, by the size of what frames of this connection hold besides; the sequence number, from
what its sender had sent before. The acknowledgement is the latest that its sender had given, or
covers what had been on its way to it for so long that it must have come, judged by how long the
handshake took: whether it knew more is not told. A line for which that does not work is not read.

`PacketList.saw` learns from the whole text where each connection's own lines stand; every later
pass begins with `begin` and asks `packet`. What the first of these finds out, that a line without
numbers held a FIN, the next ones know.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from heapq import heappop, heappush

from tlsprobe.captures.printed_packet import Printed, Unreadable
from tlsprobe.captures.wireshark_info import carried
from tlsprobe.captures.wireshark_line import Row, TcpNumbers
from tlsprobe.packets.packet import Endpoint

FLOW_LIMIT = 20_000

_FIN, _SYN, _RST, _PSH, _ACK = 0x01, 0x02, 0x04, 0x08, 0x10
_WRAP = 1 << 32
_PADDED, _WITHOUT_OPTIONS = 60, 54
"""A short Ethernet frame is padded to the former; the heads of Ethernet, IPv4 and TCP are less."""

_WITHOUT_TCP = re.compile(
    r"ARP|ICMP|ICMPv6|IGMP|M?DNS|LLMNR|NBNS|DHCP|DHCPv6|NTP|SSDP|QUIC|UDP|STP|LLDP|CDP|EAPOL|RADIUS"
    r"|SNMP|Syslog|DTLS.*|RTP|RTCP|STUN|ESP|WireGuard|OSPF|VRRP|802\.11|LLC|GTP|VXLAN|SCTP",
    re.IGNORECASE,
)
_CUT_OFF = re.compile(r"-?> {0,3}[\w.()+-]{1,60} {1,3}\[[A-Z]{3}")
"""How a segment's own line begins that lacks its numbers: `read_row` would have found them."""
_GAP = re.compile(r"\[TCP (?:Previous segment|Out-Of-Order|ACKed unseen)", re.IGNORECASE)
_AGAIN = re.compile(r"\[TCP (?:Fast |Spurious )?Retransmission", re.IGNORECASE)

_REMARKS = r"(?:\[[^\]]{1,60}\][ ,]{0,6})*"
_ASKS = re.compile(
    rf"{_REMARKS}(?:(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|CONNECT) |Client Hello)"
)
_ANSWERS = re.compile(rf"{_REMARKS}(?:HTTP/1\.[01] \d{{3}}|Server Hello)")
_EPHEMERAL = 32768
"""From here on most clients have their ports."""

_ARRIVED = 2
"""Times that a handshake took: after so long what was sent has come, be its way slower by then."""

_Way = tuple[Endpoint, Endpoint]
_Hosts = tuple[bytes, bytes]


@dataclass(slots=True)
class _Direction:
    """One sender's part of a connection.

    ``head`` is what its frames hold besides payload, ``first`` the first number known, in front
    of which lines without numbers stand, ``frames`` of them with ``octets``. ``hidden`` is the
    place of the latest such line, while nothing of this sender has come since. ``asked_ns`` is when
    its SYN went, ``is_taken``: there was an answer, and ``round_ns`` how long after the SYN it went
    on. Data that may be on its way is known by when it went, and the number behind it: the oldest
    of it is ``waiting``, the newest ``last``; ``arrived`` is the number behind what has come.
    """

    head: int | None = None
    first: int | None = None
    frames: int = 0
    octets: int = 0
    next: int | None = None
    acked: int | None = None
    hidden: int | None = None
    asked_ns: int | None = None
    is_taken: bool = False
    round_ns: int = 0
    waiting: tuple[int, int] | None = None
    last: tuple[int, int] | None = None
    arrived: int | None = None

    def begin(self, head: int | None) -> None:
        """Forget what a pass has found, and go back to the first number that is known."""
        self.acked = self.hidden = self.asked_ns = self.arrived = None
        self.waiting, self.last, self.is_taken = None, None, False
        self.round_ns, self.next = 0, self.first
        if self.first is not None and head is not None:
            self.next = (self.first - max(self.octets - self.frames * head, 0)) % _WRAP

    def sent(self, time_ns: int, within_ns: int) -> None:
        """Data went out, as far as ``next``; it arrives ``within_ns`` at the latest, 0: unknown."""
        self.arrive(time_ns, within_ns)
        if self.next is not None and within_ns:
            self.last = time_ns, self.next
            self.waiting = self.waiting or self.last

    def arrive(self, time_ns: int, within_ns: int) -> None:
        """See what has arrived by a time."""
        for sent in (self.waiting, self.last):
            if sent is not None and sent[0] + within_ns <= time_ns:
                self.arrived, self.waiting = sent[1], self.last
        if self.waiting is not None and self.waiting[1] == self.arrived:
            self.waiting = None


@dataclass(slots=True)
class _Span:
    """Where a connection's own lines begin and end; without a SYN it begins with the text.

    ``client`` is the end that asked for it, None where no SYN tells.
    """

    way: _Way
    begin: int
    end: int
    client: Endpoint | None = None


@dataclass(slots=True)
class _Spans:
    """The connections between two hosts, and which of them go on at a place.

    Places are asked for in order: ``begun`` of the connections have begun, and of those ``going``
    holds the ones that have not ended, the first to end in front.
    """

    every: dict[_Way, _Span] = field(default_factory=dict)
    begun: int = 0
    going: list[tuple[int, int]] = field(default_factory=list)
    _ordered: list[_Span] = field(default_factory=list)

    def begin(self) -> None:
        """Begin a pass: all connections are known."""
        self.begun = 0
        self.going.clear()
        self._ordered = sorted(self.every.values(), key=lambda span: span.begin)

    def only_one_at(self, place: int) -> _Span | None:
        """The connection that goes on there, or the only one that had begun; None if several."""
        while self.begun < len(self._ordered) and self._ordered[self.begun].begin <= place:
            heappush(self.going, (self._ordered[self.begun].end, self.begun))
            self.begun += 1
        while self.going and self.going[0][0] < place:
            heappop(self.going)
        if self.going:
            return self._ordered[self.going[0][1]] if len(self.going) == 1 else None
        return self._ordered[0] if self.begun == 1 else None


@dataclass(slots=True)
class PacketList:
    """What a whole packet list tells of its connections."""

    dissected: set[int] = field(default_factory=set)
    """Frames that the same text also prints in full (``tshark -P -V``)."""
    folded: set[int] = field(default_factory=set)
    """Frames of a row, below which their protocols follow, perhaps folded into a line each."""
    _ways: dict[_Way, _Direction] = field(default_factory=dict)
    _spans: dict[_Hosts, _Spans] = field(default_factory=dict)
    _before: dict[_Hosts, tuple[int, int]] = field(default_factory=dict)
    _fins: set[int] = field(default_factory=set)
    _acks: dict[int, int] = field(default_factory=dict)
    _place: int = 0
    _time_ns: int = 0
    _clock: str | None = None
    _is_timed: bool = True

    # --- the first pass ---------------------------------------------------------------------------

    def saw(self, row: Row) -> None:
        """One row, in the order of the text."""
        self._place += 1
        self._see_time(row)
        hosts = row.src, row.dst
        if row.tcp is not None:
            self._saw_numbers(row, row.tcp)
        elif _both_ways(hosts) not in self._spans and len(self._before) < FLOW_LIMIT:
            frames, octets = self._before.get(hosts, (0, 0))
            self._before[hosts] = frames + 1, octets + (row.size or 0)

    def _see_time(self, row: Row) -> None:
        """Times tell how long a thing took where none is missing and none goes back."""
        is_next = row.clock is not None and row.clock == (self._clock or row.clock)
        self._is_timed = self._is_timed and is_next and row.time_ns >= self._time_ns
        self._time_ns, self._clock = row.time_ns, row.clock

    def _saw_numbers(self, row: Row, tcp: TcpNumbers) -> None:
        way = (row.src, tcp.sport), (row.dst, tcp.dport)
        if way not in self._ways:
            if len(self._ways) >= 2 * FLOW_LIMIT:
                return
            self._ways[way], self._ways[way[::-1]] = _Direction(), _Direction()
        own, peer = self._ways[way], self._ways[way[::-1]]
        own.first = tcp.seq if own.first is None else own.first
        peer.first = tcp.ack if peer.first is None else peer.first
        head = _head(row, tcp)
        if head is not None:
            own.head = min(head, own.head or head)
        spans = self._spans.setdefault(_both_ways((row.src, row.dst)), _Spans()).every
        span = spans.get(_one_way(way))
        if span is not None:
            span.end = self._place
            return
        begin = self._place if spans or tcp.flags & _SYN else 0
        asked = way[bool(tcp.flags & _ACK)] if tcp.flags & _SYN else None
        spans[_one_way(way)] = _Span(way, begin, self._place, asked)
        if not begin:
            for direction, hosts in ((own, (row.src, row.dst)), (peer, (row.dst, row.src))):
                direction.frames, direction.octets = self._before.pop(hosts, (0, 0))

    # --- the others -------------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin a pass over the rows that were all `saw`n."""
        self._place = 0
        self._before.clear()
        for spans in self._spans.values():
            spans.begin()
        for way, own in self._ways.items():
            own.begin(self._head_of(way))

    @property
    def knows_better(self) -> bool:
        """Whether rows have told something of rows before them: the next pass says it of those."""
        return bool(self._fins or self._acks)

    def packet(self, row: Row) -> Printed | None:
        """The packet of a row; None if it is of another protocol than TCP. Raises Unreadable."""
        self._place += 1
        if row.tcp is not None:
            return self._numbered(row, row.tcp)
        if _WITHOUT_TCP.fullmatch(row.protocol):
            return None
        if _CUT_OFF.search(row.info):
            raise Unreadable("it is cut off before its numbers")
        return self._unnumbered(row, self._way_of(row))

    def has(self, row: Row) -> bool:
        """Whether a row is to be counted: no prose that looks like one, nor told in full, too."""
        if row.number in self.dissected:
            return False
        if row.tcp is not None or _both_ways((row.src, row.dst)) in self._spans:
            return True
        return row.size is not None and _WITHOUT_TCP.fullmatch(row.protocol) is not None

    def _numbered(self, row: Row, tcp: TcpNumbers) -> Printed:
        way = (row.src, tcp.sport), (row.dst, tcp.dport)
        own, peer = self._ways.get(way, _Direction()), self._ways.get(way[::-1], _Direction())
        self._time_handshake(row, own, peer)
        self._find_fin(own, tcp.seq)
        length = tcp.length
        if length is None:
            # Cut off before its end: what ends or opens a connection mostly carries nothing.
            length = 0 if tcp.flags & (_SYN | _FIN | _RST) else self._length(row, way, least=0)
        taken = length + bool(tcp.flags & _SYN) + bool(tcp.flags & _FIN)
        if tcp.flags & _SYN:
            own.next = (tcp.seq + taken) % _WRAP
        elif not tcp.flags & _RST:
            own.next = _later(own.next, (tcp.seq + taken) % _WRAP)
        if length:
            own.sent(row.time_ns, self._within_ns(own, peer))
        own.hidden = None
        if tcp.flags & (_RST | _ACK) == _RST:
            self._find_ack(peer, own, tcp.seq)
        if tcp.ack is not None:
            self._find_fin(peer, tcp.ack)
            own.acked = tcp.ack
        return _printed(row, way, tcp, length)

    def _find_fin(self, sender: _Direction, number: int) -> None:
        """One more than all that was sent: the latest line without numbers held a FIN."""
        if sender.hidden is None or sender.next is None:
            return
        if number == (sender.next + 1) % _WRAP:
            self._fins.add(sender.hidden)
            sender.next, sender.hidden = number, None

    def _find_ack(self, provoking: _Direction, own: _Direction, number: int) -> None:
        """An RST without ACK repeats the acknowledgement that it answers (RFC 9293 3.10.7.1)."""
        place = provoking.hidden
        acked = own.first if provoking.acked is None else provoking.acked
        if place is None or acked is None or own.next is None:
            return
        if _later(acked, number) != acked and _later(number, own.next) == own.next:
            self._acks[place] = number

    def _unnumbered(self, row: Row, way: _Way) -> Printed:
        length = self._length(row, way)
        own, peer = self._ways[way], self._ways[way[::-1]]
        self._time_handshake(row, own, peer)
        if _GAP.search(row.info):
            own.next = None
        if own.next is None:
            raise Unreadable(
                "which number its first byte has does not follow from the lines before"
            )
        start = (own.next - length) % _WRAP if _AGAIN.search(row.info) else own.next
        own.next = _later(own.next, (start + length) % _WRAP)
        own.hidden = self._place
        within_ns = self._within_ns(own, peer)
        own.sent(row.time_ns, within_ns)
        peer.arrive(row.time_ns, within_ns)
        known = peer.first if own.acked is None else own.acked
        known = known if peer.arrived is None else _later(known, peer.arrived)
        ack = self._acks.get(self._place, known)
        fin = _FIN if self._place in self._fins else 0
        numbers = TcpNumbers(
            sport=way[0][1],
            dport=way[1][1],
            flags=_PSH | _ACK | fin,
            seq=start,
            ack=ack,
            window=None,
            length=length,
            timestamps=True,
            window_scale=None,
            plain=False,
        )
        own.next = (own.next + bool(fin)) % _WRAP
        return _printed(row, way, numbers, length)._replace(carries=carried(row.protocol, row.info))

    def _time_handshake(self, row: Row, own: _Direction, peer: _Direction) -> None:
        """Learn how long a round trip takes: from a SYN to what its sender says to the answer."""
        shape = 0 if row.tcp is None else row.tcp.flags & (_SYN | _ACK)
        if shape == _SYN:
            own.asked_ns = row.time_ns
        elif shape == _SYN | _ACK:
            peer.is_taken = peer.asked_ns is not None
        elif own.is_taken and own.asked_ns is not None and not own.round_ns:
            own.round_ns = row.time_ns - own.asked_ns

    def _within_ns(self, own: _Direction, peer: _Direction) -> int:
        """Nanoseconds after which data has arrived, be it seen where it may; 0 if unknown."""
        rounds = [one.round_ns for one in (own, peer) if one.round_ns > 0]
        return _ARRIVED * max(rounds) if rounds and self._is_timed else 0

    def _way_of(self, row: Row) -> _Way:
        """The connection that a row without numbers belongs to, in the row's direction."""
        if row.ports is not None:
            return (row.src, row.ports[0]), (row.dst, row.ports[1])
        spans = self._spans.get(_both_ways((row.src, row.dst)))
        span = None if spans is None else spans.only_one_at(self._place)
        if span is None:
            raise Unreadable("which connection between these two hosts it belongs to is not told")
        if row.src == row.dst:
            return _way_told(row.info, span)
        return span.way if span.way[0][0] == row.src else span.way[::-1]

    def _length(self, row: Row, way: _Way, least: int = 1) -> int:
        head = self._head_of(way)
        if head is None or row.size is None or row.size < head + least:
            raise Unreadable("how much of its frame is payload is not told")
        return row.size - head

    def _head_of(self, way: _Way) -> int | None:
        """What frames hold besides payload: this direction's, or the other one's."""
        if way not in self._ways:
            raise Unreadable("no line tells the numbers of its connection")
        own = self._ways[way].head
        return own if own is not None else self._ways[way[::-1]].head


def _way_told(info: str, span: _Span) -> _Way:
    """Whose it is of a connection whose ends have one address: who asks is the client."""
    low, high = sorted(span.way, key=lambda end: end[1])
    guessed = high if low[1] < _EPHEMERAL <= high[1] else None
    client = span.client or guessed
    asks, answers = _ASKS.match(info), _ANSWERS.match(info)
    if client is None or not (asks or answers):
        raise Unreadable("both ends have one address: which of them sent it is not told")
    return span.way if (span.way[0] == client) is bool(asks) else span.way[::-1]


def _head(row: Row, tcp: TcpNumbers) -> int | None:
    """What the frame of an ordinary segment holds besides payload."""
    if tcp.flags & (_SYN | _RST) or not tcp.plain or row.size is None or tcp.length is None:
        return None
    if row.size == _PADDED and not tcp.timestamps and tcp.length <= _PADDED - _WITHOUT_OPTIONS:
        return _WITHOUT_OPTIONS
    return row.size - tcp.length if row.size > tcp.length else None


def _printed(row: Row, way: _Way, tcp: TcpNumbers, length: int) -> Printed:
    return Printed(
        number=0 if row.number is None else row.number,
        clock=row.clock,
        time_ns=row.time_ns,
        src=way[0],
        dst=way[1],
        seq=tcp.seq,
        ack=tcp.ack,
        flags=tcp.flags,
        # Wireshark prints it scaled where it knows the scale: only whether it is 0 counts.
        window=min(0xFFFF if tcp.window is None else tcp.window, 0xFFFF),
        length=length,
        ttl=None,
        ip_id=None,
        df=None,
        timestamps=tcp.timestamps,
        window_scale=tcp.window_scale,
        interface="",
    )


def _later(one: int | None, other: int) -> int:
    return other if one is None or (other - one) % _WRAP < _WRAP // 2 else one


def _one_way(way: _Way) -> _Way:
    return min(way, way[::-1])


def _both_ways(hosts: _Hosts) -> _Hosts:
    return min(hosts, hosts[::-1])
