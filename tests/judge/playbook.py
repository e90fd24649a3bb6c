"""A test language for the judge: a close, told as a ladder, becomes a Trace.

    play(C.goodbye(), C.notify(), S.notify(), S.rst(active=True))

Each argument is a segment and arrives at once, so the next one acknowledges it; ``+`` puts records
and the FIN into one segment, ``crossing(...)`` holds segments that were sent before the others
arrived, ``silence(seconds)`` lets time pass, ``step(verb)`` and ``gives_up()`` are words of the
driver's. An opening goes before the story: SYN, SYN-ACK, ACK, two handshake flights, a request and
its response, packets 1 to 7; so the story's packets count from ``FIRST``. ``asked=False`` leaves
request and response out, ``opened=False`` the lot.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from tlsprobe.model.trace import (
    Coverage,
    Drive,
    DriverEvent,
    EventKind,
    Flag,
    Mark,
    PathDid,
    Record,
    RecordKind,
    Segment,
    Shaped,
    Side,
    Stage,
    Trace,
)

FIRST = 8
"""The packet number with which a story begins, after the usual opening."""

START_NS = 1_790_000_000_000_000_000
STEP_NS = 100_000
"""A tenth of a millisecond between two packets of a story."""

ALERT = 24
"""Bytes of an alert on the wire in TLS 1.3."""

MESSAGE = 100
"""Bytes of a request, a response and any other data, unless told otherwise."""

WINDOW = 512
TTL = 64


@dataclass(frozen=True)
class Piece:
    """Bytes in a segment: ``kind`` None for bytes that the driver's TLS never saw.

    ``before`` counts bytes of the same record that went in an earlier segment.
    """

    size: int
    kind: RecordKind | None
    alert: tuple[int, int] | None = None
    asks: bool = False
    answers: bool = False
    part: bool = False
    before: int = 0


@dataclass(frozen=True)
class Act:
    """One segment to come: whose, what it carries, and header fields that differ from usual."""

    side: Side
    pieces: tuple[Piece, ...] = ()
    flags: int = Flag.ACK
    deed: EventKind | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    again: int | None = None

    def __add__(self, other: Act) -> Act:
        """Both in one segment."""
        assert self.side is other.side
        return replace(
            self,
            pieces=self.pieces + other.pieces,
            flags=self.flags | other.flags,
            deed=other.deed or self.deed,
            fields=self.fields | other.fields,
        )

    def but(self, **fields: Any) -> Act:
        """The same with other header fields: ``ttl``, ``ip_id``, ``start``, ``ack``, ..."""
        return replace(self, fields=self.fields | fields)


@dataclass(frozen=True)
class Crossing:
    """Segments that were sent before any of the others arrived."""

    acts: tuple[Act, ...]


@dataclass(frozen=True)
class Silence:
    """Time in which nothing passes."""

    seconds: float


@dataclass(frozen=True)
class Note:
    """What the driver writes into its diary."""

    kind: EventKind
    detail: str


Line = Act | Crossing | Silence | Note


@dataclass(frozen=True)
class Actor:
    """The vocabulary of one side; ``C`` is the client, ``S`` the server."""

    side: Side

    def data(self, size: int = MESSAGE) -> Act:
        return self._says(RecordKind.DATA, size)

    def request(self, size: int = MESSAGE) -> Act:
        """Data to which the server owes a response."""
        return Act(self.side, (Piece(size, RecordKind.DATA, asks=True),))

    def response(self, size: int = MESSAGE) -> Act:
        """The rest of a response that was owed."""
        return Act(self.side, (Piece(size, RecordKind.DATA, answers=True),))

    def partial(self, size: int = MESSAGE) -> Act:
        """A response begun and not finished."""
        return Act(self.side, (Piece(size, RecordKind.DATA, part=True),))

    def goodbye(self, *, asks: bool = False) -> Act:
        """The protocol's goodbye; in HTTP it is a request, to which a response is owed."""
        return Act(self.side, (Piece(MESSAGE, RecordKind.GOODBYE, asks=asks),))

    def notify(self) -> Act:
        return self.alert(0, level=1, kind=RecordKind.CLOSE_NOTIFY)

    def alert(self, description: int, level: int = 2, kind: RecordKind = RecordKind.ALERT) -> Act:
        return Act(self.side, (Piece(ALERT, kind, (level, description)),))

    def ticket(self, size: int = 255) -> Act:
        return self._says(RecordKind.TICKET, size)

    def key_update(self) -> Act:
        return self._says(RecordKind.KEY_UPDATE, ALERT)

    def malformed(self) -> Act:
        """A record that no receiver may take."""
        return self._says(RecordKind.MALFORMED, ALERT)

    def handshake(self, size: int = 300) -> Act:
        return self._says(RecordKind.HANDSHAKE, size)

    def plain(self, size: int = MESSAGE) -> Act:
        return self._says(RecordKind.PLAIN, size)

    def unknown(self, size: int = MESSAGE) -> Act:
        """Bytes on the wire of which the driver has no record."""
        return Act(self.side, (Piece(size, None),))

    def split(self, act: Act, at: int) -> tuple[Act, Act]:
        """One record over two segments, the first ``at`` bytes long."""
        (piece,) = act.pieces
        rest = replace(piece, size=piece.size - at, before=at)
        return replace(act, pieces=(Piece(at, None),)), replace(act, pieces=(rest,))

    def fin(self) -> Act:
        return Act(self.side, flags=Flag.ACK | Flag.FIN, deed=EventKind.FIN_SENT)

    def close(self) -> Act:
        """The FIN of a socket that is closed for both directions."""
        return Act(self.side, flags=Flag.ACK | Flag.FIN, deed=EventKind.CLOSED)

    def ack(self) -> Act:
        return Act(self.side)

    def syn(self) -> Act:
        return Act(self.side, flags=Flag.SYN)

    def again(self, packet: int) -> Act:
        """Packet number ``packet`` once more."""
        return Act(self.side, again=packet)

    def rst(self, *, active: bool = False) -> Act:
        """An RST as Linux makes it.

        Active: the side itself gave up; ACK, live window, options, the next IP ID. Passive: the
        answer to the peer's last segment, whose ack it repeats; no ACK, window 0, no options,
        IP ID 0.
        """
        if active:
            return Act(self.side, flags=Flag.RST | Flag.ACK)
        bare = {"window": 0, "timestamps": False, "ip_id": 0}
        return Act(self.side, flags=Flag.RST, fields=bare)

    def abort(self) -> Act:
        """An active RST that the driver asked for."""
        return replace(self.rst(active=True), deed=EventKind.ABORTED)

    def refuse(self) -> Act:
        """The answer of a host on which nothing listens."""
        bare = {"window": 0, "timestamps": False, "ip_id": 0, "start": 0, "ack": 0}
        return Act(self.side, flags=Flag.RST | Flag.ACK, fields=bare)

    def _says(self, kind: RecordKind, size: int) -> Act:
        return Act(self.side, (Piece(size, kind),))


