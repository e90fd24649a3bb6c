"""Servers that never come to an end, each in its way, in a process of their own.

``python -m tests.floods PEM`` serves all of them until its standard input ends; the first line that
it prints says, as JSON, at which port of loopback each one listens.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from struct import pack

from tlsprobe.tls import TlsContext, server_context

Flood = Callable[["Peer"], Iterator[bytes]]
"""What a server sends behind the handshake; it ends when the client leaves."""

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"
READY = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I"
BURST = 400


class Peer:
    """A connection, its handshake done, and whatever the client said right behind it."""

    def __init__(self, sock: socket.socket, context: TlsContext) -> None:
        self.sock = sock
        self.session = context.accept()
        self.send, self.close_notify = self.session.send, self.session.close_notify
        self.said = b""
        while not self.session.handshaken:
            self.hear()
            sock.sendall(self.session.output())

    def hear(self) -> None:
        data = self.sock.recv(2**16)
        self.said += b"".join(one.data for one in self.session.receive(data))
        if not data or self.session.over or self.session.failure:
            raise ConnectionError

    def await_words(self) -> None:
        """Let the client speak first."""
        while not self.said:
            self.hear()


def settings(peer: Peer) -> Iterator[bytes]:
    """SETTINGS of HTTP/2 without end, in the greeting."""
    while True:
        yield peer.send(frame(4, 0) * BURST)


def pings(peer: Peer) -> Iterator[bytes]:
    """A greeting of HTTP/2, and PING instead of a response."""
    yield peer.send(frame(4, 0) + frame(4, 1))
    while True:
        yield peer.send(frame(6, 0, bytes(8)) * BURST)


def frame(kind: int, flags: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + pack("!BBI", kind, flags, 0) + payload


def small_records(peer: Peer) -> Iterator[bytes]:
    """A response in records of one byte."""
    peer.await_words()
    yield peer.send(OK)
    while True:
        yield b"".join(peer.send(b"z") for _ in range(BURST))


def drip(peer: Peer) -> Iterator[bytes]:
    """A response of which a byte comes now and then."""
    peer.await_words()
    for byte in OK:
        yield peer.send(bytes((byte,)))
        time.sleep(0.05)


def interim(peer: Peer) -> Iterator[bytes]:
    """Interim responses, and never the final one (RFC 9110 section 15.2)."""
    peer.await_words()
    while True:
        yield peer.send(b"HTTP/1.1 100 Continue\r\n\r\n" * BURST)


def alerts(peer: Peer) -> Iterator[bytes]:
    """A response, and then close_notify again and again."""
    peer.await_words()
    yield peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    while True:
        yield b"".join(peer.close_notify() for _ in range(BURST))


def passwords(peer: Peer) -> Iterator[bytes]:
    """A login of PostgreSQL that asks for a password again and again, and reads no answer."""
    peer.await_words()
    while True:
        yield peer.send(b"R\0\0\0\x0c\0\0\0\x05salt" * BURST)


def notices(peer: Peer) -> Iterator[bytes]:
    """A login of PostgreSQL in which the server has notices without end."""
    peer.await_words()
    for number in count():
        said = b"SNOTICE\0C00000\0Mnumber %d\0\0" % number
        yield peer.send((b"N" + pack("!I", 4 + len(said)) + said) * BURST)


def babble(peer: Peer) -> Iterator[bytes]:
    """A greeting of lines that never comes to its last one."""
    while True:
        yield peer.send(b"220-still here\r\n" * BURST)


FLOODS: dict[str, Flood] = {
    flood.__name__: flood
    for flood in (
        *(settings, pings, small_records, drip, interim, alerts, passwords, notices, babble),
    )
}


def serve(flood: Flood, context: TlsContext, sock: socket.socket) -> None:
    with sock, suppress(OSError):
        if flood in {passwords, notices}:
            sock.recv(8)  # SSLRequest
            sock.sendall(b"S")
        for said in flood(Peer(sock, context)):
            sock.sendall(said)


def listen(flood: Flood, context: TlsContext) -> int:
    listening = socket.create_server(("127.0.0.1", 0), backlog=64)

    def accept() -> None:
        while True:
            sock, _ = listening.accept()
            threading.Thread(target=serve, args=(flood, context, sock), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return int(listening.getsockname()[1])


if __name__ == "__main__":
    shared = server_context(Path(sys.argv[1]))
    ports = {name: listen(flood, shared) for name, flood in FLOODS.items()}
    print(json.dumps(ports), flush=True)
    sys.stdin.read()
