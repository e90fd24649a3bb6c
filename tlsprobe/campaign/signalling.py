"""Drives the sequences that tell the server's process to stop, to drain or to reload.

They come behind everything else and one connection at a time: whatever else were open would be
ended with it. After each trial the server is started again, by the lab or by whoever supervises it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Protocol

import trio

from tlsprobe.campaign.driver import Ended
from tlsprobe.errors import CannotMeasure
from tlsprobe.lab.signalled import Signalled
from tlsprobe.model.run import CellPlan, JudgedTrial, Trial
from tlsprobe.model.sequence import Signal

SERVES_WITHIN = 20.0
"""Seconds that a server has to answer once it accepts connections again."""

_POLL = 0.25
_STAYS = frozenset({Signal.RELOAD, Signal.HUP})


class Driving(Protocol):
    """What a campaign can do here."""

    def missing(self, cell: CellPlan) -> list[Trial]:
        """The trials of a cell that are still to be driven."""

    async def trial(self, cell: CellPlan, trial: Trial) -> Ended:
        """Drive a trial."""

    async def judge(self, trial: Trial, ended: Ended) -> JudgedTrial:
        """Write a trial down, and judge it."""

    async def path_works(self, cell: CellPlan) -> bool | None:
        """Whether one more connection works; None: nobody can tell."""

    def is_left(self, why: str, since_ns: int | None = None) -> None:
        """Write down, and say, why the server was left, and since when it was away."""

    def tell(self) -> None:
        """Hand on everything so far."""


async def signalled(run: Driving, cells: Iterable[CellPlan], process: Signalled) -> None:
    """Drive the cells that signal ``process``; those that leave it running come first.

    If no server comes back, the rest stays unmeasured, and says why.
    """
    left = [(cell, t) for cell in sorted(cells, key=_stops) for t in run.missing(cell)]
    while left:
        cell, trial = left.pop(0)
        await run.judge(trial, await run.trial(cell, trial))
        try:
            await process.renew()
            await _served(run, cell)
        except CannotMeasure as error:
            if left:
                run.is_left(error.message, time.time_ns())
            break
        if not left or left[0][0] is not cell:
            run.tell()


async def _served(run: Driving, cell: CellPlan) -> None:
    """Wait until a whole connection works: who accepts may still be starting, or still stopping."""
    deadline = trio.current_time() + SERVES_WITHIN
    while not await run.path_works(cell):
        if trio.current_time() > deadline:
            raise CannotMeasure(f"the server answers nothing {SERVES_WITHIN:g} s after its start")
        await trio.sleep(_POLL)


def _stops(cell: CellPlan) -> bool:
    return not _STAYS.issuperset(cell.sequence.signals)
