"""``tlsprobe fuzz``: find close sequences that break a property, and the shortest of each."""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from inspect import cleandoc
from pathlib import Path
from time import perf_counter
from typing import Annotated

import trio
import typer

from tlsprobe.campaign.circumstances import process_age
from tlsprobe.campaign.guess_protocol import HTTP, guess
from tlsprobe.campaign.settings import Settings
from tlsprobe.campaign.targets import guess_profile, parse_target
from tlsprobe.catalogue import OPT_IN, lacks
from tlsprobe.cli.configured import Asked, configured_fuzz
from tlsprobe.cli.console import err, finite, out
from tlsprobe.cli.machines import MachineOptions, write_report
from tlsprobe.cli.options import (
    CaptureOptions,
    ConfigOption,
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
from tlsprobe.cli.panels import OUTPUT_PANEL, TARGET_PANEL
from tlsprobe.cli.progress import FuzzProgressView
from tlsprobe.cli.taking import taking
from tlsprobe.configuration import CONFIG_FILE
from tlsprobe.drive.script import Patience
from tlsprobe.errors import UsageError, plain_errors
from tlsprobe.fuzz.folder import default_fuzz_folder, read_corpus
from tlsprobe.fuzz.properties import PROPERTIES, Needs, by_default
from tlsprobe.fuzz.settings import Against, FuzzJob, FuzzSettings
from tlsprobe.model.fuzz import Example, FuzzRun
from tlsprobe.model.judgement import FAIL_ON
from tlsprobe.model.profile import Profile
from tlsprobe.model.protocols import UNKNOWN
from tlsprobe.model.target import Login, Target, TlsVersion
from tlsprobe.model.waiver import Waiver
from tlsprobe.profiles import FILE as PROFILE_FILE
from tlsprobe.profiles import load_profile
from tlsprobe.protocols import Conversations, has_goodbye, make_conversation, offers
from tlsprobe.report.ci.notice import Place
from tlsprobe.report.ci.of_fuzz import counting, is_starved
from tlsprobe.report.fuzz_document import encode_fuzz_line, read_fuzz
from tlsprobe.report.pages.fuzz import fuzz_page
from tlsprobe.report.render_terminal import print_page
from tlsprobe.report.waivers import describe_expired
from tlsprobe.spelling import nearest
from tlsprobe.waiving import is_over

REMEMBERED = Path(".tlsprobe", "fuzz")
"""Where failures are kept, so that the next run tries them first."""

IDLE_PAUSES = 20
"""How many idle timeouts must fit into --time for pauses to reach them by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FuzzOptions:
    """The options of ``tlsprobe fuzz``."""

    context: typer.Context
    target: Annotated[
        str | None,
        typer.Option(
            help="HOST:PORT, or [IPv6]:PORT, or the name of a target in tlsprobe.toml. Default: the"
            " one in tlsprobe.toml.",
            rich_help_panel=TARGET_PANEL,
        ),
    ] = None
    config: ConfigOption = None
    profile: ProfileOption = None
    against: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="A second server of the same kind, expected to end every close the same way.",
            rich_help_panel=TARGET_PANEL,
        ),
    ] = None
    property_: Annotated[
        list[str] | None,
        typer.Option(
            "--property",
            metavar="NAME",
            help="Property to check, see above; repeatable. Default: all but no-reset-after-fin.",
        ),
    ] = None
    chapter: Annotated[
        list[str] | None,
        typer.Option(
            metavar="control|wire",
            help="Draw the verbs of this chapter as well; repeatable. wire needs root.",
        ),
    ] = None
    examples: Annotated[
        int, typer.Option(min=1, help="Maximum number of sequences, shrinking included.")
    ] = 1000
    time: Annotated[
        float,
        typer.Option(
            min=1, callback=finite, help="Maximum run time in seconds, shrinking included."
        ),
    ] = 60.0
    seed: Annotated[
        int | None, typer.Option(help="Repeat the sequences of an earlier run, in the same order.")
    ] = None
    corpus: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Start with the sequences in this folder; add those with new signatures.",
        ),
    ] = None
    concurrency: Annotated[
        int, typer.Option(min=1, max=512, help="Maximum number of connections at a time.")
    ] = 16
    rate: RateOption = None
    tls: TlsOption = None
    patience: PatienceOption = 5.0
    idle_limit: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            callback=finite,
            help="The server's idle timeout in seconds, so that some pauses reach it. Default: from"
            " the profile, if --time allows for twenty of them.",
        ),
    ] = None
    identity: IdentityOptions
    login: LoginOptions
    capturing: CaptureOptions
    out_dir: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Results folder. Default: results/<UTC time>-fuzz-<target>.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None
    keylog: Annotated[
        Path | None,
        typer.Option(
            help="Append TLS secrets to this file and add them to the capture.",
            envvar="SSLKEYLOGFILE",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None
    expect: Annotated[
        Path | None,
        typer.Option(
            metavar="BASELINE",
            help="An earlier fuzz run's folder: failures that it has are known, and do not count.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None
    fail_on: Annotated[
        str,
        typer.Option(
            metavar="fail|warn|never",
            help="Exit with 1 for broken MUST rules alone (fail), for every failure, or never.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = "warn"
    machines: MachineOptions
    json: Annotated[
        bool,
        typer.Option("--json", help="Print only the fuzz document.", rich_help_panel=OUTPUT_PANEL),
    ] = False
    quiet: QuietOption = False
    no_color: NoColorOption = False

    def job(self, asked: Asked, waivers: tuple[Waiver, ...] = ()) -> FuzzJob:
        """What they ask of a target, whose options they are. Raises UsageError."""
        self.capturing.check()
        must_be_one_of("--fail-on", self.fail_on, tuple(FAIL_ON))
        for chapter in self.chapter or ():
            must_be_one_of("--chapter", chapter, tuple(sorted(OPT_IN)))
        profile = load_profile(self.profile or guess_profile(asked.address))
        login = self.login.login()
        target, converse = self._reaches(asked.address, profile, login, asked.name)
        against = None
        if self.against is not None:
            against = Against(*self._reaches(self.against, profile, login))
        return FuzzJob(
            target,
            converse,
            self._settings(profile, converse),
            folder=self.out_dir or default_fuzz_folder(target),
            begun=perf_counter() - process_age(),  # --time counts from the start of the process
            against=against,
            corpus=self.corpus,
            profile_text=_text_of(self.profile),
            expect=read_fuzz(self.expect)[0].failures if self.expect is not None else (),
            waivers=waivers,
            command=tuple(sys.argv[1:]),
        )

    def _reaches(
        self, text: str, profile: Profile, login: Login, name: str = ""
    ) -> tuple[Target, Conversations]:
        """A target, and how to speak with it."""
        target = parse_target(text, profile, name)
        name = self.identity.sni or target.host
        return target, make_conversation(profile, name, login, target.port)

    def _settings(self, profile: Profile, converse: Conversations) -> FuzzSettings:
        run = Settings(
            concurrency=self.concurrency,
            rate=self.rate,
            tls=tuple(dict.fromkeys(self.tls or TlsVersion)),
            patience=Patience(self.patience, self.patience),
            identity=self.identity.identity(self.keylog),
            capture=self.capturing.capture,
            require_capture=self.capturing.require_capture,
            interface=self.capturing.interface,
        )
        return FuzzSettings(
            run,
            examples=self.examples,
            seconds=self.time,
            seed=random.SystemRandom().randrange(10**6) if self.seed is None else self.seed,
            properties=_asked(self.property_, self.against),
            goodbye=has_goodbye(profile),
            idle=self.idle_limit or _affordable(profile.idle_s, self.time),
            remembered=REMEMBERED,
            known=_known(self.corpus, profile, converse),
            chapters=frozenset(self.chapter or ()),
        )


@taking(FuzzOptions)
def fuzz(options: FuzzOptions) -> None:
    """Generate close sequences, run them, and show the shortest that break a property.

    Example: tlsprobe fuzz --target db.example:5432 --profile postgres --user me --time 60

    Exit codes: 0 no failure; 1 confirmed failures; 2 wrong command line;
    3 too little could be measured; 130 interrupted, results so far are kept.
    """
    found = configured_fuzz(options, options.context, options.config)
    if not found.targets:
        hint = f"name a server with --target HOST:PORT, or write it into {CONFIG_FILE}"
        raise UsageError("no target given", hint)
    (asked,) = found.targets
    options = asked.options
    job = options.job(asked, found.waivers)
    guessed = options.profile is None
    unknown = guessed and job.target.profile == UNKNOWN
    if unknown and trio.run(guess, job.target, job.settings.run).speaks_http:
        job = replace(options, profile=HTTP).job(asked, found.waivers)
    from tlsprobe.fuzz.run import fuzz_into_folder  # hypothesis, which takes its time

    settings, progress = (
        job.settings,
        FuzzProgressView(err(no_color=options.no_color), options.quiet),
    )
    if found.configuration is not None:
        progress.note(f"options from {found.configuration.file}")
    for waiver in found.waivers:
        if is_over(waiver, datetime.now(UTC).date()):
            progress.note(f"warning: {describe_expired(waiver)}")
    if guessed:
        progress.note(f"profile {job.target.profile}, guessed (override with --profile)")
    bounds = f"up to {settings.examples} examples in {settings.seconds:g} s"
    progress.note(f"{job.target}: {bounds}, seed {settings.seed}")
    with plain_errors(), progress.shown():
        run = trio.run(fuzz_into_folder, job, progress)
    present_fuzz(run, json=options.json, no_color=options.no_color)
    place = found.place_of(run.target)
    tell_machines(run, options.machines, options.fail_on, place)
    raise typer.Exit(fuzz_exit(run, options.fail_on))


fuzz.__doc__ = f"{cleandoc(fuzz.__doc__ or '')}\n\nProperties:\n" + "".join(
    f"\n- {asked.name}{f' ({asked.rule})' if asked.rule else ''}: {asked.text}\n"
    for asked in PROPERTIES.values()
)


def _affordable(idle: float | None, seconds: float) -> float | None:
    """The documented idle timeout, unless waiting for it would take up the time."""
    return idle if idle is not None and IDLE_PAUSES * idle <= seconds else None


def _asked(names: list[str] | None, against: str | None) -> tuple[str, ...]:
    """The properties that were asked for, in the order of the table. Raises UsageError."""
    for name in names or ():
        if name not in PROPERTIES:
            near = nearest(name, PROPERTIES)
            hint = f"did you mean '{near}'?" if near else f"known: {', '.join(PROPERTIES)}"
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
        if lacks(example.sequence, offered, has_goodbye=goodbye) is None
        and not example.sequence.is_idle
        and not example.sequence.is_race
    )


def present_fuzz(run: FuzzRun, *, json: bool, no_color: bool) -> None:
    """Print the document or the page."""
    if json:
        sys.stdout.buffer.write(encode_fuzz_line(run))
        sys.stdout.flush()
        return
    print_page(out(no_color=no_color), fuzz_page(run))


def tell_machines(
    run: FuzzRun, machines: MachineOptions, fail_on: str, place: Place | None = None
) -> None:
    """Write what was asked for build servers; ``place`` names the target. Raises UsageError."""
    if machines.junit is not None:
        from tlsprobe.report.ci.fuzz_junit import render_fuzz_junit

        write_report("--junit", machines.junit, render_fuzz_junit(run, fail_on))
    if not machines.wanted:
        return
    from tlsprobe.report.ci.of_fuzz import notices_of_fuzz

    machines.write(notices_of_fuzz(run, fail_on, place), fuzz_page(run))


def fuzz_exit(run: FuzzRun, fail_on: str) -> int:
    """What a fuzz run means for whoever started it."""
    if run.interrupted:
        return 130
    if counting(run, fail_on):
        return 1
    nothing = run.examples == run.unmeasured and not run.failures
    return 3 if nothing or is_starved(run) else 0


def _text_of(profile: str | None) -> str:
    """A profile that does not come with tlsprobe, so that a failure can be replayed anywhere."""
    if profile is None or not ("/" in profile or profile.endswith(".toml")):
        return ""
    path = Path(profile).expanduser()
    path = path / PROFILE_FILE if path.is_dir() else path
    return path.read_text(encoding="utf-8")
