"""The run document: what a results folder holds, in the shape of its JSON (``tlsprobe.run/1``)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from tlsprobe.model.behaviour import Behaviour
from tlsprobe.model.causes import Cause
from tlsprobe.model.judgement import (
    UNMEASURED,
    Axes,
    Confidence,
    Doubt,
    Judgement,
    LadderLine,
    Level,
    Outcome,
    Provoked,
    Reset,
    Result,
    RuleResult,
    Verdict,
)
from tlsprobe.model.sequence import Sequence
from tlsprobe.model.target import Target
from tlsprobe.model.trace import Side
from tlsprobe.model.waiver import WaiverUse

RUN_SCHEMA = "tlsprobe.run/1"


def stamp(moment: datetime) -> str:
    """A time as run documents write it: UTC, RFC 3339, in milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


@dataclass(frozen=True, slots=True)
class Trial:
    """One planned connection: ``index`` counts in its cell from 0."""

    sequence: str
    tls: str
    index: int


@dataclass(frozen=True, slots=True)
class CellPlan:
    """A cell before it is measured; ``steps`` is the sequence as text."""

    sequence: Sequence
    steps: str
    tls: str
    trials: int
    role: str = "asked"


@dataclass(frozen=True, slots=True)
class JudgedTrial:
    """A trial that was driven, with what the judge says of it.

    ``started`` is when it connected, ``client`` our end of it (empty if it never had one);
    ``failure`` is a sentence when it never reached its sequence. ``ladder`` is there for the first
    trial of a cell that showed its signature.
    """

    trial: Trial
    judgement: Judgement
    started: str = ""
    client: str = ""
    failure: str | None = None
    ladder: tuple[LadderLine, ...] = ()


@dataclass(frozen=True, slots=True)
class TrialLine:
    """A line of ``trials.jsonl``: one judged trial, whole.

    ``ladder`` is there for the first trial of a cell that showed its signature.
    """

    sequence: str
    tls: str
    trial: int
    started: str
    client: str
    outcome: Outcome
    axes: Axes
    signature: str
    resets: tuple[Reset, ...]
    findings: tuple[RuleResult, ...]
    timing_us: dict[str, float]
    conclusive: bool
    failure: str | None = None
    ladder: tuple[LadderLine, ...] = ()
    notes: tuple[str, ...] = ()
    doubt: Doubt | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """Which tlsprobe measured."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class HostFacts:
    """The machine that the probe ran on."""

    system: str
    kernel: str
    python: str
    openssl: str


@dataclass(frozen=True, slots=True)
class CaptureFacts:
    """How the wire was watched. ``dropped`` None: the backend cannot tell.

    ``ended`` is why nothing more was captured, empty if all was; ``unwritable``: because its file
    could not be written.
    """

    backend: str
    interface: str
    packets: int
    dropped: int | None
    ended: str = ""
    unwritable: bool = False

    @property
    def note(self) -> str:
        """That not all was captured, and why; empty if all was."""
        return f"the capture ended early: {self.ended}" if self.ended else ""


@dataclass(frozen=True, slots=True)
class BeforeAfter:
    """Trials in which one side reset, by whether its FIN had gone out before."""

    before_fin: int = 0
    after_fin: int = 0


@dataclass(frozen=True, slots=True)
class ResetCounts:
    """The resets of a cell, by who sent them."""

    server: BeforeAfter = BeforeAfter()
    client: BeforeAfter = BeforeAfter()


@dataclass(frozen=True, slots=True)
class ReaderCounts:
    """What plain readers would have got, over the trials of a cell."""

    eof: int = 0
    reset: int = 0
    timeout: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule's result over a cell: in how many trials it came out this way.

    ``judged`` is how many of the cell's trials say anything of the rule: where a step of ours was
    late, one that depends on it is not asked. None: all of them do.
    """

    rule: str
    level: Level
    result: Result
    count: int
    text: str
    judged: int | None = None

    def asked(self, trials: int) -> int:
        """How many of the ``trials`` of its cell say anything of the rule."""
        return trials if self.judged is None else self.judged


@dataclass(frozen=True, slots=True)
class CauseFacts:
    """Why the resets of a cell were sent: the surest instance, in sentences.

    ``remedy`` and ``hurts`` go by what drew them: an alert that nobody misses, or a request.
    ``provoked`` says what that was, ``tried_by`` which sequences do what a remedy asks a client to.
    """

    cause: str
    count: int
    side: str
    confidence: Confidence
    evidence: tuple[str, ...]
    remedy: tuple[str, ...] = ()
    hurts: tuple[str, ...] = ()
    provoked: tuple[Provoked, ...] = ()
    tried_by: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Spread:
    """A duration over the trials of a cell, in microseconds. ``n`` 0: never seen."""

    n: int
    min: float | None = None
    p50: float | None = None
    p95: float | None = None
    max: float | None = None


