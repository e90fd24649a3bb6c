"""``tlsprobe fuzz``: find close sequences that break a property, and the shortest of each."""

from __future__ import annotations

import platform
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from time import perf_counter
from typing import Annotated

import trio
import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from tlsprobe import __version__
from tlsprobe.campaign.settings import Settings
from tlsprobe.catalogue import lacks
from tlsprobe.cli.console import err, out, plain_errors, say
from tlsprobe.cli.fuzz_folder import FuzzFolder, default_fuzz_folder, fuzz_folder, read_corpus
from tlsprobe.cli.options import (
    CAPTURE_PANEL,
    OUTPUT_PANEL,
    TARGET_PANEL,
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
from tlsprobe.cli.probing import interruptible
from tlsprobe.drive.script import Patience
from tlsprobe.errors import UsageError
from tlsprobe.fuzz.properties import PROPERTIES, Needs, Observation, by_default
from tlsprobe.fuzz.rejudging import example_line
from tlsprobe.fuzz.settings import Against, Fuzzed, FuzzSettings, FuzzWatcher
from tlsprobe.model.fuzz import Example, FuzzRun
from tlsprobe.model.profile import Profile
from tlsprobe.model.run import HostFacts, Tool, stamp
from tlsprobe.model.target import Login, Target, TlsIdentity, TlsVersion
from tlsprobe.profiles import load_profile
from tlsprobe.protocols import Conversations, has_goodbye, make_conversation, offers
from tlsprobe.report.fuzz_document import encode_fuzz_line
from tlsprobe.report.pages.fuzz import fuzz_page
from tlsprobe.report.plurals import counted
from tlsprobe.report.render_terminal import print_page
from tlsprobe.sniff.capture import CHOICES
from tlsprobe.tls import OPENSSL_VERSION

_BEGUN = perf_counter()
"""When this process started, or nearly so: ``--time`` counts from here."""

IDLE_PAUSES = 20
"""How many idle timeouts must fit into --time for pauses to reach them by default."""


def fuzz(  # noqa: PLR0917 - the options of the command line are its arguments
    target: Annotated[
        str, typer.Option(help="HOST:PORT, or [IPv6]:PORT.", rich_help_panel=TARGET_PANEL)
    ],
    profile: Annotated[
        str | None,
        typer.Option(
            help="Profile name ('tlsprobe profiles') or file. Default: guessed from the port.",
            rich_help_panel=TARGET_PANEL,
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="A second server of the same kind, expected to end every close the same way.",
            rich_help_panel=TARGET_PANEL,
        ),
    ] = None,
    property_: Annotated[
        list[str] | None,
        typer.Option(
            "--property",
            metavar="NAME",
            help="Property to check, see above; repeatable. Default: all but no-reset-after-fin"
            " and rules.",
        ),
    ] = None,
    examples: Annotated[
        int, typer.Option(min=1, help="Maximum number of sequences, shrinking included.")
    ] = 1000,
    time: Annotated[
        float, typer.Option(min=1, help="Maximum run time in seconds, shrinking included.")
    ] = 60.0,
    seed: Annotated[
        int | None, typer.Option(help="Repeat the sequences of an earlier run, in the same order.")
    ] = None,
    corpus: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Start with the sequences in this folder; add those with new signatures.",
        ),
    ] = None,
    concurrency: Annotated[
        int, typer.Option(min=1, max=512, help="Maximum number of connections at a time.")
    ] = 16,
    rate: RateOption = None,
    tls: TlsOption = None,
    patience: PatienceOption = 5.0,
    idle_limit: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            help="The server's idle timeout in seconds, so that some pauses reach it. Default: from"
            " the profile, if --time allows for twenty of them.",
        ),
    ] = None,
    ca: CaOption = None,
    no_verify_name: NoVerifyNameOption = False,
    cert: CertOption = None,
    key: KeyOption = None,
    sni: SniOption = None,
    alpn: AlpnOption = None,
    user: UserOption = None,
    database: DatabaseOption = None,
    password_env: PasswordEnvOption = None,
    interface: InterfaceOption = None,
    capture: CaptureOption = "auto",
    require_capture: Annotated[
        bool,
        typer.Option(
            "--require-capture",
            help="Exit with 3 instead of fuzzing without a capture.",
            rich_help_panel=CAPTURE_PANEL,
        ),
    ] = False,
    out_dir: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Results folder. Default: results/<UTC time>-fuzz-<target>.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    json: Annotated[
        bool,
        typer.Option("--json", help="Print only the fuzz document.", rich_help_panel=OUTPUT_PANEL),
    ] = False,
    quiet: QuietOption = False,
    no_color: NoColorOption = False,
) -> None:
    """Generate close sequences, run them, and show the shortest that break a property.

    Example: tlsprobe fuzz --target db.example:5432 --profile postgres --user me --time 60

    Exit codes: 0 no failure; 1 failures found; 2 wrong command line;
    3 nothing could be measured; 130 interrupted, results so far are kept.
    """
    must_be_one_of("--capture", capture, CHOICES)
    chosen = load_profile(profile or guess_profile(target))
    server = parse_target(target, chosen)
    login = Login(user, database, password_in(password_env))
    converse = make_conversation(chosen, sni or server.host, login, server.port)
    settings = FuzzSettings(
        run=Settings(
            concurrency=concurrency,
            rate=rate,
            tls=tuple(dict.fromkeys(tls or TlsVersion)),
            patience=Patience(patience, patience),
            identity=TlsIdentity(
                ca, cert, key, sni, tuple(alpn or ()), verify_name=not no_verify_name
            ),
            capture=capture,
            require_capture=require_capture,
            interface=interface,
        ),
        examples=examples,
        seconds=time,
        seed=random.SystemRandom().randrange(10**6) if seed is None else seed,
        properties=_asked(property_, against),
        goodbye=has_goodbye(chosen),
        idle=idle_limit or _affordable(chosen.idle_s, time),
        known=_known(corpus, chosen, converse),
    )
    other = None
    if against is not None:
        second = parse_target(against, chosen)
        talk = make_conversation(chosen, sni or second.host, login, second.port)
        other = Against(second, talk)
    job = _Job(server, converse, settings, other, out_dir or default_fuzz_folder(server), corpus)
    progress = _ProgressView(err(no_color), quiet)
    if profile is None:
        progress.note(f"profile {chosen.name}, guessed from the port (override with --profile)")
    progress.note(f"{server}: up to {examples} examples in {time:g} s, seed {settings.seed}")
    with plain_errors():
        run = trio.run(_fuzz, job, progress)
    _present(run, json, no_color)
    raise typer.Exit(_exit_code(run))


