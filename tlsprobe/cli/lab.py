"""``tlsprobe lab``: real servers on this machine, started from their profiles and probed."""

from __future__ import annotations

import json as json_text
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import trio
import typer

from tlsprobe.campaign.expecting import has_changed
from tlsprobe.campaign.pace import interruptible
from tlsprobe.cli.console import complain, err, out, say
from tlsprobe.cli.lab_clients import clients
from tlsprobe.cli.lab_paths import paths
from tlsprobe.cli.lab_run import Lab, Options, Outcome
from tlsprobe.cli.progress import ProgressView
from tlsprobe.errors import UsageError, plain_errors
from tlsprobe.lab import kernel_truth
from tlsprobe.lab.availability import Availability, Presence, availability, lab_of
from tlsprobe.lab.install import install as install_all
from tlsprobe.lab.paths_forward import is_forward
from tlsprobe.lab.vendor import versions
from tlsprobe.lab.workspace import places, tools_folder
from tlsprobe.model.profile import Profile
from tlsprobe.model.target import TlsVersion
from tlsprobe.profiles import list_profiles, load_profile
from tlsprobe.report.blocks import CodeBlock, Column, Note, Page, Table, Text
from tlsprobe.report.document import encode_run_line
from tlsprobe.report.escape import printable
from tlsprobe.report.pages.compatibility import compatibility_page
from tlsprobe.report.pages.deviations import deviations_section
from tlsprobe.report.render_terminal import print_page
from tlsprobe.sniff import capture as sniffer

AT_A_TIME = 4
"""How many servers are asked for their version at the same time."""

LOOPBACK, DISCARD = "127.0.0.1", 9
"""Where a capture is tried before the lab begins."""

Vendors = Annotated[
    list[str] | None,
    typer.Argument(metavar="VENDOR", help="Names or paths of profiles. Default: all."),
]
NoColor = Annotated[bool, typer.Option("--no-color", help="Print no colour.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print no progress and no notes.")]

app = typer.Typer(
    add_completion=False,
    help="Start real servers from their profiles, probe them, and compare them in one matrix.",
    no_args_is_help=True,
)
app.command("paths")(paths)
app.command("clients")(clients)


@dataclass(frozen=True, slots=True)
class _Listed:
    """A vendor, whether it can be started, and its version if so."""

    profile: Profile
    found: Availability
    version: str | None
    tls_library: str | None


@app.command("list")
def list_(
    vendors: Vendors = None,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
    no_color: NoColor = False,
) -> None:
    """List which vendors are installed, which can be installed and how, and which cannot."""
    picked = chosen(vendors)
    for error in picked.broken.values():
        complain(error)
    listed = trio.run(_listed, picked.profiles)
    if json:
        sys.stdout.write(json_text.dumps([_as_document(one) for one in listed], indent=1) + "\n")
        return
    print_page(out(no_color), _list_page(listed))


def _list_page(listed: Sequence[_Listed]) -> Page:
    heads = ("vendor", "", "title", "version, or how to get it")
    hints = ["to probe what is installed: sudo tlsprobe lab run [VENDOR...]"]
    if any(one.found.presence is Presence.INSTALLABLE for one in listed):
        hints.insert(0, "to install what is missing: sudo tlsprobe lab install [VENDOR...]")
    return (
        Table(tuple(map(Column, heads)), tuple(map(_row, listed))),
        Note(f"{_counted(listed)}."),
        CodeBlock(tuple(hints)),
    )


def _row(one: _Listed) -> tuple[Text, ...]:
    title = lab_of(one.profile).title or one.profile.title
    is_here = one.found.presence is Presence.HERE
    how = _versions(one) if is_here else one.found.words
    return (one.profile.name, str(one.found.presence), title, how)


@app.command("install")
def install(vendors: Vendors = None, quiet: Quiet = False, no_color: NoColor = False) -> None:
    """Install what vendors need: Debian packages as root, everything else in a cache folder.

    Starts and enables no service. Exits with 3 if a vendor still cannot be started.
    """
    progress = ProgressView(err(no_color), quiet)
    picked = chosen(vendors)
    with plain_errors():
        failures = trio.run(install_all, picked.profiles, tools_folder(), progress.note)
    failures |= {name: error.message for name, error in picked.broken.items()}
    for name, reason in failures.items():
        say(progress.console, f"{name}: {printable(reason, progress.console.encoding)}", "yellow")
    if failures:
        raise typer.Exit(3)


