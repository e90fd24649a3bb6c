"""What the numbers and the times of a printed packet count from.

Without ``-S`` tcpdump prints absolute numbers in three kinds of packets: those without an
acknowledgement (a SYN, a bare RST), a SYN that acknowledges, and the first packet that it sees of
a flow. In all others numbers are relative to the latter two, each direction to its own start. So
where the start of a flow is in the text, everything is turned into absolute numbers again; where
it is not, the numbers are kept as printed and marked as relative, as far as they look it: then a
bare RST's number cannot be compared with them.

tcpdump keeps where it counts from until the next SYN that acknowledges. So a SYN with another
number, which is refused, has its refusal counted from the connection before; and another tcpdump,
pasted behind the first, counts from its own first packet, which stands there in absolute numbers.

Source: tcpdump's print-tcp.c, ``tcp_print``, the use of ``tcp_seq_hash``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator

from tlsprobe.captures.printed_packet import Printed
from tlsprobe.packets.copies import Copies
from tlsprobe.packets.packet import Endpoint, Packet, flow_key

FLOW_LIMIT = 20_000
_FIN, _SYN, _RST, _ACK = 0x01, 0x02, 0x04, 0x10
_WRAP, _HALF = 1 << 32, 1 << 31
_NEAR = 1 << 24
"""Numbers of one scale that follow each other differ by less; two scales by less only by chance."""
_SMALL, _SMALLISH = 1 << 24, 1 << 28
_DAY = 86400 * 10**9

_Pair = tuple[Endpoint, Endpoint]


class _Side:
    """One direction: where its numbers start, if that is known, and which is expected next."""

    __slots__ = ("base", "first", "moves", "next", "other", "unplaced")

    def __init__(self) -> None:
        self.base: int | None = None
        self.next: int | None = None
        self.first: int | None = None
        self.unplaced = False
        # From where else tcpdump may count: an earlier connection, or where it began itself.
        self.other: int | None = None
        # Whether the latest number was relative: decides where both readings are near.
        self.moves: bool | None = None

    @property
    def is_placed(self) -> bool:
        """Whether its numbers can be made absolute."""
        return self.base is not None and not self.unplaced

    def start(self, base: int) -> None:
        """An absolute number in front of the first byte."""
        self.base, self.next = base % _WRAP, (base + 1) % _WRAP

    def absolute(self, number: int) -> int:
        """The printed number on the scale of this side, by what is expected."""
        base = self.base
        if base is None or self.next is None:
            return number
        moved = (number + base) % _WRAP
        plain, other = _distance(number, self.next), _distance(moved, self.next)
        if self.unplaced:
            # The start is a mere candidate: it must explain what nothing else does.
            if other < _NEAR <= plain:
                self.unplaced = False
                return moved
            return number
        if self.moves is None or max(plain, other) >= _NEAR:
            self.moves = other <= plain
        return moved if self.moves else number

    def counts_otherwise(self, number: int) -> bool:
        """Whether the other start explains a number best."""
        if self.other is None or self.next is None or self.base is None:
            return False
        starts = (0, self.base, self.other)
        far = [_distance((number + start) % _WRAP, self.next) for start in starts]
        return far[2] < min(far[:2])

    def reached(self, number: int) -> None:
        """Everything up to here was sent, or acknowledged."""
        if self.next is None or (number - self.next) % _WRAP < _HALF:
            self.next = number % _WRAP
        if self.first is None:
            self.first = number


class _Flow:
    """Two sides, of which the first connection, or a later one on the same ports."""

    __slots__ = ("bare", "instance", "sides")

    def __init__(self, instance: int) -> None:
        self.instance = instance
        self.sides: dict[Endpoint, _Side] = {}
        self.bare: list[tuple[Endpoint, int]] = []

    def side(self, endpoint: Endpoint) -> _Side:
        return self.sides.setdefault(endpoint, _Side())


class _Tracker:
    """Follows all flows through the text; the same in both passes."""

    def __init__(self) -> None:
        self._flows: OrderedDict[_Pair, _Flow] = OrderedDict()

    def flow(self, packet: Printed) -> _Flow:
        """The packet's connection, begun anew by a SYN of another number."""
        pair = _pair(packet)
        flow = self._flows.pop(pair, None)
        if flow is None:
            if len(self._flows) >= FLOW_LIMIT:
                self._flows.popitem(last=False)
            flow = _Flow(0)
        elif packet.flags & _SYN and not packet.flags & _ACK and packet.seq is not None:
            base = flow.side(packet.src).base
            if base is None or packet.seq != base:
                before, flow = flow, _Flow(flow.instance + 1)
                for endpoint, side in before.sides.items():
                    flow.side(endpoint).other = side.base if side.other is None else side.other
        self._flows[pair] = flow
        return flow

    def place(self, packet: Printed, flow: _Flow) -> tuple[int | None, int | None]:
        """Sequence number and acknowledgement, absolute where that can be known."""
        own, peer = flow.side(packet.src), flow.side(packet.dst)
        seq, ack = packet.seq, packet.ack
        if packet.flags & _SYN and seq is not None:
            own.unplaced = False
            if own.base != seq:
                own.start(seq)
            if ack is not None:
                own.other = peer.other = None
                peer.unplaced = False
                if peer.base != (ack - 1) % _WRAP:
                    peer.start(ack - 1)
        elif packet.flags & _ACK:
            if ack is not None and own.next is None and peer.next is None:
                _guess_starts(own, peer, seq, ack)
            seq, ack = _both(own, peer, seq, ack)
        elif seq is not None:
            if packet.flags & _RST:
                flow.bare = [*flow.bare[-7:], (packet.src, seq)]
            return seq, ack
        if seq is not None:
            taken = packet.length + bool(packet.flags & _SYN) + bool(packet.flags & _FIN)
            own.reached((seq + taken) % _WRAP)
        if ack is not None:
            peer.reached(ack)
        return seq, ack


