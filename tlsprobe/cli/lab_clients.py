"""``tlsprobe lab clients``: what psql and curl do to a server that closes first."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import trio
import typer

from tlsprobe.campaign.circumstances import TOOL
from tlsprobe.campaign.judging import RunInJudgement
from tlsprobe.campaign.pace import cancel_at, interruptible
from tlsprobe.campaign.results import replace_file, writing
from tlsprobe.cli.console import err, out
from tlsprobe.cli.progress import ProgressView
from tlsprobe.cli.typed import command_line
from tlsprobe.errors import CannotMeasure, UsageError, plain_errors
from tlsprobe.facts.bounds import bounded
from tlsprobe.facts.file import FACTS_FILE, FactsFile
from tlsprobe.lab.clients import (
    SCENARIOS,
    Scenario,
    Seen,
    Watched,
    ending_of,
    missing,
    tally,
    version,
    watch,
)
from tlsprobe.lab.vendor import Started, running
from tlsprobe.lab.workspace import Workspace, places
from tlsprobe.model.facts import FactsHeader, Load, TrialFact
from tlsprobe.model.run import Trial, stamp
from tlsprobe.model.target import Target
from tlsprobe.profiles import load_profile
from tlsprobe.report.document import TRIALS_FILE, encode_trial, trial_line
from tlsprobe.report.pages.clients import WatchedClient, clients_page
from tlsprobe.report.render_markdown import render_markdown
from tlsprobe.report.render_terminal import print_page

CLIENTS_FOLDER = "clients"
"""Where the facts are, a folder for each scenario, in the folder that ``--out`` names."""

PAGE_FILE = "clients.md"
"""The page of what the clients did, in the folder that ``--out`` names."""


def clients(  # noqa: PLR0917 - the options of the command line are its arguments
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SCENARIO...]", help="curl-idle, psql-done, ... Default: all."),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Runs of each client.")] = 5,
    out_dir: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for the page and the captures.")
    ] = Path("results"),
    captures: Annotated[
        bool, typer.Option("--captures", help="Keep the captures beside the page.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print no progress and no notes.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="Print no colour.")] = False,
) -> None:
    """Watch psql and curl use real servers, and show who resets whom.

    Example: sudo tlsprobe lab clients curl-idle

    Exit codes: 0 watched; 2 wrong command line; 3 nothing could be watched;
    130 interrupted.
    """
    scenarios = chosen(names)
    progress = ProgressView(err(no_color), quiet)
    with plain_errors():
        watched, interrupted = trio.run(_watch_all, scenarios, trials, out_dir, captures, progress)
    page = clients_page(command_line(), f"{datetime.now(UTC):%Y-%m-%d}", watched)
    print_page(out(no_color), page)
    is_measured = any(client.endings for client in watched)
    if is_measured:
        (out_dir / PAGE_FILE).write_text(render_markdown(page), encoding="utf-8")
        progress.note(f"written to {out_dir / PAGE_FILE}")
    if interrupted:
        raise typer.Exit(130)
    if not is_measured:
        raise typer.Exit(3)


def chosen(names: Sequence[str] | None) -> list[Scenario]:
    """The scenarios of these names, or all. Raises UsageError."""
    known = {scenario.name: scenario for scenario in SCENARIOS}
    for name in names or ():
        if name not in known:
            raise UsageError(f"unknown scenario '{name}'", f"known: {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names or known)]


async def _watch_all(
    scenarios: Sequence[Scenario],
    trials: int,
    folder: Path,
    captures: bool,
    progress: ProgressView,
) -> tuple[list[WatchedClient], bool]:
    """What came of each scenario, and whether Ctrl-C ended it."""
    watched: list[WatchedClient] = []
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with places() as here:
        async with interruptible(progress.note) as stop, trio.open_nursery() as nursery:
            nursery.start_soon(cancel_at, stop, nursery.cancel_scope)
            for scenario in scenarios:
                progress.note(scenario.name)
                file = (folder if captures else here.scratch) / f"clients-{scenario.name}.pcapng"
                try:
                    with plain_errors():
                        watched.append(await _watch(scenario, here, trials, folder, file))
                except CannotMeasure as error:
                    watched.append(
                        WatchedClient(scenario.name, scenario.text, reason=error.message)
                    )
            nursery.cancel_scope.cancel()
        return watched, stop.is_set()


async def _watch(
    scenario: Scenario, here: Workspace, trials: int, folder: Path, file: Path
) -> WatchedClient:
    """One scenario against its server, its facts in a folder of its own. Raises CannotMeasure."""
    reason = missing(scenario)
    if reason is not None:
        raise CannotMeasure(reason)
    async with running(load_profile(scenario.vendor), here) as server:
        target = Target(scenario.name, server.host, server.port, scenario.vendor, "")
        header = FactsHeader(TOOL, target, stamp(datetime.now(UTC)))
        seen = await watch(scenario, server, trials, file)
        watched = _judged(scenario, seen, header, folder / CLIENTS_FOLDER / scenario.name)
        return WatchedClient(
            scenario.name,
            scenario.text,
            parties=_parties(scenario, server),
            endings=tuple(tally(watched)),
            last_words=seen[-1].said,
        )


def _judged(
    scenario: Scenario, seen: Sequence[Seen], header: FactsHeader, folder: Path
) -> list[Watched]:
    """Write down what was seen, and judge it."""
    run, lines, watched = RunInJudgement(), [], []
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with closing(FactsFile.create(folder / FACTS_FILE, header)) as facts:
        for number, one in enumerate(seen):
            fact = TrialFact(Trial(scenario.name, "", number), bounded(one.trace), Load(1, 1))
            facts.append(fact)
            judged = run.judge(fact)
            lines.append(encode_trial(trial_line(judged)))
            watched.append(
                Watched(ending_of(one.trace.segments), judged.judgement.resets, one.said)
            )
    replace_file(folder / TRIALS_FILE, b"".join(lines))
    return watched


def _parties(scenario: Scenario, server: Started) -> str:
    client = version(scenario).partition(" (x86_64")[0]
    return f"{client}, {server.profile.title} {server.version or ''}".rstrip()
