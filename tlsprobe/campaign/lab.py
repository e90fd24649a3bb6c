"""``tlsprobe lab run``: vendor after vendor started, probed, stopped and judged."""

from __future__ import annotations

import shutil
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec
import trio

from tlsprobe.campaign.circumstances import machine_load
from tlsprobe.campaign.expecting import Baseline, compared, read_baseline
from tlsprobe.campaign.lab_columns import (
    Column,
    columns_of,
    identity_of,
    patience_with,
    server_facts,
    shipped_columns,
    started,
)
from tlsprobe.campaign.one_target import Job, probe
from tlsprobe.campaign.pace import interruptible, unless_stopped
from tlsprobe.campaign.progress import Progress
from tlsprobe.campaign.reading import holds_results, named_in, read_results, runs_in
from tlsprobe.campaign.results import GRAIN_S, give_back, keep_summary, replace_file, writing
from tlsprobe.campaign.resume import is_whole
from tlsprobe.campaign.settings import LabSettings, Settings, plan
from tlsprobe.catalogue import find_sequences
from tlsprobe.errors import CannotMeasure, Interrupted, TlsprobeError, UsageError, plain_errors
from tlsprobe.lab import kernel_reasons
from tlsprobe.lab.availability import lab_of
from tlsprobe.lab.choice import Chosen
from tlsprobe.lab.install import install as install_all
from tlsprobe.lab.kernel_reasons import ResetWatch
from tlsprobe.lab.vendor import Started, running
from tlsprobe.lab.workspace import Workspace, new_workspace
from tlsprobe.model.facts import KernelFact
from tlsprobe.model.profile import Profile
from tlsprobe.model.run import Run, stamp
from tlsprobe.model.sequence import Sequence as Steps
from tlsprobe.report.agreement import agreement_of
from tlsprobe.report.compatibility import Absent, Compatibility
from tlsprobe.report.compatibility_files import write_compatibility, write_series
from tlsprobe.report.compatibility_json import absent_in
from tlsprobe.report.document import encode_document
from tlsprobe.report.lab_notes import LAB_FILE, LabNotes, encode_lab_notes
from tlsprobe.sniff import capture as sniffer

TRUTH_FILE = "truth.json"
"""The agreement with the kernel, beside the matrix."""

_TOGETHER = 500
"""Resets that are written down in one line."""

LOOPBACK, DISCARD = "127.0.0.1", 9
"""Where a capture is tried before the lab begins."""


@dataclass(frozen=True, slots=True)
class VendorsMeasured:
    """What came of a lab. ``matrix`` None: nothing, so that nothing was written."""

    folder: Path
    runs: tuple[Run, ...]
    matrix: Compatibility | None
    interrupted: bool


async def measure_vendors(
    picked: Chosen, settings: LabSettings, progress: Progress
) -> VendorsMeasured:
    """Measure vendors, and write the matrix of them and of what the folder held before.

    Raises CannotMeasure, before any server is started, if RSTs cannot be seen here; UsageError for
    what is wrong with the settings.
    """
    async with sniffer.open_capture("auto", LOOPBACK, DISCARD, require=True):
        pass
    with ExitStack() as until_the_end:
        here = until_the_end.enter_context(new_workspace())
        watch = None
        if (blind := kernel_reasons.available()) is None:
            watch = until_the_end.enter_context(kernel_reasons.watch_resets())
        else:
            progress.note(f"causes are not compared with the kernel's reasons: {blind}")
        lab = Lab(settings, here, progress, watch)
        for name, error in picked.broken.items():
            lab.is_broken(name, name, error)
        async with interruptible(progress.note) as stop:
            if settings.install:
                installs = partial(install_all, picked.profiles, here.tools, progress.note)
                with suppress(Interrupted):
                    await unless_stopped(stop, installs, "while something was installed")
            await lab.measure(picked.profiles, stop)
    return lab.outcome()


