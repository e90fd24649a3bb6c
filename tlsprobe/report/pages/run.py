"""The page of a run, or of several side by side: what happened, why, whom it hurts, the packets.

The order is that of a reader's questions, and ends in how much the measurement is worth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tlsprobe.behaviours import behaviours_of, phase_of
from tlsprobe.model.behaviour import Behaviour, Harm
from tlsprobe.model.run import Idle, IdleKind, Run
from tlsprobe.report.blocks import (
    Block,
    Code,
    Field,
    Fields,
    Grid,
    Heading,
    Meeting,
    Meetings,
    Note,
    Page,
    Paragraph,
    Strong,
    Table,
    Timer,
    Timers,
)
from tlsprobe.report.compatibility import compatibility_of, vendors_of
from tlsprobe.report.findings import Unanswered, findings_of
from tlsprobe.report.matrix import Folded, by_version, folded, in_a_line, matrix_of, unspoken
from tlsprobe.report.pages.behaviours import (
    behaviours_section,
    verdict_of,
    verdict_section,
    verdicts_section,
)
from tlsprobe.report.pages.deviations import changes_line, deviations_section
from tlsprobe.report.pages.findings import (
    example_blocks,
    examples_section,
    findings_section,
)
from tlsprobe.report.pages.grids import many_grid, run_grid
from tlsprobe.report.plurals import counted
from tlsprobe.report.sentences import (
    cost_in_brief,
    count_verdicts,
    describe_capture,
    describe_cost,
    describe_host,
    describe_idle,
    describe_lateness,
    describe_measurement,
    describe_races,
    idle_in_brief,
    idle_timers,
    lateness_in_brief,
    target_title,
    undecided_rules,
)
from tlsprobe.report.waivers import describe_waiver
from tlsprobe.waiving import standing

FEW_SEQUENCES = 12
"""So many have a row each, with counts and what went over the wire."""

MOST_TOLD = 2
"""So many behaviours that break things are told in a brief page; the rest are lines of a table."""

MOST_LISTED = 5
"""So many lines that table has."""

MOST_ROWS = 6
"""So many rows the matrix of a brief page has, if it does not hold few sequences anyway."""

MOST_GAPS = 1
"""So many reasons why cells have no answer are told in a brief page."""


def run_page(runs: Sequence[Run], command: str = "", *, ladders: int = 2, pack: str = "") -> Page:
    """The whole page.

    ``command`` is the command line that measured, without its secrets; ``ladders`` is how many
    example trials are shown packet by packet, over all runs. ``pack`` as in ``run_grid``.
    """
    matrix = matrix_of(runs)
    return (
        Heading(1, f"How {_subject(runs)} TLS connections"),
        *(_behaviours(runs[0]) if len(runs) == 1 else verdicts_section(runs)),
        Paragraph(f"{count_verdicts(runs)}."),
        _grid(runs, matrix.table, pack),
        matrix.legend,
        *(unspoken_notes(runs[0]) if len(runs) == 1 else ()),
        *findings_section(runs),
        *examples_section(runs, ladders),
        *idle_section(runs),
        Heading(2, "How this was measured"),
        Fields(measured_fields(runs, command)),
        *(block for run in runs for block in deviations_section(run)),
    )


def _grid(runs: Sequence[Run], table: Table, pack: str) -> Grid:
    if len(runs) == 1:
        return run_grid(runs[0], table, pack=pack)
    return many_grid(compatibility_of(vendors_of(runs)), table)


def _behaviours(run: Run) -> Iterator[Block]:
    found = behaviours_of(run)
    yield from verdict_section(run, found)
    if found:
        yield Heading(2, "Behaviours")
        yield from behaviours_section(run, found)
        yield Heading(2, "Matrix")


def brief_page(run: Run, page: str = "") -> Page:
    """What one has to know of a run, in about a screen: the verdict first and last.

    ``page`` is where all the rest is.
    """
    found = behaviours_of(run)
    counting = standing(found)
    harmful = sum(one.harm is Harm.BREAKS for one in counting)
    told = counting[: min(max(harmful, 1), MOST_TOLD)]
    return (
        *verdict_section(run, found, MOST_LISTED),
        *behaviours_section(run, told, is_brief=True),
        *(_proof_of_worst(told[0], run) if told else ()),
        *_brief_matrix(run),
        *deviations_section(run),
        *_last_lines(run, page),
        Paragraph((Strong(" ".join(filter(None, (verdict_of(run, found), changes_line(run))))),)),
    )


def _brief_matrix(run: Run) -> Iterator[Block]:
    """The matrix of a run, and how much of it is left out for want of room."""
    few = len({cell.sequence for cell in run.cells}) <= FEW_SEQUENCES
    matrix, hidden = (
        Folded(by_version(run), ())
        if few
        else folded(run, lambda name: str(phase_of(name) or name), MOST_ROWS)
    )
    yield matrix.table
    legend = in_a_line(matrix.legend)
    more = f"; {counted(len(hidden), 'sequence')} more with --verbose" if hidden else ""
    yield Note((*legend, more))
    yield from unspoken_notes(run)


def unspoken_notes(run: Run) -> Iterator[Note]:
    """A line for each TLS version that has no column in the matrix."""
    for version, reason in unspoken(run).items():
        cells = counted(sum(cell.tls == version for cell in run.cells), "cell")
        why = f": {reason}" if reason else ""
        yield Note(f"TLS {version} is not in the matrix ({cells}){why}")


def _proof_of_worst(one: Behaviour, run: Run) -> Iterator[Block]:
    """The trial that shows the worst behaviour."""
    cell = run.cell_at(one.seen[0].sequence, one.seen[0].tls)
    if cell is not None:
        yield from example_blocks(cell)


def _last_lines(run: Run, page: str) -> Iterator[Block]:
    rows = [Field("idle", idle_in_brief(run.idle))] if run.idle else []
    rows += [Field(label, words) for label, words in _circumstances(run, is_brief=True)]
    if cost := cost_in_brief(run):
        rows.append(Field("cost", cost))
    rows += _brief_gaps(run)
    if page:
        rows.append(Field("results", (Code(page), " (or --verbose)")))
    rows.append(Field("summary", count_verdicts([run])))
    yield Fields(tuple(rows))


def _brief_gaps(run: Run) -> Iterator[Field]:
    """What has no answer: the reasons of most cells, and how many cells have others."""
    silent = unspoken(run)
    asked = [cell for cell in run.cells if cell.tls not in silent]
    found = findings_of([replace(run, cells=tuple(asked))])
    gaps = sorted(found.unanswered, key=lambda gap: -len(gap.places))
    told = [_gap_in_brief(gap) for gap in gaps[:MOST_GAPS]]
    if others := sum(len(gap.places) for gap in gaps[MOST_GAPS:]):
        told.append(f"{counted(others, 'cell')} more for other reasons (--verbose)")
    if told:
        yield Field("gaps", "; ".join(told))


def _gap_in_brief(gap: Unanswered) -> str:
    reason = gap.reason or "no reason was recorded"
    return f"{counted(len(gap.places), 'cell')} {gap.verdict}: {reason}"


def idle_section(runs: Sequence[Run]) -> Iterator[Block]:
    """The idle timeouts of the runs, and the races against them."""
    fields = tuple(field for run in runs for field in _idle(run, _name(run, runs)))
    if fields:
        yield Heading(2, "Idle connections")
        yield from timers_section(runs)
        yield Fields(fields)
        yield from (race for run in runs for race in races_section(run, _name(run, runs)))


def timers_section(runs: Sequence[Run]) -> Iterator[Timers]:
    """The timers of one run; of several the first of each, where a request came before."""
    measured = [(run, run.idle) for run in runs if run.idle is not None]
    if len(measured) > 1:
        yield Timers(tuple(_timer(run.target.name, idle) for run, idle in measured))
    for _, idle in measured[: len(measured) == 1]:
        kinds = idle.kinds.items() or (("idle", idle),)
        yield Timers(tuple(_timer(kind, timer) for kind, timer in kinds), idle.advice_s)


def _timer(label: str, timer: Idle | IdleKind) -> Timer:
    """A timer with the whole interval in which it fired, as far as the document tells it."""
    if timer.timeout_s is None:
        return Timer(label, None, None, timer.how)
    shortest = timer.shortest_s if isinstance(timer, IdleKind) else None
    least = timer.timeout_s if shortest is None else shortest
    return Timer(label, least, max(timer.timeout_s, least + (timer.spread_s or 0.0)), timer.how)


def races_section(run: Run, name: str = "") -> Iterator[Meetings]:
    """The races of a run in which requests met the expiry, as pictures."""
    for cell in run.cells:
        if cell.race is not None and cell.race.met:
            met = (Meeting(m.offset_us, m.answered, m.refused, m.lost) for m in cell.race.met)
            window = cell.race.window_us.p50 if cell.race.window_us else None
            label = f"{name}{cell.sequence}, TLS {cell.tls}"
            yield Meetings(label, tuple(met), window)


def measured_fields(runs: Sequence[Run], command: str = "") -> tuple[Field, ...]:
    """How it was measured, and what that is worth as evidence; the summary once more."""
    fields = [
        Field(label, f"{_name(run, runs)}{words}")
        for run in runs
        for label, words in _circumstances(run, is_brief=len(runs) > 1)
    ]
    if command:
        fields.append(Field("command", (Code(command),)))
    return (*fields, Field("summary", count_verdicts(runs)))


def _subject(runs: Sequence[Run]) -> str:
    return f"{target_title(runs[0])} ends" if len(runs) == 1 else f"{len(runs)} targets end"


def _name(run: Run, runs: Sequence[Run]) -> str:
    return f"{run.target.name}: " if len(runs) > 1 else ""


def _idle(run: Run, name: str) -> Iterator[Field]:
    """In full of one server, which has no ``name`` then; of several in a line each."""
    if run.idle:
        told = idle_in_brief(run.idle) if name else describe_idle(run.idle)
        yield Field("idle", f"{name}{told}", tuple(idle_timers(run.idle)))
    yield from (Field("race", f"{name}{race}") for race in describe_races(run))


def _circumstances(run: Run, *, is_brief: bool) -> Iterator[tuple[str, str]]:
    """The facts about the measurement; with several runs only those that one has to know."""
    if not is_brief:
        yield "measured", describe_measurement(run)
        yield "on", describe_host(run)
        if run.server_says:
            ender = f"{run.ended_by}, in front of what " if run.ended_by else ""
            yield "server", f"{ender}calls itself {run.server_says}"
    if not is_brief or run.capture.backend == "none" or run.capture.dropped:
        yield "capture", describe_capture(run.capture)
    if not is_brief and run.spent is not None:
        yield "cost", describe_cost(run.spent)
    if timing := lateness_in_brief(run) if is_brief else describe_lateness(run):
        yield "timing", timing
    if not is_brief and (rules := undecided_rules(run)):
        yield "rules", f"not decided by anything in this run: {rules}"
    yield from (("waiver", describe_waiver(use.waiver, [use])) for use in run.waivers)
    yield from (("note", note) for note in run.notes)
    if run.interrupted:
        yield "note", "interrupted: only what was finished before is counted"
