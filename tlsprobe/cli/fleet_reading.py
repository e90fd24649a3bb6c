"""``tlsprobe fleet status`` and ``fleet report``: what the ledger of a fleet says."""

from __future__ import annotations

import json as jsonlib
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from tlsprobe.campaign.results import replace_file
from tlsprobe.cli.console import one_of, out, say
from tlsprobe.cli.options import NoColorOption
from tlsprobe.cli.taking import taking
from tlsprobe.errors import UsageError
from tlsprobe.fleet.ledger import Ledger
from tlsprobe.model.fleet import Answer, State
from tlsprobe.report.blocks import Page
from tlsprobe.report.document import run_document
from tlsprobe.report.fleet_metrics import render_metrics
from tlsprobe.report.fleet_parquet import write_parquet
from tlsprobe.report.formats import PAGE_FORMATS, renderer
from tlsprobe.report.pages.fleet import (
    fleet_page,
    harm_of,
    has_changed,
    in_short,
    what_it_does,
    worst_first,
)
from tlsprobe.report.plurals import counted, how_long
from tlsprobe.report.render_terminal import print_page

WORST_SO_FAR = 5
"""So many targets are named while a fleet is measured."""

_FORMATS = ("terminal", *PAGE_FORMATS)


def status(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a fleet.")],
    json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> None:
    """Say how far a fleet has come, and the worst so far; also while it is measured."""
    with closing(Ledger.open(folder)) as ledger:
        targets, attempts = ledger.targets(), ledger.attempts()
        begun = ledger.facts().begun
        answers = [in_short(one) for one in ledger.answers()]
    found = [(one, one.run.behaviours) for one in answers if one.run is not None]
    in_part = [(one.target.title, one.reason) for one in answers if one.is_in_part]
    worst = [
        {"target": one.target.title, "harm": harm_of(all_), "does": what_it_does(all_)}
        for one, all_ in worst_first(found)[:WORST_SO_FAR]
    ]
    states = Counter(known[-1].state for known in attempts.values())
    waiting = len(targets) - len(attempts)
    ended = [one.ended for known in attempts.values() for one in known if one.ended]
    counts = {"targets": len(targets), "waiting": waiting, **{s.value: states[s] for s in State}}
    if json:
        parts = [{"target": title, "reason": reason} for title, reason in in_part]
        print(jsonlib.dumps({**counts, "in_part": parts, "worst": worst}))
        return
    console = out()
    say(console, ", ".join(f"{count} {name}" for name, count in counts.items() if count))
    left = waiting + states[State.CLAIMED]
    if ended and left:
        seconds = (max(ended) - begun) / len(ended) * left
        say(console, f"about {how_long(seconds)} left at the pace so far")
    for title, reason in in_part[:WORST_SO_FAR]:
        say(console, f"in part: {title}: {reason}")
    if more := in_part[WORST_SO_FAR:]:
        say(console, f"in part: {counted(len(more), 'target')} more")
    for one in worst:
        say(console, f"{one['harm']}: {one['target']}: {one['does']}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """The options of ``tlsprobe fleet report``."""

    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of fleets.")]
    expect: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="An earlier fleet: say what changed, and exit with 1."),
    ] = None
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="|".join(_FORMATS),
            callback=one_of(_FORMATS),
            help="How the page is printed.",
        ),
    ] = _FORMATS[0]
    metrics: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write OpenMetrics text for a node exporter."),
    ] = None
    parquet: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a Parquet file, a row for each cell."),
    ] = None
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object per target.")] = False
    no_color: NoColorOption = False


@taking(ReportOptions)
def report(options: ReportOptions) -> None:
    """Show what a fleet does at its closes, worst first; several folders are told as one.

    Give the parts of --shard together, or what was seen from several vantage points: the page says
    which targets look otherwise from elsewhere.

    Example: tlsprobe fleet report results/monday --expect results/last-monday
    """
    if options.parquet is not None:
        write_parquet(_whole(options.folders), options.parquet)
    answers = [in_short(one) for one in _whole(options.folders)]
    before = None
    if options.expect is not None:
        before = [in_short(one) for one in _whole([options.expect])]
        if not {one.target.title for one in before} & {one.target.title for one in answers}:
            hint = "name an earlier fleet of the same targets"
            raise UsageError(f"no target of {options.expect} is in this fleet", hint)
    if options.metrics is not None:
        replace_file(options.metrics, render_metrics(answers).encode())
    if options.json:
        for one in _whole(options.folders):
            print(jsonlib.dumps(_document(one)))
    else:
        _print(fleet_page(answers, before=before), options)
    if before is not None and has_changed(answers, before):
        raise typer.Exit(1)


def _print(page: Page, options: ReportOptions) -> None:
    if options.form in PAGE_FORMATS:
        sys.stdout.write(renderer(options.form)(page))
    else:
        print_page(out(no_color=options.no_color), page)


def _whole(folders: Sequence[Path]) -> Iterator[Answer]:
    for folder in folders:
        with closing(Ledger.open(folder)) as ledger:
            yield from ledger.answers()


def _document(one: Answer) -> dict[str, object]:
    """One target of a report, for programs: its state, its labels, its run document."""
    return {
        "target": one.target.title,
        "address": one.target.address,
        "labels": dict(one.target.labels),
        "vantage": one.vantage,
        "state": one.state or "waiting",
        "reason": one.reason,
        "attempts": len(one.attempts),
        "harm": harm_of(one.run.behaviours) if one.run is not None else None,
        "run": run_document(one.run) if one.run is not None else None,
    }
