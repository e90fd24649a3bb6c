"""Where the targets of a fleet are probed: on this machine, or by workers elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from tlsprobe.fleet.orders import Order, Word


class Engine(Protocol):
    """Probes what is ordered, each order at most once, and says what came of each.

    Of every order exactly one word is heard: Ended, or Lost. Before Ended without a failure is
    heard, the folder of the order holds a run and its facts.
    """

    @property
    def allowed(self) -> int:
        """How many targets may be probed at once just now."""

    def running(self, hears: Callable[[Word], None]) -> AbstractAsyncContextManager[None]:
        """Take orders while the block runs. Raises CannotMeasure when that is no longer possible.

        ``hears`` takes in every word.
        """

    def has_room(self) -> bool:
        """Whether one more target may be begun."""

    def one_at_a_time(self) -> None:
        """From now on, no two targets are to be probed at once."""

    async def order(self, order: Order) -> None:
        """Have a target probed."""

    async def stop(self) -> None:
        """End what is being probed, and keep what was measured if it can be had."""
