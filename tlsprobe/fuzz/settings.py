"""How a fuzz run is bounded, what it answers, and who watches it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tlsprobe.campaign.settings import Settings
from tlsprobe.fuzz.chapters import WIRE
from tlsprobe.fuzz.observation import Observation
from tlsprobe.fuzz.properties import by_default
from tlsprobe.model.fuzz import Example, Excused, FuzzCoverage, FuzzFailure, Replay, Unrepeated
from tlsprobe.model.run import CaptureFacts
from tlsprobe.model.target import Target
from tlsprobe.model.waiver import Waiver
from tlsprobe.protocols import Conversations

OVER = 1.1
"""How far a run may go beyond what was asked, to shrink and confirm what it found late."""


LEAST_EXAMPLES = 100
"""Fewer measured examples say nothing about a server, unless it is half of those asked for."""

FEWEST_EXAMPLES = 10
"""Fewer say nothing, whatever was asked for, unless it was only one: a failure that is known."""


@dataclass(frozen=True, slots=True)
class FuzzSettings:
    """The bounds of a fuzz run: ``examples`` and ``seconds`` over all, shrinking included.

    What was found late may take ``over`` seconds more. ``goodbye``: the protocol has one. ``idle``
    is the server's idle timeout in seconds, if pauses are to reach it. ``known`` are sequences to
    begin with. ``confirm`` is how often the shortest of a failure is run again. ``remembered`` is
    the folder with the failures of earlier runs, which are tried first. ``replay``: nothing is
    looked for, but whether this failure still shows. ``chapters`` are those of the catalogue whose
    verbs are drawn besides the usual ones. ``run`` holds what fuzzing has in common with
    every run.
    """

    run: Settings
    examples: int = 1000
    seconds: float = 60.0
    over: float = 6.0
    seed: int = 0
    properties: tuple[str, ...] = field(default_factory=lambda: by_default(two_targets=False))
    goodbye: bool = False
    idle: float | None = None
    known: tuple[Example, ...] = ()
    confirm: int = 5
    remembered: Path | None = None
    replay: Replay | None = None
    chapters: frozenset[str] = frozenset()

    @property
    def shapes(self) -> bool:
        """Whether anything that may be tried needs a shaper in the path."""
        replayed = self.replay is not None and self.replay.example.sequence.is_shaped
        return replayed or WIRE in self.chapters

    @property
    def least(self) -> float:
        """So many examples have to be measured for the silence of a run to mean anything."""
        if self.replay is not None:
            return 1
        return min(LEAST_EXAMPLES, max(FEWEST_EXAMPLES, self.examples / 2))

    def can_try(self, example: Example) -> bool:
        """Whether it does not need a shaper that is not there."""
        return self.shapes or not example.sequence.is_shaped


@dataclass(frozen=True, slots=True)
class Against:
    """The second target of a differential run."""

    target: Target
    converse: Conversations


@dataclass(frozen=True, slots=True)
class FuzzJob:
    """One fuzz run with everything that it takes.

    ``corpus`` is where examples are kept, None: in the results folder. ``begun`` is when its time
    began, by ``time.perf_counter``; ``profile_text`` is the profile, unless it comes with tlsprobe;
    ``expect`` are failures that are known, ``waivers`` say which are accepted. ``command`` are the
    words behind ``tlsprobe``.
    """

    target: Target
    converse: Conversations
    settings: FuzzSettings
    folder: Path
    begun: float
    against: Against | None = None
    corpus: Path | None = None
    profile_text: str = ""
    expect: tuple[FuzzFailure, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """What a fuzz run found; ``interrupted`` says that it was cut short, or still goes on.

    ``is_settled``: not a replay of which too few runs came in time to say that it is cured.
    """

    failures: tuple[FuzzFailure, ...]
    unrepeated: tuple[Unrepeated, ...]
    excused: tuple[Excused, ...]
    examples: int
    connections: int
    unmeasured: int
    coverage: FuzzCoverage
    capture: CaptureFacts
    address: str
    interrupted: bool
    ended_by: str = ""
    notes: tuple[str, ...] = ()
    is_settled: bool = True


@dataclass(frozen=True, slots=True)
class FuzzWatcher:
    """Who wants to know, while it happens. Every callback may be left as it is.

    ``tried`` is told of every connection, what it was for and which properties it broke;
    ``progressed`` of examples, failures and seconds left; ``interesting`` of the first example to
    show a signature; ``failed`` everything found so far, whenever something was.
    """

    tried: Callable[[Observation, str, tuple[str, ...]], None] = lambda *_: None
    progressed: Callable[[int, int, float], None] = lambda *_: None
    interesting: Callable[[Example, str], None] = lambda *_: None
    failed: Callable[[Fuzzed], None] = lambda _: None
    warned: Callable[[str], None] = lambda _: None
