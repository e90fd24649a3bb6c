"""The campaign of ``tlsprobe lab run``: vendor after vendor started, probed, stopped and judged."""

from __future__ import annotations

import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import trio

from tlsprobe.campaign.expecting import read_baseline
from tlsprobe.campaign.job import Job, probe
from tlsprobe.campaign.pace import cancel_at
from tlsprobe.campaign.progress import Progress
from tlsprobe.campaign.results import RUN_PAGE, give_back, writing
from tlsprobe.campaign.settings import Settings, plan
from tlsprobe.catalogue import default_sequences, find_sequences, lacks
from tlsprobe.cli.matrix import AUTOMATIC
from tlsprobe.cli.typed import command_line
from tlsprobe.drive.script import Patience
from tlsprobe.errors import CannotMeasure, Interrupted, TlsprobeError, UsageError, plain_errors
from tlsprobe.facts.file import FACTS_FILE
from tlsprobe.lab.availability import lab_of
from tlsprobe.lab.kernel_truth import ResetWatch
from tlsprobe.lab.vendor import Started, running
from tlsprobe.lab.workspace import SERVER_NAME, Workspace
from tlsprobe.model.facts import KernelFact
from tlsprobe.model.profile import Profile
from tlsprobe.model.run import Run, ServerFacts
from tlsprobe.model.sequence import Sequence as Steps
from tlsprobe.model.target import Login, Target, TlsIdentity, TlsVersion
from tlsprobe.profiles import list_profiles, load_profile
from tlsprobe.protocols import has_goodbye, make_conversation, offers
from tlsprobe.report.agreement import agreement_of
from tlsprobe.report.compatibility import Absent, Compatibility
from tlsprobe.report.compatibility_files import write_compatibility
from tlsprobe.report.compatibility_json import absent_in
from tlsprobe.report.document import RUN_FILE, encode_document, read_run

TRUTH_FILE = "truth.json"
"""The agreement with the kernel, beside the matrix."""

PATIENCE = 2.0
"""Seconds to wait for a server that is near; less where it would end an idle connection by then."""

_TOGETHER = 500
"""Resets that are written down in one line."""