def _both(
    own: _Side, peer: _Side, seq: int | None, ack: int | None
) -> tuple[int | None, int | None]:
    """Both numbers of one packet. They are printed alike: if one is absolute, so is the other."""
    starts = own.other, peer.other
    if ack is not None and None not in starts and peer.counts_otherwise(ack):
        if own.base is None:
            own.base, own.unplaced = _moved(seq, own.other), False
        return _moved(seq, own.other), _moved(ack, peer.other)
    # A list of Wireshark's counts all from 0: there both readings are one.
    was_relative = own.moves and peer.moves and own.base and peer.base
    known_own, known_peer = own.is_placed, peer.is_placed
    new_seq = None if seq is None else own.absolute(seq)
    new_ack = None if ack is None else peer.absolute(ack)
    if seq is not None and ack is not None and known_own is not known_peer:
        if known_peer and new_ack == ack:
            own.base, own.unplaced = seq, False
        elif known_own and new_seq == seq:
            peer.base, peer.unplaced = (ack - 1) % _WRAP, False
    if was_relative and seq is not None and ack is not None and (new_seq, new_ack) == (seq, ack):
        own.other, peer.other = seq, (ack - 1) % _WRAP
    return new_seq, new_ack


def _moved(number: int | None, start: int | None) -> int | None:
    return None if number is None else (number + (start or 0)) % _WRAP


def _guess_starts(own: _Side, peer: _Side, seq: int | None, ack: int) -> None:
    """The first packet of a flow in the text may be the one that tcpdump counts from."""
    if seq is not None:
        own.base, own.unplaced = seq, True
    peer.base, peer.unplaced = (ack - 1) % _WRAP, True


