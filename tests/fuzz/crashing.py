"""A reference server that dies of a second goodbye, run as a process of its own.

``python crashing.py PORTFILE [LIVES]``: with lives left it is there again, on the same port, half a
second after its death.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path

import trio

from tlsprobe.reference import server
from tlsprobe.reference.behaviours import BEHAVIOURS, Behaviour
from tlsprobe.reference.peer import Occasion, Peer

_UP_AGAIN_AFTER = 0.5
_LISTENS_FOR = 60.0
"""Seconds in which a second word kills it; a client that says none leaves long before."""


async def _crashing(peer: Peer, occasion: Occasion) -> None:
    """Polite, but not to anybody who goes on behind a goodbye."""
    await peer.notify()
    peer.fin()
    if occasion is Occasion.GOODBYE:
        with trio.move_on_after(_LISTENS_FOR):
            if await peer._receive(1):
                os._exit(3)
    await peer.linger(1.0)
    peer.close()


async def _serve(port: int, told: Path) -> None:
    if port:
        server._listeners = lambda: [server._listener(socket.AF_INET, "127.0.0.1", port)]
    async with trio.open_nursery() as nursery:
        crashing = Behaviour("crashing", "dies", _crashing)
        bound = await server._open(nursery, server._context(), crashing)
        told.write_text(str(bound))


def main() -> None:
    told = Path(sys.argv[1])
    lives = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    assert "crashing" not in BEHAVIOURS
    port = 0
    for _ in range(lives):
        child = os.fork()
        if not child:
            trio.run(_serve, port, told)
        os.waitpid(child, 0)
        port = int(told.read_text())
        time.sleep(_UP_AGAIN_AFTER)


if __name__ == "__main__":
    main()
