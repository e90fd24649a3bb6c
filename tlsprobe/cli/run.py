"""``tlsprobe run``: drive the sequences, sniff, judge, write a results folder, print the matrix."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Annotated

import trio
import typer

from tlsprobe.campaign.settings import Settings, plan
from tlsprobe.catalogue import default_sequences, find_sequences, lacks
from tlsprobe.cli.console import complain, err, out
from tlsprobe.cli.exit_codes import FAIL_ON, print_unmeasured, verdict_exit
from tlsprobe.cli.expecting import has_changed, read_baseline
from tlsprobe.cli.options import (
    CAPTURE_PANEL,
    OUTPUT_PANEL,
    TARGET_PANEL,
    TLS_PANEL,
    AlpnOption,
    CaOption,
    CaptureOption,
    CertOption,
    DatabaseOption,
    InterfaceOption,
    KeyOption,
    NoColorOption,
    NoVerifyNameOption,
    PasswordEnvOption,
    PatienceOption,
    QuietOption,
    RateOption,
    SniOption,
    TlsOption,
    UserOption,
    guess_profile,
    must_be_one_of,
    parse_target,
    password_in,
)
from tlsprobe.cli.probing import Job, ProgressView, interruptible, probe, progress_of
from tlsprobe.cli.results import default_folder, slug
from tlsprobe.cli.resume import Earlier, must_fit, read_earlier, resumed_arguments, without
from tlsprobe.drive.script import Patience
from tlsprobe.errors import TlsprobeError, UsageError
from tlsprobe.lab.delayed_close import delayed_close
from tlsprobe.model.profile import Profile
from tlsprobe.model.run import Run
from tlsprobe.model.sequence import Sequence
from tlsprobe.model.target import Login, Target, TlsIdentity, TlsVersion
from tlsprobe.profiles import load_profile
from tlsprobe.protocols import Conversations, has_goodbye, make_conversation, offers
from tlsprobe.report.document import RUN_FILE, encode_run_line
from tlsprobe.report.pages.run import run_page
from tlsprobe.report.render_terminal import print_page
from tlsprobe.sniff.capture import CHOICES

IDLE_LIMIT = 75.0
"""Seconds that idle sequences wait where the profile documents no timeout."""

_RESUMED = "tlsprobe.resumed"
"""Under which key the context keeps the command line of the run that is resumed."""


def run(  # noqa: PLR0917 - the options of the command line are its arguments
    ctx: typer.Context,
    target: Annotated[
        list[str] | None,
        typer.Option(
            help="HOST:PORT, or [IPv6]:PORT; repeatable. Not needed with --resume.",
            rich_help_panel=TARGET_PANEL,
        ),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help="Profile name ('tlsprobe profiles') or file. Default: guessed from the port.",
            rich_help_panel=TARGET_PANEL,
        ),
    ] = None,
    sequence: Annotated[
        list[str] | None,
        typer.Option(
            help="Name ('tlsprobe sequences'), file, or steps: 'request; close_notify + fin;"
            " drain'; repeatable. Default: from the profile."
        ),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Connections per cell.")] = 5,
    concurrency: Annotated[
        int,
        typer.Option(
            min=1,
            max=512,
            help="Maximum number of connections at a time, not counting those that wait idle.",
        ),
    ] = 16,
    rate: RateOption = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Shuffle the order and delay each connection by up to 20 ms; the same seed gives"
            " the same order. Default: the order of the catalogue, no delay."
        ),
    ] = None,
    tls: TlsOption = None,
    patience: PatienceOption = 5.0,
    idle_limit: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            help="How long idle sequences wait, in seconds. Default: from the profile, plus 10 %.",
        ),
    ] = None,
    delay_close: Annotated[
        int | None,
        typer.Option(
            metavar="PID",
            min=2,
            help="Delay the close() of the server, a process on this machine, with a tracer.",
        ),
    ] = None,
    ca: CaOption = None,
    no_verify_name: NoVerifyNameOption = False,
    cert: CertOption = None,
    key: KeyOption = None,
    sni: SniOption = None,
    alpn: AlpnOption = None,
    keylog: Annotated[
        Path | None,
        typer.Option(
            help="Append TLS secrets to this file and add them to the capture.",
            envvar="SSLKEYLOGFILE",
            rich_help_panel=TLS_PANEL,
        ),
    ] = None,
    user: UserOption = None,
    database: DatabaseOption = None,
    password_env: PasswordEnvOption = None,
    interface: InterfaceOption = None,
    capture: CaptureOption = "auto",
    require_capture: Annotated[
        bool,
        typer.Option(
            "--require-capture",
            help="Exit with 3 instead of measuring without a capture.",
            rich_help_panel=CAPTURE_PANEL,
        ),
    ] = False,
    out_dir: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Results folder. Default: results/<UTC time>-<target>.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Continue the run in this results folder without repeating what it holds. Needs no"
            " other option.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    expect: Annotated[
        Path | None,
        typer.Option(
            metavar="BASELINE",
            help="Compare with an earlier run (its folder or run.json) and exit with 1 only on"
            " change, improvements included. With several targets: a folder of their folders.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    json: Annotated[
        bool,
        typer.Option("--json", help="Print only the run document.", rich_help_panel=OUTPUT_PANEL),
    ] = False,
    junit: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write JUnit XML to this file, for a build server.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    fail_on: Annotated[
        str | None,
        typer.Option(
            metavar="fail|warn|never",
            help="Exit with 1 at this verdict or worse. Default: warn; with --expect, never.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    allow_unmeasured: Annotated[
        bool,
        typer.Option(
            "--allow-unmeasured",
            help="Do not exit with 1 only because some cells could not be measured.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = False,
    quiet: QuietOption = False,
    no_color: NoColorOption = False,
) -> None:
    """Run close sequences against a server, sniff, and show who resets whom and why.

    Example: tlsprobe run --target db.example:5432 --profile postgres --user me

    Exit codes: 0 all measured, no finding at or above --fail-on, no change
    since --expect; 1 a finding, a change, or a cell that could not be
    measured; 2 wrong command line, profile or sequence; 3 nothing could be
    measured; 130 interrupted, results so far are kept and --resume continues.
    """
    if resume is not None and not target and _RESUMED not in ctx.meta:
        return _resume(ctx, resume)
    if not target:
        raise UsageError("no target given", "name a server with --target HOST:PORT")
    if resume is not None and out_dir is not None:
        raise UsageError("--resume already names the results folder", "leave out --out")
    fail_on = fail_on or ("never" if expect else "warn")
    must_be_one_of("--fail-on", fail_on, tuple(FAIL_ON))
    must_be_one_of("--capture", capture, CHOICES)
    progress = ProgressView(err(no_color), quiet)
    settings = Settings(
        trials=trials,
        concurrency=concurrency,
        rate=rate,
        tls=tuple(dict.fromkeys(tls or TlsVersion)),
        patience=Patience(patience, idle_limit or IDLE_LIMIT),
        identity=TlsIdentity(ca, cert, key, sni, tuple(alpn or ()), keylog, not no_verify_name),
        capture=capture,
        require_capture=require_capture,
        interface=interface,
        seed=seed,
    )
    login = Login(user, database, password_in(password_env))
    paths = _ResultPaths(resume, out_dir, expect, several=len(target) > 1)
    jobs = []
    for text in dict.fromkeys(target):
        chosen = load_profile(profile or guess_profile(text))
        server = parse_target(text, chosen)
        own = settings if idle_limit else _as_documented(settings, chosen)
        converse = make_conversation(chosen, sni or server.host, login, server.port)
        sequences = choose_sequences(chosen, converse, sequence)
        jobs.append(
            paths.with_folders(Job(server, converse, sequences, own, Path()), _arguments(ctx))
        )
    if profile is None:
        names = ", ".join(dict.fromkeys(job.target.profile for job in jobs))
        progress.note(f"profile {names}, guessed from the port (override with --profile)")
    runs, failure = trio.run(_probe_all, jobs, progress, delay_close)
    _present(runs, json, no_color)
    if junit is not None:
        _write_junit(junit, runs, fail_on, failure)
    if failure is not None:
        complain(failure)
    if any(done.interrupted for done in runs):
        progress.note(f"continue with: tlsprobe run --resume {quote(str(paths.again(jobs, runs)))}")
        raise typer.Exit(130)
    if failure is not None:
        raise typer.Exit(failure.exit_code)
    print_unmeasured(runs, fail_on, allow_unmeasured)
    code = verdict_exit(runs, fail_on, allow_unmeasured)
    raise typer.Exit(code or int(has_changed(runs)))


@dataclass(frozen=True, slots=True)
class _ResultPaths:
    """The folders that a command line names; each of ``several`` targets has its own part."""

    resume: Path | None
    out_dir: Path | None
    expect: Path | None
    several: bool

    def with_folders(self, job: Job, arguments: list[str]) -> Job:
        """The job with its results folder, what that holds, and its baseline. Raises UsageError."""
        plans = plan(job.sequences, job.settings)
        earlier = self.earlier(job.target)
        settings = job.settings
        if earlier is not None:
            must_fit(earlier, job.target, plans, settings.seed)
            settings = replace(settings, seed=earlier.run.seed)
        baseline = self.own(self.expect, job.target)
        return replace(
            job,
            settings=settings,
            folder=self.own(self.resume or self.out_dir, job.target) or default_folder(job.target),
            earlier=earlier,
            baseline=read_baseline(baseline, plans) if baseline else None,
            command=tuple(without(arguments, {"--resume", "--out"})),
        )

    def own(self, folder: Path | None, target: Target) -> Path | None:
        """A target's part of a folder."""
        return folder / slug(str(target)) if folder and self.several else folder

    def earlier(self, target: Target) -> Earlier | None:
        """What can be resumed; of several targets, some may not have been started."""
        folder = self.own(self.resume, target)
        if self.resume is None or folder is None:
            return None
        not_started = self.several and self.resume.is_dir() and not (folder / RUN_FILE).exists()
        return None if not_started else read_earlier(folder)

    def again(self, jobs: list[Job], runs: list[Run]) -> Path:
        """The folder to give to --resume after an interrupt."""
        shared = self.resume or (self.out_dir if self.several else None)
        return shared or jobs[len(runs) - 1].folder


