"""Runs of one target, one behind the other."""

from __future__ import annotations

from tests.judge.playbook import C, S, play
from tlsprobe.facts.joining import joined
from tlsprobe.model.facts import Fact, PathFact, TrialFact
from tlsprobe.model.load import Load
from tlsprobe.model.run import Trial

TRACE = play(C.notify(), S.notify() + S.fin())


def trial(sequence: str, index: int) -> TrialFact:
    return TrialFact(Trial(sequence, "1.3", index), TRACE, Load(1, 1))


def test_trials_are_counted_on_cell_by_cell() -> None:
    check = PathFact("a", "1.3", alive=True)
    first: list[Fact] = [trial("a", 0), trial("b", 0), check]
    second: list[Fact] = [trial("a", 0), trial("a", 1)]
    assert list(joined([first, second])) == [
        *first,
        trial("a", 1),
        trial("a", 2),
    ]