class Lab:
    """The state of a lab while it measures."""

    def __init__(
        self, settings: LabSettings, here: Workspace, progress: Progress, watch: ResetWatch | None
    ) -> None:
        self.settings = settings
        self.here = here
        self.progress = progress
        self.watch = watch
        self.lost = 0
        self.done = 0
        self.runs: dict[str, Run] = {}
        self.absent: dict[str, Absent] = {}
        self.uncompared: set[str] = set()
        self.profiles: dict[str, Profile] = {}
        self.begun = settings.unfinished_since or stamp(datetime.now(UTC))
        self.since = time.time() - GRAIN_S
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
            for _ in range(self.settings.jobs):
                nursery.start_soon(work)
        self.interrupted = stop.is_set()
        with writing(self.settings.folder):
            self._write()

    def outcome(self) -> VendorsMeasured:
        """What came of it."""
        return VendorsMeasured(
            self.settings.folder,
            tuple(self.runs.values()),
            self.matrix,
            self.interrupted,
        )

    # --- before the first one -----------------------------------------------------------------

    def _planned(self, profiles: Sequence[Profile]) -> list[tuple[Profile, list[Column]]]:
        for name in self.settings.sequences:
            find_sequences(name)
        planned = [(p, columns) for p in profiles if (columns := self._columns_of(p))]
        if self.uncompared:
            names = ", ".join(sorted(self.uncompared))
            self.progress.note(f"{self.settings.expect} has no results of {names} to compare with")
        with writing(self.settings.folder):
            self.settings.folder.mkdir(parents=True, exist_ok=True)
            self._note_begin()
        return planned

    def _note_begin(self) -> None:
        """Write down what was begun, for whoever continues it after a kill."""
        folder = self.settings.folder
        notes = LabNotes(self.settings.typed, absent_in(folder), unfinished_since=self.begun)
        replace_file(folder / LAB_FILE, encode_lab_notes(notes))

    def _columns_of(self, profile: Profile) -> list[Column]:
        """The vendor's columns that can be tried; of the others, why not."""
        try:
            columns = [(c, c.steps(self.settings.sequences)) for c in columns_of(profile)]
        except UsageError as error:
            self.is_broken(profile.name, lab_of(profile).title or profile.title, error)
            return []
        for column, steps in columns:
            self.profiles[column.name] = profile
            if not steps:
                reason = "none of the requested sequences applies to it"
                self._is_absent(column, CannotMeasure(reason))
                continue
            baseline = self._baseline(column, steps, self._each(profile))
            place = self.settings.folder / column.name
            if self.settings.unfinished_since and is_whole(place, self.begun):
                self.runs[column.name] = compared(read_results(place), baseline)
            elif not self.settings.summary_only and not self._may_replace(place):
                hint = "choose another folder with --out, or replace its runs with --summary-only"
                raise UsageError(f"{place} already holds the results of a run", hint)
        return [column for column, steps in columns if steps and column.name not in self.runs]

    def _may_replace(self, place: Path) -> bool:
        """Whether a folder holds nothing, or what an interrupted lab has left that is continued."""
        if not holds_results(place):
            return True
        return bool(self.settings.unfinished_since) and read_results(place).interrupted

    # --- one vendor ---------------------------------------------------------------------------

    async def _vendor(self, profile: Profile, columns: Sequence[Column], stop: trio.Event) -> None:
        try:
            with plain_errors():
                async with started(running(profile, self.here), stop) as server:
                    for column in columns:
                        if not stop.is_set():
                            await self._column(column, server, stop)
        except Interrupted:
            return
        except TlsprobeError as error:
            for column in columns:
                if column.name not in {*self.runs, *self.absent}:
                    self._is_absent(column, error)

    async def _column(self, column: Column, server: Started, stop: trio.Event) -> None:
        job = self._job(column, server)
        if not self.settings.summary_only and holds_results(job.folder):
            shutil.rmtree(job.folder)  # part of a run, and the server that it was of is gone
        try:
            run = await _twice(lambda: probe(job, self.progress, stop))
        except CannotMeasure as error:
            self._is_absent(column, error)
            return
        if self.settings.summary_only and run.interrupted:
            return  # part of a run is no replacement for a whole one
        self.runs[column.name] = run
        if self.settings.summary_only:
            keep_summary(job.folder, self.settings.folder / column.name, run, job.typed)
            shutil.rmtree(job.folder)

    def is_broken(self, name: str, title: str, error: Exception) -> None:
        """Note a vendor that cannot be measured, with the reason."""
        said = error.message if isinstance(error, TlsprobeError) else str(error)
        reason = " ".join(said.split())
        self.absent[name] = (name, title, reason)
        self.progress.note(f"{name} is unsupported: {reason}")

    def _is_absent(self, column: Column, error: Exception) -> None:
        self.is_broken(column.name, column.title, error)

    def _job(self, column: Column, server: Started) -> Job:
        asked = self.settings
        settings, sequences = self._each(server.profile), column.steps(asked.sequences)
        settings = replace(settings, process=server.process)
        begun = time.time_ns()
        place = self.here.scratch / "results" if asked.summary_only else asked.folder
        return Job(
            target=column.target(server),
            converse=column.converse(server),
            sequences=sequences,
            settings=settings,
            folder=place / column.name,
            vendor=column.name,
            baseline=self._baseline(column, sequences, settings),
            waivers=asked.waivers,
            typed=asked.typed,
            witnessed=lambda: self._witnessed(server, begun),
            complete=lambda run: _completed(run, column, server),
        )

    def _each(self, vendor: Profile) -> Settings:
        """How a vendor is measured."""
        asked = self.settings
        return Settings(
            trials=asked.trials,
            concurrency=lab_of(vendor).concurrency,
            connections=vendor.connections,
            idle_s=float(lab_of(vendor).idle) or None,
            tls=asked.tls,
            patience=patience_with(vendor, asked.patience, asked.idle_limit),
            identity=identity_of(vendor, self.here),
            require_capture=True,
            most_signalled=asked.most_signalled,
        )

    def _baseline(
        self, column: Column, sequences: tuple[Steps, ...], settings: Settings
    ) -> Baseline | None:
        if self.settings.expect is None:
            return None
        place = self.settings.expect / column.name
        if not place.is_dir():
            self.uncompared.add(column.name)
            return None
        return read_baseline(place, plan(sequences, settings))

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
        folder = self.settings.folder
        if not self.runs and not self.absent:
            if not named_in(folder):
                (folder / LAB_FILE).unlink(missing_ok=True)
            _remove_empty(folder)
            return
        if not self.settings.matrix:
            notes = LabNotes(self.settings.typed, tuple(self.absent.values()))
            (folder / LAB_FILE).write_bytes(encode_lab_notes(notes))
            give_back([folder, *folder.rglob("*")], self.since)
            return
        runs = {**runs_in(folder), **self.runs}
        vendors = shipped_columns()
        earlier = {one[0]: one for one in absent_in(folder) if one[0] in vendors}
        absent = {**earlier, **self.absent}
        self.matrix = write_compatibility(
            folder,
            tuple(runs[name] for name in sorted(runs)),
            tuple(absent[name] for name in sorted(absent) if name not in runs),
            self.settings.typed,
            profiles={**vendors, **self.profiles},
            summary_only=self.settings.summary_only,
            unfinished_since=self.begun if self.interrupted else "",
        )
        write_series(folder, runs, self.settings.typed, vendors)
        agreement = agreement_of((name, runs[name]) for name in sorted(runs))
        if self.settings.summary_only:  # it follows from the facts
            (folder / TRUTH_FILE).unlink(missing_ok=True)
        elif agreement is not None:
            truths = {name: run.truth for name, run in sorted(runs.items()) if run.truth}
            document = {"total": agreement.total, "vendors": truths}
            (folder / TRUTH_FILE).write_bytes(encode_document(msgspec.to_builtins(document)))
        give_back([folder, *folder.rglob("*")], self.since)


def _completed(run: Run, column: Column, server: Started) -> Run:
    notes = (*run.notes, f"load {machine_load(5)} (5 minutes)")
    if (status := server.ended()) is not None:
        notes = (*notes, f"the server ended with status {status} while it was probed")
    return replace(run, server=server_facts(server, column.name, column.title), notes=notes)


async def _twice(measure: Callable[[], Awaitable[Run]]) -> Run:
    """Measure, at the second attempt if the first cannot: a cold server may shake hands late."""
    try:
        return await measure()
    except CannotMeasure:
        return await measure()


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):  # it holds something
        folder.rmdir()


def _left(seconds: float, done: int, count: int) -> str:
    """``, about 4 min left``, once some were done in so many seconds."""
    if not done:
        return ""
    left = seconds / done * (count - done)
    return f", about {left / 60:.0f} min left" if left >= 90 else f", about {left:.0f} s left"
