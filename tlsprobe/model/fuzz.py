"""The fuzz document: what a fuzzed target did wrong, in the shape of its JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from tlsprobe.model.judgement import Confidence, LadderLine
from tlsprobe.model.run import CaptureFacts, HostFacts, Tool
from tlsprobe.model.sequence import Sequence
from tlsprobe.model.target import Target

FUZZ_SCHEMA = "tlsprobe.fuzz/1"


@dataclass(frozen=True, slots=True)
class Example:
    """One thing to try: a sequence in one TLS version. Equal values are the same example.

    ``together``: on so many connections at the same time. ``beside`` is what another connection
    does meanwhile, which is no part of what is judged.
    """

    sequence: Sequence
    tls: str
    together: int = 1
    beside: Example | None = None

    @property
    def steps(self) -> str:
        """The sequence as text, which is also its name."""
        return self.sequence.name


MOST_AT_ONCE = 16
"""So many connections do the same at the same time at most; more come one lot behind the other."""

NEVER_RUN_AGAIN = "0/0"
"""How often a failure showed that could not be run again: the server was gone."""


class Rate(NamedTuple):
    """How often something happens: counted, and the interval that holds it (95 %), as parts."""

    broke: int
    runs: int
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class FuzzCause:
    """Why the server reset, where a failure is about a reset."""

    cause: str
    confidence: Confidence
    evidence: tuple[str, ...]
    remedy: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FuzzFailure:
    """A property that a server broke, with the shortest close that breaks it.

    ``confirmed`` is ``k/n``: in how many of the runs made of this very sequence, after it was
    found and shrunk, the property was broken again; where that was not most of them, ``rate`` says
    how often it is, with the interval that holds it (95 %). ``cluster`` names failures with one
    signature and cause; ``also`` are other properties that it breaks, with their rules. ``found``
    is the sequence as it was generated, ``examples`` how many had been tried by then, ``seen`` how
    many of the run's examples hold this one and showed what it shows. ``versions`` are the TLS
    versions in which it was confirmed, ``together`` the connections that were open at once.
    ``beside`` is the close of another connection without which this one is not harmed, and
    ``beside_tls`` its TLS version, empty if it takes none.
    ``provoked`` is what drew the reset or was left unread, ``kind_of_reset`` what the packets alone
    say of it. ``level`` is how binding the rule is, ``known``: a baseline has it. ``ends`` counts
    how its runs ended where they did not all end alike; ``other`` is the ladder of the one that it
    differs from. ``like`` is the number of an earlier failure that breaks the same rule in the same
    way by another close, 0 if there is none. ``shaped``: our own path treated its packets, and may
    have given a reader less than the ladder shows. ``target`` says whose failure it is where two
    targets were tried; empty where there is one, or it is a difference of the two. ``waived`` is
    the reason why somebody accepts it, empty for none. ``since`` is how many connections the server
    had met when it was first seen, where the same close had ended well before; 0: it had not.
    """

    property: str
    rule: str
    steps: str
    tls: str
    signature: str
    confirmed: str
    file: str
    cluster: str
    text: str
    cause: FuzzCause | None = None
    also: tuple[str, ...] = ()
    found: str = ""
    examples: int = 0
    seen: int = 1
    shrunk: bool = True
    ends: dict[str, int] = field(default_factory=dict)
    suspects: tuple[str, ...] = ()
    rate: Rate | None = None
    versions: tuple[str, ...] = ()
    together: int = 1
    beside: str = ""
    beside_tls: str = ""
    provoked: str = ""
    kind_of_reset: str = ""
    level: str = ""
    known: bool = False
    ladder: tuple[LadderLine, ...] = ()
    other: tuple[LadderLine, ...] = ()
    target: str = ""
    waived: str = ""
    like: int = 0
    shaped: bool = False
    since: int = 0


@dataclass(frozen=True, slots=True)
class Replay:
    """What a file of a failure says: what to drive, what it breaks, and how it was driven.

    ``cause`` is what the server's first RST was, empty for none. ``target`` is where it was found,
    ``profile`` the name of the profile and ``profile_text`` the profile itself, unless it comes
    with tlsprobe. ``patience`` is in seconds, ``expect`` says how often it showed, ``since`` as in
    a failure.
    """

    example: Example
    property: str
    rule: str
    text: str = ""
    cause: str = ""
    target: str = ""
    profile: str = ""
    profile_text: str = ""
    patience: float = 5.0
    seed: int = 0
    expect: str = ""
    since: int = 0


@dataclass(frozen=True, slots=True)
class Unrepeated:
    """What broke a property in ``seen`` examples and did not when it was tried again.

    ``tried`` is how often it was, all ways of trying together; 0: there was no time for it.
    ``target`` is whose, as in a failure.
    """

    property: str
    rule: str
    steps: str
    tls: str
    signature: str
    text: str
    seen: int
    tried: int
    target: str = ""


@dataclass(frozen=True, slots=True)
class Excused:
    """What broke a property in ``seen`` examples and is not held against the server, and why not.

    The example is the first that showed it.
    """

    why: str
    property: str
    rule: str
    steps: str
    tls: str
    signature: str
    text: str
    seen: int
    target: str = ""


@dataclass(frozen=True, slots=True)
class FuzzCoverage:
    """What the examples were made of and what they met, each with how often."""

    verbs: dict[str, int] = field(default_factory=dict)
    pairs: dict[str, int] = field(default_factory=dict)
    signatures: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FuzzRun:
    """One target, fuzzed: the fuzz document.

    ``examples`` counts different sequences (in different TLS versions) that were tried,
    ``connections`` what that took; ``unmeasured`` those of which nothing can be said, since
    packets were lost or the connection did not come about. ``unrepeated`` is what was seen and did
    not show again, which is no failure; nor is what is ``excused`` by what we sent. ``ended_by``
    says what ended the run; ``starved``: it had come to too few examples by then for its silence
    to mean anything.
    """

    tool: Tool
    started: str
    finished: str
    host: HostFacts
    target: Target
    capture: CaptureFacts
    seed: int
    properties: tuple[str, ...]
    examples: int
    connections: int
    failures: tuple[FuzzFailure, ...]
    coverage: FuzzCoverage
    unrepeated: tuple[Unrepeated, ...] = ()
    excused: tuple[Excused, ...] = ()
    ended_by: str = ""
    starved: bool = False
    against: Target | None = None
    unmeasured: int = 0
    interrupted: bool = False
    notes: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    schema: str = FUZZ_SCHEMA


@dataclass(frozen=True, slots=True)
class ExampleLine:
    """A line of ``examples.jsonl``: one connection. ``broke`` names the properties it broke.

    ``number`` counts the connections of a run from 1; its facts have the same. ``together``: so
    many did the same at the same time.
    """

    steps: str
    tls: str
    why: str
    outcome: str
    signature: str
    causes: tuple[str, ...] = ()
    broke: tuple[str, ...] = ()
    failure: str | None = None
    number: int = 0
    together: int = 1
