"""Probes one target and writes its results folder: what every campaign does with a server."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import inf
from pathlib import Path

import trio

from tlsprobe.campaign.capturing import Capturing, capturing
from tlsprobe.campaign.circumstances import TOOL, this_host, where_reached
from tlsprobe.campaign.expecting import Baseline, compared
from tlsprobe.campaign.judging import with_judgement
from tlsprobe.campaign.progress import Progress, shown
from tlsprobe.campaign.results import results_folder
from tlsprobe.campaign.resume import Earlier, continued
from tlsprobe.campaign.settings import Measured, Settings
from tlsprobe.campaign.trials import measure
from tlsprobe.errors import plain_errors
from tlsprobe.model.facts import Fact, FactsHeader
from tlsprobe.model.run import Run, stamp
from tlsprobe.model.sequence import Sequence
from tlsprobe.model.target import Target
from tlsprobe.model.waiver import Waiver
from tlsprobe.protocols import Conversations
from tlsprobe.waiving import waived

SAVED_EVERY = 1.0
"""Seconds between two writings of the run document, at least: quick cells would be written longer
than measured. The facts of every trial are written at once, and are all that a resumed run needs.
"""

Completes = Callable[[Run], Run]
"""Adds to a run document what is known beside the measurement."""


def _as_it_is(run: Run) -> Run:
    return run


@dataclass(frozen=True, slots=True)
class Job:
    """One target with everything that probing it takes.

    ``earlier`` is what its folder holds of the run already, ``baseline`` what the run is held
    against. ``command`` are the words behind ``tlsprobe run``, with which it can be resumed;
    ``typed`` is the whole line that its page names; ``notes`` go into its report. ``waivers`` say
    what of it is accepted. ``capture_with`` opens the capture; ``vendor`` is the server's own
    profile, if it is known. ``witnessed`` gives, at the end, what others saw meanwhile;
    ``complete`` has the last word on what the run document says beside the judgement. Without
    ``pages`` the folder gets the facts, the capture and the run document, and that at the beginning
    and at the end alone: what a fleet puts into its ledger.
    """

    target: Target
    converse: Conversations
    sequences: tuple[Sequence, ...]
    settings: Settings
    folder: Path
    earlier: Earlier | None = None
    baseline: Baseline | None = None
    command: tuple[str, ...] = ()
    typed: str = ""
    notes: tuple[str, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    capture_with: Capturing = capturing
    vendor: str = ""
    complete: Completes = _as_it_is
    witnessed: Callable[[], Iterable[Fact]] = lambda: ()
    pages: bool = True


async def probe(job: Job, progress: Progress, stop: trio.Event) -> Run:
    """Probe one target and write its results folder. Raises TlsprobeError.

    The run document is in the folder from the beginning, and whole whenever we are killed.
    """
    started = datetime.now(UTC)
    header = FactsHeader(TOOL, job.target, stamp(started))
    with results_folder(job.folder, header, resume=job.earlier is not None) as folder:

        def document(measured: Measured) -> Run:
            run = _document(job, measured, started)
            return continued(job.earlier.run, run, folder.capture.name) if job.earlier else run

        def save(measured: Measured) -> None:
            folder.save(document(measured))

        settings = replace(job.settings, pcapng=folder.capture)
        is_resumed = job.earlier is not None
        watcher = shown(progress, job.target.name, folder, save, is_resumed=is_resumed)
        every = SAVED_EVERY if job.pages else inf
        watcher = replace(watcher, witnessed=job.witnessed, every=every)
        with plain_errors():
            measured = await measure(
                job.target,
                job.converse,
                job.sequences,
                settings,
                watcher,
                stop,
                folder.facts,
                job.capture_with,
                job.vendor,
            )
        run = job.complete(document(measured))
        run = waived(compared(run, job.baseline), job.waivers, started.date())
        folder.finish(run, measured.judged, job.typed, pages=job.pages)
    return run


def _document(job: Job, measured: Measured, started: datetime) -> Run:
    reached = where_reached(job.target, measured.address)
    run = Run(
        tool=TOOL,
        started=stamp(started),
        finished=stamp(datetime.now(UTC)),
        host=this_host(),
        target=job.target,
        capture=measured.capture,
        cells=(),
        summary={},
        interrupted=measured.interrupted,
        notes=(*reached, *job.notes, *measured.notes),
        seed=job.settings.seed,
        command=job.command,
        plan=measured.plan,
        spent=measured.spent,
    )
    return with_judgement(run, measured.judged)
