"""``tlsprobe lab paths``: the same closes over other paths: far away, behind NAT, in a tunnel.

The probe itself is the one that every campaign uses; over a path of namespaces it makes its sockets
in the client's.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path

import trio

from tlsprobe.campaign.circumstances import machine_load
from tlsprobe.campaign.judging import judged_run, with_judgement
from tlsprobe.campaign.lab_columns import (
    Column,
    columns_of,
    identity_of,
    patience_with,
    server_facts,
    started,
)
from tlsprobe.campaign.one_target import Job, probe
from tlsprobe.campaign.pace import interruptible
from tlsprobe.campaign.progress import Progress
from tlsprobe.campaign.reading import fact_of, holds_results, runs_in
from tlsprobe.campaign.results import keep_summary, replace_file, write_documents
from tlsprobe.campaign.settings import PathsSettings, Settings
from tlsprobe.errors import CannotMeasure, Interrupted, UsageError, plain_errors
from tlsprobe.facts.file import FACTS_FILE, FactsFile, RecordedFacts
from tlsprobe.facts.joining import joined
from tlsprobe.lab.availability import lab_of
from tlsprobe.lab.paths import PATHS, LabPath, OpenPath, missing, opened
from tlsprobe.lab.paths_findings import PathFindings, after_closes, findings_of, notes_on
from tlsprobe.lab.paths_forward import is_forward, until_up
from tlsprobe.lab.vendor import Started, running
from tlsprobe.lab.workspace import Workspace, new_workspace
from tlsprobe.model.profile import Profile
from tlsprobe.model.run import Run
from tlsprobe.model.target import TlsVersion
from tlsprobe.profiles import list_profiles, load_profile
from tlsprobe.report.blocks import Page
from tlsprobe.report.compatibility_json import absent_in
from tlsprobe.report.formats import page_for_folder
from tlsprobe.report.lab_notes import LAB_FILE, LabNotes, encode_lab_notes, read_lab_notes
from tlsprobe.report.pages.paths import paths_page
from tlsprobe.report.paths import Along
from tlsprobe.sniff.capture import endpoint

PAGE_FILE = "paths.md"
"""The page of what distance and boxes change, beside the folders of the runs."""

IDLE_S = 60
"""The servers' idle timeout: long, since the path should lose connections, not the server."""

OVER_IPV6 = "-ipv6"
"""What the name of a folder ends with, if the path was taken with IPv6."""

PATIENCE_S = 3.0
"""Seconds to wait for the far end of a path before its silence is called open."""


@dataclass(frozen=True, slots=True)
class PathsChosen:
    """What is to be measured: paths of namespaces, to each of the vendors, and tunnels.

    ``suffix`` ends the names of the paths' folders.
    """

    plain: tuple[LabPath, ...]
    forwards: tuple[Profile, ...]
    vendors: tuple[Profile, ...]
    suffix: str = ""

    @property
    def names(self) -> list[str]:
        """The names of the paths, in the order of the page."""
        return [path.name for path in self.plain] + [profile.name for profile in self.forwards]

    @property
    def folders(self) -> list[str]:
        """The names of the results folders of all of them."""
        over = [self.folder(path, server) for path in self.plain for server in self.vendors]
        return over + [profile.name for profile in self.forwards]

    def folder(self, path: LabPath, server: Profile) -> str:
        """That of a server over a path."""
        return f"{server.name}-{path.name}{self.suffix}"


@dataclass(slots=True)
class PathsMeasured:
    """What came of it: runs with their paths, and what could not be had, with the reason."""

    along: list[Along] = field(default_factory=list)
    absent: list[tuple[str, str]] = field(default_factory=list)
    interrupted: bool = False

    @property
    def runs(self) -> list[Run]:
        """The run documents."""
        return [along.run for along in self.along]


