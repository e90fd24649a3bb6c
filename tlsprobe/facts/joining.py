"""Runs of the same target as one: their facts one behind the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from tlsprobe.model.facts import Fact, TrialFact


def joined(runs: Iterable[Iterable[Fact]]) -> Iterator[Fact]:
    """The facts of all of them; trials of a cell are counted on from run to run."""
    counts: Counter[tuple[str, str]] = Counter()
    for facts in runs:
        for fact in facts:
            if not isinstance(fact, TrialFact):
                yield fact
                continue
            name = fact.trial.sequence, fact.trial.tls
            yield replace(fact, trial=replace(fact.trial, index=counts[name]))
            counts[name] += 1