C = Actor(Side.CLIENT)
S = Actor(Side.SERVER)


def crossing(*acts: Act) -> Crossing:
    return Crossing(acts)


def silence(seconds: float) -> Silence:
    return Silence(seconds)


def step(verb: str) -> Note:
    """The driver begins a step that waits, or has done one that writes."""
    return Note(EventKind.STEP, verb)


def due() -> Note:
    """The time by which the driver meant to have waited long enough."""
    return Note(EventKind.DUE, "")


def told(what: str = "graceful SIGQUIT") -> Note:
    """The driver has signalled the server's process."""
    return Note(EventKind.SIGNALLED, what)


def gives_up(waiting: str = "await end") -> Note:
    """The driver has waited in vain."""
    return Note(EventKind.GAVE_UP, waiting)


def play(
    *lines: Line,
    tls: str | None = "1.3",
    protocol: str = "raw",
    asked: bool = True,
    opened: bool = True,
    rtt_ns: int = STEP_NS,
    ipv6: bool = False,
    coverage: Coverage = Coverage.WHOLE,
    failure: str | None = None,
    stage: Stage = Stage.SEQUENCE,
    refused: bool = False,
    ended_early: bool = False,
) -> Trace:
    """The Trace of a story. Without coverage the segments are left out and the drive kept."""
    told = _Performance(ipv6)
    if opened:
        told.open(rtt_ns, asked)
    for line in lines:
        told.perform(line)
    drive = replace(told.drive(), tls=tls, failure=failure, stage=stage, refused=refused)
    drive = replace(drive, ended_early=ended_early)
    segments = () if coverage is Coverage.NONE else tuple(told.segments)
    return Trace(drive, segments, coverage, protocol)


