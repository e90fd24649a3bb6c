"""The verbs of close sequences: what each does to a connection, and sets of them by that."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import Self


class Form(StrEnum):
    """A variant of what a step sends, written behind the verb.

    PART is the first half of it; CUT a TLS record of which only the first half is ever sent;
    SPLIT the whole in two segments; LARGE a request for a large response; UPLOAD a request with
    a large body that the server is expected to refuse; GUARDED a request upon which the server
    asks for our certificate, in the midst of the session (TLS 1.3). PLAIN is a record that nothing
    encrypts, CORRUPT one whose tag does not fit, EMPTY one with no content; FULL is one padded to
    the most that a record may hold, OVERFULL one that holds a byte more. FRAGMENTED is a message in
    two records, DOUBLE the message twice in one record. ASKING asks the other side to do the same.
    ID resumes by the id that the server gave a session, and has it give no ticket (TLS 1.2).
    """

    WHOLE = ""
    PART = "part"
    CUT = "cut"
    SPLIT = "split"
    LARGE = "large"
    UPLOAD = "upload"
    GUARDED = "guarded"
    PLAIN = "plain"
    CORRUPT = "corrupt"
    EMPTY = "empty"
    FULL = "full"
    OVERFULL = "overfull"
    FRAGMENTED = "fragmented"
    DOUBLE = "double"
    ASKING = "request"
    ID = "id"


class Treatment(StrEnum):
    """What the path does to the bytes of a step, written before the verb, and its line of help.

    A FIN can be held, lost, doubled or damaged like a byte.
    """

    meaning: str

    HOLD = "hold", "have the path hold the bytes of a step, or its FIN, until it is to release"
    LOSE = "lose", "have the path lose them, once or so many times"
    TWICE = "twice", "have the path pass them on twice"
    CORRUPT = "corrupt", "have the path damage them once, so that TCP's checksum does not fit"
    URGENT = "urgent", "have the path mark them as urgent data of TCP"
    SPLIT = "split", "have the path cut them into segments of so many bytes"

    def __new__(cls, word: str, meaning: str) -> Self:
        """A member; its value is the word."""
        treatment = str.__new__(cls, word)
        treatment._value_ = word
        treatment.meaning = meaning
        return treatment


class Act(Enum):
    """What a verb does to the connection; each verb does one of these."""

    OPENS = auto()
    """Opens the TCP connection and leaves the handshake to the steps that follow."""
    ASKS_EARLY = auto()
    """Sends a request in the first flight of the handshake, and waits for nothing else."""
    RETURNS = auto()
    """Opens the connection with the session of an earlier one, which it tries to resume."""
    ASKS = auto()
    """Sends a request and waits for the response to it."""
    WRITES = auto()
    """Puts bytes on the wire and waits for nothing."""
    ANNOUNCES = auto()
    """Writes as well, and tells the server that we are done."""
    HALF_CLOSES = auto()
    """Sends our FIN; the socket can still be read."""
    CLOSES = auto()
    """Sends our FIN and gives the socket up."""
    ABORTS = auto()
    """Sends our RST and gives the socket up."""
    WAITS = auto()
    """Lets time pass."""
    RACES = auto()
    """Has to be on time to the microsecond: watches the socket without yielding."""
    RESUMES = auto()
    """Opens another connection, which resumes the session of this one."""
    SHAPES = auto()
    """Has the path between the two sides do something; our own socket knows nothing of it."""
    SIGNALS = auto()
    """Tells the server's process something; nothing of it goes over the connection."""


class Operand(Enum):
    """What a verb takes behind it, besides a form."""

    NOTHING = auto()
    BYTES = auto()
    """A string, or nothing for the protocol's own request."""
    DURATION = auto()
    WAIT = auto()
    """A duration or a limit; without one, the run's patience."""
    EXPIRY = auto()
    """A wait that is, without one, the run's idle limit."""
    EVENT = auto()
    """What is waited for, and a wait."""
    ALERT = auto()
    """A level and a description, or nothing for a close_notify."""
    DISTANCE = auto()
    """How long before or after an expiry, or nothing where the trials sweep it."""
    SERVER_FIN = auto()
    """The words ``server fin`` and a duration."""
    WINDOW = auto()
    """``0`` or ``open``."""
    AHEAD = auto()
    """``+`` and a number of bytes, or nothing for none."""
    SIGNAL = auto()
    """What the server is to do, or the name of a signal."""


class Place(Enum):
    """Where a verb may stand in a sequence, seen from the handshake."""

    ANYWHERE = auto()
    FIRST = auto()
    IN_HANDSHAKE = auto()
    """Only behind ``connect``: it is a part of the handshake."""
    IN_SESSION = auto()
    """Never behind ``connect``: it needs the session that a whole handshake makes."""


