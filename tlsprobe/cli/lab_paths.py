"""``tlsprobe lab paths``: the same closes over other paths: far away, behind NAT, in a tunnel."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import trio
import typer

from tlsprobe.campaign.judging import judged_run, with_judgement
from tlsprobe.campaign.pace import cancel_at, interruptible
from tlsprobe.campaign.results import write_documents
from tlsprobe.cli.console import err, out, say
from tlsprobe.cli.progress import ProgressView
from tlsprobe.cli.typed import command_line
from tlsprobe.errors import CannotMeasure, UsageError, plain_errors
from tlsprobe.facts.file import FACTS_FILE, FactsFile, RecordedFacts
from tlsprobe.facts.joining import joined
from tlsprobe.lab.availability import lab_of
from tlsprobe.lab.paths import PATHS, LabPath, OpenPath, missing, opened
from tlsprobe.lab.paths_forward import is_forward, until_up
from tlsprobe.lab.paths_story import Story, after_closes, notes_on, story_of
from tlsprobe.lab.vendor import Started, running
from tlsprobe.lab.workspace import Workspace, places
from tlsprobe.model.profile import Profile
from tlsprobe.model.run import Run, ServerFacts
from tlsprobe.model.target import TlsVersion
from tlsprobe.profiles import list_profiles, load_profile
from tlsprobe.report.blocks import Field, Fields
from tlsprobe.report.document import (
    RUN_FILE,
    TRIALS_FILE,
    encode_run_line,
    read_run,
)
from tlsprobe.report.escape import printable
from tlsprobe.report.pages.paths import paths_page
from tlsprobe.report.paths import Along
from tlsprobe.report.render_markdown import render_markdown
from tlsprobe.report.render_terminal import print_page
from tlsprobe.sniff.capture import endpoint

DEFAULT_VENDORS = ("nginx", "postgres")
PAGE_FILE = "paths.md"
"""The page of what distance and boxes change, beside the folders of the runs."""

IDLE_S = 60
"""The servers' idle timeout: long, since the path should lose connections, not the server."""

PATIENCE_S = 3.0
"""Seconds to wait for the far end of a path before its silence is called open."""

_PASSWORD = "TLSPROBE_LAB_PASSWORD"


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    folder: Path
    trials: int
    tls: tuple[TlsVersion, ...]
    sequences: tuple[str, ...]
    seed: int
    summary_only: bool


@dataclass(slots=True)
class Found:
    """What came of it: runs with their paths, and what could not be had, with the reason."""

    along: list[Along] = field(default_factory=list)
    absent: list[tuple[str, str]] = field(default_factory=list)
    interrupted: bool = False

    @property
    def runs(self) -> list[Run]:
        """The run documents."""
        return [along.run for along in self.along]


