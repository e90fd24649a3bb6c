"""Hands the targets of a fleet to an engine, and writes into the ledger what comes of them.

Of the targets whose addresses have something in common one is probed at a time: they may be one
machine. Trials that the machine's load has spoiled are driven again at the end, one target at a
time.
"""

from __future__ import annotations

import os
import shutil
from collections import deque
from dataclasses import dataclass, replace
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Protocol

import trio

from tlsprobe.campaign.pace import interruptible
from tlsprobe.campaign.reading import read_results
from tlsprobe.campaign.results import is_being_written, is_capture, slug
from tlsprobe.campaign.settings import TargetSettings
from tlsprobe.errors import CannotMeasure, TlsprobeError, UsageError, plain_errors
from tlsprobe.facts.file import FACTS_FILE
from tlsprobe.fleet.asked import (
    LOOKUPS,
    FleetSettings,
    addresses_of,
    rate_of,
    target_settings,
    why_not,
)
from tlsprobe.fleet.embedded import Embedded
from tlsprobe.fleet.engine import Engine
from tlsprobe.fleet.findings import has_findings, is_spoiled, why_in_part
from tlsprobe.fleet.ledger import Ledger, unanswered
from tlsprobe.fleet.orders import Ended, Lost, Order, Said, Word
from tlsprobe.fleet.planning import Bounds
from tlsprobe.model.fleet import Attempt, State
from tlsprobe.model.run import Run
from tlsprobe.report.document import RUN_FILE, TRIALS_FILE
from tlsprobe.waiving import waived

ORPHANED_S = 10.0
"""Seconds that a process whose coordinator was killed is given to notice it."""

LOAD = "measured again: this machine had too much to do"
KILLED = "its process was killed before it had measured"
BEFORE = "measured again: the process that measured it was killed"
GOES_ON = "gone on with after an interruption"


class Watching(Protocol):
    """Who sees how a fleet comes on."""

    def note(self, text: str) -> None:
        """Say something in one line."""

    def running(self, done: int, failed: int, running: int, allowed: int) -> None:
        """So many targets are done or have failed, so many are probed, so many may be at once."""


@dataclass(frozen=True, slots=True)
class _Ready:
    """A target that may be probed: how, and at which addresses."""

    settings: TargetSettings
    addresses: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Turn:
    """A target whose turn it is: its attempt, and the addresses nobody else may touch meanwhile."""

    attempt: Attempt
    folder: Path
    addresses: frozenset[str]


_LookedUp = tuple[TargetSettings, tuple[str, ...]]
"""How a target is probed, and at which addresses its name is found."""


