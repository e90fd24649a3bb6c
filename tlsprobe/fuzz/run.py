"""``tlsprobe fuzz``: one fuzz run, and the folder that it fills."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from time import perf_counter
from typing import Protocol

from tlsprobe.campaign.circumstances import TOOL, this_host, where_reached
from tlsprobe.campaign.pace import interruptible
from tlsprobe.errors import plain_errors
from tlsprobe.fuzz.campaign import fuzz
from tlsprobe.fuzz.database import Database
from tlsprobe.fuzz.expecting import is_known, not_found
from tlsprobe.fuzz.folder import FuzzFolder, example_of_failure, fuzz_folder
from tlsprobe.fuzz.observation import Observation
from tlsprobe.fuzz.rejudging import example_line
from tlsprobe.fuzz.settings import Fuzzed, FuzzJob, FuzzSettings, FuzzWatcher
from tlsprobe.model.fuzz import FuzzFailure, FuzzRun
from tlsprobe.model.run import stamp
from tlsprobe.report.plurals import counted
from tlsprobe.waiving import waiver_of_failure

_LEAST = 1.0
"""Seconds that a run goes on whatever starting took."""

_ENDING, _OF_STARTING = 0.3, 1 / 4
"""Seconds that ending takes at least, and the part that it takes of as long as starting took.

That is part of the time too. Both compute alike, so that a busy machine makes both longer.
"""

_LATE = 1 / 20
"""The part of the time by which what was found late may still be confirmed.

It is half of what a run may last too long: ending may take longer than was thought.
"""


class FuzzProgress(Protocol):
    """Where a fuzz run says what it does, for whoever waits for it."""

    def note(self, text: str) -> None:
        """Say something in one line."""

    def progressed(self, examples: int, failures: int, left: float) -> None:
        """So much was tried and found; so many seconds are left."""


async def fuzz_into_folder(job: FuzzJob, progress: FuzzProgress) -> FuzzRun:
    """Fuzz and write the results folder, which is whole whenever we are killed.

    Raises TlsprobeError.
    """
    started = datetime.now(UTC)
    with fuzz_folder(job.folder, job) as folder:

        def save(fuzzed: Fuzzed) -> FuzzRun:
            return folder.save(_document(job, fuzzed, started))

        own = replace(job.settings.run, pcapng=folder.capture)
        settings = within(job.settings, perf_counter() - job.begun)
        database = _database(job)
        before = database.read() if database is not None else ()
        before = (*before, *map(example_of_failure, job.expect))
        settings = replace(settings, run=own, known=(*before, *settings.known))
        watcher = _watcher(folder, progress, save)
        parts = job.target, job.converse, settings, watcher
        with plain_errors():
            async with interruptible(progress.note) as stop:
                fuzzed = await fuzz(*parts, stop, job.against, folder.store)
        if database is not None:
            for failure in fuzzed.failures:
                database.add(example_of_failure(failure))
        return save(fuzzed)


def _database(job: FuzzJob) -> Database | None:
    """Where failures are remembered, by the kind of server."""
    folder = job.settings.remembered
    return None if folder is None else Database(folder, job.target.profile)


def within(settings: FuzzSettings, starting: float) -> FuzzSettings:
    """The bounds of what is left of the time: ending takes some, too, as starting did."""
    ending = _ENDING + _OF_STARTING * starting
    left = settings.seconds - starting - ending
    return replace(settings, seconds=max(_LEAST, left), over=_LATE * settings.seconds)


def _watcher(
    folder: FuzzFolder, progress: FuzzProgress, save: Callable[[Fuzzed], object]
) -> FuzzWatcher:
    """Callbacks that feed the progress and the results folder."""
    known = 0

    def tried(seen: Observation, why: str, broke: tuple[str, ...]) -> None:
        folder.add(example_line(seen, why, broke))

    def failed(fuzzed: Fuzzed) -> None:
        nonlocal known
        save(fuzzed)
        if len(fuzzed.failures) > known:
            count = counted(len(fuzzed.failures), "failure")
            progress.note(f"after {counted(fuzzed.examples, 'example')}: {count}")
        known = len(fuzzed.failures)

    def warned(text: str) -> None:
        progress.note(f"warning: {text}")

    return FuzzWatcher(tried, progress.progressed, folder.keep, failed, warned)


def _accepted(failure: FuzzFailure, job: FuzzJob, today: date) -> FuzzFailure:
    """The failure, with the reason why somebody accepts it."""
    waiver = waiver_of_failure(failure, job.target, job.waivers, today)
    return failure if waiver is None else replace(failure, waived=waiver.because)


def _document(job: FuzzJob, fuzzed: Fuzzed, started: datetime) -> FuzzRun:
    measured = fuzzed.examples - fuzzed.unmeasured
    return FuzzRun(
        tool=TOOL,
        started=stamp(started),
        finished=stamp(datetime.now(UTC)),
        host=this_host(),
        target=job.target,
        capture=fuzzed.capture,
        seed=job.settings.seed,
        properties=job.settings.properties,
        examples=fuzzed.examples,
        connections=fuzzed.connections,
        failures=tuple(
            _accepted(replace(failure, known=is_known(failure, job.expect)), job, started.date())
            for failure in fuzzed.failures
        ),
        coverage=fuzzed.coverage,
        unrepeated=fuzzed.unrepeated,
        excused=fuzzed.excused,
        ended_by=fuzzed.ended_by,
        starved=not fuzzed.is_settled or measured < job.settings.least,
        against=job.against.target if job.against else None,
        unmeasured=fuzzed.unmeasured,
        interrupted=fuzzed.interrupted,
        notes=(
            *where_reached(job.target, fuzzed.address),
            *fuzzed.notes,
            *not_found(fuzzed.failures, job.expect, fuzzed.unrepeated),
        ),
        command=job.command,
    )
