"""kubectl port-forward as a path: which vendors are one, and when one is up again."""

from __future__ import annotations

import trio

from tlsprobe.errors import CannotMeasure
from tlsprobe.model.profile import Profile

PREFIX = "port-forward-"
"""What the names of such profiles begin with."""

UP_WITHIN_S = 60.0
_LOOK_S = 0.1
_LISTENING = "0A"


def is_forward(profile: Profile) -> bool:
    """Whether the vendor is a path to another one.

    One close may take it down with everything in it, for a while: it wants to be probed by runs
    of one connection each, and is no server to stand beside servers.
    """
    return profile.name.startswith(PREFIX)


async def until_up(port: int) -> None:
    """Wait until something listens on the port of IPv4, without touching it.

    A connection made to find out would go through the tunnel, and its end might be the tunnel's.
    Raises CannotMeasure if nothing does for long.
    """
    with trio.move_on_after(UP_WITHIN_S):
        while not await trio.to_thread.run_sync(is_listening, port):
            await trio.sleep(_LOOK_S)
        return
    raise CannotMeasure(f"the forwarder did not come back within {UP_WITHIN_S:g} s")


def is_listening(port: int) -> bool:
    """Whether /proc/net/tcp has a socket that listens on the port."""
    with open("/proc/net/tcp", encoding="ascii") as table:  # noqa: PTH123 - a line at a time
        next(table)
        fields = (line.split() for line in table)
        return any(f[1].endswith(f":{port:04X}") and f[3] == _LISTENING for f in fields)