fuzz.__doc__ = f"{fuzz.__doc__}\n\n    Properties:\n" + "".join(
    f"\n    - {asked.name}{f' ({asked.rule})' if asked.rule else ''}: {asked.text}\n"
    for asked in PROPERTIES.values()
)


def _affordable(idle: float | None, seconds: float) -> float | None:
    """The documented idle timeout, unless waiting for it would take up the time."""
    return idle if idle is not None and IDLE_PAUSES * idle <= seconds else None


@dataclass(frozen=True, slots=True)
class _Job:
    """One fuzz run with everything that it takes."""

    target: Target
    converse: Conversations
    settings: FuzzSettings
    against: Against | None
    folder: Path
    corpus: Path | None


async def _fuzz(job: _Job, progress: _ProgressView) -> FuzzRun:
    """Fuzz and write the results folder, which is whole whenever we are killed."""
    from tlsprobe.fuzz.campaign import fuzz as run_fuzz  # hypothesis, which takes its time

    started = datetime.now(UTC)
    with fuzz_folder(job.folder, job.target, job.corpus) as folder, progress.bars:
        own = replace(job.settings.run, pcapng=folder.capture)
        left = job.settings.seconds - (perf_counter() - _BEGUN)
        settings = replace(job.settings, run=own, seconds=max(1.0, left))
        watcher = progress.watcher(
            folder, lambda fuzzed: folder.save(_document(job, fuzzed, started))
        )
        with plain_errors():
            async with interruptible(progress.note) as stop:
                fuzzed = await run_fuzz(
                    job.target, job.converse, settings, watcher, stop, job.against, folder.store
                )
        return folder.save(_document(job, fuzzed, started))


