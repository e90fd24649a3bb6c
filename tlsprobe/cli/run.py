"""``tlsprobe run``: drive the sequences, sniff, judge, write a results folder, print the matrix."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from time import perf_counter
from typing import Annotated

import trio
import typer

from tlsprobe.campaign.expecting import has_changed
from tlsprobe.campaign.guess_protocol import recognised
from tlsprobe.campaign.run import Probed, jobs_of, probe_all
from tlsprobe.campaign.settings import RunSettings, Settings, TargetSettings
from tlsprobe.campaign.targets import guess_profile, parse_target
from tlsprobe.cli.completing import sequence_names
from tlsprobe.cli.configured import Asked, Configured, configured
from tlsprobe.cli.console import complain, err, finite, out
from tlsprobe.cli.exit_codes import print_unmeasured, print_waivers, verdict_exit
from tlsprobe.cli.machines import MachineOptions, write_report
from tlsprobe.cli.options import (
    CaptureOptions,
    ConfigOption,
    ConnectionsOption,
    IdentityOptions,
    LoginOptions,
    NoColorOption,
    PatienceOption,
    ProfileOption,
    QuietOption,
    RateOption,
    TlsOption,
    must_be_one_of,
)
from tlsprobe.cli.panels import OUTPUT_PANEL, TARGET_PANEL, TLS_PANEL
from tlsprobe.cli.progress import ProgressView
from tlsprobe.cli.taking import taking
from tlsprobe.cli.typed import behind_run, command_line, resumed_arguments, run_again, without
from tlsprobe.configuration import CONFIG_FILE
from tlsprobe.drive.script import Patience
from tlsprobe.errors import UsageError
from tlsprobe.model.fuzz import Replay
from tlsprobe.model.judgement import FAIL_ON
from tlsprobe.model.target import TlsVersion
from tlsprobe.profiles import load_profile
from tlsprobe.report.blocks import Page
from tlsprobe.report.document import encode_run_line
from tlsprobe.report.pages.run import brief_page, run_page
from tlsprobe.report.render_terminal import print_page

_RESUMED = "tlsprobe.resumed"
"""Under which key the context keeps the command line of the run that is resumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of ``tlsprobe run``."""

    context: typer.Context
    target: Annotated[
        list[str] | None,
        typer.Option(
            help="HOST:PORT, or [IPv6]:PORT, or the name of a target in tlsprobe.toml; repeatable."
            " Default: those of tlsprobe.toml. Not needed with --resume.",
            rich_help_panel=TARGET_PANEL,
        ),
    ] = None
    config: ConfigOption = None
    profile: ProfileOption = None
    sequence: Annotated[
        list[str] | None,
        typer.Option(
            help="Name ('tlsprobe sequences'), file, or steps: 'request; close_notify + fin;"
            " drain'; repeatable. Default: from the profile.",
            autocompletion=sequence_names,
        ),
    ] = None
    trials: Annotated[int, typer.Option(min=1, help="Connections per cell.")] = 5
    concurrency: Annotated[
        int,
        typer.Option(
            min=1,
            max=512,
            help="Maximum number of connections at a time, not counting those that wait idle.",
        ),
    ] = 16
    connections: ConnectionsOption = None
    rate: RateOption = None
    seed: Annotated[
        int | None,
        typer.Option(
            help="Shuffle the order and delay each connection by up to 20 ms; the same seed gives"
            " the same order. Default: the order of the catalogue, no delay."
        ),
    ] = None
    tls: TlsOption = None
    patience: PatienceOption = 5.0
    idle_limit: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            callback=finite,
            help="How long idle sequences wait, in seconds. Default: from the profile, plus 10 %.",
        ),
    ] = None
    delay_close: Annotated[
        int | None,
        typer.Option(
            metavar="PID",
            min=2,
            help="Delay the close() of the server, a process on this machine, with a tracer.",
        ),
    ] = None
    signal: Annotated[
        str | None,
        typer.Option(
            metavar="PID|FILE",
            help="The server's main process on this machine, which sequences may stop or reload;"
            " a file is read anew each time, so that whoever follows is signalled.",
        ),
    ] = None
    identity: IdentityOptions
    keylog: Annotated[
        Path | None,
        typer.Option(
            help="Append TLS secrets to this file and add them to the capture.",
            envvar="SSLKEYLOGFILE",
            rich_help_panel=TLS_PANEL,
        ),
    ] = None
    login: LoginOptions
    capturing: CaptureOptions
    out_dir: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Results folder. Default: results/<UTC time>-<target>.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Continue the run in this results folder without repeating what it holds. Needs no"
            " other option.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None
    expect: Annotated[
        Path | None,
        typer.Option(
            metavar="BASELINE",
            help="Compare with an earlier run, by cell (its folder or run.json) or by behaviour"
            " (behaviours.json in it), and exit with 1 only on change, improvements included. With"
            " several targets: a folder of their folders.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None
    json: Annotated[
        bool,
        typer.Option("--json", help="Print only the run document.", rich_help_panel=OUTPUT_PANEL),
    ] = False
    machines: MachineOptions
    fail_on: Annotated[
        str | None,
        typer.Option(
            metavar="fail|warn|never",
            help="Exit with 1 at this verdict or worse. Default: warn; with --expect, never.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None
    allow_unmeasured: Annotated[
        bool,
        typer.Option(
            "--allow-unmeasured",
            help="Do not exit with 1 only because some cells could not be measured.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = False
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            help="Print the whole page: every sequence, finding and cause.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = False
    quiet: QuietOption = False
    no_color: NoColorOption = False

    @property
    def fails_on(self) -> str:
        """The verdicts at which the exit code is 1."""
        return self.fail_on or ("never" if self.expect else "warn")

    def settings(self, found: Configured) -> RunSettings:
        """What they ask for, with what the file says. Raises UsageError."""
        if not found.targets:
            hint = f"name a server with --target HOST:PORT, or write it into {CONFIG_FILE}"
            raise UsageError("no target given", hint)
        if self.resume is not None and self.out_dir is not None:
            raise UsageError("--resume already names the results folder", "leave out --out")
        must_be_one_of("--fail-on", self.fails_on, tuple(FAIL_ON))
        asked = [one.options.target_settings(one) for one in found.targets]
        return RunSettings(
            targets=tuple({str(one.target): one for one in asked}.values()),
            waivers=found.waivers,
            out_dir=self.out_dir,
            resume=self.resume,
            expect=self.expect,
            delay_close=self.delay_close,
            command=(*without(_arguments(self.context), {"--resume", "--out"}), *self._file(found)),
            typed=command_line(),
        )

    def _file(self, found: Configured) -> tuple[str, ...]:
        """The words that name a file which was found by itself, for a run that is resumed."""
        if found.configuration is None or self.config is not None:
            return ()
        return ("--config", str(found.configuration.file))

    def target_settings(self, asked: Asked) -> TargetSettings:
        """What they ask of one target, whose options they are. Raises UsageError."""
        self.capturing.check()
        profile = load_profile(self.profile or guess_profile(asked.address))
        how = Settings(
            trials=self.trials,
            concurrency=self.concurrency,
            connections=self.connections,
            rate=self.rate,
            tls=tuple(dict.fromkeys(self.tls or TlsVersion)),
            patience=Patience(self.patience),
            identity=self.identity.identity(self.keylog),
            capture=self.capturing.capture,
            require_capture=self.capturing.require_capture,
            interface=self.capturing.interface,
            seed=self.seed,
        )
        return TargetSettings(
            parse_target(asked.address, profile, asked.name),
            profile,
            how,
            sequences=tuple(self.sequence or ()),
            login=self.login.login(),
            idle_s=self.idle_limit,
            expect=asked.expect,
            is_guessed=self.profile is None,
            signal=self.signal,
        )


@taking(RunOptions)
def run(options: RunOptions) -> None:
    """Run close sequences against a server, sniff, and show who resets whom and why.

    Example: tlsprobe run --target db.example:5432 --profile postgres --user me

    Exit codes: 0 all measured, no finding at or above --fail-on, no change
    since --expect; 1 a finding, a change, or a cell that could not be
    measured; 2 wrong command line, profile or sequence; 3 nothing could be
    measured; 130 interrupted, results so far are kept and --resume continues.
    """
    if options.resume is not None and not options.target and _RESUMED not in options.context.meta:
        return _resume(options.context, options.resume)
    failure = _failure_in(options.sequence)
    found = configured(options, options.context, options.config)
    if failure is not None:
        raise typer.Exit(_replay(failure, _for_replay(failure, options, found)))
    options = found.options
    progress = ProgressView(err(no_color=options.no_color), options.quiet)
    if found.configuration is not None:
        progress.note(f"options from {found.configuration.file}")
    asked = trio.run(recognised, options.settings(found), progress.note)
    jobs = jobs_of(asked)
    if guessed := [one.profile.name for one in asked.targets if one.is_guessed]:
        names = ", ".join(dict.fromkeys(guessed))
        progress.note(f"profile {names}, guessed (override with --profile)")
    with progress.shown():
        probed = trio.run(probe_all, asked, jobs, progress)
    _present(probed, options, found)
    if probed.interrupted:
        progress.note(f"continue with: tlsprobe run --resume {quote(str(probed.folder))}")
    raise typer.Exit(_exit_code(probed, options))


def _failure_in(sequences: list[str] | None) -> Replay | None:
    """The failure that a fuzz run wrote into this file, if it is all that is to be driven."""
    if not sequences or len(sequences) > 1 or not sequences[0].endswith(".toml"):
        return None
    from tlsprobe.fuzz.folder import read_replay

    return read_replay(Path(sequences[0]))


def _for_replay(failure: Replay, typed: RunOptions, found: Configured) -> RunOptions:
    """The options of the file's target that the failure was found on; its profile is its own.

    A baseline is of runs: here it says nothing.
    """
    own = (one.options for one in found.targets if failure.target in {one.address, one.name})
    options: RunOptions = next(own, found.options)
    return replace(options, target=typed.target, profile=typed.profile, expect=None)


def _replay(failure: Replay, options: RunOptions) -> int:
    """Drive it, say whether it shows, and give the exit code: 1 if it does, 0 if it is cured."""
    from tlsprobe.cli.fuzz import fuzz_exit, present_fuzz, tell_machines
    from tlsprobe.cli.replay import replayed

    done = replayed(failure, options, perf_counter())
    present_fuzz(done, json=options.json, no_color=options.no_color)
    tell_machines(done, options.machines, options.fails_on)
    return fuzz_exit(done, options.fails_on)


def _resume(context: typer.Context, resume: Path) -> None:
    """Run the command that started a results folder again, for what is missing."""
    arguments = resumed_arguments(resume, without(_arguments(context), {"--resume"}))
    context.meta[_RESUMED] = arguments
    run_again(context, [*arguments, "--resume", str(resume)])


def _arguments(context: typer.Context) -> list[str]:
    """The arguments of ``tlsprobe run``, as typed or as a results folder remembers them."""
    return list(context.meta.get(_RESUMED, behind_run(sys.argv)))


def _present(probed: Probed, options: RunOptions, found: Configured) -> None:
    """Print the page or the documents, write the report for a build server, say what failed."""
    if options.json:
        for done in probed.runs:
            sys.stdout.buffer.write(encode_run_line(done))
        sys.stdout.flush()
    elif probed.runs:
        print_page(out(no_color=options.no_color), _page(probed, options))
    for failure in probed.failures:
        complain(failure)
    print_waivers(probed.runs)
    _tell_machines(probed, options, found)


def _page(probed: Probed, options: RunOptions) -> Page:
    """The page in full, or what one has to know of one target."""
    if options.verbose or len(probed.runs) > 1:
        return run_page(probed.runs)
    from tlsprobe.report.formats import HTML_PAGE

    return brief_page(probed.runs[0], str(probed.folder / HTML_PAGE))


def _tell_machines(probed: Probed, options: RunOptions, found: Configured) -> None:
    """Write what was asked for build servers. Raises UsageError."""
    machines, failed = options.machines, [failure.message for failure in probed.failures]
    if machines.junit is not None:
        from tlsprobe.report.ci.junit import render_junit

        report = render_junit(list(probed.runs), options.fails_on, " ".join(failed))
        write_report("--junit", machines.junit, report)
    if not machines.wanted:
        return
    from tlsprobe.report.ci.of_run import notice_of_failure, notices_of_runs

    notices = notices_of_runs(
        probed.runs,
        options.fails_on,
        allow_unmeasured=options.allow_unmeasured,
        places=[found.place_of(run.target) for run in probed.runs],
    )
    unmeasured = [notice_of_failure("tlsprobe", why) for why in failed]
    machines.write([*unmeasured, *notices], _summary(probed))


def _summary(probed: Probed) -> Page:
    """The page for a step summary: what one has to know of each target."""
    return tuple(block for run in probed.runs for block in brief_page(run))


def _exit_code(probed: Probed, options: RunOptions) -> int:
    """What the runs mean for whoever started them; warns of cells that were not measured."""
    if probed.interrupted:
        return 130
    if probed.failures:
        return probed.failures[-1].exit_code
    print_unmeasured(probed.runs, options.fails_on, allow_unmeasured=options.allow_unmeasured)
    code = verdict_exit(probed.runs, options.fails_on, allow_unmeasured=options.allow_unmeasured)
    return code or int(has_changed(probed.runs))