@dataclass(frozen=True, slots=True)
class ExpiryCounts:
    """What became of the requests that met the idle expiry at about one distance from it.

    ``offset_us`` is the median of their distances on the wire, negative before the expiry; all of
    them lie between ``from_us`` and ``to_us`` (None: no bound). ``refused``: EOF and no response;
    ``lost``: a reset and no response, so that nobody knows whether it was acted on.
    """

    offset_us: float
    answered: int
    refused: int
    lost: int
    from_us: float | None = None
    to_us: float | None = None


@dataclass(frozen=True, slots=True)
class Race:
    """A race against the idle expiry, over those ``trials`` of a cell that were in time.

    ``probability`` is that of a reset in place of the FIN, ``low`` and ``high`` its 95 % interval
    (Wilson); ``window_us`` is how long the server lies between its close_notify and its FIN.
    ``distance_us`` is how long after the server's first word ours was on the wire. Left out are the
    ``late``, which came at another time than they were meant for (``late_us``), and the
    ``missing``, which sent nothing at an expiry or were not captured.
    """

    trials: int
    resets: int
    probability: float
    low: float
    high: float
    text: str
    window_us: Spread | None = None
    met: tuple[ExpiryCounts, ...] = ()
    distance_us: Spread = Spread(0)
    late: int = 0
    late_us: Spread = Spread(0)
    missing: int = 0


@dataclass(frozen=True, slots=True)
class Example:
    """One trial told packet by packet, the one that shows the cell best.

    ``shaped``: our own path treated its packets, and may have given a reader less than they show.
    """

    trial: int
    signature: str
    ladder: tuple[LadderLine, ...]
    shaped: bool = False


_ENDED_FIRST = (Doubt.WITH_RESPONSE, Doubt.OVERTAKEN, Doubt.ENDED_EARLY)


@dataclass(frozen=True, slots=True)
class Cell:
    """A sequence in one TLS version: all its trials, counted.

    ``role`` is ``control`` for a sequence that was added to settle the cause of another's RST.
    ``left_out`` counts trials that say nothing about the sequence, or not all of it, by why;
    ``repeated`` counts those that were driven once more at a calmer time: the last ones count.
    ``answers`` are the outcomes without those of trials that were left out, and there only where
    some were, and some were not.
    """

    sequence: str
    steps: str
    tls: str
    trials: int
    verdict: Verdict
    outcomes: dict[str, int] = field(default_factory=dict)
    signatures: dict[str, int] = field(default_factory=dict)
    resets: ResetCounts = ResetCounts()
    causes: dict[str, int] = field(default_factory=dict)
    reader: ReaderCounts = ReaderCounts()
    path_alive: bool | None = None
    findings: tuple[Finding, ...] = ()
    why: tuple[CauseFacts, ...] = ()
    timing_us: dict[str, Spread] = field(default_factory=dict)
    example: Example | None = None
    role: str = "asked"
    reason: str | None = None
    race: Race | None = None
    left_out: dict[str, int] = field(default_factory=dict)
    repeated: int = 0
    answers: dict[str, int] = field(default_factory=dict)

    @property
    def is_moot(self) -> bool:
        """Whether the server ended each trial with its response: nothing else can be asked there.

        It is no want of packets or of time, and the next run will not know more. Some such ends
        may have come before we looked.
        """
        ended = sum(self.left_out.get(doubt, 0) for doubt in _ENDED_FIRST)
        told = self.verdict is Verdict.INCONCLUSIVE and Doubt.WITH_RESPONSE in self.left_out
        return told and 0 < self.trials == ended

    @property
    def is_unmeasured(self) -> bool:
        """Whether it has no answer, and might have one."""
        return self.verdict in UNMEASURED and not self.is_moot


class CountedFrom(StrEnum):
    """From which packet an idle timer counts: the last payload before the wait, or the SYN-ACK."""

    EXCHANGE = "last-exchange"
    ACCEPT = "accept"


@dataclass(frozen=True, slots=True)
class IdleKind:
    """One of the server's idle timers; None where it did not fire while we waited."""

    timeout_s: float | None
    spread_s: float | None
    shortest_s: float | None
    how: str
    counted_from: CountedFrom | None = None


@dataclass(frozen=True, slots=True)
class Idle:
    """How the server ends an idle connection: ``how`` names its events, ``+`` if together.

    ``counted_from`` is None where nobody told, as in documents of earlier versions.
    """

    timeout_s: float | None
    spread_s: float | None
    how: str
    advice_s: float | None
    advice: str
    kinds: dict[str, IdleKind] = field(default_factory=dict)
    counted_from: CountedFrom | None = None


class Change(StrEnum):
    """How a cell differs from its baseline; the last three say that it cannot be told."""

    WORSE = "worse"
    BETTER = "better"
    DIFFERENT = "different"
    UNCLEAR = "unclear"
    MISSING = "missing"
    NEW = "new"


