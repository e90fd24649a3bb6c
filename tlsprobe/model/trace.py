"""What one connection did: the packets, the TLS records, and what our side did and was told.

Three views of the same bytes, tied together by two things. Positions in a direction's byte stream
are *offsets*: the first byte after the SYN is 0, the FIN sits at the offset after the last byte,
so an acknowledgement and a sequence number speak of the same scale. Times are nanoseconds of the
real-time clock, which is the clock of the kernel's packet timestamps.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from tlsprobe.model.protocols import UNKNOWN
from tlsprobe.model.target import is_on_one_host


class Side(StrEnum):
    """Who sent it."""

    CLIENT = "client"
    SERVER = "server"

    @property
    def peer(self) -> Side:
        """The other one."""
        return Side.SERVER if self is Side.CLIENT else Side.CLIENT


class Flag:
    """TCP header flags (RFC 9293 section 3.1), as numbers: an IntFlag takes a microsecond."""

    FIN: Final = 0x01
    SYN: Final = 0x02
    RST: Final = 0x04
    PSH: Final = 0x08
    ACK: Final = 0x10


RST_TEXT = 256
"""Bytes that are kept of what an RST carries."""

_FIN, _SYN, _RST = Flag.FIN, Flag.SYN, Flag.RST
_SYN_FIN = _SYN | _FIN


class Segment(NamedTuple):
    """One TCP segment of a flow, its numbers turned into offsets.

    ``start`` is the offset of its first byte (-1 for a SYN), ``length`` its payload in bytes,
    ``ack`` the offset in the peer's stream that it acknowledges, None without the ACK flag.
    ``ip_id`` is None in IPv6. ``number`` counts packets of the capture from 1. ``ttl``, ``ip_id``
    and ``df`` (whether fragmenting was forbidden) are None where the input does not tell them.

    ``window_scale`` is the shift count that a SYN announces (RFC 7323), ``options`` the kinds of
    the TCP options in their order, padding included; None where the input does not tell them.
    ``payload`` is kept of an RST alone, whose text names its sender (RFC 9293 section 3.5.2): its
    first `RST_TEXT` bytes.
    """

    number: int
    time_ns: int
    side: Side
    flags: int
    start: int
    length: int
    ack: int | None
    window: int
    ttl: int | None
    ip_id: int | None
    timestamps: bool
    df: bool | None = None
    window_scale: int | None = None
    options: bytes | None = None
    payload: bytes = b""

    @property
    def end(self) -> int:
        """The offset behind its last byte; a FIN occupies the offset ``end``."""
        return self.start + self.length

    @property
    def behind(self) -> int:
        """The offset behind all that it brings, SYN and FIN included."""
        end = self.start + self.length
        return end + self.syn + self.fin if self.flags & _SYN_FIN else end

    @property
    def fin(self) -> bool:
        """Whether it carries the FIN flag."""
        return self.flags & _FIN != 0

    @property
    def rst(self) -> bool:
        """Whether it is a reset."""
        return self.flags & _RST != 0

    @property
    def ends(self) -> bool:
        """Whether it ends a direction, or both: a FIN or a reset."""
        return self.flags & (_FIN | _RST) != 0

    @property
    def syn(self) -> bool:
        """Whether it is a SYN or a SYN-ACK."""
        return self.flags & _SYN != 0


class RecordKind(StrEnum):
    """What came of a run of stream bytes, as TLS (or, outside it, the protocol) told us.

    MALFORMED is a record of ours that its receiver need not, or must not, take: its tag fits
    nothing, nothing encrypts it, or it holds no whole message.
    """

    PLAIN = "plain"
    HANDSHAKE = "handshake"
    TICKET = "ticket"
    DATA = "data"
    GOODBYE = "goodbye"
    CLOSE_NOTIFY = "close_notify"
    ALERT = "alert"
    KEY_UPDATE = "key_update"
    MALFORMED = "malformed"


ALERTS = frozenset({RecordKind.CLOSE_NOTIFY, RecordKind.ALERT})
"""What TLS says of the connection itself."""

MESSAGES = frozenset({RecordKind.DATA, RecordKind.GOODBYE})
"""What the protocol inside TLS says."""


class Record(NamedTuple):
    """Stream bytes ``start`` to ``end`` of one side, as one thing with a meaning.

    ``time_ns`` is when our side wrote or decrypted it; ``alert`` is ``(level, description)``.
    """

    side: Side
    start: int
    end: int
    kind: RecordKind
    time_ns: int
    alert: tuple[int, int] | None = None


class EventKind(StrEnum):
    """What the driver did, or what its socket told it.

    RACED and MEETS are noted by racers that sent something: one answered the idle expiry, the other
    met it with a request, so many microseconds after it was expected. RESUMED and NOT_RESUMED tell
    what a second connection found out that offered the session of this one, and by what (`By`);
    UNRESUMABLE says why nothing was found out. EARLY_TAKEN and EARLY_REFUSED tell what became of
    the request in the first flight, or why there was none. DUE ends a wait for a given time. The
    time of DUE and MEETS is that at which the next packet was meant to leave; when it did, the
    capture tells. SIGNALLED is that we told the server's process something: what, and by which
    signal, is the event's word, and its time is right before the call.
    """

    CONNECT = "connect"
    CONNECTED = "connected"
    HANDSHAKEN = "handshaken"
    READY = "ready"
    STEP = "step"
    RACED = "raced"
    MEETS = "meets"
    DUE = "due"
    RESUMED = "resumed"
    NOT_RESUMED = "not-resumed"
    UNRESUMABLE = "unresumable"
    EARLY_TAKEN = "early-taken"
    EARLY_REFUSED = "early-refused"
    EOF = "eof"
    RESET = "reset"
    BROKEN_PIPE = "broken-pipe"
    GAVE_UP = "gave-up"
    FIN_SENT = "fin-sent"
    ABORTED = "aborted"
    CLOSED = "closed"
    SIGNALLED = "signalled"
    LEFT = "left"


class By(StrEnum):
    """By what a session is resumed: a ticket of the server's, or the id that it keeps it under."""

    TICKET = "ticket"
    ID = "id"


