"""What every seeded fault is made of: the server's end of a connection, and the fault's own row."""

from __future__ import annotations

import random
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from tlsprobe.model.target import TlsVersion
from tlsprobe.reference.dialects import Gone, Lines, Manner
from tlsprobe.reference.peer import Occasion, Peer
from tlsprobe.tls import TlsContext

LATE = 0.25
"""Seconds in which a client on a busy machine says what it has to say next."""

_HEADER = 5
_PLAINLY = Manner()
_OVERHEAD = {TlsVersion.TLS12: 29, TlsVersion.TLS13: 22}


@dataclass(slots=True)
class House:
    """What the connections of one server share: how many there are, and where it listens.

    ``greeting`` are in their handshake, ``peers`` answer requests, ``resets`` were their clients'.
    """

    open: int = 0
    greeting: int = 0
    resets: int = 0
    peers: set[Seeded] = field(default_factory=set)
    listener: socket.socket | None = None
    turn: int = 0
    luck: random.Random = field(default_factory=random.Random)


class Seeded(Peer):
    """A peer that remembers what it was sent."""

    def __init__(
        self, sock: trio.socket.SocketType, context: TlsContext, fault: Fault, house: House
    ) -> None:
        super().__init__(sock, context, _PLAINLY)
        self.fault = fault
        self.house = house
        self.words: list[bytes] = []
        self.spoke = trio.current_time()
        self.gap = 0.0
        self.together = 0
        self.life = trio.CancelScope()
        self.waiting = b""
        self.was_behind = False
        self.was_cut = False

    @property
    def version(self) -> TlsVersion:
        return self._tls.version

    @property
    def asked(self) -> int:
        """How many whole requests came."""
        return b"".join(self.words).count(b"\n")

    @property
    def is_half(self) -> bool:
        """Whether the last request is not whole."""
        return bool(self.words) and not self.words[-1].endswith(b"\n")

    @property
    def was_large(self) -> bool:
        return any(words.startswith(b"get ") for words in self.words)

    async def serve(self) -> Occasion:
        self.spoke = trio.current_time()
        self.house.peers.add(self)
        with trio.CancelScope() as self.life:
            try:
                occasion = await super().serve()
            finally:
                self.house.peers.discard(self)
            self._mind_the_gap()
            self.together = self.house.open
            return occasion
        self.abort()
        raise Gone

    async def _answer(self, words: bytes) -> Occasion | None:
        self._mind_the_gap()
        self.words.append(words)
        if self.fault.answer is not None:
            return await self.fault.answer(self, words)
        return await super()._answer(words)

    async def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = await self._receive(size - len(data))
            if not chunk:
                self.was_cut = self.was_cut or bool(data) or size != _HEADER
                return b""
            data += chunk
        return data

    async def _receive(self, size: int) -> bytes:
        try:
            return await super()._receive(size)
        except Gone:
            self.house.resets += 1
            raise

    def _mind_the_gap(self) -> None:
        now = trio.current_time()
        self.gap, self.spoke = max(self.gap, now - self.spoke), now

    async def answer_as_usual(self, words: bytes) -> Occasion | None:
        return await super()._answer(words)

    async def comes_soon(self, seconds: float) -> bool:
        """Whether something of the client's comes within this time."""
        with trio.move_on_after(seconds):
            await trio.lowlevel.wait_readable(self._socket)
            return True
        return False

    async def behind(self) -> int:
        """How many bytes are in the first record behind the one that ended it; 0 without one."""
        with trio.move_on_after(LATE):
            record = await self._record()
            return max(0, len(record) - _OVERHEAD[self.version])
        return 0

    async def half_of(self, words: bytes) -> None:
        """Half of the response to these words."""
        response = b"".join(turn.response for turn in Lines().feed(words))
        await self.say(response[: len(response) // 2])


Asked = Callable[[Seeded, Occasion], bool]
Bad = Callable[[Seeded, Occasion], Awaitable[None]]
Answers = Callable[[Seeded, bytes], Awaitable[Occasion | None]]
Greets = Callable[[Seeded], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """A seeded fault: what it is about, the shortest close that shows it, and how it ends.

    ``breaks`` are properties that say so. ``answer`` and ``greet`` replace what an honest server
    does with a request and in the handshake. ``deadly``: it takes the whole server with it.
    ``slots``: it serves so many connections at a time, and the others wait; 0: as many as come.
    """

    name: str
    about: str
    shortest: str
    breaks: tuple[str, ...]
    end: Bad
    answer: Answers | None = None
    greet: Greets | None = None
    deadly: bool = False
    slots: int = 0


RESETS = ("no-reset-before-fin", "no-deliberate-abort", "no-data-lost")
NOTIFY = ("notify-before-fin",)
ENDS = ("ends",)
LOST = ("no-data-lost",)
RULES = ("rules",)
PATH = ("next-connection",)