def paths_chosen(
    names: Sequence[str] | None, vendors: Sequence[str], *, over_ipv6: bool = False
) -> PathsChosen:
    """The paths of these names, or all, and the servers at their ends. Raises UsageError.

    A tunnel is no path with IPv6: what is on its way is not ours to choose.
    """
    known = {} if over_ipv6 else tunnels()
    wanted = list(dict.fromkeys(names or [*PATHS, *known]))
    for name in wanted:
        if name not in PATHS and name not in known:
            hint = f"known: {', '.join([*PATHS, *known])}"
            raise UsageError(f"unknown path '{name}'", hint)
    servers = tuple(load_profile(name) for name in dict.fromkeys(vendors))
    for profile in servers:
        lab_of(profile)
    plain = tuple(PATHS[name] for name in wanted if name in PATHS)
    forwards = tuple(known[name] for name in wanted if name in known)
    return PathsChosen(plain, forwards, servers, OVER_IPV6 if over_ipv6 else "")


def tunnels() -> dict[str, Profile]:
    """The vendors that are a path to another one."""
    profiles = (load_profile(name) for name in list_profiles())
    return {profile.name: profile for profile in profiles if profile.lab and is_forward(profile)}


async def measure_paths(
    chosen: PathsChosen, asked: PathsSettings, progress: Progress
) -> PathsMeasured:
    """Measure over path after path, and write a folder for each.

    Raises UsageError, before anything is measured, if one of the folders holds a run already.
    """
    found = PathsMeasured()
    if not asked.summary_only:
        for name in chosen.folders:
            _must_be_new(asked.folder / name)
    with new_workspace() as here:
        async with interruptible(progress.note) as stop:
            paths = _Paths(asked, here, progress, stop, found)
            for path in chosen.plain:
                for profile in chosen.vendors:
                    if not stop.is_set():
                        await paths.over(path, profile, chosen.folder(path, profile))
            async with trio.open_nursery() as side_by_side:  # they wait more than they work
                for profile in chosen.forwards:
                    side_by_side.start_soon(paths.forward, profile)
        found.interrupted = stop.is_set()
    found.along.sort(key=lambda along: chosen.names.index(along.path))
    return found


def write_page(found: PathsMeasured, asked: PathsSettings) -> Page:
    """The page of all paths that the folder holds, those of before included.

    It is also written beside their folders if one was measured. Raises UsageError.
    """
    absent = {name: (name, name, reason) for name, reason in found.absent}
    notes = LabNotes(asked.typed, tuple(absent.values()), _circumstances())
    if not found.along:
        return _page(notes, ())
    here = runs_in(asked.folder)
    earlier = {one[0]: one for one in absent_in(asked.folder) if one[0] not in here}
    notes = replace(notes, absent=tuple({**earlier, **absent}.values()))
    replace_file(asked.folder / LAB_FILE, encode_lab_notes(notes))
    page = page_again(asked.folder)
    replace_file(asked.folder / PAGE_FILE, page_for_folder(page).encode())
    return page


def page_again(folder: Path) -> Page:
    """The page of the paths whose folders are kept in ``folder``. Raises UsageError."""
    return page_of_runs(folder, runs_in(folder))


def page_of_runs(folder: Path, runs: Mapping[str, Run]) -> Page:
    """The same where its runs, by the names of their folders, have been judged already."""
    notes = read_lab_notes(folder) or LabNotes("")
    order = [*PATHS, *tunnels()]
    along = (_along(name, run) for name, run in runs.items())
    ours = [one for one in along if one.path in order]
    return _page(notes, sorted(ours, key=lambda one: order.index(one.path)))


def _page(notes: LabNotes, along: Sequence[Along]) -> Page:
    absent = [(name, reason) for name, _, reason in notes.absent]
    return paths_page(notes.command, notes.circumstances, along, absent)


def _along(name: str, run: Run) -> Along:
    """A run by its folder's name: that of a tunnel, or of a vendor and a path."""
    vendor = run.server.vendor if run.server else run.target.profile
    path = PATHS.get(name.removeprefix(f"{vendor}-").removesuffix(OVER_IPV6))
    if path is None:
        return Along(run.target.name, name, "", -1, run)
    title = run.target.name.removesuffix(f", {path.where}")
    return Along(title, path.name, path.where, list(PATHS).index(path.name), run)