class DriverEvent(NamedTuple):
    """An event of the driver with its time and, where there is more to say, a word about it."""

    time_ns: int
    kind: EventKind
    detail: str = ""

    @property
    def verb(self) -> str:
        """Of a step, or of one that we gave up: the word of the language that it begins with."""
        return self.detail.partition(" ")[0]

    @property
    def labels(self) -> tuple[str, ...]:
        """Of steps that were written: the verb and the form of each."""
        return tuple(self.detail.split(" + "))


class PathDid(StrEnum):
    """What the shaper in the path of our own connection did to a packet, or made.

    SWALLOWED is a repetition or an acknowledgement of our kernel's that would have told of what
    the path keeps back. FIN_HELD, FIN_PASSED and FIN_DROPPED are about the server's FIN; it is
    dropped when an RST has overtaken it. WINDOW_SHUT, WINDOW_OPENED, UNMUTED are acknowledgements
    that the path made, RESET an RST.
    """

    HELD = "held"
    RELEASED = "released"
    LOST = "lost"
    DOUBLED = "doubled"
    CORRUPTED = "corrupted"
    MARKED_URGENT = "marked-urgent"
    SPLIT = "split"
    SWALLOWED = "swallowed"
    FIN_HELD = "fin-held"
    FIN_PASSED = "fin-passed"
    FIN_DROPPED = "fin-dropped"
    WINDOW_SHUT = "window-shut"
    WINDOW_OPENED = "window-opened"
    MUTED = "muted"
    UNMUTED = "unmuted"
    RESET = "reset"


class Shaped(NamedTuple):
    """One action of the path: on the stream of ``side``, from ``start`` to ``end``.

    A FIN is the place behind the last byte. Of an RST, ``start`` is where the server was, ``end``
    where the RST stands.
    """

    time_ns: int
    did: PathDid
    side: Side
    start: int
    end: int


class Mark(NamedTuple):
    """Where the judged part of a connection begins: the opening exchange ends here."""

    time_ns: int
    client: int
    server: int


class RemarkKind(StrEnum):
    """What a server can say about the connection itself.

    CLOSE_IMPLIED: by the rules of its protocol the response ends the connection, without a word.
    TIMED_OUT: it waited for a request in vain, which it says in the form of a response. VERDICT: on
    the connection that commands this one it says whether it took what was transferred. CRASHED:
    another of its processes died, which is why it ends this connection. RECOVERING: it serves no
    one until it has started, or recovered from such a death.
    """

    GOAWAY = "goaway"
    STREAM_RESET = "stream-reset"
    NOTICE_OF_DISCONNECTION = "notice-of-disconnection"
    CONNECTION_CLOSE = "connection.close"
    CLOSE_FRAME = "close-frame"
    CLOSE_ANNOUNCED = "close-announced"
    CLOSE_IMPLIED = "close-implied"
    TIMED_OUT = "timed-out"
    ERROR = "error"
    VERDICT = "verdict"
    CRASHED = "crashed"
    RECOVERING = "recovering"


