"""What `explain` found in a capture: the input, and every connection worth a word."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum

from tlsprobe.model.causes import Cause, Remedy
from tlsprobe.model.judgement import LadderLine, Reader, Reset
from tlsprobe.model.kernel import KernelReset
from tlsprobe.model.trace import Side

EXPLAIN_SCHEMA = "tlsprobe.explain/1"
EXPLAIN_FLOW_SCHEMA = "tlsprobe.explain-flow/1"

LIVE = "live"
"""The kind of an input that is no file: the wire."""


class Harm(StrEnum):
    """What an RST does to somebody, the worst first.

    LOST: a request or what was in flight is lost. ERROR: a read or connect() fails where nothing
    was wrong. UNCLEAR: the packets do not tell. NOBODY: only counters notice.
    """

    LOST = "lost"
    ERROR = "error"
    UNCLEAR = "unclear"
    NOBODY = "nobody"

    @property
    def rank(self) -> int:
        """0 for the worst."""
        return _WORST_FIRST.index(self)


_WORST_FIRST = tuple(Harm)


class TroubleKind(StrEnum):
    """What can go wrong at the end of a connection that nobody resets, the worst first."""

    CUT_SHORT = "cut-short"
    FATAL_ALERT = "fatal-alert"
    NO_TLS = "no-tls"
    VANISHED = "peer-vanished"
    UNANSWERED = "no-answer"
    ZERO_WINDOW = "zero-window"
    HALF_CLOSED = "half-closed"
    SLOW_CLOSE = "slow-close"
    NO_CLOSE_NOTIFY = "no-close-notify"
    REPEATED = "repeated"


@dataclass(frozen=True, slots=True)
class Trouble:
    """One such thing. ``side`` is whose doing or whose loss it is; ``packets`` show it.

    ``seconds`` is how long it took, ``octets`` how many bytes are owed (None: not known),
    ``stream`` which one of HTTP/2 was not ended, ``what`` tells kinds of one kind apart: what was
    cut short, what was repeated, what the alert says. ``sure`` says that it was read, and not
    inferred from sizes.
    """

    kind: TroubleKind
    side: Side
    packets: tuple[int, ...]
    time_ns: int
    seconds: float | None = None
    octets: int | None = None
    stream: int | None = None
    what: str = ""
    sure: bool = True


@dataclass(frozen=True, slots=True)
class InputFacts:
    """What was read, and what could not be.

    ``packets`` counts the input's packets, TCP or not; ``other`` those that are not TCP. The
    sentences are None where there is nothing to say. ``first_ns`` and ``last_ns`` are the times of
    the first and the last TCP packet, None where the input tells no times.
    """

    name: str
    kind: str
    packets: int
    skipped: int = 0
    other: int = 0
    first_skipped: str | None = None
    truncated: str | None = None
    notes: tuple[str, ...] = ()
    first_ns: int | None = None
    last_ns: int | None = None


@dataclass(frozen=True, slots=True)
class ExplainedReset:
    """An RST with what provoked it (a packet number) and what would tell the causes apart.

    ``experiment`` is a command line; where none helps, ``capture`` says which capture would.
    ``remedy`` is whom it hurts and what helps, None where no more is known than its cause.
    ``kernel`` is what the kernel that sent it says, where it could be asked.
    """

    reset: Reset
    trigger: int | None = None
    experiment: str | None = None
    remedy: Remedy | None = None
    harm: Harm = Harm.UNCLEAR
    capture: str | None = None
    kernel: KernelReset | None = None

    @property
    def helps(self) -> Remedy:
        """Whom it hurts, and what helps."""
        return self.remedy or self.reset.cause.remedy(self.reset.side)


@dataclass(frozen=True, slots=True)
class ExplainedFlow:
    """One connection. ``complete`` says that the capture lacks nothing of it.

    ``client`` and ``server`` are printed endpoints, ``sni`` is the name that the client asked for,
    ``tunnels`` is what the capture saw its packets in, each from the innermost outwards.
    Only an example of many like it has a ``ladder``.
    """

    client: str
    server: str
    signature: str
    reader: Reader
    complete: bool
    resets: tuple[ExplainedReset, ...]
    tls: str | None = None
    ladder: tuple[LadderLine, ...] = ()
    notes: tuple[str, ...] = ()
    sni: str | None = None
    troubles: tuple[Trouble, ...] = ()
    tunnels: tuple[str, ...] = ()

    @property
    def kinds(self) -> tuple[Hashable, ...]:
        """Its kinds of resets, each once."""
        return tuple(dict.fromkeys(told.reset.kind for told in self.resets))

    @property
    def likeness(self) -> Hashable:
        """What connections that were reset alike have in common, to whatever server.

        A version of TLS keeps them apart, and so does whom it hurts: see `Reset.kind`.
        """
        helps = tuple(dict.fromkeys(told.helps for told in self.resets))
        return self.tls, self.kinds, helps

    @property
    def harm(self) -> Harm:
        """The worst that its resets do."""
        return min((told.harm for told in self.resets), key=lambda h: h.rank, default=Harm.NOBODY)


@dataclass(frozen=True, slots=True)
class Tally:
    """RSTs of one kind in connections for which there was no room; ``example`` is one of them."""

    cause: Cause
    side: Side
    harm: Harm
    example: ExplainedFlow
    resets: int
    connections: int
    first_ns: int
    last_ns: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """The whole answer. Of the connections without a reset some, or all, are only counted.

    ``quiet`` is how many those are, ``not_shown`` how many with a reset found no room, ``passed``
    how many with a reset were not asked for. ``unlooked`` of the quiet ones were not looked at
    closely: nothing is known of troubles of theirs. ``tallies`` say what is known of those that are
    not shown: of a file nothing is.
    """

    source: InputFacts
    flows: tuple[ExplainedFlow, ...]
    quiet: int = 0
    not_shown: int = 0
    passed: int = 0
    unlooked: int = 0
    tallies: tuple[Tally, ...] = ()

    @property
    def found(self) -> bool:
        """Whether anything is amiss: a reset, or trouble without one."""
        return self.not_shown > 0 or any(flow.resets or flow.troubles for flow in self.flows)
