"""The process of the built-in servers: starts, survives whatever comes, and goes when told."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest
import trio
from cryptography import x509

from tests.children import child
from tests.servers import GENEROUS_S, loopbacks
from tlsprobe.errors import CannotMeasure
from tlsprobe.reference.behaviours import DEMO
from tlsprobe.reference.certificate import self_signed
from tlsprobe.reference.server import running

COMMAND = [sys.executable, "-m", "tlsprobe.reference"]
Process = subprocess.Popen[bytes]


@contextmanager
def process(*names: str) -> Iterator[tuple[Process, dict[str, int]]]:
    with child(
        [*COMMAND, *names],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running_process:
        assert running_process.stdout is not None
        assert running_process.stdin is not None
        yield running_process, json.loads(running_process.stdout.readline())
        running_process.stdin.close()


def trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def pings(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a whole, orderly connection works."""
    with (
        socket.create_connection((host, port), timeout=GENEROUS_S) as sock,
        trusting().wrap_socket(sock, suppress_ragged_eofs=False) as tls,
    ):
        tls.sendall(b"ping\n")
        answer = tls.recv(100)
        tls.sendall(b"bye\n")
        return answer.startswith(b"pong ") and tls.recv(100) == b""


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=GENEROUS_S).close()
    except ConnectionRefusedError:
        return True
    return False


# --- life and death -------------------------------------------------------------------------------


@pytest.mark.slow
def test_all_servers_listen_on_every_loopback_until_standard_input_ends() -> None:
    with process() as (server, ports):
        assert tuple(ports) == DEMO
        assert len(set(ports.values())) == len(DEMO)
        for port in ports.values():
            for host in loopbacks():
                socket.create_connection((host, port), timeout=GENEROUS_S).close()
        with socket.create_connection(("127.0.0.1", ports["mute"])):  # nobody is waited for
            assert server.stdin is not None
            server.stdin.close()
            assert server.wait(GENEROUS_S) == 0
        assert server.stderr is not None
        assert server.stderr.read() == b""
    assert all(refuses(port) for port in ports.values())


@pytest.mark.slow
def test_running_lasts_as_long_as_its_block() -> None:
    async def block() -> int:
        async with running(("polite", "rude")) as ports:
            assert list(ports) == ["polite", "rude"]
            assert await trio.to_thread.run_sync(pings, ports["polite"])
        return ports["polite"]

    assert refuses(trio.run(block))


@pytest.mark.slow
def test_an_exception_leaves_the_block_as_it_is() -> None:
    async def block() -> None:
        async with running(("polite",)):
            raise CannotMeasure("something else")

    with pytest.raises(CannotMeasure, match="something else"):
        trio.run(block)


def test_servers_that_do_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    async def block() -> None:
        async with running(("polite",)):
            pytest.fail("they did start")

    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(CannotMeasure, match="did not start"):
        trio.run(block)


# --- what comes in --------------------------------------------------------------------------------


HELLO = bytes.fromhex("160301")
GARBAGE = {
    "nothing": b"",
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a header": HELLO,
    "half a record": HELLO + b"\x02\x00" + bytes(100),
    "a record of zeros": HELLO + b"\x02\x00" + bytes(512),
    "an empty record": HELLO + b"\x00\x00",
    "the longest record": b"\xff" * 5 + bytes(65535),
    "a close_notify": b"\x15\x03\x03\x00\x02\x01\x00",
    "random": os.urandom(4096),
}


@pytest.fixture(scope="module")
def polite() -> Iterator[int]:
    with process("polite") as (server, ports):
        yield ports["polite"]
        assert server.poll() is None
        assert server.stdin is not None
        server.stdin.close()
        assert server.wait(GENEROUS_S) == 0
        assert server.stderr is not None
        assert server.stderr.read() == b""


@pytest.mark.slow
@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_garbage_instead_of_a_handshake(garbage: bytes, reset: bool, polite: int) -> None:
    with socket.create_connection(("127.0.0.1", polite), timeout=GENEROUS_S) as sock:
        sock.sendall(garbage)
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert pings(polite)


@pytest.mark.slow
@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_garbage_behind_a_handshake(garbage: bytes, polite: int) -> None:
    with socket.create_connection(("127.0.0.1", polite), timeout=GENEROUS_S) as sock:
        descriptor = os.dup(sock.fileno())
        with socket.socket(fileno=descriptor) as raw, trusting().wrap_socket(sock) as tls:
            tls.sendall(b"ping\n")
            assert tls.recv(100).startswith(b"pong")
            raw.sendall(garbage)
            raw.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
    assert pings(polite)


@pytest.mark.slow
def test_a_line_without_end(polite: int) -> None:
    with (
        socket.create_connection(("127.0.0.1", polite), timeout=GENEROUS_S) as sock,
        trusting().wrap_socket(sock) as tls,
    ):
        tls.sendall(b"x" * 10_000)
        with suppress(ConnectionResetError):
            assert tls.recv(100) == b""
    assert pings(polite)


@pytest.mark.slow
@pytest.mark.parametrize("host", loopbacks())
def test_two_hundred_at_the_same_time(host: str, polite: int) -> None:
    """All are open at once, and served in turn: the server ends whoever idles for a second."""
    context = trusting()
    with ExitStack() as until_the_end:
        socks = [
            until_the_end.enter_context(
                socket.create_connection((host, polite), timeout=GENEROUS_S)
            )
            for _ in range(200)
        ]
        for sock in socks:
            tls = until_the_end.enter_context(context.wrap_socket(sock))
            tls.sendall(b"ping\n")
            assert tls.recv(100).startswith(b"pong ")
    assert pings(polite, host)


# --- the certificate ------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_certificate_is_new_each_time_and_good_for_loopback() -> None:
    first, second = (x509.load_pem_x509_certificate(self_signed()) for _ in range(2))
    assert first.serial_number != second.serial_number
    names = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    assert (first.not_valid_after_utc - first.not_valid_before_utc).days <= 1
    assert re.search(rb"BEGIN PRIVATE KEY.*BEGIN CERTIFICATE", self_signed(), re.DOTALL)