class _ProgressView:
    """Progress of a fuzz run, on standard error."""

    def __init__(self, console: Console, quiet: bool) -> None:
        self.console = console
        self.quiet = quiet
        self.bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self.failures = 0

    def watcher(self, folder: FuzzFolder, save: Callable[[Fuzzed], object]) -> FuzzWatcher:
        """Callbacks that feed the progress line and the results folder."""
        line = self.bars.add_task("", total=None)

        def tried(seen: Observation, why: str, broke: tuple[str, ...]) -> None:
            folder.add(example_line(seen, why, broke))

        def progressed(examples: int, failures: int, left: float) -> None:
            found = counted(failures, "failure")
            words = f"{counted(examples, 'example')}, {found}, {left:.0f} s left"
            self.bars.update(line, description=words)

        def failed(fuzzed: Fuzzed) -> None:
            save(fuzzed)
            if len(fuzzed.failures) > self.failures:
                count = counted(len(fuzzed.failures), "failure")
                self.note(f"after {counted(fuzzed.examples, 'example')}: {count}")
            self.failures = len(fuzzed.failures)

        return FuzzWatcher(
            tried, progressed, folder.keep, failed, lambda text: self.note(f"warning: {text}")
        )

    def note(self, text: str) -> None:
        """A line on standard error, unless --quiet."""
        if not self.quiet:
            say(self.console, text, "dim")


def _asked(names: list[str] | None, against: str | None) -> tuple[str, ...]:
    """The properties that were asked for, in the order of the table. Raises UsageError."""
    for name in names or ():
        if name not in PROPERTIES:
            near = get_close_matches(name, list(PROPERTIES), 1)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(PROPERTIES)}"
            raise UsageError(f"--property: unknown property '{name}'", hint)
        if PROPERTIES[name].needs is Needs.TARGETS and against is None:
            hint = "name the second one with --against HOST:PORT"
            raise UsageError(f"--property {name} compares two targets", hint)
    chosen = names or by_default(two_targets=against is not None)
    return tuple(name for name in PROPERTIES if name in chosen)


def _known(corpus: Path | None, profile: Profile, converse: Conversations) -> tuple[Example, ...]:
    """What of a corpus makes sense for this protocol, and does not wait for an idle expiry."""
    if corpus is None:
        return ()
    offered, goodbye = offers(converse), has_goodbye(profile)
    return tuple(
        example
        for example in read_corpus(corpus)
        if lacks(example.sequence, offered, goodbye) is None
        and not example.sequence.is_idle
        and not example.sequence.is_race
    )


def _document(job: _Job, fuzzed: Fuzzed, started: datetime) -> FuzzRun:
    notes = fuzzed.notes
    if fuzzed.address != str(job.target):
        notes = (f"{job.target} was reached at {fuzzed.address}", *notes)
    return FuzzRun(
        tool=Tool("tlsprobe", __version__),
        started=stamp(started),
        finished=stamp(datetime.now(UTC)),
        host=HostFacts(
            platform.system(), platform.release(), platform.python_version(), OPENSSL_VERSION
        ),
        target=job.target,
        capture=fuzzed.capture,
        seed=job.settings.seed,
        properties=job.settings.properties,
        examples=fuzzed.examples,
        connections=fuzzed.connections,
        failures=fuzzed.failures,
        coverage=fuzzed.coverage,
        against=job.against.target if job.against else None,
        unmeasured=fuzzed.unmeasured,
        interrupted=fuzzed.interrupted,
        notes=notes,
        command=tuple(sys.argv[1:]),
    )


def _present(run: FuzzRun, json: bool, no_color: bool) -> None:
    if json:
        sys.stdout.buffer.write(encode_fuzz_line(run))
        sys.stdout.flush()
        return
    print_page(out(no_color), fuzz_page(run))


def _exit_code(run: FuzzRun) -> int:
    if run.interrupted:
        return 130
    if run.failures:
        return 1
    return 3 if run.examples == run.unmeasured else 0
