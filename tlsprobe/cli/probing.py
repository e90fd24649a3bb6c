"""Probes targets and turns what was measured into run documents; ``run`` and ``demo`` share it."""

from __future__ import annotations

import platform
import signal
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import trio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tlsprobe import __version__
from tlsprobe.campaign.judging import with_judgement
from tlsprobe.campaign.probe import measure
from tlsprobe.campaign.settings import Measured, Settings, Watcher
from tlsprobe.cli.console import plain_errors, say
from tlsprobe.cli.results import ResultsFolder, results_folder
from tlsprobe.cli.resume import Earlier, continued
from tlsprobe.judge.baseline import deviations
from tlsprobe.model.facts import Fact, FactsHeader
from tlsprobe.model.run import CellPlan, HostFacts, JudgedTrial, Run, Tool, stamp
from tlsprobe.model.sequence import Sequence
from tlsprobe.model.target import Target
from tlsprobe.protocols import Conversations
from tlsprobe.tls import OPENSSL_VERSION

Completes = Callable[[Run], Run]
"""Adds to a run document what is known beside the measurement."""


def _as_it_is(run: Run) -> Run:
    return run


@dataclass(frozen=True, slots=True)
class Job:
    """One target with everything that probing it takes.

    ``earlier`` is what its folder holds of the run already, ``baseline`` what the run is held
    against, ``command`` the words behind ``tlsprobe run``; ``notes`` go into its report.
    ``witnessed`` gives, at the end, what others saw meanwhile; ``complete`` has the last word on
    what the run document says beside the judgement.
    """

    target: Target
    converse: Conversations
    sequences: tuple[Sequence, ...]
    settings: Settings
    folder: Path
    earlier: Earlier | None = None
    baseline: Run | None = None
    command: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    complete: Completes = _as_it_is
    witnessed: Callable[[], Iterable[Fact]] = lambda: ()


async def probe(job: Job, progress: ProgressView, stop: trio.Event) -> Run:
    """Probe one target and write its results folder. Raises TlsprobeError.

    The run document is in the folder from the beginning, and whole whenever we are killed.
    """
    started = datetime.now(UTC)
    header = FactsHeader(Tool("tlsprobe", __version__), job.target, stamp(started))
    with results_folder(job.folder, header, resume=job.earlier is not None) as folder:

        def document(measured: Measured) -> Run:
            run = _document(job, measured, started)
            return continued(job.earlier.run, run, folder.capture.name) if job.earlier else run

        settings = replace(job.settings, pcapng=folder.capture)
        watcher = progress.watcher(job, folder, lambda measured: folder.save(document(measured)))
        with plain_errors():
            measured = await measure(
                job.target, job.converse, job.sequences, settings, watcher, stop, folder.facts
            )
        run = job.complete(document(measured))
        if job.baseline is not None:
            run = replace(run, deviations=deviations(job.baseline, run))
        folder.finish(run, measured.judged)
    return run


class ProgressView:
    """Progress of a probe, on standard error."""

    def __init__(self, console: Console, quiet: bool) -> None:
        self.console = console
        self.quiet = quiet
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[waits]}", style="dim"),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )

    def watcher(
        self, job: Job, folder: ResultsFolder, progressed: Callable[[Measured], None]
    ) -> Watcher:
        """Callbacks that feed the progress bar and the results folder."""
        bar = self.bars.add_task(job.target.name, total=None, waits="")
        waits: dict[str, int] = {}

        def planned(cells: Mapping[CellPlan, int]) -> None:
            for plan, count in cells.items():
                if plan.sequence.is_idle:
                    waits[plan.sequence.name] = waits.get(plan.sequence.name, 0) + count
            total = sum(cells.values())
            self.bars.update(bar, total=total, waits=_waits(waits))
            more = " to go" if job.earlier else ""
            self.note(f"{job.target.name}: {len(cells)} cells, {total} connections{more}")

        def judged(trial: JudgedTrial) -> None:
            folder.add(trial)
            if trial.trial.sequence in waits:
                waits[trial.trial.sequence] -= 1
            self.bars.update(bar, advance=1, waits=_waits(waits))

        def warned(text: str) -> None:
            self.note(f"warning: {text}")

        return Watcher(planned, judged, progressed, warned, job.witnessed)

    def note(self, text: str) -> None:
        """A line on standard error, unless --quiet."""
        if not self.quiet:
            say(self.console, text, "dim")


@contextmanager
def progress_of(progress: ProgressView) -> Iterator[None]:
    """Show the progress bars while the block runs."""
    with progress.bars:
        yield


@asynccontextmanager
async def interruptible(notify: Callable[[str], None]) -> AsyncIterator[trio.Event]:
    """An event that Ctrl-C sets; a second Ctrl-C ends at once."""
    stop = trio.Event()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def listen() -> None:
                async for _ in signals:
                    if stop.is_set():
                        raise KeyboardInterrupt
                    notify("interrupted: keeping the results so far (Ctrl-C again to stop at once)")
                    stop.set()

            nursery.start_soon(listen)
            yield stop
            nursery.cancel_scope.cancel()


def _document(job: Job, measured: Measured, started: datetime) -> Run:
    notes = (*job.notes, *measured.notes)
    if measured.address != str(job.target):
        notes = (f"{job.target} was reached at {measured.address}", *notes)
    run = Run(
        tool=Tool("tlsprobe", __version__),
        started=stamp(started),
        finished=stamp(datetime.now(UTC)),
        host=HostFacts(
            platform.system(), platform.release(), platform.python_version(), OPENSSL_VERSION
        ),
        target=job.target,
        capture=measured.capture,
        cells=(),
        summary={},
        interrupted=measured.interrupted,
        notes=notes,
        seed=job.settings.seed,
        command=job.command,
    )
    return with_judgement(run, measured.judged)


def _waits(waits: dict[str, int]) -> str:
    left = sum(waits.values())
    return f"{left} waiting for idle expiry" if left else ""
