"""Hands the targets of a fleet to processes, and writes into the ledger what comes of them.

Of the targets whose addresses have something in common one is probed at a time: they may be one
machine. Trials that the machine's load has spoiled are driven again at the end, one target at a
time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import trio

from tlsprobe.campaign.pace import interruptible
from tlsprobe.campaign.reading import read_results
from tlsprobe.campaign.results import is_being_written, is_capture, slug
from tlsprobe.errors import CannotMeasure, TlsprobeError
from tlsprobe.facts.file import FACTS_FILE
from tlsprobe.fleet.asked import (
    FleetSettings,
    addresses_of,
    rate_of,
    target_settings,
    why_not,
)
from tlsprobe.fleet.guard import Guard
from tlsprobe.fleet.ledger import Ledger, unanswered
from tlsprobe.fleet.orders import Ended, Lag, Order, Said, Stop, packed, words
from tlsprobe.model.fleet import Attempt, State
from tlsprobe.model.judgement import Doubt, Verdict
from tlsprobe.model.run import Run
from tlsprobe.model.target import Ports
from tlsprobe.report.document import RUN_FILE, TRIALS_FILE

_LOCAL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_USUAL_PORTS = Ports(32768, 60999)

SPOILED = frozenset(doubt.value for doubt in Doubt if doubt.may_pass)
"""Why a cell has no answer although its server would give one at a calmer time."""

ORPHANED_S = 10.0
"""Seconds that a process whose coordinator was killed is given to notice it."""

SILENT_DEATHS = 3
"""So many processes that end before they say a word, one after the other, and we give up."""

LOAD = "measured again: this machine had too much to do"
BEFORE = "measured again: the process that measured it was killed"
GOES_ON = "gone on with after an interruption"


class Watching(Protocol):
    """Who sees how a fleet comes on."""

    def note(self, text: str) -> None:
        """Say something in one line."""

    def running(self, done: int, failed: int, running: int, allowed: int) -> None:
        """So many targets are done or have failed, so many are probed, so many may be at once."""


@dataclass(slots=True)
class _Process:
    """A process that probes, and which targets it has; ``heard``: it has said something."""

    process: trio.Process
    targets: set[int] = field(default_factory=set)
    heard: bool = False

    async def say(self, word: Order | Stop) -> None:
        """Tell it something; whether it is still there is for its listener to find out."""
        assert self.process.stdin is not None
        with suppress(trio.BrokenResourceError):
            await self.process.stdin.send_all(packed(word))


@dataclass(frozen=True, slots=True)
class _Turn:
    """A target whose turn it is: its attempt, and the addresses nobody else may touch meanwhile."""

    attempt: Attempt
    folder: Path
    addresses: frozenset[str]


class Coordinator:
    """A fleet while it is measured."""

    def __init__(self, ledger: Ledger, asked: FleetSettings, watching: Watching) -> None:
        self.ledger = ledger
        self.asked = asked
        self.watching = watching
        self.targets = ledger.targets()
        self.guard = Guard(min(asked.workers, asked.most), asked.most)
        self.turns: dict[int, _Turn] = {}
        self.again: list[int] = []
        self.stop = trio.Event()
        self.done = self.failed = 0
        self._processes: list[_Process] = []
        self._busy: set[str] = set()
        self._changed = trio.Event()

    async def run(self) -> bool:
        """Measure every target that has no answer; whether that was interrupted."""
        waiting = deque(await self.take_up())
        async with interruptible(self.watching.note) as self.stop, self.processes():
            await self.measure(waiting)
            if self.again and not self.stop.is_set():
                self.guard = Guard(1, 1)
                waiting, self.again = deque((one, LOAD) for one in self.again), []
                await self.measure(waiting)
        return self.stop.is_set()

    # --- what is to be done -------------------------------------------------------------------

    async def take_up(self) -> list[tuple[int, str]]:
        """The targets without an answer, each with why it is measured again, if it is."""
        attempts = self.ledger.attempts()
        found: list[tuple[int, str]] = []
        for number in unanswered(self.ledger, self.targets):
            known = attempts.get(number)
            with trio.move_on_after(ORPHANED_S):
                while known and is_being_written(self.folder_of(number)):
                    await trio.sleep(ORPHANED_S / 100)
            because = self.left_by(known[-1]) if known else ""
            if because is not None:
                found.append((number, because))
        attempts = self.ledger.attempts()
        for number, known in attempts.items():
            if known[-1].state is State.DONE and (self.folder_of(number) / TRIALS_FILE).exists():
                self.take_up_spoiled(known[-1])
        self.done = sum(a[-1].state is State.DONE for a in attempts.values())
        self.failed = sum(a[-1].state is State.FAILED for a in attempts.values())
        return found

    def left_by(self, last: Attempt) -> str | None:
        """Why a target needs one more attempt after one that was cut off; None: it needs none."""
        folder = self.folder_of(last.target)
        try:
            run = read_results(folder)
        except TlsprobeError:
            self.ledger.end(last, State.LOST, "its process was killed before it had measured")
            shutil.rmtree(folder, ignore_errors=True)
            return BEFORE
        if run.interrupted:
            self.ledger.end(last, State.INTERRUPTED, "interrupted")
            return GOES_ON
        self.keep(last, run, folder)
        return None

    def take_up_spoiled(self, last: Attempt) -> None:
        """Go on with a folder that we were killed before we could drive its spoiled trials again.

        Or before we could tidy it up.
        """
        folder = self.folder_of(last.target)
        run = read_results(folder)
        if last.because != LOAD and is_spoiled(run):
            if last.target not in self.again:
                self.again.append(last.target)
        else:
            self.tidy(run, folder)

    def folder_of(self, target: int) -> Path:
        """Where a target is measured, and its capture is kept if there is something to see."""
        name = slug(self.targets[target].title)
        return self.asked.folder / "targets" / f"{target}-{name}"

    # --- turns --------------------------------------------------------------------------------

    async def measure(self, waiting: deque[tuple[int, str]]) -> None:
        """Measure targets, as many at once as the guard allows, until there is none left."""
        while (waiting and not self.stop.is_set()) or self.turns:
            changed = self._changed
            while waiting and self.has_room() and not self.stop.is_set():
                if not await self.start_one(waiting):
                    break
            self.tell()
            with trio.move_on_after(1):
                await changed.wait()

    def has_room(self) -> bool:
        """Whether one more target may be begun, and there is a process that does it."""
        return bool(self._processes) and len(self.turns) < self.guard.allowed

    async def start_one(self, waiting: deque[tuple[int, str]]) -> bool:
        """Begin with the first target whose host is free; False if there is none."""
        for _ in range(len(waiting)):
            number, because = waiting.popleft()
            try:
                settings = target_settings(self.targets[number], self.asked)
                addresses = await trio.to_thread.run_sync(addresses_of, settings)
            except TlsprobeError as error:
                self.fails(self.ledger.claim(number, because), error.message)
                return True
            if refused := why_not(addresses, self.asked):
                self.fails(self.ledger.claim(number, because), f"not probed: {refused}")
                return True
            if self._busy.isdisjoint(addresses):
                rate = rate_of(addresses, self.asked)
                settings = replace(settings, how=replace(settings.how, rate=rate))
                goes_on = because in {GOES_ON, LOAD}
                order = Order(number, settings, self.folder_of(number), self.asked.typed, goes_on)
                await self.order(order, because, addresses)
                return True
            waiting.append((number, because))
        return False

    async def order(self, order: Order, because: str, addresses: Iterable[str]) -> None:
        """Write the claim down, then let the least busy process begin."""
        attempt = self.ledger.claim(order.target, because)
        self.turns[order.target] = _Turn(attempt, order.folder, frozenset(addresses))
        self._busy.update(addresses)
        process = min(self._processes, key=lambda one: len(one.targets))
        process.targets.add(order.target)
        await process.say(order)

    def ends(self, word: Ended) -> None:
        """Write down what came of a target, and free its host for the next."""
        turn = self.turns.pop(word.target)
        self._busy -= turn.addresses
        if word.failure:
            if self.stop.is_set():
                self.ledger.end(turn.attempt, State.INTERRUPTED, word.failure)
            else:
                self.fails(turn.attempt, word.failure)
        else:
            self.keep(turn.attempt, read_results(turn.folder), turn.folder)
        self.change()

    def fails(self, attempt: Attempt, reason: str) -> None:
        """Write down why a target has no answer."""
        self.failed += 1
        self.ledger.end(attempt, State.FAILED, reason)
        self.watching.note(f"{self.targets[attempt.target].title}: {reason}")

    def keep(self, attempt: Attempt, run: Run, folder: Path) -> None:
        """Put a run and its facts into the ledger; of its folder, what there is to see in it.

        The folder of an interrupted run stays as it is, and so does one that the load has spoiled,
        until its trials were driven again.
        """
        self.ledger.answer(attempt, run, (folder / FACTS_FILE).read_bytes())
        if run.interrupted:
            return
        if attempt.because != LOAD:
            self.done += 1
        if attempt.because != LOAD and is_spoiled(run):
            self.again.append(attempt.target)
        else:
            self.tidy(run, folder)

    def tidy(self, run: Run, folder: Path) -> None:
        """Leave of a folder what there is to see in it."""
        wanted = self.asked.keep == "all" or (self.asked.keep == "findings" and has_findings(run))
        if not wanted:
            shutil.rmtree(folder, ignore_errors=True)
            return
        for file in folder.iterdir():
            if not is_capture(file.name) and file.name not in {FACTS_FILE, RUN_FILE}:
                file.unlink(missing_ok=True)

    def change(self) -> None:
        """Wake whoever waits for something to happen."""
        self._changed.set()
        self._changed = trio.Event()

    def tell(self) -> None:
        """Show how far it has come."""
        self.watching.running(self.done, self.failed, len(self.turns), self.guard.allowed)

    # --- processes ----------------------------------------------------------------------------

    @asynccontextmanager
    async def processes(self) -> AsyncIterator[None]:
        """Have processes that probe, until the block ends."""
        async with trio.open_nursery() as nursery:
            for ports in split(local_ports(), self.asked.workers):
                await nursery.start(self.process, ports)
            nursery.start_soon(self.pass_on)
            yield
            nursery.cancel_scope.cancel()

    async def process(
        self,
        ports: Ports,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Have a process with ports of its own; in the place of one that dies comes another.

        The targets of one that dies have failed for that reason. Raises CannotMeasure when each
        dies before it says a word.
        """
        command = [sys.executable, "-P", "-m", "tlsprobe.fleet.worker", str(ports)]
        silent = 0
        while silent < SILENT_DEATHS:
            process = await trio.lowlevel.open_process(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0
            )
            one = _Process(process)
            self._processes.append(one)
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            try:
                await self.listen(one)
            finally:
                with trio.CancelScope(shield=True):
                    await _ended(process)
            self._processes.remove(one)
            for target in sorted(one.targets):
                self.ends(Ended(target, "the process that probed it died"))
            silent = 0 if one.heard else silent + 1
        raise CannotMeasure("the processes that probe end at once", "see what they wrote")

    async def listen(self, one: _Process) -> None:
        """Take in what a process says until it ends."""
        assert one.process.stdout is not None
        async for word in words(one.process.stdout):
            one.heard = True
            match word:
                case Lag(seconds):
                    running = len(self.turns)
                    self.guard = self.guard.after(seconds, running, time.monotonic())
                    self.change()
                case Said(target, note):
                    self.watching.note(f"{self.targets[target].title}: {note}")
                case Ended(target):
                    one.targets.discard(target)
                    self.ends(word)

    async def pass_on(self) -> None:
        """Tell the processes of a Ctrl-C."""
        await self.stop.wait()
        for one in self._processes:
            await one.say(Stop())


async def _ended(process: trio.Process) -> None:
    """A process has nothing left to do: close its pipes, and wait for it."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            await pipe.aclose()
    with trio.move_on_after(5):
        await process.wait()
        return
    process.kill()
    await process.wait()


def is_spoiled(run: Run) -> bool:
    """Whether some cell has no answer only because of what this machine had to do."""
    return any(
        cell.verdict is Verdict.INCONCLUSIVE and SPOILED & set(cell.left_out) for cell in run.cells
    )


def has_findings(run: Run) -> bool:
    """Whether there is something to look at in the capture."""
    return any(cell.verdict in {Verdict.FAIL, Verdict.WARN} for cell in run.cells)


def local_ports() -> Ports:
    """The ports that the kernel gives out by itself."""
    try:
        first, last = _LOCAL_PORTS.read_text().split()
        return Ports(int(first), int(last))
    except (OSError, ValueError):
        return _USUAL_PORTS


def split(ports: Ports, parts: int) -> list[Ports]:
    """The same ports in so many ranges."""
    size = (ports.last - ports.first + 1) // parts
    begins = [ports.first + at * size for at in range(parts)]
    return [Ports(first, first + size - 1) for first in begins]


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))
