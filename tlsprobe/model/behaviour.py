"""What a server does alike in many cells, told once: how badly it hurts, and whom."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tlsprobe.model.judgement import Confidence
from tlsprobe.model.trace import Side


class Who(StrEnum):
    """Who closes a connection as a sequence does."""

    MOST = "most clients"
    SOME = "some"
    BROKEN = "broken ones"
    TESTER = "nobody but a tester"


class Harm(StrEnum):
    """How bad a behaviour is, the worst first.

    BREAKS: most clients get an error, lose a response or leak a connection. MAY_BREAK: some do, or
    most do now and then. NOISE: logs and metrics count it. NONE: it matters to authors of servers.
    """

    BREAKS = "breaks"
    MAY_BREAK = "may break"
    NOISE = "noise"
    NONE = "none"

    @property
    def rank(self) -> int:
        """0 for the worst."""
        return list(Harm).index(self)


class Phase(StrEnum):
    """Which part of a connection's life a behaviour belongs to."""

    HANDSHAKE = "handshake"
    CLIENT_FIRST = "client first"
    GOODBYE = "goodbye"
    IDLE = "idle"
    SHUTDOWN = "shutdown"
    LIMITS = "limits"


class Tried(StrEnum):
    """What came of a remedy in the same run, or in the lab."""

    HELPS = "helps"
    IN_PART = "helps in part"
    HELPS_NOT = "does not help"
    WORSE = "makes worse"
    NOT_TRIED = "not tried"


@dataclass(frozen=True, slots=True)
class TriedInLab:
    """What a remedy of a server did in the lab, in one close.

    ``server`` with its version; ``before`` and ``after``: in how many of the trials it showed the
    ``kind`` of behaviour, such as ``20/20``.
    """

    says: str
    server: str
    kind: str
    sequence: str
    tls: str
    effect: Tried
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Seen:
    """In ``count`` of the ``trials`` of a cell, of which ``judged`` say anything of it.

    ``judged`` None: all of them do.
    """

    sequence: str
    tls: str
    count: int
    trials: int
    judged: int | None = None

    @property
    def asked(self) -> int:
        """How many trials could have shown it."""
        return self.trials if self.judged is None else self.judged


@dataclass(frozen=True, slots=True)
class WhatToDo:
    """A remedy, and what came of it in this run.

    ``seen``: where it was tried, with how often the behaviour came all the same. ``lab``: it was
    tried in the lab and not in this run, on which server and with which figures.
    """

    text: str
    tried: Tried = Tried.NOT_TRIED
    seen: tuple[Seen, ...] = ()
    lab: str = ""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One thing that a server does, wherever it did it.

    ``kind`` is a word for what happened (``reset-before-fin``, ``data-lost``, or the id of the rule
    that it breaks), ``phase`` is None where it is the same in several. ``seen`` names its cells,
    the most harmful first: the first is the proof, and shows it again. ``who`` closes like that
    there, for ``example``. ``cause``, ``confidence``, ``evidence`` and ``drawn_by`` (``request``,
    ``behind-end``, ``handshake``, ``ending``) belong to a reset. ``waived`` is the reason why
    somebody accepts it wherever it was seen: it counts for nothing then.
    """

    kind: str
    sentence: str
    harm: Harm
    who: Who
    example: str
    side: Side
    seen: tuple[Seen, ...]
    phase: Phase | None = None
    hurts: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    cause: str = ""
    confidence: Confidence | None = None
    evidence: tuple[str, ...] = ()
    to_do: tuple[WhatToDo, ...] = ()
    drawn_by: str = ""
    waived: str = ""

    @property
    def name(self) -> str:
        """What tells it from the other behaviours of a server, the same in every run.

        Its kind, phase, cause and what drew it, as far as it has them:
        ``reset-before-fin/goodbye/unread-data-at-close/ending``.
        """
        phase = self.phase.replace(" ", "-") if self.phase else ""
        return "/".join(part for part in (self.kind, phase, self.cause, self.drawn_by) if part)

    @property
    def count(self) -> int:
        """In how many trials it was seen."""
        return sum(seen.count for seen in self.seen)

    @property
    def trials(self) -> int:
        """How many trials those cells had."""
        return sum(seen.trials for seen in self.seen)

    @property
    def asked(self) -> int:
        """How many of those could have shown it; the others were left out."""
        return sum(seen.asked for seen in self.seen)


KNOWN_SCHEMA = "tlsprobe.behaviours/1"


@dataclass(frozen=True, slots=True)
class KnownBehaviour:
    """A behaviour as a baseline keeps it. ``seen`` maps a sequence and a TLS version to a count."""

    kind: str
    sentence: str
    harm: Harm
    seen: dict[str, dict[str, int]]
    phase: Phase | None = None
    cause: str = ""
    drawn_by: str = ""
    confidence: Confidence | None = None


@dataclass(frozen=True, slots=True)
class KnownBehaviours:
    """What a server was found to do, to be compared with: the document ``behaviours.json``.

    ``measured`` maps a sequence and a TLS version to how many trials gave an answer, ``steps`` a
    sequence to its steps: those of a name may differ from version to version of tlsprobe.
    ``captured`` says whether the wire was watched: without, a run sees less.
    """

    target: str
    captured: bool
    behaviours: tuple[KnownBehaviour, ...]
    measured: dict[str, dict[str, int]]
    steps: dict[str, str]
    schema: str = KNOWN_SCHEMA
