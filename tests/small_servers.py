"""TLS servers with a flaw of their own, in threads of this process: few slots, a short memory."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from tlsprobe.reference.certificate import self_signed

_TCP_REPAIR = 19
_FOREVER = 30.0


class WhenFull(Enum):
    """What a server does with more connections than it has slots."""

    REFUSES = "refuses"
    HURRIES = "hurries"
    HURRIES_FOR_GOOD = "hurries for good"
    WAITS = "leaves them waiting"


class WhenIdle(Enum):
    """What becomes of a connection whose idle timeout is over."""

    ENDS = "ends"
    ABORTS = "aborts"
    FORGETS = "forgets"
    FALLS_SILENT = "falls silent"


@dataclass
class SmallServer:
    """Answers each line with one.

    Of more than ``slots`` connections it refuses the rest, or leaves them waiting until others have
    ended, or gives all a tenth of ``idle_s`` from their next word on, or all that come later.
    ``most`` is how many it has had at once. Behind so many connections as ``patience`` it ends each
    without a word.
    """

    slots: int = 1000
    when_full: WhenFull = WhenFull.REFUSES
    when_idle: WhenIdle = WhenIdle.ENDS
    idle_s: float = 0.8
    open: int = 0
    most: int = 0
    refused: int = 0
    patience: int = 1_000_000
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._room = threading.Semaphore(self.slots)

    def serve(self, connection: socket.socket, context: ssl.SSLContext) -> None:
        """Serve one connection to its end."""
        with self._room if self.when_full is WhenFull.WAITS else nullcontext():
            self._serve(connection, context)

    def _serve(self, connection: socket.socket, context: ssl.SSLContext) -> None:
        with self._lock:
            self.open += 1
            self.patience -= 1
            self.most = max(self.most, self.open)
            hurried = self.most > self.slots and self.when_full is WhenFull.HURRIES_FOR_GOOD
        try:
            full = self.open > self.slots and self.when_full is WhenFull.REFUSES
            if full or self.patience < 0:
                self.refused += 1
                connection.close()
                return
            with suppress(OSError), context.wrap_socket(connection, server_side=True) as tls:
                self._converse(tls, hurried)
        except ssl.SSLError:
            pass
        finally:
            with self._lock:
                self.open -= 1

    def _converse(self, tls: ssl.SSLSocket, hurried: bool) -> None:
        while True:
            full = self.open > self.slots and self.when_full is WhenFull.HURRIES
            tls.settimeout(self.idle_s * (0.1 if hurried or full else 1))
            try:
                said = tls.recv(4096)
            except TimeoutError:
                self._idle(tls)
                return
            if not said or b"bye" in said:
                break
            tls.sendall(b"pong\n" * said.count(b"\n"))
        _end(tls)

    def _idle(self, tls: ssl.SSLSocket) -> None:
        match self.when_idle:
            case WhenIdle.ENDS:
                _end(tls)
            case WhenIdle.ABORTS:
                raw = socket.socket(fileno=tls.detach())
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                raw.close()
            case WhenIdle.FORGETS:  # gone without a packet, as if a box had lost its entry
                tls.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
            case WhenIdle.FALLS_SILENT:
                raw = socket.socket(fileno=tls.detach())
                raw.settimeout(_FOREVER)
                with raw, suppress(OSError):
                    while raw.recv(4096):
                        pass


def _end(tls: ssl.SSLSocket) -> None:
    tls.settimeout(0)
    with suppress(OSError):
        tls.unwrap()
    with suppress(OSError):
        raw = socket.socket(fileno=tls.detach())
        raw.settimeout(5)
        with raw:
            raw.shutdown(socket.SHUT_WR)
            while raw.recv(4096):
                pass


@contextmanager
def running(server: SmallServer, folder: Path, host: str = "127.0.0.1") -> Iterator[int]:
    """Its port, while the block runs."""
    pem = folder / "server.pem"
    pem.write_bytes(self_signed())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with socket.create_server((host, 0), backlog=512) as listener:
        listener.settimeout(0.1)
        over = threading.Event()

        def accept() -> None:
            while not over.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                thread = threading.Thread(target=server.serve, args=(connection, context))
                thread.daemon = True
                thread.start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            accepting.join()