ANSWER = 5.0
"""Seconds for a handshake or a response, which any of these servers gives unless it is busy."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says. Durations in seconds, None: by the server's idle timeout."""

    folder: Path
    trials: int
    tls: tuple[TlsVersion, ...]
    sequences: tuple[str, ...]
    jobs: int
    patience: float | None
    idle_limit: float | None
    summary_only: bool
    expect: Path | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a lab. ``matrix`` None: nothing, so that nothing was written."""

    folder: Path
    runs: tuple[Run, ...]
    matrix: Compatibility | None
    interrupted: bool


@dataclass(frozen=True, slots=True)
class _Column:
    """One way to probe a running server; ``name`` is that of its results folder."""

    name: str
    title: str
    profile: Profile
    sequences: tuple[str, ...]
    has_idle: bool


class Lab:
    """The state of a lab while it measures."""

    def __init__(
        self, options: Options, here: Workspace, progress: Progress, watch: ResetWatch | None
    ) -> None:
        self.options = options
        self.here = here
        self.progress = progress
        self.watch = watch
        self.lost = 0
        self.done = 0
        self.runs: dict[str, Run] = {}
        self.absent: dict[str, Absent] = {}
        self.uncompared: set[str] = set()
        self.profiles: dict[str, Profile] = {}
        self.matrix: Compatibility | None = None
        self.interrupted = False

    async def measure(self, profiles: Sequence[Profile], stop: trio.Event) -> None:
        """Measure them all, some side by side if the options say so; then write the matrix.

        What is wrong with one of them is noted, and the others go on. Raises
        UsageError, before any server is started, for what is wrong with the command line.
        """
        planned = self._planned(profiles)
        waiting = iter(enumerate(planned, 1))
        begun, count = time.monotonic(), len(planned)

        async def work() -> None:
            for number, (profile, columns) in waiting:
                if stop.is_set():
                    return
                left = _left(time.monotonic() - begun, self.done, count)
                self.progress.note(f"{profile.name} ({number}/{count}{left})")
                await self._vendor(profile, columns, stop)
                self.done += 1

        async with trio.open_nursery() as nursery:
            for _ in range(self.options.jobs):
                nursery.start_soon(work)
        self.interrupted = stop.is_set()
        with writing(self.options.folder):
            self._write()

    def outcome(self) -> Outcome:
        """What came of it."""
        return Outcome(
            self.options.folder,
            tuple(self.runs.values()),
            self.matrix,
            self.interrupted,
        )

    # --- before the first one -----------------------------------------------------------------

    def _planned(self, profiles: Sequence[Profile]) -> list[tuple[Profile, list[_Column]]]:
        for name in self.options.sequences:
            find_sequences(name)
        planned = [(p, columns) for p in profiles if (columns := self._columns_of(p))]
        if self.uncompared:
            names = ", ".join(sorted(self.uncompared))
            self.progress.note(f"{self.options.expect} has no results of {names} to compare with")
        with writing(self.options.folder):
            self.options.folder.mkdir(parents=True, exist_ok=True)
        return planned

    def _columns_of(self, profile: Profile) -> list[_Column]:
        """The vendor's columns that can be tried; of the others, why not."""
        try:
            columns = [(c, self._steps(c)) for c in _columns(profile)]
        except UsageError as error:
            self.is_broken(profile.name, lab_of(profile).title or profile.title, error)
            return []
        for column, steps in columns:
            self.profiles[column.name] = profile
            if not steps:
                reason = "none of the requested sequences applies to it"
                self._is_absent(column, CannotMeasure(reason))
                continue
            self._baseline(column, steps, self._settings(profile))
            place = self.options.folder / column.name
            if not self.options.summary_only and (place / RUN_FILE).exists():
                hint = "choose another folder with --out, or replace its runs with --summary-only"
                raise UsageError(f"{place} already holds the results of a run", hint)
        return [column for column, steps in columns if steps]

    def _steps(self, column: _Column) -> tuple[Steps, ...]:
        return _sequences(column, self.options.sequences, column.has_idle)

    # --- one vendor ---------------------------------------------------------------------------

    async def _vendor(self, profile: Profile, columns: Sequence[_Column], stop: trio.Event) -> None:
        try:
            with plain_errors():
                async with _started(running(profile, self.here), stop) as server:
                    for column in columns:
                        if not stop.is_set():
                            await self._column(column, server, stop)
        except Interrupted:
            return
        except TlsprobeError as error:
            for column in columns:
                if column.name not in {*self.runs, *self.absent}:
                    self._is_absent(column, error)

    async def _column(self, column: _Column, server: Started, stop: trio.Event) -> None:
        job = self._job(column, server)
        try:
            run = await _twice(lambda: probe(job, self.progress, stop))
        except CannotMeasure as error:
            self._is_absent(column, error)
            return
        if self.options.summary_only and run.interrupted:
            return  # part of a run is no replacement for a whole one
        self.runs[column.name] = run
        if self.options.summary_only:
            _keep_summary(job.folder, self.options.folder / column.name)

    def is_broken(self, name: str, title: str, error: Exception) -> None:
        """Note a vendor that cannot be measured, with the reason."""
        said = error.message if isinstance(error, TlsprobeError) else str(error)
        reason = " ".join(said.split())
        self.absent[name] = (name, title, reason)
        self.progress.note(f"{name} is unsupported: {reason}")

    def _is_absent(self, column: _Column, error: Exception) -> None:
        self.is_broken(column.name, column.title, error)

    def _job(self, column: _Column, server: Started) -> Job:
        profile = column.profile
        target = Target(
            column.title,
            server.host,
            server.port,
            profile.like or profile.name,
            profile.protocol,
        )
        settings = self._settings(server.profile)
        login = lab_of(server.profile).login
        sequences = self._steps(column)
        begun = time.time_ns()
        place = self.here.scratch / "results" if self.options.summary_only else self.options.folder
        return Job(
            target=target,
            converse=make_conversation(profile, SERVER_NAME, login, server.port),
            sequences=sequences,
            settings=settings,
            folder=place / column.name,
            baseline=self._baseline(column, sequences, settings),
            typed=command_line(),
            witnessed=lambda: self._witnessed(server, begun),
            complete=lambda run: self._completed(run, column, server),
        )

    def _settings(self, vendor: Profile) -> Settings:
        lab = lab_of(vendor)
        who = TlsIdentity(sni=SERVER_NAME)
        if lab.client_cert:
            who = replace(who, cert=self.here.client_cert, key=self.here.client_key)
        return Settings(
            trials=self.options.trials,
            concurrency=lab.concurrency,
            tls=self.options.tls,
            patience=self._patience(lab.idle, lab.patience),
            identity=who,
            require_capture=True,
        )

    def _patience(self, idle: int, known: float | None) -> Patience:
        """Short of the idle timeout, so that what is left open is not taken for ended by it."""
        short = min(PATIENCE, 0.8 * idle) if idle else PATIENCE
        server = self.options.patience or known or short
        return Patience(server, self.options.idle_limit or 1.5 * idle + 3, answer=ANSWER)

    def _baseline(
        self, column: _Column, sequences: tuple[Steps, ...], settings: Settings
    ) -> Run | None:
        if self.options.expect is None:
            return None
        place = self.options.expect / column.name
        if not place.is_dir():
            self.uncompared.add(column.name)
            return None
        return read_baseline(place, plan(sequences, settings))

    def _completed(self, run: Run, column: _Column, server: Started) -> Run:
        lab = lab_of(server.profile)
        facts = ServerFacts(
            vendor=column.name,
            title=column.title,
            version=server.version,
            tls_library=server.tls_library,
            user=server.user,
            idle_s=float(lab.idle) or None,
            notes=lab.notes or None,
        )
        notes = run.notes
        if (status := server.ended()) is not None:
            notes = (*notes, f"the server ended with status {status} while it was probed")
        return replace(run, server=facts, notes=notes)

    def _witnessed(self, server: Started, since_ns: int) -> Iterator[KernelFact]:
        """What the kernel told of this server's resets; nothing where it cannot be asked."""
        if self.watch is None:
            return
        told, lost = self.watch.resets(), self.watch.lost - self.lost
        self.lost += lost
        where = (server.host, server.port)
        ours = [reset for reset in told if reset.time_ns >= since_ns and reset.concerns(where)]
        yield KernelFact((), lost)
        for at in range(0, len(ours), _TOGETHER):
            yield KernelFact(tuple(ours[at : at + _TOGETHER]))

    # --- all of them --------------------------------------------------------------------------

    def _write(self) -> None:
        """The matrix over everything that the folder holds, and the agreement with the kernel."""
        folder = self.options.folder
        if not self.runs and not self.absent:
            _remove_empty(folder)
            return
        runs = {**runs_in(folder), **self.runs}
        vendors = shipped_columns()
        earlier = {one[0]: one for one in absent_in(folder) if one[0] in vendors}
        absent = {**earlier, **self.absent}
        self.matrix = write_compatibility(
            folder,
            tuple(runs[name] for name in sorted(runs)),
            tuple(absent[name] for name in sorted(absent) if name not in runs),
            command_line(),
            profiles={**vendors, **self.profiles},
        )
        agreement = agreement_of((name, runs[name]) for name in sorted(runs))
        if agreement is not None:
            truths = {name: run.truth for name, run in sorted(runs.items()) if run.truth}
            document = {"total": agreement.total, "vendors": truths}
            (folder / TRUTH_FILE).write_bytes(encode_document(msgspec.to_builtins(document)))
        give_back([folder, *folder.rglob("*")])