def shaped(trace: Trace, *actions: tuple[PathDid, Side, int, int, int]) -> Trace:
    """The same with what a shaper in our path did: what, on whose stream, from, to, at a packet.

    Offsets count from where the story begins.
    """
    times = {segment.number: segment.time_ns for segment in trace.segments}
    mark = trace.drive.mark
    assert mark is not None
    floor = {Side.CLIENT: mark.client, Side.SERVER: mark.server}
    done = tuple(
        Shaped(times[packet], did, side, floor[side] + start, floor[side] + end)
        for did, side, start, end, packet in actions
    )
    return replace(trace, drive=replace(trace.drive, shaped=done))


def stranger(trace: Trace) -> Trace:
    """The same packets as somebody else's capture: nobody drove, nothing was decrypted."""
    drive = replace(trace.drive, records=(), events=(), mark=None, tls=None)
    return replace(trace, drive=replace(drive, owed=0, answered=0, answered_to=0, cut_short=False))


class _Performance:
    """What is known while a story is played: both streams, the clock, the driver's diary."""

    def __init__(self, ipv6: bool) -> None:
        self.ipv6 = ipv6
        self.now = START_NS
        self.segments: list[Segment] = []
        self.records: list[Record] = []
        self.events: list[DriverEvent] = []
        self.sent = dict.fromkeys(Side, 0)  # the next offset, a FIN counted
        self.ids = {Side.CLIENT: 4000, Side.SERVER: 52000}
        self.mark: Mark | None = None
        self.request_ends: list[int] = []
        self.answered = 0
        self.cut_short = False

    # --- the opening ---------------------------------------------------------------------------

    def open(self, rtt_ns: int, asked: bool) -> None:
        self.event(EventKind.CONNECT)
        self.one(C.syn())
        self.now += rtt_ns - STEP_NS
        self.one(S.syn().but(flags=Flag.SYN | Flag.ACK))
        self.one(C.ack())
        self.event(EventKind.CONNECTED)
        self.one(C.handshake())
        self.now += rtt_ns - STEP_NS
        self.one(S.handshake())
        self.event(EventKind.HANDSHAKEN)
        self.event(EventKind.READY)
        if asked:
            self.one(C.request())
            self.now += rtt_ns - STEP_NS
            self.one(S.response())
        answer = self.records[-1].time_ns
        self.mark = Mark(answer, self.sent[Side.CLIENT], self.sent[Side.SERVER])

    # --- the story -----------------------------------------------------------------------------

    def perform(self, line: Line) -> None:
        if isinstance(line, Silence):
            self.now += round(line.seconds * 1e9)
        elif isinstance(line, Note):
            self.events.append(DriverEvent(self.now, line.kind, line.detail))
        elif isinstance(line, Act):
            self.one(line)
        else:
            known = dict(self.sent)
            for act in line.acts:
                self.one(act, known[act.side.peer])

    def one(self, act: Act, heard: int | None = None) -> None:
        """Send one segment; ``heard`` is what its sender has received of the peer by now."""
        self.now += STEP_NS
        heard = self.sent[act.side.peer] if heard is None else heard
        if act.again is not None:
            self.repeat(act)
        elif act.flags & Flag.RST:
            self.reset(act, heard)
        else:
            self.send(act, heard)
        if act.deed is not None and act.side is Side.CLIENT:
            self.event(act.deed)

    def send(self, act: Act, heard: int) -> None:
        syn, first = bool(act.flags & Flag.SYN), self.sent[act.side]
        self.write(act, first)
        length = sum(piece.size for piece in act.pieces)
        fin = bool(act.flags & Flag.FIN)
        if fin and act.side is Side.SERVER:
            self.told(EventKind.EOF)
        self.sent[act.side] = first + length + fin
        self.segment(act, start=-1 if syn else first, length=length, ack=heard)

    def write(self, act: Act, offset: int) -> None:
        """The records of a segment, and what each means for requests and responses."""
        for piece in act.pieces:
            start = offset - piece.before
            offset += piece.size
            if piece.kind is not None:
                record = Record(act.side, start, offset, piece.kind, self.now, piece.alert)
                self.records.append(record)
            if piece.asks:
                self.request_ends.append(offset)
            self.answered += piece.answers
            self.cut_short = piece.part or (self.cut_short and not piece.answers)

    def reset(self, act: Act, heard: int) -> None:
        assert not act.pieces, "an RST carries no records"
        if act.flags & Flag.ACK:
            start, ack = self.sent[act.side], heard
        else:
            peers = [s for s in self.segments if s.side is act.side.peer]
            start, ack = (peers[-1].ack or 0) if peers else 0, 0
        if act.side is Side.SERVER:
            self.told(EventKind.RESET)
        self.segment(act, start=start, length=0, ack=ack)

    def repeat(self, act: Act) -> None:
        old = next(s for s in self.segments if s.number == act.again)
        assert old.side is act.side
        again = old._replace(number=len(self.segments) + 1, time_ns=self.now)
        self.segments.append(again._replace(ip_id=self.next_id(act.side)))

    def segment(self, act: Act, *, start: int, length: int, ack: int) -> None:
        flags = act.fields.get("flags", act.flags)
        made = Segment(
            number=len(self.segments) + 1,
            time_ns=self.now,
            side=act.side,
            flags=flags,
            start=start,
            length=length,
            ack=ack if flags & Flag.ACK else None,
            window=WINDOW,
            ttl=TTL,
            ip_id=None if "ip_id" in act.fields else self.next_id(act.side),
            timestamps=True,
        )
        given = {k: v for k, v in act.fields.items() if not (self.ipv6 and k == "ip_id")}
        self.segments.append(made._replace(**given))

    def next_id(self, side: Side) -> int | None:
        self.ids[side] = (self.ids[side] + 1) % 2**16
        return None if self.ipv6 else self.ids[side]

    # --- the driver's diary --------------------------------------------------------------------

    def event(self, deed: EventKind) -> None:
        self.events.append(DriverEvent(self.now, deed))

    def told(self, deed: EventKind) -> None:
        """What our socket reports of the server's end: the first thing only."""
        if not any(event.kind in {EventKind.EOF, EventKind.RESET} for event in self.events):
            self.event(deed)

    def drive(self) -> Drive:
        self.now += STEP_NS
        if not any(event.kind in {EventKind.EOF, EventKind.RESET} for event in self.events):
            self.event(EventKind.GAVE_UP)
        self.event(EventKind.LEFT)
        answered = min(self.answered, len(self.request_ends))
        return Drive(
            client=("192.0.2.1", 40000),
            server=("192.0.2.2", 443),
            stage=Stage.SEQUENCE,
            records=tuple(self.records),
            events=tuple(self.events),
            mark=self.mark,
            owed=len(self.request_ends),
            answered=answered,
            cut_short=self.cut_short,
            answered_to=self.request_ends[answered - 1] if answered else 0,
        )
