"""The parent's side of the shaper: sockets whose path does as it is told.

    async with open_shaper(address) as shaper:
        lane = await shaper.open()      # a socket in the client's network, not connected yet
        await lane.treat(Treatment.HOLD, 0, 24)
        ...
        shaped = await lane.leave()     # what the path did

A connection has the same port on both sides of the shaper. On the host's side nobody listens
there: a listening socket holds the port, and its filter refuses every packet, so that the host's
kernel, which knows nothing of the connection, has no occasion to answer the server with an RST. It
needs no rule of a firewall, no privilege, and ends with us.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import trio

from tlsprobe.errors import CannotMeasure
from tlsprobe.model.trace import Shaped
from tlsprobe.model.verbs import Treatment
from tlsprobe.netns import inside
from tlsprobe.shaper.process import INSIDE, NEEDS
from tlsprobe.shaper.protocol import LARGEST, Answer, Do, Order, Setup, read_answer, written
from tlsprobe.sniff import bpf, route

HELD = 256
"""So many ports stay held behind their connections: a late packet must meet nobody."""

_LARGEST_MTU = 65_000
"""More than a TUN device bears would be refused."""
_READY_WITHIN_S = 30.0
_ENDS_WITHIN_S = 5.0
_SIOCGIFMTU = 0x8921

SocketAddress = tuple[str, int] | tuple[str, int, int, int]


@dataclass(frozen=True, slots=True)
class Lane:
    """One connection's way through the shaper.

    ``client`` is our end as the server sees it, ``server`` what to connect ``socket`` to.
    """

    shaper: Shaper
    socket: socket.socket
    client: tuple[str, int]
    server: tuple[str, int]

    async def treat(self, how: Treatment, start: int, end: int, count: int) -> None:
        """Have the path treat these offsets of our stream when they come. Raises OSError."""
        await self.order(Do.TREAT, how, start, end, count)

    async def order(
        self, do: Do, how: str = "", start: int = 0, end: int = 0, count: int = 0
    ) -> None:
        """Have something done, and wait until it is. Raises OSError if the shaper is gone."""
        await self.shaper.ask(Order(do, self.client[1], how, start, end, count))

    async def leave(self) -> tuple[Shaped, ...]:
        """Give the way up; what was done on it. From here on its packets go nowhere.

        Raises OSError if nobody can tell any more.
        """
        answer, _ = await self.shaper.ask(Order(Do.FORGET, self.client[1]))
        return answer.shaped


class Shaper:
    """The path to one server. Made by `open_shaper`; ``pid`` is its process."""

    def __init__(self, link: socket.socket, ours: SocketAddress, namespace: str, pid: int) -> None:
        self.pid = pid
        self._link = link
        self._ours = ours
        self._namespace = namespace
        self._turn = trio.Lock()
        self._ports: deque[socket.socket] = deque()

    async def open(self) -> Lane:
        """A new way. Raises OSError."""
        held = self._hold_port()
        port = held.getsockname()[1]
        _, made = await self.ask(Order(Do.OPEN, port))
        if made is None:
            raise ConnectionError("the shaper gave no socket")
        size = len(route.packed(self._ours[0]))
        return Lane(self, made, (self._ours[0], port), (INSIDE[size][1], 0))

    def try_port(self) -> None:
        """See whether a port can be held so that nobody answers on it. Raises CannotMeasure.

        Some kernels (6.18 is one) let nobody without CAP_NET_ADMIN filter a TCP socket.
        """
        try:
            self._hold_port()
        except OSError as error:
            refused = isinstance(error, PermissionError)
            raise _cannot(NEEDS if refused else error.strerror or str(error)) from error

    def _hold_port(self) -> socket.socket:
        """A port of the host's that nobody answers on."""
        family = socket.AF_INET6 if ":" in self._ours[0] else socket.AF_INET
        with inside(self._namespace):
            held = socket.socket(family, socket.SOCK_STREAM)
        bpf.attach(held, bpf.NOTHING)
        held.bind((self._ours[0], 0, *self._ours[2:]))
        held.listen(1)
        self._ports.append(held)
        if len(self._ports) > HELD:
            self._ports.popleft().close()
        return held

    async def ask(self, order: Order) -> tuple[Answer, socket.socket | None]:
        """One order, done; and the socket that came of it. Raises OSError."""
        with trio.CancelScope(shield=True):  # an answer that nobody took would be the next one's
            async with self._turn:
                try:
                    self._link.send(written(order))
                    answer, made = await received(self._link)
                except ConnectionError as error:
                    raise ConnectionError("the shaper in the path has ended") from error
        if answer.failure:
            raise OSError(f"the shaper in the path: {answer.failure}")
        return answer, made

    def close(self) -> None:
        """Give all ports back."""
        for held in self._ports:
            held.close()


