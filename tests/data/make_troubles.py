"""Makes captures of what goes wrong at the end of a connection that nobody resets.

    sudo .venv/bin/python -m tests.data.make_troubles [NAME...]

Plain sockets and real kernels on a loopback interface of their own; nftables drops what is to
vanish. Each scene writes ``tests/data/troubles/NAME.pcapng``; what is to be found in each is said
in `EXPECTED`. It takes two minutes: a side that never closes is left open for more than one.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests import servers
from tests.data.make_corpus import SNAP, Recorder
from tlsprobe.lab.own_namespace import raise_loopback

TROUBLES = Path(__file__).parent / "troubles"
_INSIDE = "TLSPROBE_TROUBLES"
_HOST = "127.0.0.1"
_BIG = 4 << 20
_SEND_BUFFER = 1 << 15
_SNAPS = {"tls-server-killed": 1 << 17}
"""Where the heads of records stand in the middle of large segments, all is kept."""

EXPECTED: dict[str, frozenset[tuple[str, str, str]]] = {
    "clean": frozenset(),
    "response-read-late": frozenset(),
    "window-never-opens": frozenset({("zero-window", "client", "never-opened")}),
    "window-opens-late": frozenset({("zero-window", "client", "opened-late")}),
    "client-unplugged": frozenset({("peer-vanished", "client", "data")}),
    "client-unplugged-for-a-moment": frozenset(),
    "nobody-answers": frozenset({("no-answer", "server", "")}),
    "client-never-closes": frozenset({("half-closed", "client", "")}),
    "client-closes-late": frozenset({("slow-close", "client", "fin-fin")}),
    "fin-lost": frozenset({("repeated", "server", "FIN")}),
    "server-killed": frozenset({("cut-short", "server", "content-length")}),
    "tls-without-close-notify": frozenset({("no-close-notify", "server", "")}),
    "tls-server-killed": frozenset({("cut-short", "server", "record")}),
}
"""What is to be found in each capture: the kind, whose it is, and what."""


@contextmanager
def pair(read_buffer: int = 0) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client and a server that are connected."""
    with socket.create_server((_HOST, 0)) as listener, socket.socket() as client:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        if read_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, read_buffer)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        with server:
            yield client, server


def read_all(client: socket.socket) -> None:
    while client.recv(1 << 16):
        pass


def ask(client: socket.socket, server: socket.socket) -> None:
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    server.recv(1 << 12)


def answer(server: socket.socket, size: int) -> None:
    server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))


@contextmanager
def dropped(what: str) -> Iterator[None]:
    """Packets that this nftables expression matches do not arrive."""
    rules = "add table ip t; add chain ip t c { type filter hook input priority 0; }; "
    subprocess.run(["nft", f"{rules}add rule ip t c {what} drop"], check=True)
    try:
        yield
    finally:
        subprocess.run(["nft", "delete table ip t"], check=True)


# --- scenes ---------------------------------------------------------------------------------------


def clean() -> None:
    with pair() as (client, server):
        ask(client, server)
        answer(server, 1000)
        server.shutdown(socket.SHUT_WR)
        read_all(client)
        client.close()
        server.recv(1)


def response_read_late() -> None:
    """A window that is shut for a moment, in the middle of a response."""
    with pair(1 << 14) as (client, server):
        ask(client, server)
        server.setblocking(False)
        try:
            while server.send(bytes(_BIG)):
                pass
        except BlockingIOError:
            pass
        time.sleep(0.4)
        server.setblocking(True)
        client.settimeout(0.5)
        with suppress(TimeoutError):
            read_all(client)
        server.sendall(b"more")
        client.recv(4)
        server.shutdown(socket.SHUT_WR)
        read_all(client)
        client.close()
        server.recv(1)


def _stuck(opens: bool) -> None:
    with pair(1 << 14) as (client, server):
        ask(client, server)
        server.setblocking(False)
        try:
            while server.send(bytes(_BIG)):
                pass
        except BlockingIOError:
            pass
        server.shutdown(socket.SHUT_WR)
        time.sleep(6)
        if opens:
            read_all(client)
            client.close()
            server.recv(1)
        else:
            _RECORDER.stop()


def window_never_opens() -> None:
    _stuck(opens=False)


def window_opens_late() -> None:
    _stuck(opens=True)


def client_unplugged() -> None:
    with pair() as (client, server):
        ask(client, server)
        port = client.getsockname()[1]
        with dropped(f"tcp dport {port}"):
            server.sendall(b"anybody there?")
            time.sleep(7)
            _RECORDER.stop()