@asynccontextmanager
async def _started(
    server: AbstractAsyncContextManager[Started], stop: trio.Event
) -> AsyncIterator[Started]:
    """The server, once it runs. Raises Interrupted, with nothing left, if stopped before that."""
    async with AsyncExitStack() as until_the_end:
        running_now: list[Started] = []
        with plain_errors():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel_at, stop, nursery.cancel_scope)
                running_now.append(await until_the_end.enter_async_context(server))
                nursery.cancel_scope.cancel()
        if not running_now:
            raise Interrupted("interrupted while a server was starting")
        yield running_now[0]


async def _twice(measure: Callable[[], Awaitable[Run]]) -> Run:
    """Measure, at the second attempt if the first cannot: a cold server may shake hands late."""
    try:
        return await measure()
    except CannotMeasure:
        return await measure()


def _columns(profile: Profile) -> Iterator[_Column]:
    """The vendor's own protocol, then the others that it is to be probed with."""
    lab = lab_of(profile)
    title = lab.title or profile.title
    other_title = title.removesuffix(" (HTTP)")
    own = load_profile(str(lab.folder), lab.protocol)
    has_idle = lab.idle > 0
    own = replace(own, alpn=lab.alpn or own.alpn)
    yield _Column(profile.name, title, own, lab.sequences, has_idle)
    for name in lab.also:
        other = load_profile(str(lab.folder.parent / name), lab.protocol)
        yield _Column(
            f"{profile.name}-{name}", f"{other_title} ({_short(other)})", other, (), has_idle
        )


