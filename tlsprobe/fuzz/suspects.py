"""What was seen to be broken, from the first sighting to a failure of the report.

Every violation of every connection is a *sighting*, kept with its example from the moment in which
it was seen. One that no failure explains becomes a *suspect*, which is made shorter and confirmed.
What shows only now and then *waits*: it is a race, which takes many runs. A confirmed one is a
*failure*, and explains the sightings that are of its kind and whose examples hold its own. So a
second fault of the same property stays a suspect of its own, and no failure counts what it does
not share.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tlsprobe.fuzz.alike import holds
from tlsprobe.fuzz.alphabet import Simplicity
from tlsprobe.fuzz.observation import Observation
from tlsprobe.fuzz.properties import (
    PROPERTIES,
    Kind,
    Needs,
    Property,
    Violation,
    excused,
    shows_like,
    violations,
    without_echoes,
)
from tlsprobe.model.fuzz import Example, Rate

TRIES = 3
"""So many examples of a kind are looked into as a race before others of it have to repeat."""

MOST_TRIES = 24
"""So many examples of a kind are looked into that come to nothing, before it is left alone."""

AWAITED = 2
"""So many connections of a kind are waited for at a time, to see whether the server ends them."""

MANY = 8
"""So many examples in doubt are worth a break to try them again."""

_LONG = 0.5
"""Seconds of waiting in an example that make many runs of it take long."""

LEAK = Violation("ends", "INTEROP-LEAK", "the server did not end the connection")
"""What a connection that is open may break, as long as nobody knows."""


class Sighting(NamedTuple):
    """A violation, and the connection that showed it; for two that differ, the other as well."""

    violation: Violation
    seen: Observation
    other: Observation | None = None


@dataclass(slots=True)
class Suspect:
    """A fault from the moment it was seen until it is confirmed, or is not.

    ``observed`` is the connection that shows it (``other``: the one that it differs from);
    ``shortest`` becomes shorter while hypothesis works on it. ``runs`` and ``broke`` count the
    confirming runs, ``tried`` all that were made to see it again, ``ends`` how they ended; ``rate``
    is there for a race. ``kinds`` is what its runs showed, most of those that showed the fault.
    ``faces`` are the kinds that it showed on its own example: what comes first on the wire, and
    how much of an end got out, may be chance. ``versions`` are the TLS versions that show it,
    ``answers`` what hypothesis was told.
    ``is_race``: it did not show in each of two runs by itself; ``shows_alone``: it is known to show
    in some that have no others beside them. ``has_waited``: until it was time for races.
    ``must_repeat``: others of its kind are races already, so that this one has to show twice before
    more is spent on it; ``is_chance``: it did not. ``is_shown``: its confirming runs say that it is
    a failure, and only more about it is still asked. ``known``: how often it showed when it was
    found, if an earlier run found it. ``in_crowd`` counts the other closes of a kind that only a
    crowd shows, as it does. ``well`` is how the same close ended when it was tried first,
    if that was well.
    """

    sighting: Sighting
    kind: Kind
    examples: int
    found: Example = field(init=False)
    shortest: Example = field(init=False)
    observed: Observation = field(init=False)
    other: Observation | None = field(init=False)
    shrunk: bool = False
    runs: int = 0
    broke: int = 0
    tried: int = 0
    rate: Rate | None = None
    is_race: bool = False
    shows_alone: bool = False
    has_waited: bool = False
    must_repeat: bool = False
    is_chance: bool = False
    is_shown: bool = False
    known: Rate | None = None
    well: Observation | None = None
    ends: Counter[str] = field(default_factory=Counter)
    shown: Counter[Kind] = field(default_factory=Counter)
    kinds: set[Kind] = field(default_factory=set)
    faces: set[Kind] = field(init=False)
    versions: dict[str, None] = field(default_factory=dict)
    suspects: tuple[str, ...] = ()
    answers: dict[Example, bool] = field(default_factory=dict)
    held: set[Example] = field(default_factory=set)
    in_crowd: Counter[Kind] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.observed, self.other = self.sighting.seen, self.sighting.other
        self.found = self.shortest = self.observed.example
        self.faces = {self.kind}

    @property
    def violation(self) -> Violation:
        """What is broken."""
        return self.sighting.violation

    def begin(self) -> None:
        """Nothing of what was confirmed before counts any more."""
        self.runs = self.broke = 0
        self.ends.clear()
        self.shown.clear()

    def tally(self, end: str, *, broke: bool, kinds: Iterable[Kind] = ()) -> None:
        """Count a confirming run, and what else it showed if it showed the fault."""
        self.runs += 1
        self.broke += broke
        self.ends[end] += 1
        if broke:
            self.shown.update(set(kinds))

    def compare_with_first(self, first: Observation | None, asked: Iterable[Property]) -> None:
        """Remember if the close that shows it every time now had ended well before."""
        if first is None or not (first.counts and first.is_in_time) or self.broke < self.runs:
            return
        if PROPERTIES[self.violation.name].needs is Needs.ONE:
            self.well = None if shows_like(first, self.kind, asked) else first

    def explains(self, kind: Kind, example: Example) -> bool:
        """Whether what was seen on this example is this fault.

        What is harmed by the same close of another connection is, be it in other words. So is what
        a few others of its kind were found to show in a crowd only, as this one does.
        """
        if self.in_crowd[kind] >= TRIES:
            return True
        mine, theirs = self.shortest.beside, example.beside
        if mine is not None and theirs is not None and holds(theirs, mine):
            return kind.name in {own.name for own in self.kinds}
        return self._is_of_a_kind(kind) and (example in self.held or holds(example, self.shortest))

    def _is_of_a_kind(self, kind: Kind) -> bool:
        """Whether it is what this one showed, in its TLS version or another one that shows it.

        Who resets with nothing unread does so whatever else is there.
        """
        kinds = self.kinds
        if self.observed.aborts:
            kind, kinds = kind.whatever_provoked, {own.whatever_provoked for own in kinds}
        if kind in kinds:
            return True
        both = kind.tls in self.versions and len(self.versions) > 1
        return both and kind.in_any_version in {own.in_any_version for own in kinds}


class Suspects:
    """Everything that was seen to be broken so far; ``found`` is called for what is new.

    ``asked`` are the properties that matter, ``tried`` says how many examples were tried by now,
    ``simplicity`` which of two examples is the simpler one.
    """

    def __init__(
        self,
        asked: Sequence[Property],
        tried: Callable[[], int],
        simplicity: Callable[[Example], Simplicity],
        found: Callable[[], None],
    ) -> None:
        self.asked = tuple(asked)
        self.tried = tried
        self.simplicity = simplicity
        self.found = found
        self.sightings: defaultdict[Kind, dict[Example, Sighting]] = defaultdict(dict)
        self.excused: defaultdict[tuple[str, Kind], dict[Example, Sighting]] = defaultdict(dict)
        self.failures: list[Suspect] = []
        self.dropped: list[Suspect] = []
        self.waiting: list[Suspect] = []
        self.current: Suspect | None = None
        self.in_doubt: dict[Example, Kind | None] = {}
        self._awaited: Counter[Kind] = Counter()
        self._sampled: set[Kind] = set()
        self._looked_into: Counter[Kind] = Counter()
        self._calmed: set[Example] = set()

    # --- seeing -------------------------------------------------------------------------------

    def is_worth_waiting(self, seen: Observation) -> bool:
        """Whether to wait for the end of a connection that was open when we left in haste.

        A server that leaks leaks often: few of a kind are waited for at a time, and the others are
        in doubt until it is known what became of those.
        """
        kinds = [kind for kind in self._apparent(seen) if self._is_news(kind, seen.example)]
        worth = [kind for kind in kinds if self._awaited[kind] < AWAITED]
        self._awaited.update(worth)
        return bool(worth)

    def _apparent(self, seen: Observation) -> list[Kind]:
        """What a connection breaks; if it is open, and a busy machine saw it, what it may break."""
        if seen.is_open and seen.is_doubtful:
            return [LEAK.kind(seen)]
        return [violation.kind(seen) for violation in violations(seen, self.asked)]

    def note_all(self, seen: Observation) -> None:
        """Keep every violation of a connection, whatever it was made for.

        What looks bad and was seen by a busy machine says nothing, and what came of a step that was
        late may be the answer to another close: they are tried again in peace.
        """
        for why, violation in excused(seen, self.asked):
            known = self.excused[why, violation.kind(seen).in_any_version]
            known.setdefault(seen.example, Sighting(violation, seen))
        broken = without_echoes(violations(seen, self.asked))
        if seen.is_doubtful or (broken and not seen.is_in_time):
            if seen.example not in self._calmed:
                self._doubt(seen)
                return
        elif seen.patient and seen.counts:
            self.in_doubt.pop(seen.example, None)
        for violation in broken:
            self.note(Sighting(violation, seen))

    def _doubt(self, seen: Observation) -> None:
        """Have it tried again, with the others of its kind if we left it open, or by itself."""
        kind = LEAK.kind(seen) if seen.is_open and not seen.patient else None
        self.in_doubt[seen.example] = kind
        if seen.patient:
            self._calmed.add(seen.example)
        if seen.patient and (seen.is_open or len(self.in_doubt) >= MANY):
            self.found()

    def note(self, sighting: Sighting) -> None:
        """Keep what was seen, from this moment on.

        What was open when we left in haste may have ended a moment later: it is tried again.
        """
        violation, seen, _ = sighting
        kind, current = violation.kind(seen), self.current
        if seen.example.beside is not None and current is not None and kind.is_like(current.kind):
            return  # it is driven to look into this one, which is kept already
        news = self._is_news(kind, seen.example)
        if seen.is_open and not seen.patient:
            if news:
                self.in_doubt.setdefault(seen.example, kind)
            return
        self.sightings[kind].setdefault(seen.example, sighting)
        if news:
            self.found()

    def _is_news(self, kind: Kind, example: Example) -> bool:
        if example in self.sightings.get(kind, ()) or self._tries(kind) >= MOST_TRIES:
            return False
        if self.current is not None and self.current.kind == kind:
            return False
        return not self.is_explained(kind, example)

    def is_explained(self, kind: Kind, example: Example) -> bool:
        """Whether a failure accounts for this."""
        return any(failure.explains(kind, example) for failure in self.failures)

    def crowd_like(self, kind: Kind) -> Suspect | None:
        """The failure of the same rule, in the same way, that a crowd shows by another close."""
        crowds = (f for f in self.failures if f.shortest.together > 1 and f.kind.is_like(kind))
        return next((f for f in crowds if f.shortest.beside is None), None)

    def takes_company(self, kind: Kind) -> bool:
        """Whether a failure breaks the same property where there are other connections only."""
        return any(
            failure.kind.name == kind.name
            and (failure.shortest.together > 1 or failure.shortest.beside is not None)
            for failure in self.failures
        )

    # --- looking into it ----------------------------------------------------------------------

    def to_make_sure(self) -> list[tuple[Example, bool]]:
        """What is to be tried again now, and whether side by side with many others.

        Of each kind that stayed open one goes first: while it is a suspect, the others wait.
        """
        self._awaited.clear()
        taken, sampled = dict[Example, bool](), set[Kind]()
        for example, kind in list(self.in_doubt.items()):
            if kind is None:
                taken[example] = False
            elif not self._is_news(kind, example):
                del self.in_doubt[example]
            elif kind not in sampled and not self.unexplained(kind):
                taken[example] = True
                if kind not in self._sampled:
                    sampled.add(kind)
        self._sampled |= sampled
        for example in taken:
            del self.in_doubt[example]
            self._calmed.add(example)
        return list(taken.items())

    def next(self) -> Suspect | None:
        """The gravest of what is not explained, on the simplest example that showed it.

        What was looked into already, and came to nothing, waits until every other kind had a turn.
        """
        kinds = [kind for kind in self.sightings if self._tries(kind) < MOST_TRIES]
        left = [(kind, example) for kind in kinds for example in self.unexplained(kind)]
        if not left:
            return None
        kind, example = min(left, key=lambda one: (self._turn(one[0]), self.simplicity(one[1])))
        self.current = Suspect(self.sightings[kind][example], kind, self.tried())
        self.current.must_repeat = self._tries(kind) >= TRIES
        return self.current

    def postpone(self, suspect: Suspect) -> None:
        """A race takes many runs: what shows every time is looked into first."""
        self.current = None
        suspect.has_waited = True
        self.waiting.append(suspect)

    def next_race(self, *, comparing: bool) -> Suspect | None:
        """The race of which most was seen, and the simplest of its kind.

        That two runs differ comes last, and only if ``comparing``: another race may be why.
        """
        self.waiting[:] = (s for s in self.waiting if not self.is_explained(s.kind, s.found))
        able = [s for s in self.waiting if comparing or not _compares(s.kind)]
        if not able:
            return None
        self.current = min(able, key=self._turn_of_race)
        self.waiting.remove(self.current)
        return self.current

    def are_waiting(self, *, comparing: bool) -> bool:
        """Whether there are races to run."""
        return any(comparing or not _compares(suspect.kind) for suspect in self.waiting)

    def _turn_of_race(self, suspect: Suspect) -> tuple[bool, int, float, int, Simplicity]:
        kind, steps = suspect.kind, suspect.found.sequence.steps
        waits = sum(step.wait for step in steps if isinstance(step.wait, float))
        turn = _compares(kind), self._looked_into[kind], waits // _LONG, -len(self.sightings[kind])
        return *turn, self.simplicity(suspect.found)

    def _tries(self, kind: Kind) -> int:
        """How many examples of a kind came to nothing, or wait to be raced."""
        return self._looked_into[kind] + sum(suspect.kind == kind for suspect in self.waiting)

    def _turn(self, kind: Kind) -> tuple[bool, int, tuple[bool, int]]:
        """What the kinds are sorted by; a server that dies comes first, whatever was tried."""
        return not _is_death(kind), self._tries(kind), severity(kind)

    def unexplained(self, kind: Kind) -> list[Example]:
        """The examples that showed this kind, and no failure accounts for."""
        gone = {s.found for s in (*self.dropped, *self.waiting) if s.kind == kind}
        every = (example for example in self.sightings[kind] if example not in gone)
        return [example for example in every if not self.is_explained(kind, example)]

    def settle(self, suspect: Suspect, *, confirmed: bool) -> None:
        """A suspect was looked into: it is a failure, one that was known already, or nothing."""
        self.current = None
        if not confirmed:
            repeats = suspect.runs and suspect.broke == suspect.runs  # and yet is none: as others
            self._looked_into[suspect.kind] += MOST_TRIES // TRIES if repeats else 1
            self.dropped.append(suspect)
            return
        suspect.kinds |= {kind for kind, n in suspect.shown.items() if 2 * n > suspect.broke}
        suspect.kinds |= suspect.faces
        same = next((known for known in self.failures if _is_same(known, suspect)), None)
        if same is None:
            suspect.held.add(suspect.found)
            self.failures.append(suspect)
            return
        same.kinds |= suspect.kinds
        same.versions |= suspect.versions
        same.held.add(suspect.found)

    def forget(self, examples: Iterable[Example]) -> None:
        """Forget what these showed, and nobody has looked into: it was the server dying."""
        for kind, seen in self.sightings.items():
            for example in examples:
                if example in seen and not self.is_explained(kind, example):
                    del seen[example]

    def seen(self, failure: Suspect) -> int:
        """How many examples showed what this failure is, and hold its own."""
        shown = {
            example
            for kind, examples in self.sightings.items()
            for example in examples
            if failure.explains(kind, example)
        }
        return len(shown)

    def every(self) -> list[Suspect]:
        """The failures, the gravest first."""
        return sorted(self.failures, key=lambda failure: severity(failure.kind))

    def left(self) -> Iterator[tuple[Sighting, int, int]]:
        """What no failure accounts for: where it was seen first, how often, how often tried."""
        for kind in sorted(self.sightings, key=severity):
            examples = [e for e in self.sightings[kind] if not self.is_explained(kind, e)]
            if examples:
                looked_into = (*self.dropped, *self.waiting)
                tried = sum(suspect.tried for suspect in looked_into if suspect.kind == kind)
                first = self.sightings[kind][min(examples, key=self.simplicity)]
                yield first, len(examples), tried


def severity(kind: Kind) -> tuple[bool, int]:
    """What suspects are sorted by; a server that dies comes first, since it takes all with it."""
    return not _is_death(kind), list(PROPERTIES).index(kind.name)


def _compares(kind: Kind) -> bool:
    return PROPERTIES[kind.name].needs is not Needs.ONE


def _is_death(kind: Kind) -> bool:
    return PROPERTIES[kind.name].needs is Needs.PATH


def _is_same(known: Suspect, suspect: Suspect) -> bool:
    """Whether two came out as one close that does one thing, be it cut into other segments."""
    mine, theirs = suspect.shortest, known.shortest
    if not suspect.kind.is_like(known.kind) or mine.together != theirs.together:
        return False
    if mine.sequence == theirs.sequence:
        return True
    as_long = len(mine.sequence.steps) == len(theirs.sequence.steps)
    alike = suspect.kind[4:6] == known.kind[4:6]  # its phase and its shape
    return as_long and alike and holds(mine, theirs)
