"""``tlsprobe lab clients``: what psql, curl and pools do to a server that closes first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import trio
import typer

from tlsprobe.campaign.lab_clients import (
    PAGE_FILE,
    scenarios_chosen,
    watch_clients,
    write_page,
)
from tlsprobe.campaign.settings import ClientsSettings
from tlsprobe.cli.console import err, out
from tlsprobe.cli.options import NoColorOption, QuietOption
from tlsprobe.cli.progress import ProgressView
from tlsprobe.cli.taking import taking
from tlsprobe.cli.typed import command_line
from tlsprobe.errors import plain_errors
from tlsprobe.report.render_terminal import print_page


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientsOptions:
    """The options of ``tlsprobe lab clients``."""

    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="SCENARIO...", help="curl-idle, psql-done, ... Default: all."),
    ] = None
    trials: Annotated[int, typer.Option(min=1, help="Runs of each client.")] = 5
    install: Annotated[
        bool, typer.Option("--install", help="First install what is missing ('lab install').")
    ] = False
    out_dir: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for the page and the captures.")
    ] = Path("results")
    captures: Annotated[
        bool, typer.Option("--captures", help="Keep the captures beside the page.")
    ] = False
    summary_only: Annotated[
        bool,
        typer.Option("--summary-only", help="Keep only facts and the page of each scenario."),
    ] = False
    quiet: QuietOption = False
    no_color: NoColorOption = False

    def settings(self) -> ClientsSettings:
        """What they ask for."""
        return ClientsSettings(
            self.out_dir,
            self.trials,
            self.captures,
            self.summary_only,
            self.install,
            command_line(),
        )


@taking(ClientsOptions)
def clients(options: ClientsOptions) -> None:
    """Watch psql, curl and pools of drivers use real servers, and show who resets whom.

    Example: sudo tlsprobe lab clients curl-idle

    Exit codes: 0 watched; 2 wrong command line; 3 nothing could be watched;
    130 interrupted.
    """
    scenarios, asked = scenarios_chosen(options.names), options.settings()
    progress = ProgressView(err(no_color=options.no_color), options.quiet)
    with plain_errors():
        found = trio.run(watch_clients, scenarios, asked, progress)
    print_page(out(no_color=options.no_color), write_page(found, asked))
    if found.is_measured:
        progress.note(f"written to {asked.folder / PAGE_FILE}")
    if found.interrupted:
        raise typer.Exit(130)
    if not found.is_measured:
        raise typer.Exit(3)