def runs_in(folder: Path) -> dict[str, Run]:
    """The runs below a folder by the names of theirs, without those that nobody named."""
    found = sorted(folder.glob(f"*/{RUN_FILE}"))
    named = (path for path in found if not AUTOMATIC.match(path.parent.name))
    return {path.parent.name: read_run(path) for path in named}


def shipped_columns() -> dict[str, Profile]:
    """The vendors that ship with tlsprobe, by the names of their columns."""
    found: dict[str, Profile] = {}
    for name in list_profiles():
        try:
            profile = load_profile(name)
        except UsageError:
            continue  # an error once somebody wants to measure it
        if profile.lab is not None:
            columns = (name, *(f"{name}-{other}" for other in profile.lab.also))
            found |= dict.fromkeys(columns, profile)
    return found


def _short(profile: Profile) -> str:
    return profile.title.removesuffix(" server")


def _sequences(column: _Column, asked: Sequence[str], has_idle: bool) -> tuple[Steps, ...]:
    """What was asked for, else the profile's choice for the lab, else all; of it, what applies."""
    profile = column.profile
    offered = offers(make_conversation(profile, SERVER_NAME, Login()))
    goodbye = has_goodbye(profile)
    names = asked or column.sequences
    found = [sequence for name in names for sequence in find_sequences(name)]
    every = dict.fromkeys(found) if names else default_sequences(offered, goodbye)
    return tuple(
        sequence
        for sequence in every
        if lacks(sequence, offered, goodbye) is None and (has_idle or not sequence.is_idle)
    )


def _keep_summary(measured: Path, kept: Path) -> None:
    """Keep the run document, its matrix and the facts, in the place of earlier ones."""
    kept.mkdir(parents=True, exist_ok=True)
    for name in (RUN_FILE, RUN_PAGE, FACTS_FILE):
        shutil.copyfile(measured / name, kept / name)
    shutil.rmtree(measured)


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):  # it holds something
        folder.rmdir()


def _left(seconds: float, done: int, count: int) -> str:
    """``, about 4 min left``, once some were done in so many seconds."""
    if not done:
        return ""
    left = seconds / done * (count - done)
    return f", about {left / 60:.0f} min left" if left >= 90 else f", about {left:.0f} s left"
