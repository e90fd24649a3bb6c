"""Each built-in server ends as it is known to, seen by a plain blocking client.

ARCHITECTURE.md, "What the kernel does behind an application's back": FIN or RST, by what is unread.
"""

from __future__ import annotations

import errno
import select
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import product

import pytest
import trio

from tests.patient_servers import patient_servers
from tests.servers import GENEROUS_S, loopbacks
from tlsprobe.reference.behaviours import DEMO, LINGER
from tlsprobe.reference.peer import IDLE_TIMEOUT
from tlsprobe.reference.server import running

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
BOTH = pytest.mark.parametrize("version", VERSIONS)
PONG = b"pong " + b"x" * 58 + b"\n"


@pytest.fixture(scope="module")
def ports() -> Iterator[dict[str, int]]:
    with patient_servers() as found:
        yield found


class Client:
    """TLS by the standard library over memory, so that records can be written at will."""

    def __init__(self, sock: socket.socket, version: str) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version = context.maximum_version = VERSIONS[version]
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing)
        while not self.shaken():
            self.pull()
        self.push()

    def shaken(self) -> bool:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            self.push()
            return False
        return True

    def push(self) -> None:
        self.sock.sendall(self.outgoing.read())

    def pull(self) -> bool:
        """Whether there was anything but the end."""
        data = self.sock.recv(2**16)
        self.incoming.write(data)
        return bool(data)

    def say(self, words: bytes, *, notify: bool = False) -> None:
        """The words, and maybe a close_notify behind them, in one segment."""
        if words:
            self.tls.write(words)
        if notify:
            with suppress(ssl.SSLWantReadError):  # the server's has not come yet
                self.tls.unwrap()
        self.push()

    def read(self) -> bytes:
        """Some plaintext; none at a close_notify. Raises EOFError for an end without one."""
        while True:
            try:
                return self.tls.read(2**16)
            except ssl.SSLWantReadError:
                if not self.pull():
                    raise EOFError from None
            except ssl.SSLZeroReturnError:
                return b""

    def exactly(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            found += self.read() or pytest.fail(f"a close_notify after {len(found)} bytes")
        return bytes(found)

    def failed(self) -> int:
        """The error that the kernel keeps for us, once it has one."""
        poll = select.poll()
        poll.register(self.sock, 0)  # an error is always told
        assert poll.poll(GENEROUS_S * 1000)
        return self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


@contextmanager
def connected(port: int, version: str = "1.3", host: str = "127.0.0.1") -> Iterator[Client]:
    with socket.create_connection((host, port), timeout=GENEROUS_S) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield Client(sock, version)


# --- the line protocol ----------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("host", loopbacks())
@pytest.mark.parametrize("name", [name for name in DEMO if name != "truncating"])
def test_every_server_speaks_the_protocol(
    name: str, host: str, version: str, ports: dict[str, int]
) -> None:
    with connected(ports[name], version, host) as client:
        assert client.tls.version() == f"TLSv{version}"
        client.say(b"ping\nget 3\n")  # two requests in a record
        assert client.exactly(len(PONG) + 4) == PONG + b"xxx\n"
        client.say(b"ge")
        client.say(b"t 0\n")  # one request in two
        assert client.exactly(1) == b"\n"
        client.say(b"what?\n")
        assert client.exactly(len(PONG)) == PONG


@BOTH
def test_a_large_response(version: str, ports: dict[str, int]) -> None:
    with connected(ports["polite"], version) as client:
        client.say(b"get 5000000\n")
        assert client.exactly(5_000_001) == b"x" * 5_000_000 + b"\n"


# --- the goodbye, with nothing behind it --------------------------------------------------------


@BOTH
@pytest.mark.parametrize("name", ["polite", "hasty", "rude", "lingering", "half-closing"])
def test_alert_then_end_of_file(name: str, version: str, ports: dict[str, int]) -> None:
    with connected(ports[name], version) as client:
        client.say(b"bye\n")
        assert client.read() == b""
        assert not client.pull()


@BOTH
@pytest.mark.parametrize("notify", [False, True])
def test_silent_says_no_alert(notify: bool, version: str, ports: dict[str, int]) -> None:
    with connected(ports["silent"], version) as client:
        client.say(b"bye\n", notify=notify)
        with pytest.raises(EOFError):
            client.read()


@BOTH
@pytest.mark.parametrize("notify", [False, True])
def test_aborting_resets_with_nothing_unread(
    notify: bool, version: str, ports: dict[str, int]
) -> None:
    with connected(ports["aborting"], version) as client:
        client.say(b"bye\n", notify=notify)
        with pytest.raises(ConnectionResetError):
            client.read()


# --- the goodbye, with our alert behind it in the same segment ----------------------------------


@BOTH
@pytest.mark.parametrize("name", ["polite", "lingering"])
def test_who_reads_to_the_end_does_not_reset(
    name: str, version: str, ports: dict[str, int]
) -> None:
    with connected(ports[name], version) as client:
        client.say(b"bye\n", notify=True)
        assert client.read() == b""
        assert not client.pull()
        client.sock.shutdown(socket.SHUT_WR)
        assert client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


@BOTH
@pytest.mark.parametrize("name", ["hasty", "rude"])
def test_who_leaves_it_unread_resets(name: str, version: str, ports: dict[str, int]) -> None:
    with connected(ports[name], version) as client:
        client.say(b"bye\n", notify=True)
        with pytest.raises(ConnectionResetError):
            while client.pull():
                pass
        assert client.read() == b""  # the alert came first


@BOTH
def test_half_closing_resets_behind_its_fin(version: str, ports: dict[str, int]) -> None:
    """The reader has seen the end of file by then; only the kernel knows of the reset."""
    with connected(ports["half-closing"], version) as client:
        client.say(b"bye\n", notify=True)
        assert client.read() == b""
        assert not client.pull()
        assert client.failed() == errno.EPIPE


# --- servers that do not end ----------------------------------------------------------------------


@pytest.mark.slow
@BOTH
def test_lingering_waits_for_our_fin(version: str, ports: dict[str, int]) -> None:
    with connected(ports["lingering"], version) as client:
        asked = time.monotonic()
        client.say(b"bye\n")
        assert client.read() == b""
        assert not client.pull()
        assert time.monotonic() - asked >= LINGER
    with connected(ports["lingering"], version) as client:
        client.say(b"bye\n")
        assert client.read() == b""
        client.sock.shutdown(socket.SHUT_WR)
        assert not client.pull()


@BOTH
@pytest.mark.parametrize("end", ["goodbye", "notify", "fin"])
def test_mute_never_answers_an_end(end: str, version: str, ports: dict[str, int]) -> None:
    with connected(ports["mute"], version) as client:
        client.say(b"bye\n" if end == "goodbye" else b"", notify=end == "notify")
        if end == "fin":
            client.sock.shutdown(socket.SHUT_WR)
        client.sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.read()


@pytest.mark.slow
@BOTH
def test_truncating_stops_in_the_middle(version: str, ports: dict[str, int]) -> None:
    with connected(ports["truncating"], version) as client:
        client.say(b"get 1000\n")
        assert client.exactly(500) == b"x" * 500
        assert client.read() == b""
        assert not client.pull()


# --- other occasions ----------------------------------------------------------------------------


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize("end", ["notify", "fin", "both"])
def test_polite_answers_our_end_with_its_own(end: str, version: str, ports: dict[str, int]) -> None:
    with connected(ports["polite"], version) as client:
        client.say(b"", notify=end != "fin")
        if end != "notify":
            client.sock.shutdown(socket.SHUT_WR)
        assert client.read() == b""
        assert not client.pull()


@pytest.mark.slow
def test_idle_connections_end_after_a_second() -> None:
    """Never sooner; how much later, the machine decides."""

    def lifetime(port: int, name: str, version: str) -> float:
        begun = time.monotonic()
        with connected(port, version) as client:
            client.sock.settimeout(1.5 if name == "mute" else GENEROUS_S)
            with suppress(EOFError, ConnectionResetError):
                assert client.read() == b""
        return time.monotonic() - begun

    def ends_of(ports: dict[str, int]) -> list[tuple[str, Future[float]]]:
        cells = list(product(DEMO, VERSIONS))
        with ThreadPoolExecutor(len(cells)) as pool:
            return [(name, pool.submit(lifetime, ports[name], name, tls)) for name, tls in cells]

    async def measured() -> list[tuple[str, Future[float]]]:
        async with running() as ports:
            return await trio.to_thread.run_sync(ends_of, ports)

    for name, end in trio.run(measured):
        if name == "mute":
            assert isinstance(end.exception(), TimeoutError)
        else:
            assert end.result() >= IDLE_TIMEOUT