class Learned:
    """What only the whole text tells: feed it every packet, then `conclude`."""

    def __init__(self) -> None:
        self._tracker = _Tracker()
        self._latest: dict[_Pair, _Flow] = {}
        self._firsts: dict[tuple[_Pair, int, Endpoint], int] = {}
        self._relative: set[tuple[_Pair, int]] = set()
        self._clocks: dict[str | None, int] = {}
        self._first_ns: int | None = None
        self.began_ns = 0
        self._before_ns = 0
        self._decreases = 0
        self.differences = False
        self.notes: list[str] = []

    def saw(self, packet: Printed) -> None:
        """One packet, in the order of the text."""
        self._clocks[packet.clock] = self._clocks.get(packet.clock, 0) + 1
        if packet.clock is not None and len(self._clocks) - (None in self._clocks) == 1:
            self.began_ns = self.began_ns or packet.time_ns
        if packet.clock in {"day", "start"}:
            self._saw_time(packet.time_ns)
        pair = _pair(packet)
        flow = self._tracker.flow(packet)
        before = self._latest.get(pair)
        if before is not None and before is not flow:
            self._judge(pair, before)
        if pair in self._latest or len(self._latest) < FLOW_LIMIT:
            self._latest[pair] = flow
        seq, ack = self._tracker.place(packet, flow)
        if len(self._firsts) < 2 * FLOW_LIMIT:
            if seq is not None:
                self._firsts.setdefault((pair, flow.instance, packet.src), seq)
            if ack is not None:
                self._firsts.setdefault((pair, flow.instance, packet.dst), ack)

    def _saw_time(self, time_ns: int) -> None:
        if self._first_ns is None:
            self._first_ns = time_ns
        elif time_ns < self._before_ns:
            self._decreases += 1
        self._before_ns = time_ns

    def conclude(self) -> None:
        """Judges from all that was seen."""
        for pair, flow in self._latest.items():
            self._judge(pair, flow)
        self._latest.clear()
        self._tracker = _Tracker()
        untimed = self._clocks.pop(None, 0)
        if self._first_ns == 0:
            self.differences = self._decreases > 0
            if not self.differences and "day" in self._clocks:
                self.notes.append(
                    "the times are taken as counted from the first packet; "
                    "if tcpdump printed differences (-ttt), they are too short"
                )
        if len(self._clocks) > 1:
            self.notes.append("times of several kinds stand side by side: they do not compare")
        if untimed and self._clocks:
            self.notes.append(f"{untimed} packets have no time; they get that of the one before")

    def _judge(self, pair: _Pair, flow: _Flow) -> None:
        """Whether the numbers of a flow without a start look as if they were relative."""
        sides = flow.sides.values()
        if all(side.is_placed for side in sides):
            return
        for endpoint, number in flow.bare:
            expected = flow.side(endpoint).next
            if expected is not None and _distance(number, expected) < _NEAR:
                return
        firsts = [s.first for s in sides if not s.is_placed and s.first is not None]
        if firsts and (min(firsts) < _SMALL or max(firsts) < _SMALLISH):
            self._relative.add((pair, flow.instance))

    def is_relative(self, pair: _Pair, instance: int) -> bool:
        """Whether this connection's numbers count from a start that the text does not tell."""
        return (pair, instance) in self._relative

    def first(self, pair: _Pair, instance: int, endpoint: Endpoint) -> int | None:
        """The first number known of one side."""
        return self._firsts.get((pair, instance, endpoint))


def place(printed: Iterable[Printed], learned: Learned) -> Iterator[Packet]:
    """The packets with numbers and times that compare, as far as the text allows."""
    tracker = _Tracker()
    clock = _Clock(learned.differences, learned.began_ns)
    copies = Copies()
    devices: dict[str, int] = {}
    for one in printed:
        pair, flow = _pair(one), tracker.flow(one)
        expected = flow.side(one.src).next
        seq, ack = tracker.place(one, flow)
        if seq is None:
            seq = expected if expected is not None else learned.first(pair, flow.instance, one.src)
        bare = not one.flags & _ACK
        device = devices.setdefault(one.interface, len(devices)) if len(devices) < 4096 else 0
        packet = Packet(
            number=one.number,
            time_ns=clock.time(one),
            key=flow_key(one.src, one.dst),
            seq=seq or 0,
            ack=None if bare else ack,
            flags=one.flags,
            window=one.window,
            length=one.length,
            payload=one.says.encode(),
            ttl=one.ttl,
            ip_id=one.ip_id,
            df=one.df,
            timestamps=one.timestamps is not False,
            window_scale=one.window_scale,
            options=None,
            interface=device,
            relative=not bare and learned.is_relative(pair, flow.instance),
        )
        shared = (*packet[2:8], packet.ip_id)
        copied = copies.has(shared, packet.time_ns, device, packet.ip_id)
        yield packet._replace(copy=True) if copied else packet


class _Clock:
    """Times that go on after midnight, and sums where only differences were printed."""

    def __init__(self, differences: bool, began_ns: int) -> None:
        self._differences = differences
        self._days_ns = 0
        self._before_ns = 0
        self._latest_ns = 0 if differences else began_ns

    def time(self, packet: Printed) -> int:
        """Nanoseconds; a packet without a time has that of the one before, or of the first."""
        if packet.clock is None:
            return self._latest_ns
        if packet.clock in {"day", "start"} and self._differences:
            self._latest_ns += packet.time_ns
            return self._latest_ns
        if packet.clock == "day":
            if packet.time_ns < self._before_ns - _DAY // 2:
                self._days_ns += _DAY
            self._before_ns = packet.time_ns
        self._latest_ns = packet.time_ns + (self._days_ns if packet.clock == "day" else 0)
        return self._latest_ns


def _pair(packet: Printed) -> _Pair:
    return (packet.src, packet.dst) if packet.src <= packet.dst else (packet.dst, packet.src)


def _distance(one: int, other: int) -> int:
    return abs((one - other + _HALF) % _WRAP - _HALF)