def client_unplugged_for_a_moment() -> None:
    with pair() as (client, server):
        ask(client, server)
        port = client.getsockname()[1]
        with dropped(f"tcp dport {port}"):
            server.sendall(b"anybody there?")
            time.sleep(3)
        client.recv(100)
        server.close()
        client.recv(1)
        client.close()


def nobody_answers() -> None:
    with socket.create_server((_HOST, 0)) as listener, socket.socket() as client:
        port = listener.getsockname()[1]
        with dropped(f"tcp dport {port}"):
            client.settimeout(8)
            with suppress(TimeoutError):
                client.connect((_HOST, port))
            _RECORDER.stop()


def client_never_closes() -> None:
    with pair() as (client, server):
        ask(client, server)
        answer(server, 100)
        server.shutdown(socket.SHUT_WR)
        client.recv(1000)
        time.sleep(63)
        clean()
        _RECORDER.stop()


def client_closes_late() -> None:
    with pair() as (client, server):
        ask(client, server)
        answer(server, 100)
        server.shutdown(socket.SHUT_WR)
        read_all(client)
        time.sleep(3)
        client.close()
        server.recv(1)


def fin_lost() -> None:
    with pair() as (client, server):
        ask(client, server)
        answer(server, 100)
        client.recv(1000)
        port = client.getsockname()[1]
        with dropped(f"tcp dport {port}"):
            server.shutdown(socket.SHUT_WR)
            time.sleep(3)
        read_all(client)
        client.close()
        server.recv(1)


def _killed(serve: Callable[[socket.socket], None], talk: Callable[[socket.socket], None]) -> None:
    """A server in a process of its own, which is killed while the client does not read."""
    with socket.create_server((_HOST, 0)) as listener, socket.socket() as client:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        process = os.fork()
        if not process:
            serve(listener.accept()[0])
            os._exit(0)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        client.connect(listener.getsockname())
        talk(client)
        time.sleep(0.5)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        raw = socket.socket(fileno=os.dup(client.fileno()))
        read_all(raw)
        raw.close()


def server_killed() -> None:
    def serve(server: socket.socket) -> None:
        server.recv(1 << 12)
        answer(server, 64 << 20)

    _killed(serve, lambda client: client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"))


def _contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    with tempfile.TemporaryDirectory() as folder:
        pki = servers.make_pki(Path(folder))
        ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ours.load_cert_chain(pki.server_cert, pki.server_key)
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    theirs.check_hostname, theirs.verify_mode = False, ssl.CERT_NONE
    return ours, theirs


def tls_server_killed() -> None:
    ours, theirs = _contexts()

    def serve(server: socket.socket) -> None:
        session = ours.wrap_socket(server, server_side=True)
        session.recv(1 << 12)
        session.sendall(bytes(64 << 20))

    def talk(client: socket.socket) -> None:
        plain = socket.socket(fileno=os.dup(client.fileno()))
        session = theirs.wrap_socket(plain, server_hostname="db.example")
        session.sendall(b"GET / HTTP/1.1\r\n\r\n")
        _KEPT.append(session)

    _killed(serve, talk)


def tls_without_close_notify() -> None:
    ours, theirs = _contexts()
    with pair() as (client, server):
        process = os.fork()
        if not process:
            client.close()
            session = ours.wrap_socket(server, server_side=True)
            session.recv(1 << 12)
            session.sendall(bytes(1000))
            session.shutdown(socket.SHUT_WR)
            session.recv(1)
            os._exit(0)
        server.close()
        tls = theirs.wrap_socket(client, server_hostname="db.example")
        tls.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with suppress(ssl.SSLError):
            read_all(tls)
        tls.close()
        os.waitpid(process, 0)


_KEPT: list[ssl.SSLSocket] = []
_RECORDER: Recorder


def main(names: list[str]) -> None:
    if _INSIDE not in os.environ:
        os.environ[_INSIDE] = "1"
        command = ["unshare", "--net", "--", sys.executable, "-m", "tests.data.make_troubles"]
        os.execvp(command[0], [*command, *names])
    global _RECORDER  # noqa: PLW0603 - scenes stop it while their sockets are open
    raise_loopback()
    TROUBLES.mkdir(exist_ok=True)
    for name in names or EXPECTED:
        _RECORDER = Recorder(_SNAPS.get(name, SNAP))
        scene: Callable[[], None] = globals()[name.replace("-", "_")]
        scene()
        if _RECORDER.is_going:
            _RECORDER.stop()
        _RECORDER.write(TROUBLES / f"{name}.pcapng")


if __name__ == "__main__":
    main(sys.argv[1:])
