"""A run as notices: its behaviours, what could not be measured, and what changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tlsprobe.behaviours import behaviours_of
from tlsprobe.judge.rules import RULES
from tlsprobe.model.behaviour import Behaviour, Harm, Tried
from tlsprobe.model.judgement import FAIL_ON, UNMEASURED, Verdict
from tlsprobe.model.run import Cell, Change, Deviation, Run
from tlsprobe.report.ci.notice import About, Notice, Place, Weight
from tlsprobe.report.ladder import aligned, rungs_of
from tlsprobe.report.matrix import describe_wire
from tlsprobe.report.pages.behaviours import command_for, describe
from tlsprobe.report.plurals import counted, in_short, share
from tlsprobe.report.rulebook import rule_url
from tlsprobe.waiving import findings_in, waiver_of

UNMEASURED_ABOUT = About(
    "unmeasured",
    "could not be measured",
    ("A cell without an answer is no success: the sentence beside it says why there is none.",),
)
CHANGED_ABOUT = About(
    "changed",
    "ends connections otherwise than in the baseline",
    ("If the change is wanted, record a new baseline.",),
)

_HARMS = {Harm.BREAKS: Weight.WARNING, Harm.MAY_BREAK: Weight.WARNING}


def notices_of_run(
    run: Run, fail_on: str, *, allow_unmeasured: bool = False, place: Place | None = None
) -> list[Notice]:
    """What there is to say of a run, the gravest first.

    ``fail_on`` and ``allow_unmeasured`` are those of the command line: what they make the command
    fail on is an error. ``place`` is where the target is configured, or where its results are.
    """
    strict = fail_on != "never" and not allow_unmeasured
    found = [
        *_changes(run, place),
        *(_behaviour(one, run, fail_on, place) for one in behaviours_of(run)),
        *_unmeasured(run, Weight.ERROR if strict else Weight.WARNING, place),
    ]
    return sorted(found, key=lambda notice: notice.weight.rank)


def notice_of_failure(target: str, why: str, place: Place | None = None) -> Notice:
    """That nothing could be measured of a target, and why."""
    title = f"{target}: {UNMEASURED_ABOUT.title}"
    return Notice("failure", UNMEASURED_ABOUT, Weight.ERROR, target, title, (why,), place)


def counts(one: Behaviour, run: Run, fail_on: str) -> bool:
    """Whether a behaviour is among what makes the command fail: a finding of it is."""
    return any(
        Verdict(finding.result.value) in FAIL_ON[fail_on] and waiver_of(run, cell, finding) is None
        for cell, finding in findings_in(one, run)
    )


def about_behaviour(one: Behaviour) -> About:
    """The kind of a behaviour, with the rules that it breaks."""
    known = [RULES[rule] for rule in one.rules if rule in RULES]
    rules = tuple(f"{rule.id} ({rule.level}): {rule.text} ({rule.source})" for rule in known)
    urls = (rule_url(rule.id) for rule in known)
    return About(one.kind, one.sentence, rules, next((url for url in urls if url), ""))


def _behaviour(one: Behaviour, run: Run, fail_on: str, place: Place | None) -> Notice:
    weight = Weight.NOTE if one.waived else _HARMS.get(one.harm, Weight.NOTE)
    weight = Weight.ERROR if counts(one, run, fail_on) else weight
    title = f"{describe(one)} ({share(one.count, one.asked, one.trials)})"
    return Notice(
        id=one.name,
        about=about_behaviour(one),
        weight=weight,
        target=run.target.name,
        title=f"{run.target.name}: {title}",
        lines=tuple(_lines(one, run)),
        place=place,
        harm=str(one.harm),
        waived=one.waived,
    )


def _lines(one: Behaviour, run: Run) -> Iterator[str]:
    """What a reader wants to know next: the harm, where, why, what to do, the packets."""
    yield f"harm: {one.harm} ({one.who} close like that)"
    yield from (f"hurts: {sentence}" for sentence in one.hurts)
    where = [f"{s.sequence} TLS {s.tls} ({in_short(s.count, s.asked, s.trials)})" for s in one.seen]
    yield f"seen in: {', '.join(where)}"
    if one.cause:
        yield f"cause: {one.cause} (confidence {one.confidence})"
    yield from (f"- {sentence}" for sentence in one.evidence)
    for what in one.to_do:
        by = f"in the lab, {what.lab}" if what.lab else "here"
        tried = "" if what.tried is Tried.NOT_TRIED else f" (tried {by}: {what.tried})"
        yield f"do: {what.text}{tried}"
    yield f"again: {command_for(one, run)}"
    proof, _ = next(findings_in(one, run), (None, None))
    if proof is not None:
        yield from ladder_lines(proof)


def ladder_lines(cell: Cell) -> Iterator[str]:
    """The trial that shows a cell best, packet by packet."""
    if cell.example is not None:
        yield f"trial {cell.example.trial} ({cell.example.signature or describe_wire(cell)}):"
        yield from aligned(rungs_of(cell.example.ladder))


def _unmeasured(run: Run, weight: Weight, place: Place | None) -> Iterator[Notice]:
    """A notice for each reason, with the cells that have no answer for it."""
    reasons: dict[tuple[Verdict, str], list[Cell]] = {}
    for cell in run.cells:
        if cell.role == "asked" and cell.verdict in UNMEASURED:
            reasons.setdefault((cell.verdict, cell.reason or "no reason was recorded"), []).append(
                cell
            )
    for (verdict, reason), cells in reasons.items():
        counted_as = Weight.NOTE if all(cell.is_moot for cell in cells) else weight
        names = ", ".join(f"{cell.sequence} TLS {cell.tls}" for cell in cells)
        title = f"{run.target.name}: {counted(len(cells), 'cell')} {verdict}: {reason}"
        lines = (f"no answer from: {names}",)
        name = f"unmeasured/{verdict}/{names}"
        yield Notice(name, UNMEASURED_ABOUT, counted_as, run.target.name, title, lines, place)


def _changes(run: Run, place: Place | None) -> Iterator[Notice]:
    for one in run.deviations or ():
        if one.certain:
            title = f"{run.target.name}: {describe_change(one)}"
            name = f"changed/{one.sequence}/{one.tls}/{one.change}"
            target = run.target.name
            yield Notice(name, CHANGED_ABOUT, Weight.ERROR, target, title, one.sentences, place)


def describe_change(one: Deviation) -> str:
    """A certain deviation from a baseline, in a line."""
    where = f"{one.sequence} TLS {one.tls}: " if one.sequence else ""
    word = "not comparable" if one.change is Change.UNCLEAR else str(one.change)
    return f"{where}{word} since the baseline"


def notices_of_runs(
    runs: Sequence[Run], fail_on: str, *, allow_unmeasured: bool, places: Sequence[Place | None]
) -> list[Notice]:
    """Those of several runs, the gravest first, each with the place of its run."""
    found = [
        notice
        for run, place in zip(runs, places, strict=True)
        for notice in notices_of_run(run, fail_on, allow_unmeasured=allow_unmeasured, place=place)
    ]
    return sorted(found, key=lambda notice: notice.weight.rank)