CLOSING_REMARKS = frozenset({RemarkKind.CLOSE_ANNOUNCED, RemarkKind.CLOSE_IMPLIED})
"""The response ends the connection."""


class Remark(NamedTuple):
    """What the server said about the connection itself, in a message that answers no request.

    ``text`` is the message in the protocol's own words, safe to print; ``last_stream`` and
    ``error`` are a GOAWAY's (RFC 9113 section 6.8).
    """

    kind: RemarkKind
    text: str
    last_stream: int | None = None
    error: int | None = None


class Stage(StrEnum):
    """How far a connection came before it, or its sequence, ended."""

    CONNECT = "connect"
    HANDSHAKE = "handshake"
    GREETING = "greeting"
    SEQUENCE = "sequence"


@dataclass(frozen=True, slots=True)
class Drive:
    """What one driven connection did and was told, before the wire is consulted.

    ``failure`` is a sentence when the connection never reached its sequence, ``hint`` advice.
    ``owed`` and ``answered`` count responses that the server had to give and gave whole;
    ``cut_short`` says that one was begun and not finished. ``answered_to`` is the client offset
    up to which every request has had its response; ``remarks`` is what the server said about the
    connection itself, ``server_says`` what it calls itself. ``begun`` is where our first step was
    due, an opening request included; ``ended_early`` says that the server ended the connection
    while it owed us its greeting or the whole of its first response. ``shaped`` is what the path
    did in between, where a shaper was in it.
    """

    client: tuple[str, int] | None
    server: tuple[str, int]
    stage: Stage
    records: tuple[Record, ...]
    events: tuple[DriverEvent, ...]
    tls: str | None = None
    cipher: str | None = None
    alpn: str | None = None
    begun: Mark | None = None
    mark: Mark | None = None
    ended_early: bool = False
    failure: str | None = None
    hint: str | None = None
    refused: bool = False
    owed: int = 0
    answered: int = 0
    cut_short: bool = False
    answered_to: int = 0
    remarks: tuple[Remark, ...] = ()
    server_says: str = ""
    shaped: tuple[Shaped, ...] = ()
    behind: str = ""

    @property
    def is_near(self) -> bool:
        """Whether it never left this machine, and no program there is known to pass it on.

        Nothing lies between client and server then.
        """
        if self.client is None or self.behind:
            return False
        return is_on_one_host(self.client[0], self.server[0])

    def did(self, kind: EventKind) -> DriverEvent | None:
        """The first event of this kind."""
        return next((event for event in self.events if event.kind is kind), None)

    def told(self, kind: RemarkKind) -> bool:
        """Whether the server made such a remark."""
        return any(remark.kind is kind for remark in self.remarks)

    @property
    def worked(self) -> bool:
        """Whether the connection came to its sequence and the server did not leave us waiting."""
        unanswered = self.answered < self.owed and self.did(EventKind.GAVE_UP) is not None
        return self.failure is None and not unanswered

    @property
    def only_late(self) -> bool:
        """Whether it failed although nobody refused or ended the connection: for want of time."""
        ended = self.did(EventKind.EOF) or self.did(EventKind.RESET)
        return not self.worked and not self.refused and ended is None


class Coverage(StrEnum):
    """How much of a connection the capture holds."""

    WHOLE = "whole"
    HOLES = "holes"
    NONE = "none"


class Gap(StrEnum):
    """Why a capture does not hold the whole of a connection."""

    ENDED = "ended"
    DROPPED = "dropped"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Trace:
    """Script and wire of one connection, merged: the only thing that the judge sees.

    ``segments`` are in time order and end where our side left (later packets belong to the
    tester's tidying up). ``protocol`` is the adapter's name. ``left_out`` counts segments, records
    and events that were too many to keep: they are missing from the middle. ``gap`` says why a
    coverage has holes, where that is known.
    """

    drive: Drive
    segments: tuple[Segment, ...]
    coverage: Coverage
    protocol: str = UNKNOWN
    left_out: int = 0
    gap: Gap | None = None

    def segment(self, packet: int | None) -> Segment | None:
        """What a packet brought, by its number; None where it was not seen, or nothing is asked."""
        return next((segment for segment in self.segments if segment.number == packet), None)
