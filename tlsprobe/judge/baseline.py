"""What has changed since a baseline: two runs, compared cell by cell.

A cell is compared by what its trials *showed*: outcomes, causes of the server's RSTs, and results
of rules. A value has changed when one run showed it and the other did not, and chance does not
explain that; how often a value comes up in both runs is a matter of timing and is no change.

The criterion is Fisher's exact test, one-sided, which has a short form where one side saw nothing:
had nothing changed, the ``k`` occurrences would all have fallen to this run's ``n`` trials, and
none to the other's ``m``, with the probability ``C(n, k) / C(n + m, k)``. At most `CHANCE` counts
as a change, and so does going from every trial to none, or from none to every one, however few
trials there were: who runs one trial takes the server to be deterministic. (Two runs against the
same server, a cell that races at its worst rate: a false alarm in some 1.3 of 100 comparisons.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import comb

from tlsprobe.model.judgement import Confidence, Outcome, Result, Verdict
from tlsprobe.model.run import Cell, Change, Deviation, Run

CHANCE = 0.05
"""The probability up to which chance is no explanation."""

_TELLING = (Result.FAIL, Result.WARN, Result.INFO)
_PATH = "INTEROP-PATH"

Name = tuple[str, str]
"""A cell's sequence and TLS version."""


FEWEST = 3
"""So many trials have to give an answer, of a cell that has as many."""


@dataclass(frozen=True, slots=True)
class Shift:
    """A value that one run showed and the other did not, or not as often.

    ``was`` and ``now`` count trials, ``of_was`` and ``of_now`` all of them.
    """

    what: str
    was: int
    of_was: int
    now: int
    of_now: int

    @property
    def chance(self) -> float:
        """How probable it is that nothing changed; 1 where both runs showed the value."""
        if self.was and self.now:
            return 1.0
        here, there = (self.of_now, self.of_was) if self.now else (self.of_was, self.of_now)
        seen = self.was + self.now
        return comb(here, seen) / comb(here + there, seen)

    @property
    def certain(self) -> bool:
        """Whether it is a change, and no whim of timing."""
        if not self.of_was or not self.of_now or (self.was and self.now):
            return False
        all_or_none = self.was + self.now == (self.of_now if self.now else self.of_was)
        return all_or_none or self.chance <= CHANCE

    @property
    def words(self) -> str:
        """What was seen, and how often."""
        return (
            f"{self.what}: {self.now} of {self.of_now} trials, before {self.was} of {self.of_was}"
        )


def deviations(before: Run, now: Run) -> tuple[Deviation, ...]:
    """Every cell that is not as the baseline has it, and every cell that one side lacks.

    Only the `certain` ones are changes; improvements are among them, so that a baseline is
    renewed knowingly.
    """
    if (before.capture.backend == "none") != (now.capture.backend == "none"):
        return (_unequal_sight(before, now),)
    old, new = _by_name(before), _by_name(now)
    unknown_rules = _new_rules(before, now)
    found = [
        _compare(old[name], cell, unknown_rules) if name in old else _lacking(cell, Change.NEW)
        for name, cell in new.items()
    ]
    found += [_lacking(cell, Change.MISSING) for name, cell in old.items() if name not in new]
    return tuple(deviation for deviation in found if deviation is not None)


def common_cells(before: Run, names: set[Name]) -> int:
    """How many of these cells the baseline holds."""
    return len(names & set(_by_name(before)))


def shifts(before: Cell, now: Cell) -> Iterator[Shift]:
    """What one cell showed and the other did not: outcomes, causes, results of rules."""
    old, new = before.answers or before.outcomes, now.answers or now.outcomes
    yield from _shifts("outcome", old, answered(before), new, answered(now))
    vague = _vague_causes(before) | _vague_causes(now)
    causes = [_without(cell.causes, vague) for cell in (before, now)]
    of = [_asked(cell, counts) for cell, counts in zip((before, now), causes, strict=True)]
    yield from _shifts("cause", causes[0], of[0], causes[1], of[1])
    results = [_results(cell) for cell in (before, now)]
    of = [_asked(cell, counts) for cell, counts in zip((before, now), results, strict=True)]
    yield from _shifts("", results[0], of[0], results[1], of[1])


def answered(cell: Cell) -> int:
    """How many trials gave an answer: those that were left out show no absence."""
    return sum(cell.answers.values()) or cell.trials


def has_few_answers(cell: Cell) -> bool:
    """Whether nearly all trials were left out, so that nothing can be compared."""
    return answered(cell) < min(FEWEST, cell.trials)


def _compare(before: Cell, now: Cell, unknown_rules: set[str]) -> Deviation | None:
    unclear = _incomparable(before, now)
    if unclear is not None:
        return _deviation(now, Change.UNCLEAR, unclear, certain=False)
    if Verdict.UNSUPPORTED in {before.verdict, now.verdict}:
        return _support(before, now)
    found = [s for s in shifts(before, now) if not _names_any(s, unknown_rules)]
    certain = [s.words for s in found if s.certain]
    if {before.path_alive, now.path_alive} == {True, False}:
        certain.append(f"afterwards the path {'works again' if now.path_alive else 'is dead'}")
    differs = before.verdict is not now.verdict
    verdict = [f"the verdict was {before.verdict} and is now {now.verdict}"] if differs else []
    if certain:
        return _deviation(now, _direction(before, now), *verdict, *certain, certain=True)
    rare = [f"{s.words}; too few to tell from chance ({s.chance:.0%})" for s in found]
    if rare or (verdict and not unknown_rules):
        return _deviation(now, _direction(before, now), *verdict, *rare, certain=False)
    return None


