"""How each reference server ends a connection: one small function each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from tlsprobe.reference.peer import Occasion, Peer

_UNTIL_CLIENT_IS_DONE = 2.0
_LINGER = 0.3
_PROCESS_EXIT = 0.003
_FOREVER = 20.0

End = Callable[[Peer, Occasion], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """A reference server: ``does`` in words, ``end`` in deeds; ``cuts`` responses or not."""

    name: str
    does: str
    end: End
    cuts: bool = False


async def _polite(peer: Peer, _: Occasion) -> None:
    await peer.notify()
    peer.fin()
    await peer.linger(_UNTIL_CLIENT_IS_DONE)
    peer.close()


async def _silent(peer: Peer, _: Occasion) -> None:
    peer.fin()
    await peer.linger(_UNTIL_CLIENT_IS_DONE)
    peer.close()


async def _hasty(peer: Peer, _: Occasion) -> None:
    await peer.notify()
    peer.close()


async def _rude(peer: Peer, _: Occasion) -> None:
    await peer.notify()
    await trio.sleep(_PROCESS_EXIT)  # a process takes its time to exit; what comes now stays unread
    peer.close()


async def _aborting(peer: Peer, _: Occasion) -> None:
    await peer.linger(_PROCESS_EXIT)  # nothing is unread when it resets
    peer.abort()


async def _lingering(peer: Peer, _: Occasion) -> None:
    await peer.notify()
    await peer.linger(_LINGER)
    peer.close()


async def _mute(peer: Peer, _: Occasion) -> None:
    await trio.sleep(_FOREVER)
    peer.abort()


async def _half_closing(peer: Peer, _: Occasion) -> None:
    await peer.notify()
    peer.fin()
    await trio.sleep(_PROCESS_EXIT)
    peer.close()


BEHAVIOURS = {
    behaviour.name: behaviour
    for behaviour in (
        Behaviour("polite", "alert, FIN, then reads until the client is done", _polite),
        Behaviour("silent", "FIN without an alert", _silent),
        Behaviour("hasty", "alert, then closes at once without reading", _hasty),
        Behaviour("rude", "alert, then exits with the client's last bytes unread", _rude),
        Behaviour("aborting", "reads everything, then resets (linger 0)", _aborting),
        Behaviour("lingering", "alert, and no FIN until the client is done", _lingering),
        Behaviour("mute", "never ends the connection", _mute),
        Behaviour("truncating", "stops in the middle of a response", _polite, cuts=True),
        Behaviour("half-closing", "alert, FIN, then closes with data unread", _half_closing),
    )
}
"""All reference servers by name; ``polite`` is the control that must come back clean."""
