"""The page of a run, or of several side by side: what happened, why, whom it hurts, the packets.

The order is that of a reader's questions, and ends in how much the measurement is worth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tlsprobe.model.run import Run
from tlsprobe.report.blocks import Block, Code, Field, Fields, Heading, Page, Paragraph
from tlsprobe.report.matrix import matrix_of
from tlsprobe.report.pages.deviations import deviations_section
from tlsprobe.report.pages.findings import examples_section, findings_section
from tlsprobe.report.sentences import (
    count_verdicts,
    describe_capture,
    describe_cost,
    describe_host,
    describe_idle,
    describe_lateness,
    describe_measurement,
    describe_races,
    idle_timers,
    target_title,
    undecided_rules,
)


def run_page(runs: Sequence[Run], command: str = "", *, ladders: int = 2) -> Page:
    """The whole page.

    ``command`` is the command line that measured, without its secrets; ``ladders`` is how many
    example trials are shown packet by packet, over all runs.
    """
    matrix = matrix_of(runs)
    return (
        Heading(1, f"How {_subject(runs)} TLS connections"),
        Paragraph(f"{count_verdicts(runs)}."),
        matrix.table,
        matrix.legend,
        *findings_section(runs),
        *examples_section(runs, ladders),
        *idle_section(runs),
        Heading(2, "How this was measured"),
        Fields(measured_fields(runs, command)),
        *(block for run in runs for block in deviations_section(run)),
    )


def idle_section(runs: Sequence[Run]) -> Iterator[Block]:
    """The idle timeouts of the runs, and the races against them."""
    fields = tuple(field for run in runs for field in _idle(run, _name(run, runs)))
    if fields:
        yield Heading(2, "Idle connections")
        yield Fields(fields)


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
    if run.idle:
        yield Field("idle", f"{name}{describe_idle(run.idle)}", tuple(idle_timers(run.idle)))
    yield from (Field("race", f"{name}{race}") for race in describe_races(run))


def _circumstances(run: Run, *, is_brief: bool) -> Iterator[tuple[str, str]]:
    """The facts about the measurement; with several runs only those that one has to know."""
    if not is_brief:
        yield "measured", describe_measurement(run)
        yield "on", describe_host(run)
        if run.server_says:
            yield "server", f"calls itself {run.server_says}"
    if not is_brief or run.capture.backend == "none" or run.capture.dropped:
        yield "capture", describe_capture(run.capture)
    if not is_brief and run.spent is not None:
        yield "cost", describe_cost(run.spent)
    if timing := describe_lateness(run):
        yield "timing", timing
    if not is_brief and (rules := undecided_rules(run)):
        yield "rules", f"not decided by anything in this run: {rules}"
    yield from (("note", note) for note in run.notes)
    if run.interrupted:
        yield "note", "interrupted: only what was finished before is counted"
