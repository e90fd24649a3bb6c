"""A target that stops answering: whether it comes back, and which close it was.

The fault shows on the next connection, and with several connections at a time that is the next of
many. So the last examples are suspects until each was tried alone, if the server comes back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import trio

from tlsprobe.fuzz.properties import Violation
from tlsprobe.fuzz.trying import Prober
from tlsprobe.model.fuzz import Example

REVIVAL = 2.0
"""How often the patience with a server somebody may take to restart one that died."""

_POLL = 0.2

DEATH = Violation(
    "next-connection",
    "INTEROP-PATH",
    "afterwards, a fresh connection through the same path did not work",
)

GONE = replace(
    DEATH,
    text="the server took no connections any more and did not come back: whether it died of a close"
    " or of our load, or was stopped, could not be tried; the sequence is only the last one",
)
"""The same of a server that nobody can ask any more: its operator may have stopped it."""


async def comes_back(prober: Prober) -> bool:
    """Whether an ordinary connection works, now or within the time of a restart."""
    with trio.move_on_after(REVIVAL * prober.patience):
        while not await prober.works():
            await trio.sleep(_POLL)
        return True
    return False


async def kills(prober: Prober, example: Example, why: str) -> bool:
    """Whether the next connection does not work after this example, though one did before.

    Asked at once: whoever restarts a server that dies may be quick.
    """
    if not await comes_back(prober):
        return False
    await prober.once(example, why)
    return not await prober.works(attempts=1)


async def culprit(prober: Prober, suspects: Iterable[Example]) -> Example | None:
    """The first of the suspects that kills the server by itself."""
    for example in suspects:
        if await kills(prober, example, "suspect"):
            return example
    return None