@app.command("run")
def run(  # noqa: PLR0917 - the options of the command line are its arguments
    vendors: Vendors = None,
    trials: Annotated[int, typer.Option(min=1, help="Connections per cell.")] = 3,
    sequence: Annotated[
        list[str] | None,
        typer.Option(help="Name or steps; repeatable. Default: all that apply."),
    ] = None,
    tls: Annotated[list[TlsVersion] | None, typer.Option(help="1.2 or 1.3. Default: both.")] = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="Servers at a time; more than one makes timings less exact.")
    ] = 1,
    patience: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            help="How long to wait for a server, in seconds. Default: from its idle timeout.",
        ),
    ] = None,
    idle_limit: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            help="How long idle sequences wait, in seconds. Default: from the idle timeout.",
        ),
    ] = None,
    install: Annotated[
        bool, typer.Option("--install", help="First install what is missing ('lab install').")
    ] = False,
    out_dir: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Results folder. Default: results/<UTC time>-lab."
        ),
    ] = None,
    summary_only: Annotated[
        bool,
        typer.Option(
            "--summary-only",
            help="Keep only run.json and matrix.md, and replace those of a vendor in DIR.",
        ),
    ] = False,
    lean: Annotated[bool, typer.Option("--lean", hidden=True)] = False,
    expect: Annotated[
        Path | None,
        typer.Option(
            metavar="BASELINE",
            help="Compare with the folder of an earlier lab; exit with 1 on change.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one run document per line.")] = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> None:
    """Start servers one after the other, probe each, and write the compatibility matrix.

    Example: sudo tlsprobe lab run nginx postgres redis

    A server that cannot be started is "unsupported" in the matrix, with the reason.

    Exit codes: 0 measured; 1 changed since --expect; 2 wrong command line;
    3 nothing could be measured; 130 interrupted, results so far are kept.
    """
    picked = chosen(vendors, tunnels=False)
    progress = ProgressView(err(no_color), quiet)
    folder = out_dir or Path("results", f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-lab")
    wanted = tuple(dict.fromkeys(tls or TlsVersion))
    options = Options(
        folder,
        trials,
        wanted,
        tuple(sequence or ()),
        jobs,
        patience,
        idle_limit,
        summary_only or lean,
        expect,
    )
    with plain_errors():
        outcome = trio.run(_run, picked, options, progress, install)
    _present(outcome, progress, json, no_color)
    if outcome.interrupted:
        raise typer.Exit(130)
    if not outcome.runs:
        raise typer.Exit(3)
    raise typer.Exit(int(has_changed(outcome.runs)))


async def _run(picked: Chosen, options: Options, progress: ProgressView, get: bool) -> Outcome:
    await _capture_works()
    with ExitStack() as until_the_end:
        here = until_the_end.enter_context(places())
        watch = None
        if (blind := kernel_truth.available()) is None:
            watch = until_the_end.enter_context(kernel_truth.watch_resets())
        else:
            progress.note(f"causes are not compared with the kernel's reasons: {blind}")
        lab = Lab(options, here, progress, watch)
        for name, error in picked.broken.items():
            lab.is_broken(name, name, error)
        with progress.shown():
            async with interruptible(progress.note) as stop:
                if get:
                    await _install_unless(stop, picked.profiles, here.tools, progress)
                await lab.measure(picked.profiles, stop)
    return lab.outcome()


async def _capture_works() -> None:
    """Raises CannotMeasure, before any server is started, if RSTs cannot be seen here."""
    async with sniffer.open_capture("auto", True, None, LOOPBACK, DISCARD, None):
        pass


async def _install_unless(
    stop: trio.Event, profiles: Sequence[Profile], tools: Path, progress: ProgressView
) -> None:
    async with trio.open_nursery() as nursery:

        async def until_stopped() -> None:
            await stop.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(until_stopped)
        await install_all(profiles, tools, progress.note)
        nursery.cancel_scope.cancel()


def _present(outcome: Outcome, progress: ProgressView, json: bool, no_color: bool) -> None:
    if json:
        for done in outcome.runs:
            sys.stdout.buffer.write(encode_run_line(done))
        sys.stdout.flush()
    elif outcome.matrix is not None:
        changes = (block for done in outcome.runs for block in deviations_section(done))
        print_page(out(no_color), (*compatibility_page(outcome.matrix), *changes))
    if outcome.matrix is not None:
        progress.note(f"written to {outcome.folder}")


@dataclass(frozen=True, slots=True)
class Chosen:
    """The vendors to deal with, and those whose profiles cannot be read."""

    profiles: list[Profile]
    broken: dict[str, UsageError] = field(default_factory=dict)


def chosen(names: Sequence[str] | None, *, tunnels: bool = True) -> Chosen:
    """The vendors of these names, or all. Raises UsageError for what is no vendor.

    ``tunnels``: include vendors that are a path to another one. Where all are meant, a mistake in
    one profile does not stop the others.
    """
    if names:
        profiles = [load_profile(name) for name in dict.fromkeys(names)]
        for profile in profiles:
            lab_of(profile)
        return Chosen(profiles)
    every = Chosen([])
    for name in list_profiles():
        try:
            profile = load_profile(name)
        except UsageError as error:
            every.broken[name] = error
            continue
        if profile.lab is not None and (tunnels or not is_forward(profile)):
            every.profiles.append(profile)
    return every


async def _listed(profiles: Sequence[Profile]) -> list[_Listed]:
    found: dict[str, _Listed] = {}
    at_a_time = trio.CapacityLimiter(AT_A_TIME)

    async def look(profile: Profile) -> None:
        async with at_a_time:
            known = _availability(profile)
            known_versions: tuple[str | None, str | None] = (None, None)
            if known.presence is Presence.HERE:
                known_versions = await versions(profile, known.program, tools_folder())
            found[profile.name] = _Listed(profile, known, *known_versions)

    async with trio.open_nursery() as nursery:
        for profile in profiles:
            nursery.start_soon(look, profile)
    return [found[profile.name] for profile in profiles]


def _availability(profile: Profile) -> Availability:
    try:
        return availability(profile, tools_folder())
    except UsageError as error:  # what it stands in front of is no vendor
        return Availability(Presence.MISSING, words=error.message)


def _counted(listed: Sequence[_Listed]) -> str:
    count = Counter(one.found.presence for one in listed)
    return ", ".join(f"{count[presence]} {presence}" for presence in Presence if count[presence])


def _versions(one: _Listed) -> str:
    return ", ".join(filter(None, (one.version, one.tls_library))) or "version unknown"


def _as_document(one: _Listed) -> dict[str, str | None]:
    return {
        "vendor": one.profile.name,
        "title": lab_of(one.profile).title or one.profile.title,
        "protocol": one.profile.protocol,
        "presence": str(one.found.presence),
        "program": one.found.program,
        "version": one.version,
        "tls_library": one.tls_library,
        "words": one.found.words,
    }
