"""``tlsprobe lab paths``: the same closes over other paths: far away, behind NAT, in a tunnel."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import trio
import typer

from tlsprobe.campaign.lab_paths import (
    PathsMeasured,
    measure_paths,
    paths_chosen,
    tunnels,
    write_page,
)
from tlsprobe.campaign.results import dated_folder
from tlsprobe.campaign.settings import PathsSettings
from tlsprobe.cli.console import err, out, say
from tlsprobe.cli.options import LeanOption, NoColorOption, QuietOption, TlsOption
from tlsprobe.cli.progress import ProgressView
from tlsprobe.cli.taking import taking
from tlsprobe.cli.typed import command_line
from tlsprobe.errors import plain_errors
from tlsprobe.lab.paths import PATHS, missing
from tlsprobe.model.target import TlsVersion
from tlsprobe.report.blocks import Field, Fields, Page
from tlsprobe.report.document import encode_run_line
from tlsprobe.report.escape import printable
from tlsprobe.report.render_terminal import print_page

DEFAULT_VENDORS = ("nginx", "postgres")


@dataclass(frozen=True, slots=True, kw_only=True)
class PathsOptions:
    """The options of ``tlsprobe lab paths``."""

    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH...", help="Names (see '--list'). Default: all."),
    ] = None
    vendor: Annotated[
        list[str] | None,
        typer.Option(help="Server to reach; repeatable. Default: nginx and postgres."),
    ] = None
    sequence: Annotated[
        list[str] | None,
        typer.Option(help="Name or steps; repeatable. Default: what the path affects."),
    ] = None
    trials: Annotated[int, typer.Option(min=1, help="Connections per cell.")] = 3
    tls: TlsOption = None
    ipv6: Annotated[
        bool, typer.Option("--ipv6", help="Over IPv6; folders get '-ipv6' behind their names.")
    ] = False
    seed: Annotated[int, typer.Option(help="Seed for which packets a lossy path loses.")] = 1
    out_dir: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Results folder. Default: results/<UTC time>-paths."
        ),
    ] = None
    summary_only: Annotated[
        bool,
        typer.Option(
            "--summary-only",
            help="Keep only facts and pages, and replace those of a path in DIR.",
        ),
    ] = False
    lean: LeanOption = False
    list_: Annotated[bool, typer.Option("--list", help="List the paths.")] = False
    json: Annotated[bool, typer.Option("--json", help="Print one run document per line.")] = False
    quiet: QuietOption = False
    no_color: NoColorOption = False

    def settings(self) -> PathsSettings:
        """What they ask for."""
        return PathsSettings(
            folder=self.out_dir or dated_folder("paths"),
            trials=self.trials,
            tls=tuple(dict.fromkeys(self.tls or TlsVersion)),
            sequences=tuple(self.sequence or ()),
            seed=self.seed,
            over_ipv6=self.ipv6,
            summary_only=self.summary_only or self.lean,
            typed=command_line(),
        )


@taking(PathsOptions)
def paths(options: PathsOptions) -> None:
    """Reach real servers over different paths, and show which resets depend on the path.

    Example: sudo tlsprobe lab paths direct rtt-20ms --vendor nginx

    Exit codes: 0 measured; 2 wrong command line; 3 nothing could be measured;
    130 interrupted, results so far are kept.
    """
    if options.list_:
        print_page(out(no_color=options.no_color), _list_page())
        return
    vendors = options.vendor or DEFAULT_VENDORS
    chosen = paths_chosen(options.names, vendors, over_ipv6=options.ipv6)
    asked, progress = (
        options.settings(),
        ProgressView(err(no_color=options.no_color), options.quiet),
    )
    with plain_errors(), progress.shown():
        found = trio.run(measure_paths, chosen, asked, progress)
    _present(found, write_page(found, asked), progress, options)
    if found.along:
        progress.note(f"written to {asked.folder}")
    if found.interrupted:
        raise typer.Exit(130)
    if not found.along:
        raise typer.Exit(3)


def _list_page() -> Page:
    paths = (
        Field(path.name, path.text + (f" ({reason})" if (reason := missing(path)) else ""))
        for path in PATHS.values()
    )
    return (Fields((*paths, *(Field(name, one.title) for name, one in tunnels().items()))),)


def _present(
    found: PathsMeasured, page: Page, progress: ProgressView, options: PathsOptions
) -> None:
    if options.json:
        for run in found.runs:
            sys.stdout.buffer.write(encode_run_line(run))
        sys.stdout.flush()
    elif found.runs:
        print_page(out(no_color=options.no_color), page)
    for name, reason in found.absent:
        why = printable(reason, progress.console.encoding)
        say(progress.console, f"unsupported: {name}: {why}")