def paths(  # noqa: PLR0917 - the options of the command line are its arguments
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATH...]", help="Names (see '--list'). Default: all."),
    ] = None,
    vendor: Annotated[
        list[str] | None,
        typer.Option(help="Server to reach; repeatable. Default: nginx and postgres."),
    ] = None,
    sequence: Annotated[
        list[str] | None,
        typer.Option(help="Name or steps; repeatable. Default: what the path affects."),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Connections per cell.")] = 3,
    tls: Annotated[list[TlsVersion] | None, typer.Option(help="1.2 or 1.3. Default: both.")] = None,
    seed: Annotated[int, typer.Option(help="Seed for which packets a lossy path loses.")] = 1,
    out_dir: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Results folder. Default: results/<UTC time>-paths."
        ),
    ] = None,
    summary_only: Annotated[
        bool,
        typer.Option(
            "--summary-only",
            help="Keep only run.json and matrix.md, and replace those of a path in DIR.",
        ),
    ] = False,
    lean: Annotated[bool, typer.Option("--lean", hidden=True)] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the paths.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one run document per line.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print no progress and no notes.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="Print no colour.")] = False,
) -> None:
    """Reach real servers over different paths, and show which resets depend on the path.

    Example: sudo tlsprobe lab paths direct rtt-20ms --vendor nginx

    Exit codes: 0 measured; 2 wrong command line; 3 nothing could be measured;
    130 interrupted, results so far are kept.
    """
    if list_:
        _list(no_color)
        return
    plain, forwards = chosen(names)
    vendors = [load_profile(name) for name in dict.fromkeys(vendor or DEFAULT_VENDORS)]
    for profile in vendors:
        lab_of(profile)
    folder = out_dir or Path("results", f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-paths")
    wanted = tuple(dict.fromkeys(tls or TlsVersion))
    options = Options(folder, trials, wanted, tuple(sequence or ()), seed, summary_only or lean)
    progress = ProgressView(err(no_color), quiet)
    with plain_errors():
        found = trio.run(_measure, plain, forwards, vendors, options, progress)
    _present(found, options, progress, json, no_color)
    if found.interrupted:
        raise typer.Exit(130)
    if not found.along:
        raise typer.Exit(3)


def chosen(names: Sequence[str] | None) -> tuple[list[LabPath], list[Profile]]:
    """The paths of these names, or all: those of namespaces, and tunnels. Raises UsageError."""
    tunnels = _tunnels()
    wanted = list(dict.fromkeys(names or [*PATHS, *tunnels]))
    for name in wanted:
        if name not in PATHS and name not in tunnels:
            hint = f"known: {', '.join([*PATHS, *tunnels])}"
            raise UsageError(f"unknown path '{name}'", hint)
    return [PATHS[n] for n in wanted if n in PATHS], [tunnels[n] for n in wanted if n in tunnels]


def _tunnels() -> dict[str, Profile]:
    profiles = (load_profile(name) for name in list_profiles())
    return {profile.name: profile for profile in profiles if profile.lab and is_forward(profile)}


def _list(no_color: bool) -> None:
    paths = (
        Field(path.name, path.text + (f" ({reason})" if (reason := missing(path)) else ""))
        for path in PATHS.values()
    )
    tunnels = (Field(name, profile.title) for name, profile in _tunnels().items())
    print_page(out(no_color), (Fields((*paths, *tunnels)),))


# --- Measuring ------------------------------------------------------------------------------------


async def _measure(
    plain: Sequence[LabPath],
    forwards: Sequence[Profile],
    vendors: Sequence[Profile],
    options: Options,
    progress: ProgressView,
) -> Found:
    found = Found()
    with places() as here:
        async with interruptible(progress.note) as stop, trio.open_nursery() as nursery:
            nursery.start_soon(cancel_at, stop, nursery.cancel_scope)
            for path in plain:
                for profile in vendors:
                    name = f"{profile.name}-{path.name}"
                    progress.note(name)
                    with _reported(name, found, progress):
                        run = await _over(path, profile, here, options)
                        rank = list(PATHS).index(path.name)
                        title = lab_of(profile).title or profile.title
                        found.along.append(Along(title, path.name, path.where, rank, run))
            async with trio.open_nursery() as side_by_side:  # they wait more than they work
                for profile in forwards:
                    side_by_side.start_soon(_forward, profile, here, options, found, progress)
            nursery.cancel_scope.cancel()
        found.interrupted = stop.is_set()
    asked = [path.name for path in plain] + [profile.name for profile in forwards]
    found.along.sort(key=lambda along: asked.index(along.path))
    return found


async def _forward(
    profile: Profile, here: Workspace, options: Options, found: Found, progress: ProgressView
) -> None:
    progress.note(profile.name)
    with _reported(profile.name, found, progress):
        run = await _tunnelled(profile, here, options)
        found.along.append(Along(run.target.name, profile.name, "", -1, run))


@contextmanager
def _reported(name: str, found: Found, progress: ProgressView) -> Iterator[None]:
    """Note what cannot be measured, and continue."""
    try:
        with plain_errors():
            yield
    except CannotMeasure as error:
        reason = " ".join(error.message.split())
        found.absent.append((name, reason))
        progress.note(f"{name} is unsupported: {reason}")


async def _over(path: LabPath, profile: Profile, here: Workspace, options: Options) -> Run:
    """One vendor over one path of namespaces. Raises CannotMeasure."""
    reason = missing(path)
    if reason is not None:
        raise CannotMeasure(reason)
    lab = lab_of(profile)
    patient = replace(profile, lab=replace(lab, idle=IDLE_S if lab.idle else 0))
    sequences = options.sequences or path.sequences
    with _results(f"{profile.name}-{path.name}", options) as folder:
        with opened(path, folder, options.seed) as way:
            host, prefix = way.server.ipv4, way.server.prefix
            async with running(patient, here, host=host, prefix=prefix) as server:
                command = _command(server, here, options, sequences, folder)
                await _probe([*way.client.prefix, *command], _env(profile))
        story = _story(way, server)
        told: tuple[str, ...] = (f"on the way: {path.text}",)
        with closing(FactsFile.resume(folder / FACTS_FILE)) as facts:
            if story is not None:
                told = notes_on(story, _how(path, way), len(way.forgotten))
                for side in story.sides:
                    facts.append(side)
            title = f"{lab.title or profile.title}, {path.where}"
            return _kept(read_run(folder), facts, folder, title, server, told, options)


def _story(way: OpenPath, server: Started) -> Story | None:
    if way.sides is None:
        return None
    near, far = way.sides
    return story_of(near.frames, far.frames, endpoint((server.host, server.port)))


def _how(path: LabPath, way: OpenPath) -> str:
    if not way.forgotten:
        return path.text
    shortest = min(entry.idle_s for entry in way.forgotten)
    return f"{path.text} (done {len(way.forgotten)} times, after {shortest} s or more of silence)"


async def _tunnelled(profile: Profile, here: Workspace, options: Options) -> Run:
    """One tunnel, each trial a run of its own: one close may take the tunnel down."""
    lab = lab_of(profile)
    runs: list[Run] = []
    parts: list[RecordedFacts] = []
    with _results(profile.name, options) as folder:
        async with running(profile, here) as server:
            cells = _cells(options.sequences or lab.sequences, options)
            for number, (name, version) in enumerate(cells):
                await until_up(server.port)
                own = here.scratch / f"{profile.name}-run-{number}"
                only = replace(options, trials=1, tls=(version,))
                await _probe(_command(server, here, only, (name,), own), _env(profile))
                runs.append(read_run(own))
                parts.append(RecordedFacts(own / FACTS_FILE))
        with closing(FactsFile.create(folder / FACTS_FILE, parts[0].header)) as facts:
            for fact in joined(part.read() for part in parts):
                facts.append(fact)
            said = (
                "each trial is a run of its own, started once the forwarder listens; path_alive"
                " says whether one more connection worked right after the close",
                *after_closes(facts.read()),
            )
            title = lab.title or profile.title
            return _kept(_as_one(runs), facts, folder, title, server, said, options)


def _as_one(runs: Sequence[Run]) -> Run:
    """What the documents of several runs say beside the judgement, as one."""
    captures = [run.capture for run in runs]
    capture = replace(
        captures[0],
        packets=sum(capture.packets for capture in captures),
        dropped=sum(capture.dropped or 0 for capture in captures),
    )
    return replace(runs[0], capture=capture, finished=runs[-1].finished)


def _cells(sequences: Sequence[str], options: Options) -> Iterator[tuple[str, TlsVersion]]:
    for sequence in sequences:
        for version in options.tls:
            for _ in range(options.trials):
                yield sequence, version


def _command(
    server: Started, here: Workspace, options: Options, sequences: Sequence[str], folder: Path
) -> list[str]:
    """``tlsprobe run`` for a server of the lab."""
    profile, lab = server.profile, lab_of(server.profile)
    words = [sys.executable, "-m", "tlsprobe", "run", "--quiet", "--json", "--fail-on", "never"]
    words += ["--target", f"{server.host}:{server.port}", "--profile", _profile(profile, here)]
    words += ["--trials", str(options.trials), "--patience", str(PATIENCE_S)]
    words += ["--require-capture", "--out", str(folder)]
    for name in sequences:
        words += ["--sequence", name]
    for version in options.tls:
        words += ["--tls", version]
    for option, value in (("--user", lab.login.user), ("--database", lab.login.database)):
        words += [option, value] if value else []
    if lab.login.password:
        words += ["--password-env", _PASSWORD]
    if lab.client_cert:
        words += ["--cert", str(here.client_cert), "--key", str(here.client_key)]
    for name in lab.alpn or ():
        words += ["--alpn", name]
    return words


def _profile(profile: Profile, here: Workspace) -> str:
    """The profile as the lab wants it: with what its ``[lab]`` says of the protocol."""
    lab = lab_of(profile)
    if not lab.protocol or profile.like is not None:
        return str(lab.folder)
    file = here.scratch / f"{profile.name}-lab.toml"
    changed = "\n".join(f"{name} = {_toml(value)}" for name, value in lab.protocol.items())
    like = f'name = "{profile.name}"\ntitle = "{profile.title}"\nlike = "{profile.name}"'
    file.write_text(f"{like}\n[protocol]\n{changed}\n", encoding="utf-8")
    return str(file)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else f"'{value}'"


def _env(profile: Profile) -> dict[str, str]:
    password = lab_of(profile).login.password
    return {**os.environ, **({_PASSWORD: password} if password else {})}


async def _probe(command: Sequence[str], env: dict[str, str]) -> None:
    """Run tlsprobe itself. Raises CannotMeasure with what it said, if it could not measure."""
    done = await trio.run_process(
        command, env=env, check=False, capture_stdout=True, capture_stderr=True
    )
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        errors = (line.removeprefix("error: ") for line in said if line.startswith("error: "))
        last = said[-1] if said else f"status {done.returncode}"
        raise CannotMeasure(next(errors, f"tlsprobe run ended with {last}"))


@contextmanager
def _results(name: str, options: Options) -> Iterator[Path]:
    """A path's folder, which is gone if its run does not come to its end."""
    folder = options.folder / name
    if (folder / RUN_FILE).exists() and not options.summary_only:
        hint = "choose another folder with --out, or replace its runs with --summary-only"
        raise UsageError(f"{folder} already holds the results of a run", hint)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # it holds other runs
            options.folder.rmdir()
        raise


def _kept(  # noqa: PLR0917 - the parts of a run over a path
    run: Run,
    recorded: FactsFile,
    folder: Path,
    title: str,
    server: Started,
    notes: tuple[str, ...],
    options: Options,
) -> Run:
    """The run under its path's name, judged with all facts, with what only the lab knows."""
    judged = judged_run(recorded.read)
    facts = ServerFacts(
        server.profile.name, title, server.version, server.tls_library, user=server.user
    )
    named = replace(
        with_judgement(run, judged),
        target=replace(run.target, name=title),
        notes=(*notes, *run.notes),
        server=facts,
        command=(),
    )
    write_documents(folder, named, None if options.summary_only else judged.trials, command_line())
    if options.summary_only:
        for file in (folder / TRIALS_FILE, *folder.glob("*.pcapng")):
            file.unlink(missing_ok=True)
    return named


# --- Telling --------------------------------------------------------------------------------------


def _present(
    found: Found, options: Options, progress: ProgressView, json: bool, no_color: bool
) -> None:
    if json:
        for run in found.runs:
            sys.stdout.buffer.write(encode_run_line(run))
        sys.stdout.flush()
    page = paths_page(command_line(), _circumstances(), found.along, found.absent)
    if found.runs and not json:
        print_page(out(no_color), page)
    for name, reason in found.absent:
        say(
            progress.console, f"unsupported: {name}: {printable(reason, progress.console.encoding)}"
        )
    if found.along:
        (options.folder / PAGE_FILE).write_text(render_markdown(page), encoding="utf-8")
        progress.note(f"written to {options.folder}")


def _circumstances() -> str:
    """What a reader must know before believing that distance made a difference."""
    load, processors = os.getloadavg()[2], os.cpu_count() or 1
    return (
        f"Paths are measured one after the other; the machine's load was {load:.1f} on"
        f" {processors} processors. Who wins a race depends on that as well as on the distance:"
        " trust only a difference that a second run shows again."
    )
