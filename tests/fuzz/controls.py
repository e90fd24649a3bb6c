"""Correct servers of unusual kinds: whatever the fuzzer finds wrong with one is wrong with us.

``python -m tests.fuzz.seeded NAME`` serves them, as it does the seeded faults.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import trio

from tests.fuzz.faults.peer import Fault, Seeded
from tests.fuzz.faults.ways import end_politely, polite
from tlsprobe.reference.dialects import Gone, Turn
from tlsprobe.reference.peer import Occasion

_MOMENT, _WHILE = 0.05, 0.15
_LONG = 10.0
_SMALL = 4096


async def _ends_slowly(peer: Seeded, _: Occasion) -> None:
    """Takes its time over its alert, and again over its FIN."""
    await trio.sleep(_WHILE)
    await peer.notify()
    await trio.sleep(_MOMENT)
    await end_politely(peer)


async def _answers_slowly(peer: Seeded, words: bytes) -> Occasion | None:
    """The client may have half-closed by then, and gets its response all the same."""
    await trio.sleep(_WHILE)
    return await peer.answer_as_usual(words)


async def _waits_for_the_client(peer: Seeded, _: Occasion) -> None:
    """Half-closes, and closes when the client has, however long that takes."""
    await peer.notify()
    peer.fin()
    await peer.linger(_LONG)
    peer.close()


async def _greets_with_late_tickets(peer: Seeded) -> None:
    """The end of its handshake, which in TLS 1.3 is its session tickets, comes a moment later."""
    last = b""
    while not peer._tls.handshaken:
        await peer._send(last)
        record = await peer._record()
        if not record:
            raise Gone
        peer._tls.receive(record)
        last = peer._tls.output()
        if peer._tls.failure:
            await peer._send(last)
            raise Gone
    await trio.sleep(_MOMENT)
    await peer._send(last)


async def _greets_through_small_buffers(peer: Seeded) -> None:
    for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        peer._socket.setsockopt(socket.SOL_SOCKET, buffer, _SMALL)
    await peer.handshake()


class _Chat:
    """POP3 for strangers: CAPA is answered, and so is QUIT, before the end."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[Turn]:
        self._buffer += data
        while b"\r\n" in self._buffer:
            line, _, self._buffer = self._buffer.partition(b"\r\n")
            yield _CHAT.get(line.upper(), Turn(b"-ERR unknown command\r\n"))
        if len(self._buffer) > _SMALL:
            raise Gone

    def farewell(self) -> bytes:
        return b""


_CHAT = {
    b"CAPA": Turn(b"+OK it can\r\nTOP\r\nUIDL\r\n.\r\n"),
    b"QUIT": Turn(b"+OK goodbye\r\n", last=True),
}


async def _greets_in_a_chat(peer: Seeded) -> None:
    await peer.handshake()
    peer._dialect = _Chat()
    await peer.say(b"+OK ready\r\n")


CONTROLS = {
    control.name: control
    for control in (
        Fault("slow-to-end", "control", "", (), _ends_slowly),
        Fault("slow-to-answer", "control", "", (), polite, answer=_answers_slowly),
        Fault("slow-all-over", "control", "", (), _ends_slowly, answer=_answers_slowly),
        Fault("patient-half-closer", "control", "", (), _waits_for_the_client),
        Fault("late-tickets", "control", "", (), polite, greet=_greets_with_late_tickets),
        Fault("small-buffers", "control", "", (), polite, greet=_greets_through_small_buffers),
        Fault("pool-of-four", "control", "", (), polite, slots=4),
        Fault("chat", "control", "", (), polite, greet=_greets_in_a_chat),
    )
}
"""All of them by name."""
