"""Measures again what a busy machine spoiled, or a server that our own connections filled.

Both are found when everything has been measured once. A server that is full turns connections
away, leaves them waiting, or shortens its idle timeout: one connection alone tells whether it does
so to everybody. If not, the run steps down to fewer connections, until alone and together agree,
and measures again what had more. What came late, or met a machine that was too slow, is driven once
more with little beside it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import trio

from tlsprobe.campaign.spoiled import (
    FEW_UNSERVED,
    Driven,
    better,
    hasty_timer,
    is_shortened,
    is_steady,
    opened_alone,
    outlasts,
    spoiled,
    turned_away,
    was_unserved,
)
from tlsprobe.model.facts import CrowdedFact, Fact
from tlsprobe.model.run import CellPlan

CALMER = (2, 1)
"""How many spoiled trials are driven at a time, attempt by attempt."""

IDLE_AT_ONCE = 4
"""And how many that wait idle most of the time."""

MOST_AGAIN = 200
"""Trials that are driven once more for being late, at most, in one attempt."""

STEP_DOWN = 4
"""By how much fewer connections a full server is tried again."""

IDLE_TRIALS = 2
"""Trials of an idle cell that are measured again on a server that is small."""

TIMES_ALONE = 3
"""How often a timeout must be longer alone: a busy machine delays timers, but not thrice alike."""

LOOKS_ALONE = 2 + TIMES_ALONE
"""Connections that one look at whether a server has room for us takes, at most."""


class Measuring(Protocol):
    """The campaign, as far as repeating a part of it takes."""

    def seen(self, cells: Iterable[CellPlan]) -> list[Driven]:
        """The trials of some cells so far."""

    async def again(self, chosen: list[Driven], at_once: int) -> None:
        """Drive some trials once more, so many at a time."""

    async def alone(self, driven: Driven) -> Driven:
        """Drive a trial once more with no other connection open."""

    async def path(self, cell: CellPlan) -> None:
        """See whether one more connection works after the trials of a cell."""

    @property
    def dies(self) -> bool:
        """Whether the server itself said that a process of its had died."""

    def limit(self, most: int) -> None:
        """Have no more connections open at once from now on."""

    def note(self, fact: Fact) -> None:
        """Write a fact down, and learn it."""

    def warn(self, note: str) -> None:
        """Tell whoever watches, and the report."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """That the server has no room for all our connections, and what shows it.

    ``beside``: how many were open where it showed. ``for_good``: it goes on as if they were still
    there.
    """

    because: str
    beside: int
    for_good: bool = False


async def uncrowd(
    run: Measuring, cells: list[CellPlan], most: int, expected_s: float, *, is_known: bool
) -> None:
    """Step down until the server has room for us; ``most`` connections could be open so far.

    ``expected_s`` is the idle timeout that is documented, or as long as we wait. ``is_known``: the
    server has no room for more than that, as was seen while the run went on.
    """
    few = FEW_UNSERVED
    if is_known:
        await _again_beside(run, cells, most)
    while most > 1:
        crowd = await _crowded(run, cells, most, expected_s, few)
        if crowd is None:
            return
        if crowd.for_good:
            run.note(CrowdedFact(0, crowd.because))
            fewer = max(2, most // STEP_DOWN**2)
            run.warn(
                f"{crowd.because}: start the server again, and measure idle timeouts with"
                f" --connections {fewer}"
            )
            return
        most, few = max(1, min(most // STEP_DOWN, crowd.beside - 1)), 1
        run.limit(most)
        run.note(CrowdedFact(most, crowd.because))
        run.warn(f"{crowd.because}: measuring again with at most {most} open")
        await _again_beside(run, cells, most)


async def _again_beside(run: Measuring, cells: list[CellPlan], most: int) -> None:
    """Measure again what had more connections of ours beside it, and see whether paths work."""
    chosen = [one for one in run.seen(cells) if one.most > most]
    quick = [one for one in chosen if not one.cell.sequence.is_idle]
    await run.again(quick, max(1, most // 2))
    slow = [one for one in chosen if one.cell.sequence.is_idle]
    await run.again([o for o in slow if o.judged.trial.index < IDLE_TRIALS], most)
    for cell in cells:
        await run.path(cell)


def room_unseen(seen: list[Driven], expected_s: float) -> int | None:
    """What has to be taken for the server's room, as in `CrowdedFact`, where nobody can look.

    None: nothing looks as if our own connections had filled it.
    """
    if turned_away(seen):
        return 1
    return None if hasty_timer(seen, expected_s) is None else 0


async def _crowded(
    run: Measuring, cells: list[CellPlan], most: int, expected_s: float, few: int
) -> Crowd | None:
    """What shows that the server has no room for all our connections; None if nothing does."""
    seen = [one for one in run.seen(cells) if one.most <= most]
    away_from = reversed(turned_away(seen, few, dies=run.dies))
    first_of = {was_unserved(one.judged): one for one in away_from}
    for unserved, away in first_of.items():
        if better(away.judged, (await run.alone(away)).judged):
            does = "leaves connections waiting" if unserved else "turns connections away"
            because = f"the server {does} while {away.most} of ours are open"
            return Crowd(because, away.most)
    hasty = hasty_timer(seen, expected_s)
    if hasty is None or hasty.idle_s is None:
        return None
    first = opened_alone(seen)
    alone: list[Driven] = []
    while len(alone) < TIMES_ALONE:
        # Who looks for idle clients at every tick ends each of ours just when the next one begins.
        await trio.sleep(hasty.idle_s * len(alone) / TIMES_ALONE)
        alone.append(await run.alone(hasty))
        recovers = all(is_shortened(hasty, one) for one in alone)
        for_good = first is not None and all(outlasts(first, one) for one in alone)
        if not recovers and not for_good:
            return None
    if not is_steady(alone):
        return None  # a timer that is never the same twice was not shortened by us
    if recovers:
        return Crowd(
            f"the server's idle timeout is {hasty.idle_s:.2f} s while {hasty.most} connections of"
            f" ours are open, alone {_idle(alone[-1], 'it is', 'it waits longer than we do')}",
            hasty.most,
        )
    return Crowd(
        "the server's idle timeout stays short once there were many connections of ours, also for"
        f" one alone: {_idle(alone[-1])}, where the first {_idle(first, 'had', 'outwaited us')}",
        hasty.most,
        for_good=True,
    )


def _idle(one: Driven | None, fired: str = "", else_: str = "") -> str:
    if one is None or one.idle_s is None:
        return else_
    return f"{fired} {one.idle_s:.2f} s".strip()


async def calm(run: Measuring, cells: list[CellPlan]) -> None:
    """Drive what a busy machine spoiled once more, with less at a time in each attempt."""
    for at_once in CALMER:
        chosen = spoiled(run.seen(cells))[:MOST_AGAIN]
        await run.again([one for one in chosen if not one.cell.sequence.is_idle], at_once)
        await run.again([one for one in chosen if one.cell.sequence.is_idle], IDLE_AT_ONCE)