@dataclass(frozen=True, slots=True)
class Row:
    """What there is to know of a verb.

    ``forms`` are those that it comes in besides the whole one; ``meaning`` is a line of help.
    ``tls`` is the one version that has it, empty where every version does.
    """

    act: Act
    meaning: str
    operand: Operand = Operand.NOTHING
    place: Place = Place.ANYWHERE
    forms: tuple[Form, ...] = ()
    tls: str = ""


class Verb(StrEnum):
    """What a step can do: the table of verbs, each the language's word for it and its row.

    The language, the help and the sets below are derived from the rows. Whatever performs a verb
    or draws one matches it exhaustively: the type checker names each place that lacks a new one.
    """

    row: Row

    CONNECT = (
        "connect",
        Row(
            Act.OPENS,
            "open the TCP connection, and leave the handshake to the steps that follow",
            place=Place.FIRST,
        ),
    )
    EARLY = (
        "early",
        Row(
            Act.ASKS_EARLY,
            "send the request, or these bytes, with the ClientHello (TLS 1.3): 0-RTT",
            Operand.BYTES,
            Place.FIRST,
            tls="1.3",
        ),
    )
    RESUMED = (
        "resumed",
        Row(
            Act.RETURNS,
            "shake hands with the session of an earlier connection, to resume it",
            place=Place.FIRST,
        ),
    )
    HELLO = (
        "hello",
        Row(Act.WRITES, "send the ClientHello", place=Place.IN_HANDSHAKE, forms=(Form.PART,)),
    )
    REQUEST = (
        "request",
        Row(
            Act.ASKS,
            "send the protocol's request and wait for the response",
            place=Place.IN_SESSION,
            forms=(Form.LARGE, Form.GUARDED),
        ),
    )
    EXHAUST = (
        "exhaust",
        Row(
            Act.ASKS,
            "request again and again, so far apart, until the server ends it",
            Operand.WAIT,
            Place.IN_SESSION,
        ),
    )
    SEND = (
        "send",
        Row(
            Act.WRITES,
            "send the request, or these bytes, and wait for nothing",
            Operand.BYTES,
            Place.IN_SESSION,
            (
                *(Form.PART, Form.CUT, Form.LARGE, Form.UPLOAD, Form.GUARDED),
                *(Form.PLAIN, Form.CORRUPT, Form.EMPTY, Form.FULL, Form.OVERFULL),
            ),
        ),
    )
    TERMINATE = (
        "terminate",
        Row(Act.ANNOUNCES, "send the protocol's own goodbye", place=Place.IN_SESSION),
    )
    CLOSE_NOTIFY = (
        "close_notify",
        Row(Act.ANNOUNCES, "send the TLS close_notify alert", forms=(Form.SPLIT,)),
    )
    ALERT = (
        "alert",
        Row(
            Act.ANNOUNCES,
            "send any TLS alert; without a name, a close_notify",
            Operand.ALERT,
            Place.IN_SESSION,
            (Form.PLAIN, Form.CORRUPT, Form.FRAGMENTED, Form.DOUBLE),
        ),
    )
    KEY_UPDATE = (
        "key_update",
        Row(
            Act.WRITES,
            "change our keys (TLS 1.3), and with request have the server change its own",
            place=Place.IN_SESSION,
            forms=(Form.ASKING,),
            tls="1.3",
        ),
    )
    RENEGOTIATE = (
        "renegotiate",
        Row(
            Act.WRITES,
            "ask for a new handshake (TLS 1.2), and go no further with it",
            place=Place.IN_SESSION,
            tls="1.2",
        ),
    )
    FIN = "fin", Row(Act.HALF_CLOSES, "send a FIN and go on reading")
    CLOSE = "close", Row(Act.CLOSES, "close the socket, whatever is unread")
    ABORT = "abort", Row(Act.ABORTS, "close the socket with an RST")
    SLEEP = "sleep", Row(Act.WAITS, "wait this long and read", Operand.DURATION)
    PAUSE = "pause", Row(Act.WAITS, "wait this long and do not read", Operand.DURATION)
    STALL = (
        "stall",
        Row(
            Act.WAITS,
            "do not read for this long, with little room for what is not read",
            Operand.DURATION,
        ),
    )
    AWAIT = "await", Row(Act.WAITS, "read until this happens", Operand.EVENT)
    DRAIN = "drain", Row(Act.WAITS, "read until the server has ended the connection", Operand.WAIT)
    ANSWER = (
        "answer",
        Row(
            Act.RACES,
            "send close_notify the moment the server's idle expiry arrives",
            Operand.EXPIRY,
            Place.IN_SESSION,
        ),
    )
    MEET = (
        "meet",
        Row(
            Act.RACES,
            "send a request this close to the server's idle expiry",
            Operand.DISTANCE,
            Place.IN_SESSION,
        ),
    )
    TICKET = (
        "ticket",
        Row(
            Act.WAITS,
            "read until there is a session that can be resumed",
            Operand.WAIT,
            Place.IN_SESSION,
        ),
    )
    RESUME = (
        "resume",
        Row(
            Act.RESUMES,
            "try to resume this session on another connection, and end that in order",
            place=Place.IN_SESSION,
            forms=(Form.ID,),
        ),
    )
    HOLD = (
        "hold",
        Row(
            Act.SHAPES,
            "have the path keep the server's FIN from us for so long",
            Operand.SERVER_FIN,
        ),
    )
    RELEASE = "release", Row(Act.SHAPES, "have the path pass on what it holds of ours")
    WINDOW = (
        "window",
        Row(
            Act.SHAPES, "have the path tell the server a window of zero, or our own", Operand.WINDOW
        ),
    )
    MUTE = "mute", Row(Act.SHAPES, "have the path keep our acknowledgements from the server")
    UNMUTE = "unmute", Row(Act.SHAPES, "have the path pass our acknowledgements on again")
    RESET = (
        "reset",
        Row(
            Act.SHAPES,
            "have the path forge an RST of ours, so far ahead of what the server expects",
            Operand.AHEAD,
        ),
    )
    SIGNAL = (
        "signal",
        Row(
            Act.SIGNALS,
            "tell the server's process to stop, to drain and stop, or to reload",
            Operand.SIGNAL,
        ),
    )

    def __new__(cls, word: str, row: Row) -> Self:
        """A member of the table; its value is the word."""
        verb = str.__new__(cls, word)
        verb._value_ = word
        verb.row = row
        return verb


