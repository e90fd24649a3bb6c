"""What the judge says of one connection."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from tlsprobe.model.causes import Cause
from tlsprobe.model.trace import Side


class TlsEnd(StrEnum):
    """How the server's TLS write side ended."""

    NOTIFIED = "notified"
    SILENT = "silent"
    ALERT = "alert"


class TcpEnd(StrEnum):
    """How the server's TCP write side ended."""

    FIN = "fin"
    RESET = "reset"
    FIN_RESET = "fin-reset"
    OPEN = "open"


class DataEnd(StrEnum):
    """Whether what the server owed arrived."""

    COMPLETE = "complete"
    TRUNCATED = "truncated"
    NONE = "none"


class Reader(StrEnum):
    """What a plain ``read()`` loop on our side would have got at the end."""

    EOF = "eof"
    RESET = "reset"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class Axes:
    """The four independent answers to "how did it end"."""

    tls: TlsEnd
    tcp: TcpEnd
    data: DataEnd
    reader: Reader


class ExpiryOutcome(StrEnum):
    """What became of a request that met the server's idle expiry."""

    ANSWERED = "answered"
    REFUSED = "refused"
    LOST = "lost"
    IGNORED = "ignored"


class Outcome(StrEnum):
    """The axes in one word.

    ENDED_BEFORE_START: the server ended the connection before our sequence began, so that how it
    ended is no answer to the sequence.
    """

    CLEAN = "clean"
    NO_CLOSE_NOTIFY = "no-close-notify"
    RESET_AFTER_FIN = "reset-after-fin"
    RESET_BEFORE_FIN = "reset-before-fin"
    DATA_LOST = "data-lost"
    OPEN = "open"
    CLIENT_RESET = "client-reset"
    REFUSED = "refused"
    HANDSHAKE_FAILED = "handshake-failed"
    ERROR = "error"
    ENDED_BEFORE_START = "ended-before-start"

    @property
    def failed(self) -> bool:
        """Whether our side never got as far as the sequence."""
        return self in {Outcome.REFUSED, Outcome.HANDSHAKE_FAILED, Outcome.ERROR}

    @property
    def reached(self) -> bool:
        """Whether the trial says anything about its sequence."""
        return not self.failed and self is not Outcome.ENDED_BEFORE_START


class Confidence(StrEnum):
    """How sure the attribution is."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def lowered(self) -> Confidence:
        """One level down, ``low`` being the floor."""
        return Confidence.MEDIUM if self is Confidence.HIGH else Confidence.LOW

    @property
    def at_most_medium(self) -> Confidence:
        """The same, but for what is surer than ``medium``."""
        return Confidence.MEDIUM if self is Confidence.HIGH else self


@dataclass(frozen=True, slots=True)
class Control:
    """What the control of a sequence did: the same close with nothing left unread.

    In ``resets`` of its ``trials`` conclusive ones the server reset in place of its FIN.
    """

    name: str
    resets: int
    trials: int

    @property
    def is_decided(self) -> bool:
        """Whether all of its trials say the same."""
        return self.trials > 0 and self.resets in {0, self.trials}


class Provoked(StrEnum):
    """What the bytes were that drew an RST, or that its sender had left unread.

    BEHIND_END is data that was sent after its sender's own close_notify or goodbye: nobody is to
    act on it, and nobody misses it. BEHIND_RESET is what came after an RST of the same side.
    WANTED_SYN is the answer to a SYN whose sender reset it and sends its SYN again. LATE is
    data that perhaps nobody misses: for a client that had answers and had ended TLS, a farewell or
    the rest of a response; of a client that ended TLS right behind it, a farewell or a request.
    UNSEEN is what was not captured.
    """

    DATA = "data"
    BEHIND_END = "behind-end"
    GOODBYE = "goodbye"
    CLOSE_NOTIFY = "close_notify"
    ALERT = "alert"
    HANDSHAKE = "handshake"
    FIN = "fin"
    ACK = "ack"
    SYN = "syn"
    WANTED_SYN = "wanted-syn"
    LATE = "late"
    BEHIND_RESET = "behind-reset"
    UNSEEN = "unseen"


@dataclass(frozen=True, slots=True)
class Reset:
    """One RST: whose, which packet, why, and how we know.

    ``passive``: it has no ACK flag, as the kernel's answers to a segment have none. ``trigger`` is
    the packet that provoked it, None where the sender gave up by itself; ``control`` is there where
    a control told its cause. ``provoked`` is what the trigger carried; ``after_idle``: it had been
    quiet when the sender began to end the connection. ``text`` is what the RST carries: a box may
    name itself there (RFC 9293 section 3.5.2). ``heeded``: nothing shows that its receiver went on
    regardless. ``vouched``: something beside its own header says that its sender's machine made it;
    a forgery may copy all that a header shows. ``odd``: something speaks for another machine.
    """

    side: Side
    packet: int
    time_ns: int
    before_fin: bool
    cause: Cause
    confidence: Confidence
    evidence: tuple[str, ...]
    alternatives: tuple[Cause, ...] = ()
    passive: bool = False
    trigger: int | None = None
    control: Control | None = None
    provoked: Provoked | None = None
    after_idle: bool = False
    text: str = ""
    heeded: bool = True
    vouched: bool = False
    odd: bool = False

    @property
    def kind(self) -> tuple[object, ...]:
        """What resets that are alike have in common."""
        about = self.provoked, self.after_idle, self.heeded
        return self.side, self.cause, self.before_fin, *about


class Level(StrEnum):
    """How binding a rule is."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    INTEROP = "interop"
    INFO = "info"
    CHECK = "check"


