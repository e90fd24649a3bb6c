"""From faults that were seen to the failures of the report.

What was seen is kept from the moment in which it was seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from tlsprobe.fuzz.properties import (
    PROPERTIES,
    Kind,
    Observation,
    Property,
    Violation,
    violations,
)
from tlsprobe.fuzz.trying import Counts
from tlsprobe.judge.remedies import remedy_of, situation_of
from tlsprobe.model.fuzz import Example, FuzzCause, FuzzFailure
from tlsprobe.model.judgement import Reset
from tlsprobe.model.trace import Side

_OTHERS = 40
"""Examples that are kept of a fault, for the case that the shortest of it was luck."""


@dataclass(slots=True)
class Suspect:
    """A fault from the moment it was seen until it is confirmed.

    ``observed`` is the connection that shows it; ``shortest`` becomes shorter while hypothesis
    works on it; ``others`` showed the fault too. ``runs``, ``broke`` and ``ends`` count the
    confirming runs; ``answers`` is what hypothesis was told. ``is_race``: not every run of what
    was found showed it.
    """

    violation: Violation
    found: Example
    examples: int
    observed: Observation
    shortest: Example = field(init=False)
    seen: int = 1
    shrunk: bool = False
    done: bool = False
    runs: int = 0
    broke: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    also: dict[Kind, None] = field(default_factory=dict)
    suspects: tuple[str, ...] = ()
    others: dict[Example, None] = field(default_factory=dict)
    is_race: bool = False
    answers: dict[Example, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shortest = self.found

    def tally(self, end: str, *, broke: bool) -> None:
        """Count a confirming run."""
        self.runs += 1
        self.broke += broke
        self.ends[end] += 1


class Suspects:
    """The faults that were seen so far, by their kinds; ``found`` is called for each new one.

    ``asked`` are the properties that matter.
    """

    def __init__(
        self, asked: Sequence[Property], counts: Counts, found: Callable[[], None]
    ) -> None:
        self.asked = tuple(asked)
        self.counts = counts
        self.found = found
        self.kinds: dict[Kind, Suspect] = {}
        self.in_doubt: set[Kind] = set()

    def is_news(self, seen: Observation) -> bool:
        """Whether this would be the first of its kind; one connection at a time makes sure."""
        kinds = {v.kind for v in violations(seen, self.asked)}
        news = kinds - self.kinds.keys() - self.in_doubt
        self.in_doubt |= news
        return bool(news)

    def note_all(self, seen: Observation) -> None:
        """Keep every fault of a connection."""
        for violation in violations(seen, self.asked):
            self.note(violation, seen)

    def note(self, violation: Violation | None, seen: Observation) -> None:
        """Keep what was seen, from this moment on."""
        if violation is None:
            return
        known = self.kinds.get(violation.kind)
        if known is not None:
            known.seen += 1
            if len(known.others) < _OTHERS:
                known.others[seen.example] = None
            return
        if seen.is_open and not seen.patient:
            return  # somebody is making sure of it
        self.add(Suspect(violation, seen.example, len(self.counts.examples), seen))

    def add(self, suspect: Suspect) -> None:
        """Keep a fault of a new kind."""
        self.kinds[suspect.violation.kind] = suspect
        self.in_doubt.discard(suspect.violation.kind)
        self.found()

    def every(self) -> list[Suspect]:
        """Every suspect once, the gravest first, though one may stand for several kinds."""
        once = {id(suspect): suspect for suspect in self.kinds.values()}
        return sorted(once.values(), key=lambda suspect: _severity(suspect.violation))

    def pending(self) -> list[Suspect]:
        """Those that were not looked into yet, the gravest first."""
        return [suspect for suspect in self.every() if not suspect.done]

    def is_explained(self, suspect: Suspect) -> bool:
        """Whether the shortest of another failure breaks this property too: then they are one."""
        for other in self.every():
            shown = violations(other.observed, self.asked) if other.done else ()
            kinds = [violation.kind for violation in shown]
            if suspect.violation.kind in kinds:
                other.also[suspect.violation.kind] = None
                other.seen += suspect.seen
                self.kinds[suspect.violation.kind] = other
                suspect.done = True
                return True
        return False

    def drop(self, suspect: Suspect) -> None:
        """Forget a fault that was something else."""
        for kind in [kind for kind, other in self.kinds.items() if other is suspect]:
            del self.kinds[kind]


def failures_of(suspects: Iterable[Suspect]) -> tuple[FuzzFailure, ...]:
    """The failures, those with the same signature and cause taken together."""
    clusters: dict[str, FuzzFailure] = {}
    for suspect in suspects:
        failure = _failure(suspect)
        known = clusters.setdefault(failure.cluster, failure)
        if known is not failure:
            itself = f"{known.property} ({known.rule})"
            also = (*known.also, f"{failure.property} ({failure.rule})", *failure.also)
            others = tuple(name for name in dict.fromkeys(also) if name != itself)
            clusters[failure.cluster] = replace(known, also=others, seen=known.seen + failure.seen)
    return tuple(clusters.values())


def _failure(suspect: Suspect) -> FuzzFailure:
    violation, judgement = suspect.violation, suspect.observed.judgement
    reset = next((r for r in judgement.resets if r.side is Side.SERVER), None)
    what = reset.cause if reset is not None else _what(violation)
    return FuzzFailure(
        property=violation.name,
        rule=violation.rule,
        steps=suspect.shortest.steps,
        tls=suspect.shortest.tls,
        signature=judgement.signature,
        confirmed=f"{suspect.broke}/{suspect.runs}",
        file="",
        cluster=f"{what}: {judgement.signature}",
        text=violation.text,
        cause=_cause(reset) if reset is not None else None,
        also=tuple(f"{name} ({rule})" for name, rule, _ in suspect.also),
        found=suspect.found.steps,
        examples=suspect.examples,
        seen=suspect.seen,
        shrunk=suspect.shrunk,
        ends=dict(suspect.ends.most_common()) if len(suspect.ends) > 1 else {},
        suspects=suspect.suspects,
        ladder=suspect.observed.ladder,
    )


def _what(violation: Violation) -> str:
    """What names a fault without a reset: comparisons and deaths are faults of their own."""
    told_apart = {"next-connection", "runs-alike", "versions-alike", "targets-alike"}
    return violation.name if violation.name in told_apart else "no-reset"


def _cause(reset: Reset) -> FuzzCause:
    remedies = remedy_of(situation_of(reset)).sentences
    return FuzzCause(str(reset.cause), reset.confidence, reset.evidence, remedies)


def _severity(violation: Violation) -> tuple[int, str]:
    return list(PROPERTIES).index(violation.name), violation.rule