class _Paths:
    """The paths while they are measured."""

    def __init__(
        self,
        asked: PathsSettings,
        here: Workspace,
        progress: Progress,
        stop: trio.Event,
        found: PathsMeasured,
    ) -> None:
        self.asked = asked
        self.here = here
        self.progress = progress
        self.stop = stop
        self.found = found

    async def over(self, path: LabPath, profile: Profile, name: str) -> None:
        """One vendor over one path of namespaces, into the folder of this name."""
        with self._reported(name):
            run = await self._over(path, profile, name)
            self.found.along.append(_along(name, run))

    async def forward(self, profile: Profile) -> None:
        """One tunnel."""
        with self._reported(profile.name):
            run = await self._tunnelled(profile)
            self.found.along.append(_along(profile.name, run))

    @contextmanager
    def _reported(self, name: str) -> Iterator[None]:
        """Note what cannot be measured, and continue; what was interrupted is not kept."""
        self.progress.note(name)
        try:
            with plain_errors():
                yield
        except Interrupted:
            pass
        except CannotMeasure as error:
            reason = " ".join(error.message.split())
            self.found.absent.append((name, reason))
            self.progress.note(f"{name} is unsupported: {reason}")

    async def _over(self, path: LabPath, profile: Profile, name: str) -> Run:
        """Raises CannotMeasure, and Interrupted."""
        reason = missing(path)
        if reason is not None:
            raise CannotMeasure(reason)
        lab = lab_of(profile)
        patient = replace(profile, lab=replace(lab, idle=IDLE_S if lab.idle else 0))
        column = next(columns_of(patient))
        with _results(name, self.asked) as folder:
            with opened(path, folder, self.asked.seed) as way:
                host = way.server.ipv6 if self.asked.over_ipv6 else way.server.ipv4
                prefix = way.server.prefix
                starting = running(patient, self.here, host=host, prefix=prefix)
                async with started(starting, self.stop) as server:
                    job = self._job(column, server, self.asked.sequences or path.sequences, folder)
                    there = replace(job.settings, namespace=way.client.name)
                    run = await self._probed(replace(job, settings=there))
            notes: tuple[str, ...] = (f"on the way: {path.text}",)
            with closing(FactsFile.resume(folder / FACTS_FILE)) as facts:
                findings = _findings(way, server)
                if findings is not None:
                    notes = notes_on(findings, _how(path, way), len(way.forgotten))
                    for side in findings.sides:
                        facts.append(side)
                family = " over IPv6" if self.asked.over_ipv6 else ""
                title = f"{lab.title or profile.title}{family}, {path.where}"
                named = _named(run, server, title, notes)
                run = _kept(named, facts, folder, self.asked)
            if self.asked.summary_only:
                keep_summary(folder, folder, run, self.asked.typed)
            return run

    async def _tunnelled(self, profile: Profile) -> Run:
        """One tunnel, each trial a run of its own: one close may take the tunnel down."""
        lab, column = lab_of(profile), next(columns_of(profile))
        runs: list[Run] = []
        parts: list[RecordedFacts] = []
        with _results(profile.name, self.asked) as folder:
            async with started(running(profile, self.here), self.stop) as server:
                cells = _cells(self.asked.sequences or lab.sequences, self.asked)
                for number, (name, version) in enumerate(cells):
                    if self.stop.is_set():
                        raise Interrupted("interrupted on a path")
                    await until_up(server.port)
                    own = self.here.scratch / f"{profile.name}-run-{number}"
                    job = self._job(column, server, (name,), own)
                    once = replace(job.settings, trials=1, tls=(version,))
                    runs.append(await self._probed(replace(job, settings=once)))
                    parts.append(RecordedFacts(own / FACTS_FILE))
            with closing(FactsFile.create(folder / FACTS_FILE, parts[0].header)) as facts:
                for fact in joined(part.read() for part in parts):
                    facts.append(fact)
                notes = (
                    "each trial is a run of its own, started once the forwarder listens; path_alive"
                    " says whether one more connection worked right after the close",
                    *after_closes(facts.read()),
                )
                named = _named(_as_one(runs), server, lab.title or profile.title, notes)
                run = _kept(named, facts, folder, self.asked)
            if self.asked.summary_only:
                keep_summary(folder, folder, run, self.asked.typed)
            return run

    async def _probed(self, job: Job) -> Run:
        """Raises CannotMeasure; Interrupted if it did not come to its end."""
        run = await probe(job, self.progress, self.stop)
        if run.interrupted:
            raise Interrupted("interrupted on a path")
        return run

    def _job(self, column: Column, server: Started, names: Sequence[str], folder: Path) -> Job:
        """Raises CannotMeasure where none of the sequences applies."""
        sequences = tuple(s for s in column.steps(names) if not s.signals)  # it is to go on
        if not sequences:
            raise CannotMeasure("none of the requested sequences applies to it")
        settings = Settings(
            trials=self.asked.trials,
            concurrency=lab_of(server.profile).concurrency,
            rate=inf,
            tls=self.asked.tls,
            patience=patience_with(server.profile, PATIENCE_S),
            identity=identity_of(server.profile, self.here),
            require_capture=True,
        )
        target, converse = column.target(server), column.converse(server)
        return Job(target, converse, sequences, settings, folder, typed=self.asked.typed)


