"""Many targets: who they are, and what has become of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tlsprobe.model.run import Run


@dataclass(frozen=True, slots=True)
class FleetTarget:
    """One server as a list of targets names it.

    ``options`` are options of ``tlsprobe run`` by name, for this target alone; ``labels`` travel
    into every report; ``place`` is where in the list it stands.
    """

    address: str
    name: str = ""
    options: Mapping[str, object] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    place: str = ""

    @property
    def title(self) -> str:
        """What to call it: its name, or its address."""
        return self.name or self.address


class State(StrEnum):
    """What has become of an attempt to measure a target.

    CLAIMED: it may have opened connections, and its answer is not here. LOST: its process was
    killed, and what it had measured was too little to go on with.
    """

    CLAIMED = "claimed"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One go at one target. ``number`` counts from 1; ``reason`` says why it is no answer.

    ``because`` says why there was another attempt after an earlier one; times are Unix times.
    """

    target: int
    number: int
    state: State
    begun: float
    ended: float | None = None
    reason: str = ""
    because: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of one target in the end: a run, or a reason why there is none.

    Neither: its turn has not come.
    """

    target: FleetTarget
    attempts: tuple[Attempt, ...]
    vantage: str = ""
    run: Run | None = None

    @property
    def state(self) -> State | None:
        """That of the last attempt; None if there was none."""
        return self.attempts[-1].state if self.attempts else None

    @property
    def reason(self) -> str:
        """Why there is no run, or why it is not whole."""
        return self.attempts[-1].reason if self.attempts else ""

    @property
    def is_in_part(self) -> bool:
        """Whether the target was left, for good, before everything was driven."""
        return self.state is State.DONE and bool(self.reason)


@dataclass(frozen=True, slots=True)
class FleetFacts:
    """How a fleet was asked for, and from where: what ``fleet resume`` needs.

    ``arguments`` are the words behind ``tlsprobe fleet``, ``typed`` is the whole command line.
    """

    begun: float
    vantage: str
    arguments: tuple[str, ...]
    typed: str
    version: str


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """What a fleet would open: ``by_profile`` are profile, targets and connections.

    ``least_s`` is the time of the host with most to do, whose targets come one after the other;
    ``within_s`` is how long the one target may take that is given most time, whatever its server
    does, if it answered at once in the preflight; ``slowest_s`` if it hardly did in time.
    ``refused`` are targets that must not or cannot be probed, each with why.
    """

    targets: int
    hosts: int
    connections: int
    least_s: float
    within_s: float
    slowest_s: float
    most: int
    by_profile: tuple[tuple[str, int, int], ...]
    refused: tuple[tuple[str, str], ...] = ()