class Coordinator:
    """A fleet while it is measured."""

    def __init__(
        self,
        ledger: Ledger,
        asked: FleetSettings,
        watching: Watching,
        engine: Engine | None = None,
    ) -> None:
        self.ledger = ledger
        self.engine = engine or Embedded(asked.workers, asked.most)
        self.asked = asked
        self.watching = watching
        self.targets = ledger.targets()
        self.waiting: deque[tuple[int, str]] = deque()
        self.turns: dict[int, _Turn] = {}
        self.again: list[int] = []
        self.stop = trio.Event()
        self.full = ""
        self.done = self.failed = 0
        self._bounds = Bounds()
        self._ready: dict[int, _Ready] = {}
        self._looked_up: dict[int, _LookedUp | TlsprobeError] = {}
        self._busy: set[str] = set()
        self._lost: set[int] = set()
        self._changed = trio.Event()

    async def run(self) -> bool:
        """Measure every target that has no answer; whether that was interrupted.

        Raises CannotMeasure where what is measured cannot be written down.
        """
        self.waiting.extend(await self.take_up())
        if self.waiting or self.again:  # else nobody needs an engine
            with plain_errors():
                await self.measure_all()
        if self.full:
            hint = f"make room, and go on with: tlsprobe fleet resume {self.asked.folder}"
            raise CannotMeasure(self.full, hint)
        return self.stop.is_set()

    async def measure_all(self) -> None:
        """Measure what waits, and then once more what the load has spoiled."""
        async with (
            interruptible(self.watching.note) as self.stop,
            self.engine.running(self.hears),
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self.pass_on)
            await self.measure()
            if self.again and not self.stop.is_set():
                self.engine.one_at_a_time()
                self.waiting.extend((one, LOAD) for one in self.again)
                await self.measure()
            nursery.cancel_scope.cancel()

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
            self.ledger.end(last, State.LOST, last.reason or KILLED)
            shutil.rmtree(folder, ignore_errors=True)
            return f"measured again: {last.reason}" if last.reason else BEFORE
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

    async def measure(self) -> None:
        """Measure targets, as many at once as the engine allows, until there is none left."""
        while (self.waiting and not self.stop.is_set()) or self.turns:
            changed = self._changed
            while self.waiting and self.engine.has_room() and not self.stop.is_set():
                if not await self.start_one():
                    break
            self.tell()
            with trio.move_on_after(1):
                await changed.wait()

    async def start_one(self) -> bool:
        """Begin with the first target whose host is free; False if there is none."""
        for _ in range(len(self.waiting)):
            number, because = self.waiting.popleft()
            try:
                ready = await self.ready(number)
            except TlsprobeError as error:
                self.fails(self.ledger.claim(number, because), error.message)
                return True
            if self._busy.isdisjoint(ready.addresses):
                del self._ready[number]
                await self.begin(number, because, ready)
                return True
            self.waiting.append((number, because))
        return False

    async def ready(self, number: int) -> _Ready:
        """How a target is probed, and where it is. Raises TlsprobeError if it must not be."""
        known = self._ready.get(number)
        if known is None:
            if number not in self._looked_up:
                await self.look_up(number)
            found = self._looked_up.pop(number)
            if isinstance(found, TlsprobeError):
                raise found
            settings, addresses = found
            if refused := why_not(addresses, self.asked):
                raise UsageError(f"not probed: {refused}", "")
            rate = rate_of(addresses, self.asked)
            within = await trio.to_thread.run_sync(self._bounds.of, settings, rate)
            # A name may have other addresses by then, which nobody has looked at.
            how = replace(settings.how, rate=rate, only=addresses, within=within)
            settings = replace(settings, how=how)
            known = self._ready[number] = _Ready(settings, frozenset(addresses))
        return known

    async def look_up(self, number: int) -> None:
        """Look up where a target is, and those behind it: a name may take its time."""
        waiting = (other for other, _ in self.waiting if other not in self._ready)
        unknown = (other for other in waiting if other not in self._looked_up)
        async with trio.open_nursery() as nursery:
            for one in (number, *islice(unknown, LOOKUPS - 1)):
                nursery.start_soon(self._look_up, one)

    async def _look_up(self, number: int) -> None:
        try:
            settings = target_settings(self.targets[number], self.asked)
            found = await trio.to_thread.run_sync(addresses_of, settings, abandon_on_cancel=True)
        except TlsprobeError as error:
            self._looked_up[number] = error
        else:
            self._looked_up[number] = settings, found

    async def begin(self, number: int, because: str, ready: _Ready) -> None:
        """Write the claim down, then have the target probed."""
        attempt = self.ledger.claim(number, because)
        folder, goes_on = self.folder_of(number), because in {GOES_ON, LOAD}
        if not goes_on:
            shutil.rmtree(folder, ignore_errors=True)
        self.turns[number] = _Turn(attempt, folder, ready.addresses)
        self._busy.update(ready.addresses)
        order = Order(number, ready.settings, folder, self.asked.typed, attempt.number, goes_on)
        await self.engine.order(order)

    def hears(self, word: Word) -> None:
        """Take in what the engine says."""
        match word:
            case Said(target, note):
                self.watching.note(f"{self.targets[target].title}: {note}")
            case Ended():
                self.ends(word)
            case Lost():
                self.loses(word)
            case _:
                pass
        self._changed.set()
        self._changed = trio.Event()

    def ends(self, word: Ended) -> None:
        """Write down what came of a target, and free its host for the next."""
        turn = self.free(word.target)
        if word.no_room:
            self.full = self.full or word.failure
            self.stop.set()
        if word.failure:
            if self.stop.is_set():
                self.ledger.end(turn.attempt, State.INTERRUPTED, word.failure)
            else:
                self.fails(turn.attempt, word.failure)
        else:
            self.keep(turn.attempt, read_results(turn.folder), turn.folder)

    def loses(self, word: Lost) -> None:
        """An attempt is lost. Once another is made, which says so."""
        turn = self.free(word.target)
        if self.stop.is_set():
            self.ledger.end(turn.attempt, State.INTERRUPTED, word.reason)
        elif word.target in self._lost:
            self.fails(turn.attempt, f"{word.reason}, twice")
        else:
            self._lost.add(word.target)
            self.ledger.end(turn.attempt, State.LOST, word.reason)
            self.watching.note(f"{self.targets[word.target].title}: {word.reason}")
            self.waiting.append((word.target, f"measured again: {word.reason}"))

    def free(self, target: int) -> _Turn:
        """The turn of a target is over."""
        turn = self.turns.pop(target)
        self._busy -= turn.addresses
        return turn

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
        told = waived(run, self.asked.waivers, date.fromisoformat(run.started[:10]))
        facts = (folder / FACTS_FILE).read_bytes()
        self.ledger.answer(attempt, told, facts, why_in_part(run))
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

    def tell(self) -> None:
        """Show how far it has come."""
        self.watching.running(self.done, self.failed, len(self.turns), self.engine.allowed)

    async def pass_on(self) -> None:
        """Tell the engine of a Ctrl-C."""
        await self.stop.wait()
        await self.engine.stop()


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))