@dataclass(frozen=True, slots=True)
class Deviation:
    """A cell that is not as its baseline has it, in sentences.

    ``certain``: chance does not explain it, so that ``--expect`` fails on it. ``sequence`` and
    ``tls`` are empty where the whole run is meant.
    """

    sequence: str
    tls: str
    change: Change
    certain: bool
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """Which server the lab had started. None where it does not tell.

    ``user`` is the account that started it, ``idle_s`` the idle timeout that the lab set.
    """

    vendor: str
    title: str
    version: str | None = None
    tls_library: str | None = None
    user: str | None = None
    idle_s: float | None = None
    notes: str | None = None


@dataclass(frozen=True, slots=True)
class Disagreement:
    """An RST for which the kernel that sent it gives a reason that our cause does not allow.

    ``packet`` is its number in the capture; ``state`` and ``reason`` are the kernel's words, empty
    where it told nothing of this RST.
    """

    sequence: str
    tls: str
    trial: int
    side: Side
    packet: int
    cause: Cause
    confidence: Confidence
    alternatives: tuple[Cause, ...] = ()
    state: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Truth:
    """Our causes held against the kernel's own reasons.

    Of the ``resets`` that were judged, ``agreed`` through their cause and
    ``agreed_by_alternative`` through another that was left open; the others are the
    ``disagreements``. ``unmatched`` lists those of which the kernel said nothing. ``not_seen``
    counts what the kernel sent on the same connections and no trial holds: it came after we had
    left, or never reached the wire. ``lost``: how many the kernel's trace itself lost.
    """

    resets: int = 0
    agreed: int = 0
    agreed_by_alternative: int = 0
    disagreements: tuple[Disagreement, ...] = ()
    unmatched: tuple[Disagreement, ...] = ()
    not_seen: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run costs its server: connections, how many of them at once at most, and how long.

    ``seconds`` is the time of the measurement, without what comes before and after it. A plan says
    in ``patient_seconds`` how long it is if the server ends nothing, so that our patience has to,
    and every control is wanted, in
    ``with_repeats`` how many connections it may come to with controls and with what is driven once
    more, and in ``if_crowded`` with what is measured again should the server have no room for us.
    """

    connections: int
    most_open: int
    seconds: float
    patient_seconds: float | None = None
    with_repeats: int | None = None
    if_crowded: int | None = None


class Left(StrEnum):
    """Why a server was left before everything was driven."""

    SERVER_GONE = "server-gone"
    TIME_OVER = "time-over"


@dataclass(frozen=True, slots=True)
class CutShort:
    """That a server was left before everything was driven: the kind of reason, and its words."""

    by: Left
    because: str


@dataclass(frozen=True, slots=True)
class Crowding:
    """The server had no room for all our connections: what showed it, and how many it has room for.

    Trials that had more of ours open than ``most_open`` are left out and were measured again. 0:
    the server goes on as if it were full, and the trials that wait idle are left out.
    """

    most_open: int
    because: str


@dataclass(frozen=True, slots=True)
class Run:
    """One target, measured: the run document.

    ``command`` holds the words behind ``tlsprobe run``, for ``--resume``; ``deviations`` is None
    where no baseline was given. ``server_says`` is what the server calls itself: a ``Server``
    header, a greeting, a version. ``passed_on``: a program on this machine passes the connections
    on, and makes each end of them. ``ended_by``: the program on this machine that ends their TLS,
    in front of what calls itself so. ``server`` and ``truth`` are there for what the lab started.
    ``behaviours`` is what the server does, each thing once, the most harmful first; ``waivers`` are
    those that speak of this target, with the findings that they let pass.
    ``plan`` is what was told before it started, ``spent`` what it came to; ``lateness`` is how late
    our steps were on the wire, in microseconds: of each trial the one that was latest.
    ``cut_short`` is there where the server was left before everything was driven.
    """

    tool: Tool
    started: str
    finished: str
    host: HostFacts
    target: Target
    capture: CaptureFacts
    cells: tuple[Cell, ...]
    summary: dict[str, int]
    idle: Idle | None = None
    interrupted: bool = False
    notes: tuple[str, ...] = ()
    seed: int | None = None
    command: tuple[str, ...] = ()
    deviations: tuple[Deviation, ...] | None = None
    server: ServerFacts | None = None
    truth: Truth | None = None
    server_says: str = ""
    passed_on: bool = False
    ended_by: str = ""
    plan: Plan | None = None
    spent: Plan | None = None
    lateness: Spread = Spread(0)
    crowding: Crowding | None = None
    cut_short: CutShort | None = None
    behaviours: tuple[Behaviour, ...] = ()
    waivers: tuple[WaiverUse, ...] = ()
    schema: str = RUN_SCHEMA

    @property
    def vendor(self) -> str:
        """The profile of the server at hand: the lab's, or else the one that was asked for."""
        return self.server.vendor if self.server is not None else self.target.profile

    def cell_at(self, sequence: str, tls: str) -> Cell | None:
        """The cell of a sequence in a version of TLS."""
        return next((c for c in self.cells if (c.sequence, c.tls) == (sequence, tls)), None)
