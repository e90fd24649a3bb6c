"""Probes targets and turns what was measured into run documents; ``run`` and ``demo`` share it."""

from __future__ import annotations

import platform
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import trio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tlsprobe import __version__
from tlsprobe.catalogue import catalogue
from tlsprobe.cli.console import plain_errors, say
from tlsprobe.cli.results import ResultsFolder, results_folder, stamp
from tlsprobe.judge.idle import idle_of
from tlsprobe.model.judgement import Verdict
from tlsprobe.model.run import Cell, CellPlan, HostFacts, JudgedTrial, Run, Tool
from tlsprobe.model.sequence import WRITES, Sequence, Verb
from tlsprobe.model.target import Target
from tlsprobe.protocols import Conversations
from tlsprobe.runner.campaign import Measured, measure
from tlsprobe.runner.settings import Settings, Watcher
from tlsprobe.tls import OPENSSL_VERSION


@dataclass(frozen=True, slots=True)
class Job:
    """One target with everything that probing it takes."""

    target: Target
    converse: Conversations
    sequences: tuple[Sequence, ...]
    settings: Settings
    folder: Path


async def probe(job: Job, desk: Desk, stop: trio.Event) -> Run:
    """Probe one target and write its results folder. Raises TlsprobeError."""
    started = datetime.now(UTC)
    with results_folder(job.folder) as folder:
        settings = replace(job.settings, pcapng=folder.capture)
        watcher = desk.watcher(job.target, folder)
        with plain_errors():
            measured = await measure(
                job.target, job.converse, job.sequences, settings, watcher, stop
            )
        run = _document(job.target, measured, started)
        folder.finish(run)
    return run


class Desk:
    """What the user sees while probing goes on: progress on standard error."""

    def __init__(self, console: Console, quiet: bool) -> None:
        self.console = console
        self.quiet = quiet
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("connections"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[waits]}", style="dim"),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )

    def watcher(self, target: Target, folder: ResultsFolder) -> Watcher:
        """Callbacks that feed the progress bar and the results folder."""
        bar = self.progress.add_task(target.name, total=None, waits="")
        waits: dict[str, int] = {}

        def planned(plans: tuple[CellPlan, ...]) -> None:
            for plan in plans:
                if plan.sequence.is_idle:
                    waits[plan.sequence.name] = waits.get(plan.sequence.name, 0) + plan.trials
            self.progress.update(bar, total=sum(p.trials for p in plans), waits=_waits(waits))
            self.note(f"{target}: {len(plans)} cells, {sum(p.trials for p in plans)} connections")

        def judged(trial: JudgedTrial) -> None:
            folder.add(trial)
            if trial.trial.sequence in waits:
                waits[trial.trial.sequence] -= 1
            self.progress.update(bar, advance=1, waits=_waits(waits))

        return Watcher(planned, judged, lambda text: self.note(f"warning: {text}"))

    def note(self, text: str) -> None:
        """A line for people, unless they asked for none."""
        if not self.quiet:
            say(self.console, text, "dim")


@contextmanager
def progress_of(desk: Desk) -> Iterator[None]:
    """Show the progress bars while the block runs."""
    with desk.progress:
        yield


@asynccontextmanager
async def interruptible(tell: Callable[[str], None]) -> AsyncIterator[trio.Event]:
    """An event that Ctrl-C sets; a second Ctrl-C ends at once."""
    stop = trio.Event()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def listen() -> None:
                async for _ in signals:
                    if stop.is_set():
                        raise KeyboardInterrupt
                    tell("interrupted: keeping what was measured (again to stop at once)")
                    stop.set()

            nursery.start_soon(listen)
            yield stop
            nursery.cancel_scope.cancel()


def verdict_exit(runs: list[Run], fail_on: str) -> int:
    """The exit code of a finished run: 0, 1 at a finding that counts, 3 if nothing was measured."""
    verdicts = [cell.verdict for run in runs for cell in run.cells]
    if not any(verdict not in {Verdict.ERROR, Verdict.UNSUPPORTED} for verdict in verdicts):
        return 3
    counts = {"fail": {Verdict.FAIL}, "warn": {Verdict.FAIL, Verdict.WARN}, "never": set()}
    return int(any(verdict in counts[fail_on] for verdict in verdicts))


def _document(target: Target, measured: Measured, started: datetime) -> Run:
    notes = measured.notes
    if measured.address != str(target):
        notes = (f"{target} was reached at {measured.address}", *notes)
    return Run(
        tool=Tool("tlsprobe", __version__),
        started=stamp(started),
        finished=stamp(datetime.now(UTC)),
        host=HostFacts(
            platform.system(), platform.release(), platform.python_version(), OPENSSL_VERSION
        ),
        target=target,
        capture=measured.capture,
        cells=measured.cells,
        summary=_summary(measured.cells),
        idle=idle_of(measured.cells, _silent_sequences(measured.cells)),
        interrupted=measured.interrupted,
        notes=notes,
    )


def _summary(cells: tuple[Cell, ...]) -> dict[str, int]:
    return {str(v): sum(cell.verdict is v for cell in cells) for v in Verdict}


def _silent_sequences(cells: tuple[Cell, ...]) -> frozenset[str]:
    """Idle sequences in which our side does nothing after its request."""
    names = {cell.sequence for cell in cells}
    silent = (
        entry.sequence
        for name, entry in catalogue().items()
        if name in names and entry.sequence.is_idle
    )
    acts = WRITES | {Verb.FIN, Verb.CLOSE, Verb.ABORT}
    return frozenset(s.name for s in silent if not any(step.verb in acts for step in s.steps))


def _waits(waits: dict[str, int]) -> str:
    left = sum(waits.values())
    return f"{left} idle, waiting for the server to end them" if left else ""
