"""``tlsprobe lab remedies``: what people do against resets, tried on real servers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import trio
import typer

from tlsprobe.campaign.lab_remedies import PAGE_FILE, measure_remedies, remedies_chosen
from tlsprobe.campaign.settings import RemediesSettings
from tlsprobe.cli.console import err, out
from tlsprobe.cli.options import NoColorOption, QuietOption, TlsOption, VendorsArgument
from tlsprobe.cli.progress import ProgressView
from tlsprobe.cli.taking import taking
from tlsprobe.cli.typed import command_line
from tlsprobe.errors import plain_errors
from tlsprobe.model.target import TlsVersion
from tlsprobe.report.render_terminal import print_page


@dataclass(frozen=True, slots=True, kw_only=True)
class RemediesOptions:
    """The options of ``tlsprobe lab remedies``."""

    vendors: VendorsArgument = None
    trials: Annotated[int, typer.Option(min=1, help="Connections per cell.")] = 20
    tls: TlsOption = None
    install: Annotated[
        bool, typer.Option("--install", help="First install what is missing ('lab install').")
    ] = False
    out_dir: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for the page and the facts.")
    ] = Path("results")
    quiet: QuietOption = False
    no_color: NoColorOption = False

    def settings(self) -> RemediesSettings:
        """What they ask for."""
        tls = tuple(dict.fromkeys(self.tls or TlsVersion))
        return RemediesSettings(self.out_dir, self.trials, tls, self.install, command_line())


@taking(RemediesOptions)
def remedies(options: RemediesOptions) -> None:
    """Try the remedies that profiles name, and show which help.

    Example: sudo tlsprobe lab remedies nginx postgres

    Each is measured before and after: directives on a server that has them,
    what a client can do by closing like that.

    Exit codes: 0 measured; 2 wrong command line; 3 nothing could be measured;
    130 interrupted.
    """
    picked, asked = remedies_chosen(options.vendors), options.settings()
    progress = ProgressView(err(no_color=options.no_color), options.quiet)
    with plain_errors(), progress.shown():
        found = trio.run(measure_remedies, picked, asked, progress)
    if found.page is not None:
        print_page(out(no_color=options.no_color), found.page)
        progress.note(f"written to {asked.folder / PAGE_FILE}")
    if found.interrupted:
        raise typer.Exit(130)
    if found.page is None:
        raise typer.Exit(3)