def _verbs(*acts: Act) -> frozenset[Verb]:
    return frozenset(verb for verb in Verb if verb.row.act in acts)


ANNOUNCES = _verbs(Act.ANNOUNCES)
"""Verbs that tell the server that we are done."""

WRITES = _verbs(Act.WRITES) | ANNOUNCES
"""Verbs that put bytes on the wire and do not wait for anything."""

RACES = _verbs(Act.RACES)
"""Verbs that have to be on time to the microsecond."""

SENDS_FIN = _verbs(Act.HALF_CLOSES, Act.CLOSES)
"""Verbs whose FIN can share a segment with what was written before."""

ENDS = SENDS_FIN | _verbs(Act.ABORTS)
"""Verbs that end our half of the TCP connection; nothing can be written after one."""

RELEASES = _verbs(Act.CLOSES, Act.ABORTS)
"""Verbs that leave no socket to read from."""

SPEAKS = WRITES | _verbs(Act.ASKS)
"""Verbs that put bytes on the wire."""

RETURNS = _verbs(Act.RETURNS, Act.ASKS_EARLY)
"""Verbs that begin with a session which an earlier connection has to fetch."""

PASSES_TIME = frozenset(v for v in _verbs(Act.WAITS) if v.row.operand is Operand.DURATION)
"""Verbs that wait for nobody, and just let a time pass."""

SHAPES = _verbs(Act.SHAPES)
"""Verbs that our own socket knows nothing of."""

TREATABLE = WRITES | _verbs(Act.HALF_CLOSES)
"""Verbs whose bytes, or FIN, the path can treat."""

FIN_TREATMENTS = frozenset({Treatment.HOLD, Treatment.LOSE, Treatment.TWICE, Treatment.CORRUPT})
"""What can be done to a FIN."""

COUNTED = frozenset({Treatment.LOSE, Treatment.SPLIT})
"""Treatments with a number: how often, or into how many bytes."""

TAKES_TIME = _verbs(Act.WAITS, Act.ASKS)
"""Verbs that go on for a while: for a time of their own, or for the server."""

MALFORMED = frozenset({Form.PLAIN, Form.CORRUPT, Form.OVERFULL})
"""Forms of a record that no receiver may take, in either version."""

ODD = MALFORMED | {Form.EMPTY, Form.FULL, Form.FRAGMENTED, Form.DOUBLE}
"""Forms that no TLS library sends, though some are allowed."""

FORM_TLS = {Form.ID: "1.2", Form.FULL: "1.3", Form.GUARDED: "1.3"}
"""Forms that only one TLS version has."""

NEEDS_OUR_HALF = SPEAKS | _verbs(Act.HALF_CLOSES)
"""Verbs that cannot be performed once our half of the connection has ended."""
