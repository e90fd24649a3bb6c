"""From faults that were seen to the failures of the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from tlsprobe.fuzz.properties import Kind, Observation, Violation
from tlsprobe.judge.remedies import remedy_of, situation_of
from tlsprobe.model.fuzz import Example, FuzzCause, FuzzFailure
from tlsprobe.model.judgement import Reset
from tlsprobe.model.trace import Side


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

    def tally(self, broke: bool, end: str) -> None:
        """Count a confirming run."""
        self.runs += 1
        self.broke += broke
        self.ends[end] += 1


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
