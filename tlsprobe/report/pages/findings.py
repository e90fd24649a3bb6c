"""The sections about what was found: each finding with its cause, and the packets that show it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tlsprobe.behaviours import behaviours_of
from tlsprobe.judge.families import family_in
from tlsprobe.model.judgement import Verdict
from tlsprobe.model.run import Cell, Run
from tlsprobe.report.blocks import Block, Code, Field, Fields, Heading, Ladder, Names, Paragraph
from tlsprobe.report.findings import (
    BAD_FIRST,
    Entry,
    LooseCause,
    Place,
    Unanswered,
    findings_of,
    worst_cells,
)
from tlsprobe.report.rulebook import cause_fields, rule_fields
from tlsprobe.report.sentences import describe_cause, describe_loose_cause, place_names
from tlsprobe.report.tried import tried_remedies
from tlsprobe.waiving import because_of, waiver_of

FEW_RULES = 6
"""So many of the rules that passed beside a finding are shown where there is little room."""


def findings_section(runs: Sequence[Run]) -> Iterator[Block]:
    """What was found and why, resets that no rule is about, and what has no answer.

    With several runs, evidence and remedies are left to the page of each.
    """
    found, is_brief = findings_of(runs), len(runs) > 1
    yield Heading(2, "Findings", folded=True)
    if not (found.entries or found.causes or found.unanswered):
        yield Paragraph("None.")
    run = None if is_brief else runs[0]
    for entry in found.entries:
        yield from _entry(entry, run)
    for loose in found.causes:
        yield from _loose(loose, is_brief)
    for gap in found.unanswered:
        yield from _gap(gap, is_brief)


def examples_section(runs: Sequence[Run], limit: int) -> Iterator[Block]:
    """Example trials of the worst cells; of several runs, one each before one has two."""
    each = limit if len(runs) == 1 else 1
    worst = [(run, cell) for run in runs for cell in worst_cells(run, each)]
    worst.sort(key=lambda pair: BAD_FIRST.index(pair[1].verdict))
    if worst[:limit]:
        yield Heading(2, "Examples", folded=True)
    for run, cell in worst[:limit]:
        yield from example_blocks(cell, f"{run.target.name}: " if len(runs) > 1 else "")


def _entry(entry: Entry, run: Run | None) -> Iterator[Block]:
    """With ``run``, if it is the only one, also evidence and remedies."""
    finding, is_brief = entry.finding, run is None
    yield Heading(3, f"{finding.rule} ({finding.level})", Verdict(finding.result.value))
    fields = [_where(entry.places, is_brief), Field("seen", finding.text)]
    if run is not None:
        fields += _waived(entry, run)
        family = family_in(run)
        named = {place.sequence for place in entry.places}
        steps = (cell.steps for cell in run.cells if cell.sequence in named)
        fields += rule_fields(finding.rule, run.target.protocol, family, steps)
    for why in entry.why:
        fields.append(Field("why", describe_cause(why), () if is_brief else why.facts.evidence))
        if run is not None:
            told = (one for one in behaviours_of(run) if finding.rule in one.rules)
            fields += cause_fields(why.facts, tried_remedies(told, why.facts.cause))
    if entry.beside and not is_brief:
        beside = tuple(f"{result} {rule}" for rule, result in entry.beside)
        fields.append(Field("besides", (Names(beside, FEW_RULES),)))
    yield Fields(tuple(fields))


def _waived(entry: Entry, run: Run) -> Iterator[Field]:
    """Why a finding is accepted, if it is wherever it was seen."""
    cells = [run.cell_at(place.sequence, place.tls) for place in entry.places]
    found = [waiver_of(run, cell, entry.finding) for cell in cells if cell is not None]
    if why := because_of(found):
        yield Field("waived", why)


def _loose(loose: LooseCause, is_brief: bool) -> Iterator[Block]:
    yield Heading(3, describe_loose_cause(loose.why), Verdict.INFO)
    fields = [_where(loose.places, is_brief)]
    if not is_brief:
        fields += [Field("why", items=loose.why.facts.evidence), *cause_fields(loose.why.facts)]
    yield Fields(tuple(fields))


def _gap(gap: Unanswered, is_brief: bool) -> Iterator[Block]:
    yield Heading(3, "", gap.verdict)
    reason = Field("reason", gap.reason or "none was recorded")
    yield Fields((_where(gap.places, is_brief), reason))


def _where(places: Sequence[Place], several: bool) -> Field:
    return Field("where", (Names(place_names(places, several=several)),))


def example_blocks(cell: Cell, target: str = "") -> Iterator[Block]:
    """The trial that shows a cell best, packet by packet."""
    if cell.example is not None:
        trial = f"{target}{cell.sequence}, TLS {cell.tls}, trial {cell.example.trial}: "
        yield Heading(3, (trial, Code(cell.example.signature)))
        yield Ladder(cell.example.ladder, (Code(cell.steps),), in_order=not cell.example.shaped)


def ladder_of(cell: Cell) -> Ladder | None:
    """The trial that shows a cell best, and which one it is; None where there were no packets."""
    example = cell.example
    if example is None or not example.ladder:
        return None
    trial = f"{cell.sequence}, TLS {cell.tls}, trial {example.trial}: "
    caption = trial, Code(example.signature)
    return Ladder(example.ladder, caption, in_order=not example.shaped)
