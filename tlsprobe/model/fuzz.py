"""The fuzz document: what a fuzzed target did wrong, in the shape of its JSON."""

from __future__ import annotations

from dataclasses import dataclass, field

from tlsprobe.model.judgement import Confidence, LadderLine
from tlsprobe.model.run import CaptureFacts, HostFacts, Tool
from tlsprobe.model.sequence import Sequence
from tlsprobe.model.target import Target

FUZZ_SCHEMA = "tlsprobe.fuzz/1"


@dataclass(frozen=True, slots=True)
class Example:
    """One thing to try: a sequence in one TLS version. Equal values are the same example."""

    sequence: Sequence
    tls: str

    @property
    def steps(self) -> str:
        """The sequence as text, which is also its name."""
        return self.sequence.name


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
    found and shrunk, the property was broken again. ``cluster`` names failures with one signature
    and cause; ``also`` are other properties that it breaks, with their rules. ``found`` is the
    sequence as it was generated, ``examples`` how many had been tried by then, ``seen`` how many
    of the run's examples broke the property in this way. ``ends`` counts how its runs ended where
    they did not all end alike.
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
    ladder: tuple[LadderLine, ...] = ()


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
    packets were lost or the connection did not come about.
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
    against: Target | None = None
    unmeasured: int = 0
    interrupted: bool = False
    notes: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    schema: str = FUZZ_SCHEMA


@dataclass(frozen=True, slots=True)
class ExampleLine:
    """A line of ``examples.jsonl``: one connection. ``broke`` names the properties it broke.

    ``number`` counts the connections of a run from 1; its facts have the same.
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