async def received(link: socket.socket) -> tuple[Answer, socket.socket | None]:
    """The next answer, and the socket that came with it. Raises OSError if none is to come."""
    await trio.lowlevel.wait_readable(link)
    data, descriptors, _, _ = socket.recv_fds(link, LARGEST, 1)
    if not data:
        raise ConnectionError("the shaper has ended")
    made = socket.socket(fileno=descriptors[0]) if descriptors else None
    return read_answer(data), made


@asynccontextmanager
async def open_shaper(
    server: SocketAddress, namespace: str = "", *, any_port: bool = False
) -> AsyncIterator[Shaper]:
    """A shaper in the path to a server (an address as numbers), in that network namespace.

    ``any_port``: to whichever of its ports a connection goes. Raises CannotMeasure, with the
    reason, where it cannot be had.
    """
    setup, ours = _setup(server, namespace, any_port=any_port)
    link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with link, _process(setup, theirs, namespace) as pid:
        await _ready(link)
        shaper = Shaper(link, ours, namespace, pid)
        try:
            shaper.try_port()
            yield shaper
        finally:
            shaper.close()
            link.close()


def why_not() -> str | None:
    """Why packets cannot be shaped on this machine, as a sentence; None if they can."""

    async def try_it() -> None:
        async with open_shaper(("127.0.0.1", 1)):
            pass

    try:
        trio.run(try_it)
    except CannotMeasure as error:
        return error.message.partition(": ")[2]
    return None


async def _ready(link: socket.socket) -> None:
    failure = "it did not start"
    with trio.move_on_after(_READY_WITHIN_S):
        try:
            answer, _ = await received(link)
        except OSError:
            pass
        else:
            failure = answer.failure
    if failure:
        raise _cannot(failure)


def _cannot(why: str) -> CannotMeasure:
    message = f"packets cannot be shaped on this machine: {why}"
    return CannotMeasure(message, "run tlsprobe with sudo, where /dev/net/tun is")


def _setup(server: SocketAddress, namespace: str, *, any_port: bool) -> tuple[Setup, SocketAddress]:
    """Between whom it will stand, as this machine routes packets now."""
    family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
    try:
        with inside(namespace), socket.socket(family, socket.SOCK_DGRAM) as any_socket:
            any_socket.connect(server)
            ours = any_socket.getsockname()
            interface = route.interface_to(server[0])
            asked = struct.pack("16s24x", interface.encode())
            mtu = struct.unpack_from("16si", fcntl.ioctl(any_socket, _SIOCGIFMTU, asked))[1]
    except OSError as error:
        raise CannotMeasure(f"no route to {server[0]} ({error.strerror or error})") from error
    mtu = min(mtu, _LARGEST_MTU)
    port = None if any_port else server[1]
    return Setup(server[0], port, ours[0], interface, mtu), ours


@contextmanager
def _process(setup: Setup, theirs: socket.socket, namespace: str) -> Iterator[int]:
    """The process, for the time of the block: its pid. It ends when its link does."""
    command = [sys.executable, "-P", "-m", "tlsprobe.shaper.process", written(setup).decode()]
    with theirs, inside(namespace):
        process = subprocess.Popen(
            command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, start_new_session=True
        )
    try:
        yield process.pid
    finally:
        try:
            process.wait(_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