class Result(StrEnum):
    """What a rule says of a trace."""

    PASS = "pass"
    FAIL = "fail"
    WARN = "warn"
    INFO = "info"
    NOT_APPLICABLE = "not applicable"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class RuleResult:
    """One rule applied to one trace; ``text`` says what was seen."""

    rule: str
    level: Level
    result: Result
    text: str


class Verdict(StrEnum):
    """A cell's verdict. The last three say that there is no answer, and are never folded."""

    PASS = "pass"
    FAIL = "fail"
    WARN = "warn"
    INFO = "info"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"
    UNSUPPORTED = "unsupported"


UNMEASURED = frozenset({Verdict.INCONCLUSIVE, Verdict.ERROR})
"""Verdicts without an answer: nobody's failure, and no success either."""

NO_ANSWER = UNMEASURED | {Verdict.UNSUPPORTED}
"""The same, and what the server does not offer."""

FAIL_ON = {
    "fail": frozenset({Verdict.FAIL}),
    "warn": frozenset({Verdict.FAIL, Verdict.WARN}),
    "never": frozenset[Verdict](),
}
"""The verdicts that make a run fail, by the words of ``--fail-on``."""


@dataclass(frozen=True, slots=True)
class LadderLine:
    """One line of a ladder: ``time_us`` counts from the end of the opening exchange."""

    time_us: float
    side: Side
    letters: str
    text: str
    packet: int | None = None


class Word(NamedTuple):
    """What one side did in one segment, a lower-case letter an event."""

    side: Side
    letters: str

    @property
    def text(self) -> str:
        """As signatures print it: upper case the client, lower case the server."""
        return self.letters.upper() if self.side is Side.CLIENT else self.letters


def signature(words: Iterable[Word]) -> str:
    """What went over the wire, as text."""
    return " ".join(word.text for word in words)


class Doubt(StrEnum):
    """Why a trial proves nothing, although it was driven.

    NOT_REACHED: no idle timer fired while we waited for one. WITH_RESPONSE: the server ended the
    connection with its response, so that no idle timer came into it, and nothing else of ours.
    OVERTAKEN: it ended it before our sequence did anything behind its opening request, unasked.
    LATE: a step of ours came at another time than it was meant for, and may have met another server
    for it. BUSY: what we waited for in vain may have been on its way, so slow was everything just
    then. CROWDED: our own connections filled the server. NO_LIMIT: the server let us go on as long
    as we did: no limit of its was met. SERVER_GONE: the server served no more connections from then
    on, so that its death, or a ban of ours, may have ended it. SHUT_OUT: it said nothing, at a
    time when it did not serve others either, as one that limits how many we open. FELL: it was
    ended together with others that had been quiet for other times, as where a process ends.
    """

    ENDED_EARLY = "ended-before-start"
    CAPTURE_ENDED = "capture-ended"
    PACKETS_DROPPED = "packets-dropped"
    PACKETS_MISSING = "packets-missing"
    NOT_REACHED = "not-reached"
    WITH_RESPONSE = "ended-with-response"
    OVERTAKEN = "overtaken"
    LATE = "late"
    BUSY = "busy"
    CROWDED = "crowded"
    NO_LIMIT = "no-limit"
    SERVER_GONE = "server-gone"
    SHUT_OUT = "shut-out"
    FELL = "fell"

    @property
    def spoils(self) -> bool:
        """Whether what was seen cannot be vouched for.

        The others were seen for certain, and only say nothing about their sequence.
        """
        return self in _SPOILING

    @property
    def may_pass(self) -> bool:
        """Whether the same trial may come out better at a calmer time."""
        return self in _PASSING


_PASSING = frozenset(
    {
        Doubt.LATE,
        Doubt.BUSY,
        Doubt.PACKETS_DROPPED,
        Doubt.PACKETS_MISSING,
        Doubt.SHUT_OUT,
        Doubt.FELL,
    }
)

_SPOILING = frozenset(
    {Doubt.ENDED_EARLY, Doubt.CAPTURE_ENDED, Doubt.PACKETS_DROPPED, Doubt.PACKETS_MISSING}
)


@dataclass(frozen=True, slots=True)
class Judgement:
    """Everything that is said of one trial.

    ``words`` are what went over the wire, in order; ``met`` is there where a request met the idle
    expiry. ``unsettled`` says why nobody knows whose the end was that broke a rule, if so.
    """

    outcome: Outcome
    axes: Axes
    words: tuple[Word, ...]
    resets: tuple[Reset, ...]
    results: tuple[RuleResult, ...]
    doubt: Doubt | None = None
    timing_us: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    met: ExpiryOutcome | None = None
    unsettled: str = ""

    @property
    def conclusive(self) -> bool:
        """Whether it can be vouched for."""
        return self.doubt is None or not self.doubt.spoils

    @property
    def signature(self) -> str:
        """The words as text."""
        return signature(self.words)
