"""What a run has seen, as it was seen: the facts from which everything else is judged.

Facts are written down while they happen and never change. Whoever wants to know what a run found
gathers `Knowledge` from all of its facts and judges each trial's trace with it, today or with any
later tlsprobe.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from tlsprobe.model.far_side import FarFact
from tlsprobe.model.kernel import KernelReset
from tlsprobe.model.load import Load
from tlsprobe.model.run import CaptureFacts, HostFacts, Plan, ServerFacts, Tool, Trial
from tlsprobe.model.target import Target
from tlsprobe.model.trace import Trace

FACTS_SCHEMA = "tlsprobe.facts/1"


@dataclass(frozen=True, slots=True)
class FactsHeader:
    """Whose facts these are: the first line of a facts file."""

    tool: Tool
    target: Target
    started: str
    schema: str = FACTS_SCHEMA


class PlannedCell(NamedTuple):
    """A sequence that is to be driven in one TLS version; ``steps`` is the sequence as text."""

    sequence: str
    steps: str
    tls: str
    trials: int
    role: str


@dataclass(frozen=True, slots=True)
class PlanFact:
    """Cells that are to be measured, in the order of the report.

    A later plan adds to an earlier one, and has the say about cells that both name.
    """

    cells: tuple[PlannedCell, ...]


@dataclass(frozen=True, slots=True)
class ReachedFact:
    """How the target was reached: its ``address`` as text, and why which TLS version did not work.

    ``server_says`` is what the server calls itself, empty if nothing. ``passed_on``: a program on
    this machine was seen to pass the connections on. ``ended_by`` is the program on this machine
    that ends their TLS in front of what calls itself so, empty if none is known to. A run that is
    gone on with reaches its target anew; the latest answer counts.
    """

    address: str
    refused: dict[str, str]
    server_says: str = ""
    passed_on: bool = False
    ended_by: str = ""


@dataclass(frozen=True, slots=True)
class TrialFact:
    """One driven connection."""

    trial: Trial
    trace: Trace
    load: Load


@dataclass(frozen=True, slots=True)
class PathFact:
    """Whether a fresh connection worked after the trials of a cell."""

    sequence: str
    tls: str
    alive: bool


@dataclass(frozen=True, slots=True)
class CrowdedFact:
    """That the server has room for no more than ``most_open`` connections of ours; what shows it.

    Trials that had more open do not count. ``most_open`` 0: having had many, the server shortens
    the idle timeout of each that came later, and no trial counts that waits idle or did not get as
    far as its sequence. A later fact has the say.
    """

    most_open: int
    because: str


@dataclass(frozen=True, slots=True)
class GoneFact:
    """Why the server was left before all was driven, in words.

    It took no more connections, and the last one at ``since_ns``: what ended behind that may have
    ended because the server died. Trials that are driven later, when the run is gone on with, count
    as ever. None: it was there, and its time was over; whatever was driven counts. ``shuns``: it
    was there, and ended each connection without a word from then on, whatever came before.
    """

    since_ns: int | None
    because: str
    shuns: bool = False


@dataclass(frozen=True, slots=True)
class KernelFact:
    """RSTs of connections to the server, in the words of the kernel that sent them, by time.

    That there is one says that the kernel was asked, if only to no avail. ``lost`` counts resets
    that its trace could not keep.
    """

    resets: tuple[KernelReset, ...]
    lost: int = 0


@dataclass(frozen=True, slots=True)
class EndFact:
    """How a part of a run ended: what its capture counted, and what was noted about it."""

    capture: CaptureFacts
    interrupted: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunFact:
    """What a run document says beside its judgement: of what it was measured, how and on what.

    With it, the facts alone give the whole document. The latest counts: whoever goes on with a run,
    or knows more of it, adds another. ``typed`` is the command line that measured.
    """

    finished: str
    host: HostFacts
    target: Target
    capture: CaptureFacts
    interrupted: bool = False
    notes: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    seed: int | None = None
    server: ServerFacts | None = None
    typed: str = ""
    plan: Plan | None = None
    spent: Plan | None = None


@dataclass(frozen=True, slots=True)
class ClientFact:
    """Which client and server were watched, in words, and the last words of the client."""

    parties: str
    said: str = ""


Fact = (
    PlanFact
    | ReachedFact
    | TrialFact
    | PathFact
    | CrowdedFact
    | GoneFact
    | FarFact
    | KernelFact
    | EndFact
    | RunFact
    | ClientFact
)
