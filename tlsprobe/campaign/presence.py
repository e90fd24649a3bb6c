"""Whether the server is still there: one that died would cost our whole patience in each trial.

Where several connections in a row are refused, or their SYNs not answered, or taken and then served
with nothing until our patience was over, no more are opened, and one asks now and then. A server
that is started again is gone on with. Of one that is gone the rest is not measured, and the run
says so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf

import trio

from tlsprobe.campaign.shutting import IN_A_ROW, is_declined, is_kept_out, taken_ns
from tlsprobe.model.trace import Drive, EventKind, RemarkKind, Stage

FEW = 2
"""So many that were left waiting are enough to try whether it serves but one at a time."""

EVERY_S = 1.0
"""Seconds between two attempts to find it again."""

GRACE_S = 15.0
"""Seconds that a server has to be started again."""

MOST_SHUT = 20
"""So many connections in a row that the server ends without a word are no work of our closes."""

BANS_S = 60.0
"""Seconds that a server which ends each so has to serve again, while none of ours is open."""

SLOWED = (
    "the server ended connections before they began for some time, as one does that limits how many"
    " are opened, that is full, or whose worker had crashed: opening fewer a second from then on"
)
"""What is said of a server that shut us out, and served us again."""

_TOLD_TIMES = frozenset({1, 3, 10, 30, 100})
"""How often a server came back when that is told: one that limits us may do so all the time."""

LONGEST_S = 90.0
"""Seconds that a full server has to take connections again, while some of ours are open."""

STALLS_S = 60.0
"""Seconds that one has to serve again which takes connections, while none of ours is open.

