"""``tlsprobe demo``: the built-in servers, probed on loopback, and their matrix."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import trio
import typer

from tlsprobe.campaign.demo import probe_servers
from tlsprobe.campaign.results import dated_folder
from tlsprobe.campaign.settings import DemoSettings
from tlsprobe.cli.console import err, out, say
from tlsprobe.cli.exit_codes import print_unmeasured, verdict_exit
from tlsprobe.cli.options import NoColorOption, QuietOption
from tlsprobe.cli.progress import ProgressView
from tlsprobe.cli.typed import command_line
from tlsprobe.lab import own_namespace
from tlsprobe.model.run import Run
from tlsprobe.reference.behaviours import BEHAVIOURS, DEMO
from tlsprobe.reference.known import differences
from tlsprobe.report.blocks import Field, Fields, Heading, Note, Page
from tlsprobe.report.document import encode_run_line
from tlsprobe.report.formats import HTML_PAGE
from tlsprobe.report.pages.run import run_page
from tlsprobe.report.render_terminal import print_page


def demo(  # noqa: PLR0917 - the options of the command line are its arguments
    servers: Annotated[
        list[str] | None,
        typer.Argument(metavar="SERVER...", help="Names of servers; default: all."),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Connections per cell.")] = 3,
    out_dir: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder for the results folders.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one run document per line.")] = False,
    quiet: QuietOption = False,
    no_color: NoColorOption = False,
) -> None:
    """Probe the built-in reference servers on loopback and print the matrix.

    This is the self-test: exit code 0 if each server was found to do what it is known for and
    nothing else, 1 if not.

    Needs no server, no configuration and no privileges: without permission to sniff it restarts
    itself in a user and network namespace of its own.
    """
    names = tuple(servers or DEMO)
    unknown = [name for name in names if name not in BEHAVIOURS]
    if unknown:
        raise typer.BadParameter(f"no server '{unknown[0]}'; known: {', '.join(BEHAVIOURS)}")
    progress = ProgressView(err(no_color=no_color), quiet)
    _enable_sniffing(progress)
    folder = out_dir or dated_folder("demo")
    settings = DemoSettings(names, folder, trials, command_line())
    with progress.shown():
        runs = trio.run(probe_servers, settings, progress)
    if json:
        for run in runs:
            sys.stdout.buffer.write(encode_run_line(run))
    else:
        print_page(out(no_color=no_color), _page(names, runs, folder))
    if any(run.interrupted for run in runs):
        raise typer.Exit(130)
    print_unmeasured(runs, "never", allow_unmeasured=True)
    raise typer.Exit(_self_test(names, runs))


def _self_test(names: Sequence[str], runs: Sequence[Run]) -> int:
    """Say where a server was not found to do what it is known for, and nothing else; exit code."""
    differing = {run.target.name: differences(run) for run in runs}
    told = [f"{name}: {one}" for name, found in differing.items() for one in found]
    told += [f"{name}: not probed" for name in names if name not in differing]
    for line in told:
        say(err(), f"self-test failed: {line}", "bold red")
    return verdict_exit(runs, "never") or int(bool(told))


def _page(names: Sequence[str], runs: Sequence[Run], folder: Path) -> Page:
    return (
        Heading(1, "The built-in servers, and what each is known to do"),
        Fields(tuple(Field(name, BEHAVIOURS[name].does) for name in names)),
        *run_page(runs, ladders=1),
        Note(f"More about each, with its packets, in {folder}/<server>/{HTML_PAGE}"),
    )


def _enable_sniffing(progress: ProgressView) -> None:
    """Make sure that the sniffer can work, in a namespace of our own if need be."""
    if own_namespace.is_inside():
        own_namespace.raise_loopback()
    elif not own_namespace.can_sniff() and own_namespace.available() is None:
        progress.note("no permission to sniff: restarting in a new network namespace")
        own_namespace.restart_inside(sys.argv[1:])
