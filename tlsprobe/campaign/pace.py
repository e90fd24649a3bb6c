"""When connections may start, and when all of them end."""

from __future__ import annotations

import trio


class Pace:
    """Lets connections start no closer together than a rate (a second) allows."""

    def __init__(self, rate: float | None) -> None:
        self._gap = 1 / rate if rate else 0.0
        self._gate = trio.Lock()
        self._next_start = 0.0

    async def turn(self) -> None:
        """Wait for one's turn. Whoever comes late makes all behind it later: no bunching."""
        if self._gap:
            async with self._gate:
                await trio.sleep_until(self._next_start)
                self._next_start = trio.current_time() + self._gap


async def cancel_at(stop: trio.Event, scope: trio.CancelScope) -> None:
    """Cancel the scope as soon as somebody says stop."""
    await stop.wait()
    scope.cancel()