def _resume(ctx: typer.Context, resume: Path) -> None:
    """Run the command that started a results folder again, for what is missing."""
    arguments = resumed_arguments(resume, without(_arguments(ctx), {"--resume"}))
    ctx.meta[_RESUMED] = arguments
    whole = [*arguments, "--resume", str(resume)]
    with ctx.command.make_context("run", whole, parent=ctx.parent) as again:
        ctx.command.invoke(again)


def _arguments(ctx: typer.Context) -> list[str]:
    """The arguments of ``tlsprobe run``, as typed or as a results folder remembers them."""
    typed = sys.argv[sys.argv.index("run") + 1 :] if "run" in sys.argv else []
    return list(ctx.meta.get(_RESUMED, typed))


def _as_documented(settings: Settings, profile: Profile) -> Settings:
    """Wait a little longer for an idle expiry than the profile's timeout."""
    if profile.idle_s is None:
        return settings
    return replace(settings, patience=replace(settings.patience, idle=profile.idle_s * 1.1 + 1))


async def _probe_all(
    jobs: list[Job], progress: ProgressView, delay_close: int | None
) -> tuple[list[Run], TlsprobeError | None]:
    """Probe target after target; the others go on if one fails."""
    if delay_close is None:
        return await _probe_each(jobs, progress)
    async with delayed_close(delay_close) as said:
        return await _probe_each([replace(job, notes=(said,)) for job in jobs], progress)


