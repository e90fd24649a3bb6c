"""How two judgements of the same facts differ, cell by cell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, replace

from tlsprobe.model.behaviour import Behaviour
from tlsprobe.model.rejudged import CellChange, Difference
from tlsprobe.model.run import Cell, Finding, Run, TrialLine

_COUNTED = ("outcomes", "signatures", "causes")
_SHORT = ("verdict", "path_alive", "reason")
_IN_WORDS = {"why": "evidence or remedy", "timing_us": "durations", "example": "the example"}
_ALREADY = {*_COUNTED, *_SHORT, "findings"}


def run_changes(before: Run, now: Run) -> tuple[CellChange, ...]:
    """What one document says otherwise than the other: cell by cell, then of the whole run."""
    whole = tuple(
        Difference(what, "", "")
        for what, name in (("the idle timeout", "idle"), ("agreement with the kernel", "truth"))
        if getattr(before, name) != getattr(now, name)
    )
    if _unwaived(before) != _unwaived(now):
        whole = (*whole, Difference("the behaviours", "", ""))
    changes = cell_changes(before.cells, now.cells)
    return (*changes, CellChange("", "", whole)) if whole else changes


def _unwaived(run: Run) -> frozenset[Behaviour]:
    """The behaviours as they were judged, before somebody accepted any."""
    return frozenset(replace(one, waived="") for one in run.behaviours)


def trial_changes(before: Iterable[TrialLine], now: Iterable[TrialLine]) -> tuple[CellChange, ...]:
    """The trials of which one says something else than the other."""
    old, new = ({(t.sequence, t.tls, t.trial): t for t in lines} for lines in (before, now))
    found: defaultdict[tuple[str, str], list[Difference]] = defaultdict(list)
    for name in dict.fromkeys((*old, *new)):
        was, is_now = old.get(name), new.get(name)
        if was != is_now:
            what = f"trial {name[2]}"
            found[name[:2]].append(Difference(what, _in_short(was), _in_short(is_now)))
    return tuple(CellChange(*name, tuple(listed)) for name, listed in found.items())


def cell_changes(before: Iterable[Cell], now: Iterable[Cell]) -> tuple[CellChange, ...]:
    """The cells that one says otherwise than the other, or that one of them lacks."""
    old, new = ({(c.sequence, c.tls): c for c in cells} for cells in (before, now))
    pairs = ((name, old.get(name), new.get(name)) for name in dict.fromkeys((*old, *new)))
    changes = (CellChange(*name, tuple(_differences(was, is_now))) for name, was, is_now in pairs)
    return tuple(change for change in changes if change.differences)


def _differences(was: Cell | None, now: Cell | None) -> Iterator[Difference]:
    if was is None or now is None:
        yield Difference("the cell", "there" if was else "", "there" if now else "")
        return
    for name in _SHORT:
        yield from _difference(name, *(_said(getattr(cell, name)) for cell in (was, now)))
    for name in _COUNTED:
        yield from _difference(name, *(_listed(getattr(cell, name)) for cell in (was, now)))
    results = _by_rule(was.findings), _by_rule(now.findings)
    for rule in dict.fromkeys((*results[0], *results[1])):
        yield from _difference(rule, *("; ".join(found[rule]) for found in results))
    for name in (field.name for field in fields(Cell) if field.name not in _ALREADY):
        if getattr(was, name) != getattr(now, name):
            yield Difference(_IN_WORDS.get(name, name), "", "")


def _difference(what: str, was: str, now: str) -> Iterator[Difference]:
    if was != now:
        yield Difference(what, was, now)


def _said(value: object) -> str:
    return "" if value is None else str(value)


def _in_short(line: TrialLine | None) -> str:
    """A trial's end and the causes of its resets."""
    if line is None:
        return ""
    causes = ", ".join(f"{r.side} {r.cause} ({r.confidence})" for r in line.resets)
    return f"{line.outcome}, {line.signature}, {causes or 'no reset'}"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _by_rule(findings: Iterable[Finding]) -> defaultdict[str, list[str]]:
    """What each rule came out as, how often, and what was seen."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for finding in findings:
        found[finding.rule].append(f"{finding.result} {finding.count}: {finding.text}")
    return found