While some are it may be full of them, for as long as they wait.
"""


def is_turned_away(found: Drive) -> bool:
    """Whether the server did not take a connection at all; not, that none went out to it.

    A shaper of ours that has died keeps us from asking. One that is recovering says so itself.
    """
    if found.told(RemarkKind.RECOVERING):
        return True
    asked = found.refused or found.did(EventKind.CONNECT) is not None
    untaken = found.stage is Stage.CONNECT and taken_ns(found) is None
    return asked and untaken and found.failure is not None


def is_unserved(found: Drive, took_s: float, patience_s: float) -> bool:
    """Whether the server took a connection and did not even come to what every server does first.

    It took ``took_s`` seconds in all, and ``patience_s`` is what one is given to begin.
    """
    waited = took_s >= patience_s and found.mark is None and found.only_late
    return waited and found.stage is not Stage.CONNECT


class Presence:
    """Sees each driven connection, and holds the next ones back while the server is away.

    ``knock`` opens one connection, ``count_open`` says how many of ours are open. ``gone`` is why
    the server was given up, None as long as it was not; ``seen_ns`` is when it last served a
    connection. ``shuns_ns`` is since when it has taken each connection and ended it without a word,
    as one does that bans whoever opens many; None if it does not. ``leave`` is called where it is
    given up, ``tell`` with a note where it came back, ``slow`` where it serves again behind such
    ends: fewer are to be opened from then on.
    ``serves_one`` tries whether it serves one connection at a time; it is asked once, when some
    were left waiting.
    ``patience_s`` is how long a connection waits for what every server does first, ``every_s`` the
    time between two knocks.
    """

    def __init__(
        self,
        knock: Callable[[], Awaitable[Drive]],
        count_open: Callable[[], int],
        leave: Callable[[], None],
        tell: Callable[[str], None],
        *,
        slow: Callable[[], None] = lambda: None,
        serves_one: Callable[[], Awaitable[bool]] | None = None,
        patience_s: float = inf,
        every_s: float = EVERY_S,
    ) -> None:
        self._knock, self._count_open = knock, count_open
        self._leave, self._tell = leave, tell
        self._patience_s, self._every_s = patience_s, every_s
        self._failed, self._most, self._unserved = 0, IN_A_ROW, 0
        self._times, self._away_s = 0, 0.0
        self._there = trio.Event()
        self._there.set()
        self.gone: str | None = None
        self.seen_ns = 0
        self._slow, self._serves_one = slow, serves_one
        self._shut = self._shut_ns = 0
        self._most_shut, self._is_slowed, self._bans = IN_A_ROW, False, False

    @property
    def shuns_ns(self) -> int | None:
        """When the series began in which the server ended each connection without a word."""
        return self._shut_ns if self._bans or self._shut >= MOST_SHUT else None

    @property
    def limits(self) -> bool:
        """Whether it shut us out and served again, so that an end without a word tells little."""
        return self._is_slowed

    @property
    def is_there(self) -> bool:
        """Whether connections may be opened."""
        return self._there.is_set()

    async def there(self) -> None:
        """Wait until connections may be opened."""
        await self._there.wait()

    async def saw(self, found: Drive, took_s: float = 0.0) -> None:
        """Take a driven connection to account; look for the server if it seems to be away.

        The connection took ``took_s`` seconds.
        """
        await self.heard(found)
        if not is_turned_away(found) and not is_unserved(found, took_s, self._patience_s):
            self._failed = 0
            taken = found.did(EventKind.CONNECTED)
            self.seen_ns = max(self.seen_ns, 0 if taken is None else taken.time_ns)
            return
        self._failed += 1
        self._unserved += not is_turned_away(found)
        if self._serves_one is not None and self._unserved >= FEW:
            await self._alone_for(self._serves_one)
            return
        if self._failed >= self._most and self.is_there:
            await self._look_for_it(takes=not is_turned_away(found))

    async def _alone_for(self, serves_one: Callable[[], Awaitable[bool]]) -> None:
        """Try it once none of ours is open; what waits for the server's idle timer has its time."""
        self._serves_one = None
        if not self.is_there:
            return
        self._there = trio.Event()
        with trio.move_on_after(LONGEST_S):
            while self._count_open():
                await trio.sleep(self._every_s / 4)
            await serves_one()
        self._there.set()

    async def heard(self, found: Drive) -> None:
        """Take a connection to account only for how it was ended; wait where all are shut out."""
        self._count_shut(found)
        if is_kept_out(found) and self._shut >= self._most_shut and self.is_there:
            await self._wait_out()

    async def _wait_out(self) -> None:
        """Open nothing until one connection is served again: each may make a ban longer."""
        self._there = trio.Event()
        begun = lonely = trio.current_time()
        pause_s = self._every_s
        while True:
            await trio.sleep(pause_s)
            found = await self._knock()
            now = trio.current_time()
            if self._count_open():
                lonely = now
            if found.did(EventKind.HANDSHAKEN) is not None and not is_declined(found):
                break
            if now - lonely >= BANS_S:
                self._bans = True
                self._leave()
                return
            if now - begun >= LONGEST_S and self._count_open():
                self._most_shut *= 2  # it may be full of those that wait: they are not waited for
                break
            pause_s = min(2 * pause_s, BANS_S / 4)
        self._shut = 0
        self._there.set()
        self._slow()
        if not self._is_slowed:
            self._is_slowed = True
            self._tell(SLOWED)

    def _count_shut(self, found: Drive) -> None:
        taken = taken_ns(found)
        if taken is None:
            return
        if is_kept_out(found):
            self._shut_ns = min(self._shut_ns, taken) if self._shut else taken
            self._shut += 1
        elif found.did(EventKind.HANDSHAKEN) is not None and taken >= self._shut_ns:
            self._shut = 0  # what was open before says nothing of now

    async def _look_for_it(self, *, takes: bool) -> None:
        """Knock until it is there again, or given up; ``takes``: it took what it did not serve."""
        self._there = trio.Event()
        begun = lonely = trio.current_time()
        is_first = True
        while True:
            await trio.sleep(self._every_s)
            knocked = trio.current_time()
            found = await self._knock()
            now = trio.current_time()
            unserved = is_unserved(found, now - knocked, self._patience_s)
            if not unserved and not is_turned_away(found):
                break
            takes, is_first = unserved, False
            if self._count_open():
                lonely = now
            if self._is_over(now - begun, now - lonely, takes=takes):
                self.gone = f"the server went away during the run and {_how(found)}"
                self.gone += f" for {now - begun:.0f} s"
                self._leave()
                return
        self._failed = 0
        self._there.set()
        if takes and is_first:
            self._most *= 2  # it serves whoever knocks, and not what is measured
            return
        self._times += 1
        self._away_s += trio.current_time() - begun
        if self._times > 1:
            self._slow()
        if self._times in _TOLD_TIMES:
            what = "served no connections" if takes else "took no connections"
            often = "" if self._times == 1 else f" {self._times} times, together"
            self._tell(f"the server {what}{often} for {self._away_s:.0f} s during the run")

    def _is_over(self, away_s: float, lonely_s: float, *, takes: bool) -> bool:
        if takes:
            return lonely_s >= STALLS_S
        return away_s >= (LONGEST_S if self._count_open() else GRACE_S)


def _how(found: Drive) -> str:
    if found.refused:
        return "refused connections"
    return "answered no SYN" if found.stage is Stage.CONNECT else "served none that it took"