def _findings(way: OpenPath, server: Started) -> PathFindings | None:
    if way.sides is None:
        return None
    near, far = way.sides
    whole = not near.dropped and not far.dropped
    return findings_of(near.frames, far.frames, endpoint((server.host, server.port)), whole=whole)


def _how(path: LabPath, way: OpenPath) -> str:
    if not way.forgotten:
        return path.text
    shortest = min(entry.idle_s for entry in way.forgotten)
    return f"{path.text} (done {len(way.forgotten)} times, after {shortest} s or more of silence)"


def _as_one(runs: Sequence[Run]) -> Run:
    """What the documents of several runs say beside the judgement, as one."""
    captures = [run.capture for run in runs]
    capture = replace(
        captures[0],
        packets=sum(capture.packets for capture in captures),
        dropped=sum(capture.dropped or 0 for capture in captures),
    )
    return replace(runs[0], capture=capture, finished=runs[-1].finished)


def _cells(sequences: Sequence[str], asked: PathsSettings) -> Iterator[tuple[str, TlsVersion]]:
    for sequence in sequences:
        for version in asked.tls:
            for _ in range(asked.trials):
                yield sequence, version


def _must_be_new(folder: Path) -> None:
    if holds_results(folder):
        hint = (
            "name the paths that it does not hold, choose another folder with --out, or replace its"
            " runs with --summary-only"
        )
        raise UsageError(f"{folder} already holds the results of a run", hint)


@contextmanager
def _results(name: str, asked: PathsSettings) -> Iterator[Path]:
    """A path's folder, which is gone if its run does not come to its end."""
    folder = asked.folder / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # it holds other runs
            asked.folder.rmdir()
        raise


def _named(run: Run, server: Started, title: str, notes: tuple[str, ...]) -> Run:
    """The run under its path's name, with what only the lab knows."""
    return replace(
        run,
        target=replace(run.target, name=title),
        notes=(*notes, *run.notes),
        server=server_facts(server, server.profile.name, title),
    )


def _kept(run: Run, recorded: FactsFile, folder: Path, asked: PathsSettings) -> Run:
    """The run, judged with all facts and written down."""
    recorded.append(fact_of(run, asked.typed))
    judged = judged_run(recorded.read, run.vendor)
    run = with_judgement(run, judged)
    write_documents(folder, run, judged.trials, asked.typed)
    return run


def _circumstances() -> str:
    """What a reader must know before believing that distance made a difference."""
    return (
        f"Paths are measured one after the other; the machine's load was {machine_load(15)}."
        " Who wins a race depends on that as well as on the distance:"
        " trust only a difference that a second run shows again."
    )
