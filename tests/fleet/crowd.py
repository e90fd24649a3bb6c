"""Built-in servers by the hundred, each on an address of its own in 127/8.

``python -m tests.fleet.crowd COUNT [NAME [IDLE]]`` prints a list of targets for ``tlsprobe fleet``,
an empty line behind it, and serves until standard input ends. IDLE is the seconds after which they
end an idle connection, 1 if it is left out.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import trio

from tests.children import child
from tlsprobe.reference import peer, server
from tlsprobe.reference.behaviours import BEHAVIOURS

FIRST = ip_address("127.10.0.1")
"""The address of the first of them."""


async def serve(count: int, name: str) -> None:
    """Serve until standard input ends."""
    context = server._context()
    async with trio.open_nursery() as nursery:
        lines = []
        for at in range(count):
            listener = server._listener(socket.AF_INET, str(FIRST + at), 0)
            nursery.start_soon(server._accept, nursery, listener, context, BEHAVIOURS[name])
            lines.append(f"{FIRST + at}:{listener.getsockname()[1]} profile=reference\n")
        os.write(1, "".join(lines).encode() + b"\n")
        async with trio.lowlevel.FdStream(os.dup(0)) as stdin:
            while await stdin.receive_some():
                pass
        nursery.cancel_scope.cancel()


@contextmanager
def crowd(count: int, name: str = "polite") -> Iterator[str]:
    """So many servers while the block runs; their list of targets."""
    command = [sys.executable, "-m", "tests.fleet.crowd", str(count), name]
    with child(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as one:
        assert one.stdin is not None
        assert one.stdout is not None
        lines = []
        while (line := one.stdout.readline()) != "\n":
            assert line, "the servers ended before they began"
            lines.append(line)
        yield "".join(lines)
        one.stdin.close()


if __name__ == "__main__":
    if sys.argv[3:]:
        peer.IDLE_TIMEOUT = float(sys.argv[3])
    trio.run(serve, int(sys.argv[1]), "".join(sys.argv[2:3]) or "polite")
