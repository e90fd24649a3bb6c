"""``tlsprobe fleet``: many targets at once, with a ledger of what came of each."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import trio
import typer
from typer.core import TyperGroup

from tlsprobe.campaign.results import dated_folder, replace_file, unused, writing
from tlsprobe.campaign.settings import Settings
from tlsprobe.cli.configured import configured_waivers
from tlsprobe.cli.console import err, finite, one_of, out
from tlsprobe.cli.exit_codes import print_waivers
from tlsprobe.cli.fleet_reading import report, status
from tlsprobe.cli.options import (
    CaptureOptions,
    ConnectionsOption,
    IdentityOptions,
    LoginOptions,
    NoColorOption,
    PatienceOption,
    QuietOption,
    TlsOption,
    WaiversOption,
)
from tlsprobe.cli.panels import OUTPUT_PANEL, TARGET_PANEL
from tlsprobe.cli.progress import FleetProgressView
from tlsprobe.cli.taking import taking
from tlsprobe.cli.typed import command_line
from tlsprobe.cli.verbs import CONTEXT
from tlsprobe.drive.script import Patience
from tlsprobe.errors import UsageError
from tlsprobe.fleet.asked import (
    HOST_RATE,
    FleetSettings,
    networks,
    shard,
)
from tlsprobe.fleet.coordinator import Coordinator, processors
from tlsprobe.fleet.dask_engine import DaskEngine, must_have_dask
from tlsprobe.fleet.ledger import Ledger
from tlsprobe.fleet.planning import jobs_of, planned
from tlsprobe.fleet.targets import MOST_BYTES, read_targets
from tlsprobe.model.fleet import Answer, FleetFacts
from tlsprobe.model.judgement import FAIL_ON
from tlsprobe.model.target import TlsVersion
from tlsprobe.report.formats import (
    HTML_PAGE,
    page_for_folder,
    page_to_share,
)
from tlsprobe.report.pages.fleet import (
    fleet_page,
    in_short,
    plan_page,
)
from tlsprobe.report.render_terminal import print_page
from tlsprobe.version import VERSION

NOTHING_MEASURED, INTERRUPTED = 3, 130
"""Exit codes, as those of ``tlsprobe run``."""

_RESUMED = "tlsprobe.fleet"
"""Under which key the context keeps the folder of the fleet that is gone on with."""

MOST_AT_ONCE = 200
"""Targets probed at once, unless the user says otherwise; the guard mostly allows fewer."""

FLEET_PAGE = "fleet.md"
"""The page in the fleet's folder; HTML_PAGE is beside it."""


def engine_name(value: str | None) -> str | None:
    """Refuse an engine that there is not, or that is not installed."""
    if value is None:
        return None
    if not re.fullmatch(r"dask://[^/]+:\d+", value):
        hint = "name a scheduler, dask://HOST:PORT, or leave it out for this machine"
        raise UsageError(f"--engine '{value}' is no engine", hint)
    must_have_dask()
    return value


