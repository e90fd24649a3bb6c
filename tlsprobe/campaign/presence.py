"""Whether the server is still there: one that died would cost our whole patience in each trial.

Where several connections in a row are refused, or their SYNs not answered, no more are opened, and
one asks now and then. A server that is started again is gone on with. Of one that is gone the rest
is not measured, and the run says so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from tlsprobe.model.trace import Drive, EventKind, Stage

IN_A_ROW = 5
"""So many connections that the server does not take, one after the other, are no accident."""

EVERY_S = 1.0
"""Seconds between two attempts to find it again."""

GRACE_S = 15.0
"""Seconds that a server has to be started again."""

LONGEST_S = 90.0
"""Seconds that a full server has to take connections again, while some of ours are open."""


def is_turned_away(found: Drive) -> bool:
    """Whether the server did not take a connection at all."""
    return found.stage is Stage.CONNECT and found.failure is not None


class Presence:
    """Sees each driven connection, and holds the next ones back while the server is away.

    ``knock`` opens one connection, ``count_open`` says how many of ours are open. ``gone`` is why
    the server was given up, None as long as it was not; ``seen_ns`` is when it last took a
    connection. ``leave`` is called where it is given up, ``tell`` with a note where it came back.
    """

    def __init__(
        self,
        knock: Callable[[], Awaitable[Drive]],
        count_open: Callable[[], int],
        leave: Callable[[], None],
        tell: Callable[[str], None],
    ) -> None:
        self._knock, self._count_open = knock, count_open
        self._leave, self._tell = leave, tell
        self._failed = 0
        self._there = trio.Event()
        self._there.set()
        self.gone: str | None = None
        self.seen_ns = 0

    async def there(self) -> None:
        """Wait until connections may be opened."""
        await self._there.wait()

    async def saw(self, found: Drive) -> None:
        """Take a driven connection to account; look for the server if it seems to be away."""
        if not is_turned_away(found):
            self._failed = 0
            taken = found.did(EventKind.CONNECTED)
            self.seen_ns = max(self.seen_ns, 0 if taken is None else taken.time_ns)
            return
        self._failed += 1
        if self._failed >= IN_A_ROW and self._there.is_set():
            await self._look_for_it()

    async def _look_for_it(self) -> None:
        self._there = trio.Event()
        begun = trio.current_time()
        while True:
            await trio.sleep(EVERY_S)
            found = await self._knock()
            away_s = trio.current_time() - begun
            if not is_turned_away(found):
                break
            if away_s >= (LONGEST_S if self._count_open() else GRACE_S):
                how = "refused connections" if found.refused else "answered no SYN"
                self.gone = f"the server went away during the run and {how} for {away_s:.0f} s"
                self._leave()
                return
        self._failed = 0
        self._there.set()
        self._tell(f"the server took no connections for {away_s:.0f} s during the run")
