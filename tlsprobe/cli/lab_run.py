"""``tlsprobe lab run``: real servers started, probed, and compared in one matrix."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Annotated

import trio
import typer

from tlsprobe.campaign.expecting import has_changed
from tlsprobe.campaign.lab import VendorsMeasured, measure_vendors
from tlsprobe.campaign.results import dated_folder
from tlsprobe.campaign.settings import LabSettings
from tlsprobe.cli.configured import configured_lab
from tlsprobe.cli.console import err, finite, out
from tlsprobe.cli.exit_codes import print_waivers
from tlsprobe.cli.machines import MachineOptions, write_report
from tlsprobe.cli.options import (
    ConfigOption,
    LeanOption,
    NoColorOption,
    QuietOption,
    TlsOption,
    VendorsArgument,
)
from tlsprobe.cli.progress import ProgressView
from tlsprobe.cli.taking import taking
from tlsprobe.cli.typed import behind_run, command_line, lab_begun_in, run_again, without
from tlsprobe.errors import plain_errors
from tlsprobe.lab.choice import chosen
from tlsprobe.model.target import TlsVersion
from tlsprobe.model.waiver import Waiver
from tlsprobe.report.document import encode_run_line
from tlsprobe.report.pages.compatibility import compatibility_page
from tlsprobe.report.pages.deviations import deviations_section
from tlsprobe.report.render_terminal import print_page

_RESUMED = "tlsprobe.lab.resumed"
"""Under which key the context notes that the command of the lab that is resumed is running."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabOptions:
    """The options of ``tlsprobe lab run``."""

    context: typer.Context
    vendors: VendorsArgument = None
    config: ConfigOption = None
    trials: Annotated[int, typer.Option(min=1, help="Connections per cell.")] = 3
    sequence: Annotated[
        list[str] | None,
        typer.Option(help="Name or steps; repeatable. Default: all that apply."),
    ] = None
    tls: TlsOption = None
    jobs: Annotated[
        int, typer.Option(min=1, help="Servers at a time; more than one makes timings less exact.")
    ] = 1
    patience: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            callback=finite,
            help="How long to wait for a server to end a connection, in seconds. Default: below its"
            " idle timeout.",
        ),
    ] = None
    idle_limit: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            callback=finite,
            help="How long idle sequences wait, in seconds. Default: from the idle timeout.",
        ),
    ] = None
    install: Annotated[
        bool, typer.Option("--install", help="First install what is missing ('lab install').")
    ] = False
    out_dir: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Results folder. Default: results/<UTC time>-lab."
        ),
    ] = None
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Continue the lab in this results folder without repeating the vendors that it"
            " holds whole. Needs no other option.",
        ),
    ] = None
    summary_only: Annotated[
        bool,
        typer.Option(
            "--summary-only",
            help="Keep only facts and pages, and replace those of a vendor in DIR.",
        ),
    ] = False
    lean: LeanOption = False
    expect: Annotated[
        Path | None,
        typer.Option(
            metavar="BASELINE",
            help="Compare with the folder of an earlier lab; exit with 1 on change.",
        ),
    ] = None
    machines: MachineOptions
    json: Annotated[bool, typer.Option("--json", help="Print one run document per line.")] = False
    quiet: QuietOption = False
    no_color: NoColorOption = False

    def settings(self, waivers: tuple[Waiver, ...] = ()) -> LabSettings:
        """What they ask for, with what the file waives. Raises UsageError."""
        begun = None if self.resume is None else lab_begun_in(self.resume)
        return LabSettings(
            folder=self.resume or self.out_dir or dated_folder("lab"),
            trials=self.trials,
            tls=tuple(dict.fromkeys(self.tls or TlsVersion)),
            sequences=tuple(self.sequence or ()),
            jobs=self.jobs,
            patience=self.patience,
            idle_limit=self.idle_limit,
            summary_only=self.summary_only or self.lean,
            expect=self.expect,
            waivers=waivers,
            install=self.install,
            typed=command_line() if begun is None else begun.typed,
            unfinished_since="" if begun is None else begun.since,
        )


@taking(LabOptions)
def run(options: LabOptions) -> None:
    """Start servers one after the other, probe each, and write the compatibility matrix.

    Example: sudo tlsprobe lab run nginx postgres redis

    A server that cannot be started is "unsupported" in the matrix, with the reason.

    Exit codes: 0 measured; 1 changed since --expect; 2 wrong command line;
    3 nothing could be measured; 130 interrupted, results so far are kept
    and --resume continues.
    """
    if options.resume is not None and _RESUMED not in options.context.meta:
        return _resume(options.context, options.resume)
    found = configured_lab(options, options.context, options.config)
    options = found.options
    picked = chosen(options.vendors, tunnels=False)
    progress = ProgressView(err(no_color=options.no_color), options.quiet)
    if found.configuration is not None:
        progress.note(f"options from {found.configuration.file}")
    with plain_errors(), progress.shown():
        outcome = trio.run(measure_vendors, picked, options.settings(found.waivers), progress)
    _present(outcome, options)
    print_waivers(outcome.runs)
    _tell_machines(outcome, options.machines)
    if outcome.matrix is not None:
        progress.note(f"written to {outcome.folder}")
    if outcome.interrupted:
        progress.note(f"continue with: tlsprobe lab run --resume {quote(str(outcome.folder))}")
        raise typer.Exit(130)
    if not outcome.runs:
        raise typer.Exit(3)
    raise typer.Exit(int(has_changed(outcome.runs)))


def _resume(context: typer.Context, resume: Path) -> None:
    """Run the command that began a lab again, for the vendors that are missing."""
    context.meta[_RESUMED] = True
    further = without(behind_run(sys.argv), {"--resume"})
    arguments = [*lab_begun_in(resume).arguments, *further, "--resume", str(resume)]
    run_again(context, arguments)


def _present(outcome: VendorsMeasured, options: LabOptions) -> None:
    if options.json:
        for done in outcome.runs:
            sys.stdout.buffer.write(encode_run_line(done))
        sys.stdout.flush()
    elif outcome.matrix is not None:
        changes = (block for done in outcome.runs for block in deviations_section(done))
        print_page(out(no_color=options.no_color), (*compatibility_page(outcome.matrix), *changes))


def _tell_machines(outcome: VendorsMeasured, machines: MachineOptions) -> None:
    """Write what was asked for build servers; a change alone fails a lab. Raises UsageError."""
    if outcome.matrix is None:
        return
    if machines.junit is not None:
        from tlsprobe.report.ci.junit import render_junit

        write_report("--junit", machines.junit, render_junit(outcome.runs, "never"))
    if not machines.wanted:
        return
    from tlsprobe.report.ci.of_run import notices_of_runs

    places = [None] * len(outcome.runs)
    notices = notices_of_runs(outcome.runs, "never", allow_unmeasured=True, places=places)
    machines.write(notices, compatibility_page(outcome.matrix))