class _ListOrVerb(TyperGroup):
    """``fleet FILE`` is short for ``fleet run FILE``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the verb in that was left out."""
        words = [one for one in args if not one.startswith("-")]
        asks_help = any(one in {"--help", "-h"} for one in args)
        if args and not (words and words[0] in self.commands) and not (asks_help and not words):
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_ListOrVerb,
    help="Probe many targets at once, with a ledger of what came of each.",
    no_args_is_help=True,
    context_settings=CONTEXT,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetOptions:
    """The options of ``tlsprobe fleet FILE``."""

    context: typer.Context
    targets: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="Targets: HOST:PORT lines, CSV, TOML, file_sd JSON or YAML, or what 'kubectl get"
            " ingress,service -o json' prints; - is standard input.",
        ),
    ]
    profile: Annotated[
        str | None,
        typer.Option(
            help="Profile of every target that names none. Default: guessed.",
            rich_help_panel=TARGET_PANEL,
        ),
    ] = None
    sequence: Annotated[
        list[str] | None,
        typer.Option(
            help="As in 'tlsprobe run'; repeatable. Default: all that apply but races against the"
            " idle expiry."
        ),
    ] = None
    trials: Annotated[int, typer.Option(min=1, help="Connections per cell.")] = 3
    tls: TlsOption = None
    patience: PatienceOption = 5.0
    idle_limit: Annotated[
        float | None,
        typer.Option(min=0.1, callback=finite, help="How long idle sequences wait, in seconds."),
    ] = None
    connections: ConnectionsOption = None
    most: Annotated[
        int,
        typer.Option(
            "--at-once", min=1, help="Targets probed at once, at most; fewer while that is too many"
        ),
    ] = MOST_AT_ONCE
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes. Default: one for each processor.")
    ] = None
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            callback=finite,
            help="New connections per second, of all targets together.",
        ),
    ] = None
    host_rate: Annotated[
        float,
        typer.Option(
            min=0.01,
            callback=finite,
            help="New connections per second to one host; on loopback there is no limit.",
        ),
    ] = HOST_RATE
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="CIDR", help="Probe only addresses in this network; repeatable."),
    ] = None
    deny: Annotated[
        list[str] | None,
        typer.Option(metavar="CIDR", help="Probe no address in this network; repeatable."),
    ] = None
    part: Annotated[
        str | None,
        typer.Option("--shard", metavar="I/N", help="Only the I-th of N parts of the list."),
    ] = None
    vantage: Annotated[
        str, typer.Option(help="A name for the place from which this machine looks.")
    ] = ""
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="dask://HOST:PORT",
            callback=engine_name,
            help="Probe from the workers of this Dask scheduler, with --vantage from those there.",
        ),
    ] = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and open nothing.")
    ] = False
    identity: IdentityOptions
    login: LoginOptions
    capturing: CaptureOptions
    out_dir: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Folder of the ledger. Default: results/<UTC time>-fleet.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None
    keep: Annotated[
        str,
        typer.Option(
            "--captures",
            metavar="findings|all|none",
            callback=one_of(("findings", "all", "none")),
            help="Which captures are kept.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = "findings"
    fail_on: Annotated[
        str,
        typer.Option(
            metavar="fail|warn|never",
            callback=one_of(tuple(FAIL_ON)),
            help="Exit with 1 at this verdict or worse, or if a target could not be measured to its"
            " end.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = "warn"
    config: WaiversOption = None
    quiet: QuietOption = False
    no_color: NoColorOption = False

    def settings(self, folder: Path, count: int) -> FleetSettings:
        """What they ask for of so many targets. Raises UsageError."""
        self.capturing.check()
        login = self.login.login()
        options = {
            "profile": self.profile,
            "sequence": self.sequence,
            "idle-limit": self.idle_limit,
            "user": login.user,
            "database": login.database,
            "password": login.password,
        }
        how = Settings(
            trials=self.trials,
            connections=self.connections,
            tls=tuple(dict.fromkeys(self.tls or TlsVersion)),
            patience=Patience(self.patience),
            identity=self.identity.identity(),
            capture=self.capturing.capture,
            require_capture=self.capturing.require_capture,
        )
        return FleetSettings(
            folder=folder,
            how=how,
            options={name: value for name, value in options.items() if value is not None},
            workers=self.workers or processors(),
            # The rate of all is shared by as many as there may be at once.
            most=max(1, min(self.most, count)),
            rate=self.rate,
            host_rate=self.host_rate,
            allow=networks("--allow", self.allow or ()),
            deny=networks("--deny", self.deny or ()),
            keep=self.keep,
            waivers=configured_waivers(self.config),
            typed=command_line(),
        )


@app.command("run")
@taking(FleetOptions)
def run(options: FleetOptions) -> None:
    """Probe every target of a list, as many at once as leaves no verdict spoiled.

    Each attempt is written down before its first connection, each answer as soon as it is here:
    'tlsprobe fleet resume DIR' goes on after an interrupt or a kill, and repeats nothing in
    silence. One target of a host is probed at a time.

    Example: tlsprobe fleet targets.txt --deny 10.0.0.0/8 --dry-run

    Example: kubectl get ingress,service -A -o json | tlsprobe fleet -

    Exit codes: 0 all measured, no finding at or above --fail-on; 1 a finding,
    or a target that could not be measured to its end; 2 wrong command line or list; 3
    nothing could be measured; 130 interrupted.
    """
    folder = options.context.meta.get(_RESUMED)
    if folder is not None:
        with closing(Ledger.open(folder)) as ledger:
            asked = options.settings(folder, len(ledger.targets()))
            raise typer.Exit(_measure(ledger, asked, options))
    text, source = _list(options.targets)
    targets = read_targets(text, source)
    if options.part is not None:
        targets = shard(options.part).of(targets)
    folder = options.out_dir or unused(dated_folder("fleet"))
    asked = options.settings(folder, len(targets))
    jobs = jobs_of(targets, asked, source)
    if options.dry_run:
        print_page(out(no_color=options.no_color), plan_page(planned(jobs, asked)))
        return
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    facts = FleetFacts(time.time(), options.vantage, _arguments(), asked.typed, VERSION)
    with closing(Ledger.create(folder, facts, targets)) as ledger:
        raise typer.Exit(_measure(ledger, asked, options))


def _arguments() -> tuple[str, ...]:
    """The words behind ``tlsprobe fleet`` or ``tlsprobe fleet run``."""
    words = sys.argv[sys.argv.index("fleet") + 1 :]
    return tuple(words[1:] if words[:1] == ["run"] else words)


def _measure(ledger: Ledger, asked: FleetSettings, options: FleetOptions) -> int:
    """Measure what has no answer yet, show the page, and give the exit code."""
    view = FleetProgressView(err(no_color=options.no_color), options.quiet, len(ledger.targets()))
    coordinator = Coordinator(ledger, asked, view, _engine(ledger, asked, options))
    with ledger.measuring(), view.shown():
        interrupted = trio.run(coordinator.run)
    answers = [in_short(one) for one in ledger.answers()]
    page = fleet_page(answers, ledger.facts().typed)
    replace_file(asked.folder / FLEET_PAGE, page_for_folder(page).encode())
    replace_file(asked.folder / HTML_PAGE, page_to_share(page).encode())
    print_page(out(no_color=options.no_color), page)
    if interrupted:
        view.note(f"go on with: tlsprobe fleet resume {quote(str(asked.folder))}")
        return INTERRUPTED
    print_waivers([one.run for one in answers if one.run is not None])
    view.note(f"kept in {asked.folder}; again: tlsprobe fleet report {quote(str(asked.folder))}")
    return _exit_code(answers, options.fail_on)


def _engine(ledger: Ledger, asked: FleetSettings, options: FleetOptions) -> DaskEngine | None:
    """The workers that were asked for; None: this machine."""
    if options.engine is None:
        return None
    return DaskEngine(options.engine, ledger.name(), asked, options.vantage)


def _exit_code(answers: Sequence[Answer], fail_on: str) -> int:
    runs = [one.run for one in answers if one.run is not None]
    if answers and not runs:
        return NOTHING_MEASURED
    failed = any(run.summary.get(verdict) for run in runs for verdict in FAIL_ON[fail_on])
    is_whole = len(runs) == len(answers) and not any(one.is_in_part for one in answers)
    return int(failed or (fail_on != "never" and not is_whole))


@app.command("resume")
def resume(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a fleet.")],
) -> None:
    """Measure what has no answer yet; what was cut off is gone on with, or said to be repeated.

    Example: tlsprobe fleet resume results/20261126T200102Z-fleet
    """
    with closing(Ledger.open(folder)) as ledger:
        facts = ledger.facts()
    if facts.version != VERSION:
        hint = "go on with that version, or begin anew"
        raise UsageError(f"{folder} was begun by tlsprobe {facts.version}, not {VERSION}", hint)
    context.meta[_RESUMED] = folder
    assert context.parent is not None
    command = context.parent.command.commands["run"]  # type: ignore[attr-defined]
    words = list(facts.arguments)
    with command.make_context("run", words, parent=context) as again:
        command.invoke(again)


app.command("status")(status)
app.command("report")(report)


def _list(file: str) -> tuple[str, str]:
    """The text of a list, and its name. Raises UsageError."""
    try:
        if file == "-":
            return sys.stdin.buffer.read(MOST_BYTES + 1).decode(), "standard input"
        with Path(file).open("rb") as opened:
            return opened.read(MOST_BYTES + 1).decode(), file
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}", "check the path") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: not UTF-8 at byte {error.start}", "save it as UTF-8") from None
