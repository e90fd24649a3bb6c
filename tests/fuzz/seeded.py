"""Servers with one seeded fault each, built on the reference server: what the fuzzer has to find.

``python -m tests.fuzz.seeded NAME [DICE]`` prints its port, and serves until standard input ends.
"""

from __future__ import annotations

import json
import math
import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import trio

from tests.children import child
from tests.fuzz.controls import CONTROLS
from tests.fuzz.faults import FAULTS
from tests.fuzz.faults.peer import Fault, House, Seeded
from tlsprobe.reference import server
from tlsprobe.reference.behaviours import BEHAVIOURS
from tlsprobe.reference.dialects import Gone
from tlsprobe.tls import TlsContext

_DOWN = 0.3


async def _connection(
    sock: trio.socket.SocketType, context: TlsContext, fault: Fault, house: House
) -> None:
    house.open += 1
    with sock:
        peer = Seeded(sock, context, fault, house)
        try:
            if fault.greet is not None:
                await fault.greet(peer)
            else:
                await peer.handshake()
            await fault.end(peer, await peer.serve())
        except Gone:
            pass
        finally:
            house.open -= 1


async def serve(fault: Fault, listener: socket.socket, dice: str | None) -> None:
    """Serve until standard input ends, or the fault ends it."""
    context, house = server._context(), House(listener=listener, luck=random.Random(dice))
    accepting = trio.socket.from_stdlib_socket(listener)
    slots = trio.CapacityLimiter(fault.slots or math.inf)

    async def in_a_slot(sock: trio.socket.SocketType, slot: object) -> None:
        try:
            await _connection(sock, context, fault, house)
        finally:
            slots.release_on_behalf_of(slot)

    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            async with trio.lowlevel.FdStream(os.dup(0)) as stdin:
                while await stdin.receive_some():
                    pass
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch)
        with suppress(OSError, trio.ClosedResourceError):
            while True:
                await slots.acquire_on_behalf_of(slot := object())
                sock, _ = await accepting.accept()
                nursery.start_soon(in_a_slot, sock, slot)


def main() -> None:
    """A server that dies is there again after a moment, on the same port."""
    name, dice = sys.argv[1], next(iter(sys.argv[2:]), None)
    known = FAULTS | CONTROLS
    fault = known[name] if name in known else Fault("", "", "", (), BEHAVIOURS[name].end)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(512)
    port = listener.getsockname()[1]
    os.write(1, json.dumps(port).encode() + b"\n")
    while True:
        child = os.fork() if fault.deadly else 0
        if not child:
            trio.run(serve, fault, listener, dice)
            os._exit(0)
        listener.close()
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) == 0:
            return
        trio.run(trio.sleep, _DOWN)
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(512)


@contextmanager
def seeded(name: str, *, dice: str = "") -> Iterator[int]:
    """A server with this fault, in a process of its own; its port.

    One that throws dice throws the same ones every time if their seed is given.
    """
    command = [sys.executable, "-m", "tests.fuzz.seeded", name, *filter(None, [dice])]
    with child(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield int(json.loads(process.stdout.readline()))
        process.stdin.close()


if __name__ == "__main__":
    main()
