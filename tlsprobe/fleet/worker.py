"""A process of a fleet: probes many targets in one event loop, with one sniffer for all of them.

    python -m tlsprobe.fleet.worker 32768-46000

Orders come in on standard input, what has become of them goes out on standard output. When the
input ends the coordinator is gone, and so is the reason to go on.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import socket
import sys
from dataclasses import replace

import trio

from tlsprobe.campaign.capturing import Capturing, sharing
from tlsprobe.campaign.connections import LoopLag
from tlsprobe.campaign.garbage import COLLECT_EVERY
from tlsprobe.campaign.guess_protocol import recognised
from tlsprobe.campaign.one_target import probe
from tlsprobe.campaign.pace import in_time
from tlsprobe.campaign.progress import Silent
from tlsprobe.campaign.resume import read_earlier
from tlsprobe.campaign.run import jobs_of
from tlsprobe.campaign.settings import RunSettings, TargetSettings
from tlsprobe.drive.tcp import only_from
from tlsprobe.errors import NoRoom, TlsprobeError, no_room_in
from tlsprobe.fleet.asked import in_fleets
from tlsprobe.fleet.orders import Ended, Lag, Lost, Order, Said, Stop, Word, packed, words
from tlsprobe.model.target import Ports
from tlsprobe.profiles import load_profile
from tlsprobe.sniff.shared import shared_captures

REPORTS_EVERY = 0.25
"""Seconds between two reports of the event loop's lag."""


class _Blind(TlsprobeError):  # noqa: N818 - it reads as the sentence that it is
    """What was measured is worth nothing, and not because of the target."""


class _Worker:
    """The process while it works."""

    def __init__(
        self, out: trio.lowlevel.FdStream, ports: Ports | None, captured: Capturing
    ) -> None:
        self.out = out
        self.ports = ports
        self.captured = captured
        self.is_over = False
        self._stops: dict[int, trio.Event] = {}
        self._saying = trio.Lock()

    async def say(self, word: Word) -> None:
        """Tell the coordinator."""
        async with self._saying:
            await self.out.send_all(packed(word))

    async def work(self, orders: trio.abc.ReceiveStream) -> None:
        """Do what is ordered until no more orders can come, and nothing is left to do."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.tell_lag)
            async with trio.open_nursery() as probes:
                async for word in words(orders):
                    if isinstance(word, Stop):
                        self.end(word.target)
                    else:
                        probes.start_soon(self.obey, word)
                if not self.is_over:
                    probes.cancel_scope.cancel()  # the coordinator was killed
            nursery.cancel_scope.cancel()

    def end(self, target: int | None) -> None:
        """Have a target end with what it has; None: all of them, and whatever is ordered yet."""
        self.is_over |= target is None
        for number, stop in self._stops.items():
            if target in {None, number}:
                stop.set()

    async def obey(self, order: Order) -> None:
        """Probe one target, whatever it does; an error of ours ends this one alone."""
        stop = self._stops[order.target] = trio.Event()
        if self.is_over:
            stop.set()
        try:
            await self.probe(order, stop)
        except _Blind as blind:
            await self.say(Lost(order.target, blind.message))
        except Exception as error:
            await self.say(ended_by(order.target, error))
        else:
            await self.say(Ended(order.target))
        finally:
            del self._stops[order.target]

    async def probe(self, order: Order, stop: trio.Event) -> None:
        """Probe a target into its folder, until it is done or stopped. Raises TlsprobeError."""
        progress = _Telling(self, order.target)
        asked = RunSettings(
            (self.settings(order),),
            out_dir=None if order.goes_on else order.folder,
            resume=order.folder if order.goes_on else None,
            typed=order.typed,
        )
        begun, within = trio.current_time(), order.settings.how.within
        looks, name = lambda: recognised(asked, progress.note), str(order.settings.target)
        (job,) = jobs_of(await in_time(within, looks, name))
        if within is not None:
            left = max(0.0, within - (trio.current_time() - begun))
            job = replace(job, settings=replace(job.settings, within=left))
        job = replace(job, sequences=in_fleets(job.sequences, order.settings))
        run = await probe(replace(job, capture_with=self.captured, pages=False), progress, stop)
        if blind := run.capture.note:
            shutil.rmtree(order.folder, ignore_errors=True)
            raise (NoRoom if run.capture.unwritable else _Blind)(blind)
        await progress.told()

    def settings(self, order: Order) -> TargetSettings:
        """How a target is probed: from our ports, and as what it was probed before."""
        asked = replace(order.settings, how=replace(order.settings.how, ports=self.ports))
        if not order.goes_on:
            return asked
        before = read_earlier(order.folder).run.target
        profile = load_profile(before.profile) if asked.is_guessed else asked.profile
        return replace(asked, target=before, profile=profile, is_guessed=False)

    async def tell_lag(self) -> None:
        """Report how late the event loop is, for as long as it runs."""
        lag = LoopLag()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lag.watch)
            begun = trio.current_time()
            while True:
                await trio.sleep(REPORTS_EVERY)
                now = trio.current_time()
                late = now - begun - REPORTS_EVERY
                await self.say(Lag(max(late, lag.worst_since(begun))))
                begun = trio.current_time()


def ended_by(target: int, error: Exception) -> Ended:
    """What is said of an order that came to no good end."""
    if full := no_room_in(error):
        return Ended(target, full, no_room=True)
    if isinstance(error, TlsprobeError):
        return Ended(target, error.message)
    return Ended(target, f"tlsprobe failed: {type(error).__name__}: {error}")


class _Telling(Silent):
    """The progress of one target: its notes go to the coordinator when it has ended."""

    def __init__(self, worker: _Worker, target: int) -> None:
        self._worker = worker
        self._target = target
        self._notes: list[str] = []

    def note(self, text: str) -> None:
        """Keep what is said."""
        self._notes.append(text)

    async def told(self) -> None:
        """Tell the warnings among it."""
        for text in self._notes:
            if text.startswith("warning: "):
                await self._worker.say(Said(self._target, text.removeprefix("warning: ")))


def can_reserve(ports: Ports) -> bool:
    """Whether this kernel lets a socket connect from a range of ports."""
    with socket.socket() as tried:
        try:
            only_from(tried, ports)
        except OSError:
            return False
    return True


async def _serve(ports: Ports) -> None:
    own = ports if can_reserve(ports) else None
    # Without a range of our own, every port may be ours: then the filter passes all of TCP.
    async with shared_captures(own or Ports(1, 65535)) as shared:
        out = trio.lowlevel.FdStream(os.dup(1))
        worker = _Worker(out, own, sharing(shared))
        await worker.work(trio.lowlevel.FdStream(os.dup(0)))


def main(arguments: list[str]) -> int:
    """The life of the process. Ctrl-C of the terminal is the coordinator's to pass on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.set_threshold(COLLECT_EVERY)
    first, _, last = arguments[0].partition("-")
    try:
        trio.run(_serve, Ports(int(first), int(last)))
    except* trio.BrokenResourceError:
        pass  # nobody listens any more
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
