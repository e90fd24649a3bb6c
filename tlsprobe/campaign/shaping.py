"""The shaper that goes with a campaign, where a sequence needs one in the path."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from tlsprobe.campaign.reach import Reached
from tlsprobe.errors import CannotMeasure
from tlsprobe.model.run import CellPlan
from tlsprobe.protocols import is_commanded
from tlsprobe.shaper.link import Shaper, open_shaper


@dataclass(frozen=True, slots=True)
class Shaping:
    """The cells that can be measured, and what shapes the path of those that ask for it.

    ``left_out`` says why others cannot, empty if all can.
    """

    plans: tuple[CellPlan, ...]
    shaper: Shaper | None = None
    left_out: str = ""


def shaper_to(reached: Reached, namespace: str) -> AbstractAsyncContextManager[Shaper]:
    """A shaper in the path to a server, to its other ports too if it names them as we go.

    Raises CannotMeasure when it is entered.
    """
    any_port = any(is_commanded(route.converse) for route in reached.routes.values())
    return open_shaper(reached.address[1], namespace, any_port=any_port)


@asynccontextmanager
async def shaping(
    plans: tuple[CellPlan, ...], reached: Reached, namespace: str
) -> AsyncIterator[Shaping]:
    """A shaper in the path to the server, if one is needed and can be had.

    Raises CannotMeasure where nothing is left to measure without one.
    """
    others = tuple(cell for cell in plans if not cell.sequence.is_shaped)
    if len(others) == len(plans):
        yield Shaping(plans)
        return
    async with AsyncExitStack() as path:
        try:
            shaper = await path.enter_async_context(shaper_to(reached, namespace))
        except CannotMeasure as error:
            if not others:
                raise
            count = len({cell.sequence.name for cell in plans if cell.sequence.is_shaped})
            which = "1 sequence was" if count == 1 else f"{count} sequences were"
            yield Shaping(others, left_out=f"{which} left out: {error.message}")
        else:
            yield Shaping(plans, shaper)