def _incomparable(before: Cell, now: Cell) -> str | None:
    """Why these two cells cannot be compared, if they cannot."""
    if before.steps != now.steps:
        return f"its steps were '{before.steps}', which is another sequence"
    for cell, where in ((before, "in the baseline"), (now, "now")):
        if cell.verdict is Verdict.INCONCLUSIVE:
            return f"inconclusive {where}: {cell.reason or 'packets were lost'}"
        if has_few_answers(cell):
            return f"only {answered(cell)} of {cell.trials} trials gave an answer {where}"
        if cell.verdict is Verdict.ERROR and not cell.trials:
            return f"not measured {where}"
        if cell.verdict is Verdict.ERROR and _reached(cell) == cell.trials:
            return f"the tester's own error {where}: driver and capture disagree"
    return None


def _support(before: Cell, now: Cell) -> Deviation | None:
    """Whether the server speaks this TLS version at all."""
    if before.verdict is now.verdict:
        return None
    if now.verdict is Verdict.UNSUPPORTED:
        why = f" ({now.reason})" if now.reason else ""
        return _deviation(now, Change.WORSE, f"TLS {now.tls} works no longer{why}", certain=True)
    return _deviation(now, Change.BETTER, f"TLS {now.tls} works, and did not before", certain=True)


def _direction(before: Cell, now: Cell) -> Change:
    """Better or worse by the verdict; where that stays, by the worst result that moved."""
    ranks = [Verdict.PASS, Verdict.INFO, Verdict.WARN, Verdict.FAIL, Verdict.ERROR]
    was, is_now = ranks.index(before.verdict), ranks.index(now.verdict)
    if was != is_now:
        return Change.WORSE if is_now > was else Change.BETTER
    for result in _TELLING:
        old, new = (
            {finding.rule for finding in cell.findings if finding.result is result}
            for cell in (before, now)
        )
        if new != old:
            return Change.WORSE if new > old else Change.BETTER if new < old else Change.DIFFERENT
    return Change.DIFFERENT


def _shifts(
    what: str, before: Mapping[str, int], of_before: int, now: Mapping[str, int], of_now: int
) -> Iterator[Shift]:
    for name in dict.fromkeys((*now, *before)):
        was, is_now = before.get(name, 0), now.get(name, 0)
        if bool(was) != bool(is_now):
            yield Shift(f"{what} {name}".strip(), was, of_before, is_now, of_now)


def _results(cell: Cell) -> Counter[str]:
    """In how many trials each rule was broken, or had something to say.

    The path is not a matter of trials, and is compared by itself.
    """
    counts: Counter[str] = Counter()
    for finding in cell.findings:
        if finding.result in _TELLING and finding.rule != _PATH:
            counts[f"{finding.result} {finding.rule}"] += finding.count
    return counts


def _vague_causes(cell: Cell) -> set[str]:
    """Causes at which the packets only hint."""
    return {"unknown"} | {facts.cause for facts in cell.why if facts.confidence is Confidence.LOW}


def _without(counts: Mapping[str, int], names: set[str]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if name not in names}


def _reached(cell: Cell) -> int:
    return cell.trials - sum(
        cell.outcomes.get(outcome, 0) for outcome in Outcome if not outcome.reached
    )


def _asked(cell: Cell, counts: Mapping[str, int]) -> int:
    """How many trials could have shown what is counted; what a late one shows all the same is."""
    unreached = (cell.answers.get(outcome, 0) for outcome in Outcome if not outcome.reached)
    base = answered(cell) - sum(unreached) if cell.answers else _reached(cell)
    return max(base, *counts.values(), 0)


def _by_name(run: Run) -> dict[Name, Cell]:
    return {(cell.sequence, cell.tls): cell for cell in run.cells}


def _new_rules(before: Run, now: Run) -> set[str]:
    """Rules that the baseline's tlsprobe may not have known: they are not the server's doing."""
    if before.tool.version == now.tool.version:
        return set()
    rules = [{f.rule for cell in run.cells for f in cell.findings} for run in (before, now)]
    return rules[1] - rules[0]


def _names_any(shift: Shift, rules: set[str]) -> bool:
    return shift.what.rpartition(" ")[2] in rules


def _lacking(cell: Cell, change: Change) -> Deviation | None:
    """A cell of one side only; a control comes and goes with what it has to settle."""
    if cell.role != "asked":
        return None
    where = "the baseline has no such cell" if change is Change.NEW else "not measured in this run"
    return _deviation(cell, change, where, certain=False)


def _unequal_sight(before: Run, now: Run) -> Deviation:
    was, is_now = before.capture.backend, now.capture.backend
    sentence = (
        f"the baseline's capture was '{was}' and this run's is '{is_now}': what the wire showed and"
        " what a socket was told cannot be compared"
    )
    return Deviation("", "", Change.DIFFERENT, certain=True, sentences=(sentence,))


def _deviation(cell: Cell, change: Change, *sentences: str, certain: bool) -> Deviation:
    return Deviation(cell.sequence, cell.tls, change, certain, sentences)
