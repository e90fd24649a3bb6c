"""Runs reference servers: several behaviours in one process, each on a port of its own."""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from tlsprobe.errors import CannotMeasure
from tlsprobe.reference.behaviours import BEHAVIOURS, DEMO, Behaviour
from tlsprobe.reference.certificate import self_signed
from tlsprobe.reference.dialects import Gone
from tlsprobe.reference.peer import Occasion, Peer
from tlsprobe.tls import TlsContext, server_context

HOST, HOST6 = "127.0.0.1", "::1"
"""Where they listen."""

_BACKLOG = 512
_ATTEMPTS = 20
_START_PATIENCE = 60.0


@asynccontextmanager
async def running(names: tuple[str, ...] = DEMO) -> AsyncIterator[dict[str, int]]:
    """Reference servers in a process of their own; their ports on loopback, by name.

    A process of its own, since a server that shares our interpreter could not be late or early
    independently of the client that it is meant to annoy. An exception leaves the block as it is,
    not wrapped in the group that a nursery would make of it.
    """
    failure: BaseException | None = None
    command = [sys.executable, "-m", "tlsprobe.reference", *names]
    async with trio.open_nursery() as nursery:
        process = await nursery.start(
            partial(trio.run_process, command, stdin=-1, stdout=-1, check=False)
        )
        try:
            yield json.loads(await _announced(process.stdout))
        except BaseException as error:
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def serve(names: tuple[str, ...]) -> None:
    """Serve until standard input ends; the ports go to standard output as one line of JSON."""
    context = _context()
    async with trio.open_nursery() as nursery:
        ports = {name: await _open(nursery, context, BEHAVIOURS[name]) for name in names}
        os.write(1, json.dumps(ports).encode() + b"\n")
        async with trio.lowlevel.FdStream(os.dup(0)) as stdin:
            while await stdin.receive_some():
                pass
        nursery.cancel_scope.cancel()


def _context() -> TlsContext:
    with tempfile.TemporaryDirectory() as folder:
        pem = Path(folder, "reference.pem")
        pem.touch(0o600)
        pem.write_bytes(self_signed())
        return server_context(pem)


async def _open(nursery: trio.Nursery, context: TlsContext, behaviour: Behaviour) -> int:
    listeners = _listeners()
    for listener in listeners:
        nursery.start_soon(_accept, nursery, listener, context, behaviour)
    return int(listeners[0].getsockname()[1])


def _listeners() -> list[trio.socket.SocketType]:
    """One listener for IPv4 and, where there is IPv6, one for it with the same port."""
    for _ in range(_ATTEMPTS):
        four = _listener(socket.AF_INET, HOST, 0)
        try:
            return [four, _listener(socket.AF_INET6, HOST6, int(four.getsockname()[1]))]
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return [four]
            four.close()
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _listener(family: socket.AddressFamily, host: str, port: int) -> trio.socket.SocketType:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return trio.socket.from_stdlib_socket(listener)


async def _accept(
    nursery: trio.Nursery,
    listener: trio.socket.SocketType,
    context: TlsContext,
    behaviour: Behaviour,
) -> None:
    while True:
        sock, _ = await listener.accept()
        nursery.start_soon(_connection, sock, context, behaviour)


async def _connection(
    sock: trio.socket.SocketType, context: TlsContext, behaviour: Behaviour
) -> None:
    with sock:
        peer = Peer(sock, context, behaviour.manner)
        try:
            await peer.handshake()
            occasion = await peer.serve() if behaviour.manner.listens else Occasion.START
            await behaviour.end(peer, occasion)
        except Gone:
            pass


async def _announced(stream: trio.abc.ReceiveStream) -> bytes:
    """The line with the ports."""
    line = b""
    with trio.move_on_after(_START_PATIENCE):
        while b"\n" not in line:
            chunk = await stream.receive_some()
            if not chunk:
                break
            line += chunk
    if not line.endswith(b"\n"):
        raise CannotMeasure("the built-in reference servers did not start")
    return line
