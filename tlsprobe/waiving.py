"""Which findings of a run are waived, and what is left of its verdicts without them.

A waived finding stays in every report; it only makes nothing fail. A cell without an answer cannot
be waived: `--allow-unmeasured` is for those.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from fnmatch import fnmatchcase

from tlsprobe.behaviours import behaviours_of, kind_of, says_it_all
from tlsprobe.model.behaviour import Behaviour, Harm
from tlsprobe.model.fuzz import FuzzFailure
from tlsprobe.model.judgement import Result, Verdict
from tlsprobe.model.run import Cell, Finding, Run
from tlsprobe.model.target import Target
from tlsprobe.model.waiver import WaivedFinding, Waiver, WaiverState, WaiverUse

_COUNTS = (Result.FAIL, Result.WARN)
"""Results that can make a run fail, the worst first."""

_VERDICTS = frozenset(Verdict(result.value) for result in _COUNTS)


def waived(run: Run, waivers: Sequence[Waiver], today: date) -> Run:
    """The run with what became of those waivers that speak of its target.

    Its behaviours say which of them are waived; those stand behind the others.
    """
    if not waivers:
        return run
    found = behaviours_of(run)
    about = [one for one in waivers if _is_about_target(one, run)]
    used = replace(run, waivers=tuple(_use(one, run, found, today) for one in about))
    told = [replace(one, waived=_waived_because(one, used)) for one in found]
    return replace(used, behaviours=tuple(sorted(told, key=standing_first)))


def standing(found: Iterable[Behaviour]) -> tuple[Behaviour, ...]:
    """Those behaviours that nobody has waived."""
    return tuple(one for one in found if not one.waived)


def standing_first(one: Behaviour) -> tuple[bool, int]:
    """Sorts the worst first, and what is waived behind all else."""
    return bool(one.waived), one.harm.rank


def worst_standing(found: Iterable[Behaviour]) -> Harm | None:
    """The worst harm of those that nobody has waived; None if there are none."""
    return min((one.harm for one in standing(found)), key=lambda harm: harm.rank, default=None)


def is_all_waived(found: Iterable[Behaviour]) -> bool:
    """Whether something of it hurts, and all that does is waived."""
    hurting = [one for one in found if one.harm is not Harm.NONE]
    return bool(hurting) and not standing(hurting)


def because_of(found: Sequence[Waiver | None]) -> str:
    """Why findings are accepted, each by its waiver; empty if one of them is not."""
    reasons = [waiver.because for waiver in found if waiver is not None]
    return "; ".join(dict.fromkeys(reasons)) if len(reasons) == len(found) else ""


def waiver_of(run: Run, cell: Cell, finding: Finding) -> Waiver | None:
    """The waiver that lets this finding pass; None where it counts."""
    asked = WaivedFinding(cell.sequence, cell.tls, finding.rule)
    for use in run.waivers:
        if use.state is WaiverState.USED and asked in use.findings:
            return use.waiver
    return None


def findings_in(one: Behaviour, run: Run) -> Iterator[tuple[Cell, Finding]]:
    """The findings that a behaviour is made of, each with its cell; the most harmful cell first."""
    cells = {(cell.sequence, cell.tls): cell for cell in run.cells}
    for seen in one.seen:
        cell = cells[seen.sequence, seen.tls]
        yield from ((cell, finding) for finding in cell.findings if finding.rule in one.rules)


def standing_verdict(run: Run, cell: Cell) -> Verdict:
    """The verdict of a cell by those of its findings that nobody has waived."""
    if cell.verdict not in _VERDICTS:
        return cell.verdict
    left = [finding for finding in cell.findings if waiver_of(run, cell, finding) is None]
    if len(left) == len(cell.findings):
        return cell.verdict
    results = {finding.result for finding in left}
    worst = (result for result in (*_COUNTS, Result.INFO) if result in results)
    return Verdict(next(worst, Result.PASS).value)


def is_waived(run: Run, cell: Cell) -> bool:
    """Whether a cell would count, but for waivers."""
    return cell.verdict in _VERDICTS and standing_verdict(run, cell) not in _VERDICTS


def waiver_of_failure(
    failure: FuzzFailure, target: Target, waivers: Sequence[Waiver], today: date
) -> Waiver | None:
    """The waiver that lets a failure of a fuzz run pass; None where it counts.

    A waiver's sequence is held against the steps; a behaviour that is more than a kind says where
    it was seen in named sequences, and nothing of a made-up close.
    """
    names = (failure.target,) if failure.target else (target.name, str(target))
    for one in waivers:
        is_about = any(_fits(name, one.target) for name in names) and not is_over(one, today)
        if is_about and _speaks_of(one, failure):
            return one
    return None


def _speaks_of(one: Waiver, failure: FuzzFailure) -> bool:
    return (
        _fits(failure.rule, one.rule)
        and _fits(kind_of(failure.rule), one.behaviour)
        and _fits(failure.steps, one.sequence)
        and all(_fits(version, one.tls) for version in failure.versions or (failure.tls,))
    )


def is_over(one: Waiver, today: date) -> bool:
    """Whether the last day on which it holds has passed."""
    return bool(one.until) and date.fromisoformat(one.until) < today


def _waived_because(one: Behaviour, run: Run) -> str:
    """Why a behaviour is accepted wherever it was seen; empty if it is not."""
    return because_of(
        [
            waiver_of(run, cell, finding)
            for cell, finding in findings_in(one, run)
            if finding.result in _COUNTS
        ]
    )


def _use(one: Waiver, run: Run, found: Sequence[Behaviour], today: date) -> WaiverUse:
    findings = tuple(_spoken_of(one, run, found))
    if is_over(one, today):
        return WaiverUse(one, WaiverState.EXPIRED, findings)
    return WaiverUse(one, WaiverState.USED if findings else WaiverState.UNUSED, findings)


def _is_about_target(one: Waiver, run: Run) -> bool:
    names = (run.target.name, str(run.target))
    return not one.target or any(fnmatchcase(name, one.target) for name in names)


def _spoken_of(one: Waiver, run: Run, found: Sequence[Behaviour]) -> Iterator[WaivedFinding]:
    """The findings that a waiver matches, those that already passed aside."""
    for cell in run.cells:
        if not (_fits(cell.sequence, one.sequence) and _fits(cell.tls, one.tls)):
            continue
        for finding in cell.findings:
            counts = finding.result in _COUNTS and _fits(finding.rule, one.rule)
            if counts and (not one.behaviour or _is_of(one.behaviour, cell, finding, found)):
                yield WaivedFinding(cell.sequence, cell.tls, finding.rule)


def _is_of(pattern: str, cell: Cell, finding: Finding, found: Sequence[Behaviour]) -> bool:
    """Whether a finding belongs to a behaviour of this name: it, or one that says no more."""
    return any(
        is_named(one, pattern)
        and any((seen.sequence, seen.tls) == (cell.sequence, cell.tls) for seen in one.seen)
        and (finding.rule in one.rules or says_it_all(one.kind, finding.rule))
        for one in found
    )


def is_named(one: Behaviour, pattern: str) -> bool:
    """Whether a pattern names a behaviour: in full, or the beginning of its name, as its kind."""
    return fnmatchcase(one.name, pattern) or fnmatchcase(one.name, f"{pattern}/*")


def _fits(word: str, pattern: str) -> bool:
    return not pattern or fnmatchcase(word, pattern)