async def _probe_each(
    jobs: list[Job], progress: ProgressView
) -> tuple[list[Run], TlsprobeError | None]:
    runs: list[Run] = []
    failure: TlsprobeError | None = None
    with progress_of(progress):
        async with interruptible(progress.note) as stop:
            for job in jobs:
                if stop.is_set():
                    break
                try:
                    runs.append(await probe(job, progress, stop))
                except TlsprobeError as error:
                    if failure is not None:
                        complain(failure)
                    failure = error
    return runs, failure


def _present(runs: list[Run], json: bool, no_color: bool) -> None:
    if json:
        for done in runs:
            sys.stdout.buffer.write(encode_run_line(done))
        sys.stdout.flush()
    elif runs:
        print_page(out(no_color), run_page(runs))


def _write_junit(file: Path, runs: list[Run], fail_on: str, failure: TlsprobeError | None) -> None:
    from tlsprobe.report.junit import render_junit

    try:
        file.write_bytes(render_junit(runs, fail_on, failure.message if failure else ""))
    except OSError as error:
        hint = "the run itself is in the results folder; give --junit another file"
        raise UsageError(f"cannot write {file}: {error.strerror}", hint) from error


def choose_sequences(
    profile: Profile, converse: Conversations, asked: list[str] | None
) -> tuple[Sequence, ...]:
    """The sequences that were asked for, else the profile's, else all that apply.

    Of a chapter, those that apply.
    """
    goodbye, offered = has_goodbye(profile), offers(converse)
    names = asked or profile.sequences
    if not names:
        return default_sequences(offered, goodbye)
    chosen: dict[Sequence, None] = {}
    for name in names:
        found = find_sequences(name)
        missing = [lacks(sequence, offered, goodbye) for sequence in found]
        if all(missing):
            hint = "add it under [protocol] in the profile, or choose another sequence"
            message = (
                f"'{name}' needs {missing[0]}, which the profile '{profile.name}' does not have"
            )
            raise UsageError(message, hint)
        chosen |= dict.fromkeys(s for s, lack in zip(found, missing, strict=True) if not lack)
    return tuple(chosen)
