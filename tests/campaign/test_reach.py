"""The preflight: which servers it gets through to, and with which hello."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from OpenSSL import SSL
from OpenSSL._util import lib

from tlsprobe.campaign.reach import Reached, _in_front, _resolve, look, reach
from tlsprobe.campaign.settings import Settings
from tlsprobe.errors import CannotMeasure
from tlsprobe.model.target import Login, Target, TlsVersion
from tlsprobe.model.trace import Drive, Stage
from tlsprobe.profiles import load_profile
from tlsprobe.protocols import make_conversation
from tlsprobe.reference.certificate import self_signed
from tlsprobe.tls import server_context

HYBRID = b"X25519MLKEM768"


@contextmanager
def taking(groups: bytes, folder: Path) -> Iterator[int]:
    """The port of a server that takes these key exchanges alone, and answers every ping."""
    (folder / "server.pem").write_bytes(self_signed())
    context = server_context(folder / "server.pem").context
    if not lib.SSL_CTX_set1_curves_list(context._context, groups):
        lib.ERR_clear_error()
        pytest.skip("this OpenSSL has no ML-KEM")

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                raw, _ = listener.accept()
            except OSError:
                return
            tls = SSL.Connection(context, raw)
            tls.set_accept_state()
            with raw, suppress(SSL.Error):
                while tls.recv(100):
                    tls.sendall(b"pong\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)  # which wakes the thread
    thread.join()


def looked(port: int, rate: float | None = None) -> Reached:
    profile = load_profile("reference")
    target = Target("server", "127.0.0.1", port, profile.name, profile.protocol)
    converse = make_conversation(profile, target.host, Login(), port)
    return trio.run(look, target, converse, Settings(rate=rate))


def test_a_server_that_takes_hybrid_key_exchanges_alone(tmp_path: Path) -> None:
    with taking(HYBRID, tmp_path) as port:
        found = looked(port)
    assert TlsVersion.TLS13 in found.routes
    assert len(found.checks) == 3  # refused, and once more, in TLS 1.3; TLS 1.2 has no such group


def test_a_server_with_nothing_in_common_is_refused_once_more(tmp_path: Path) -> None:
    with taking(b"brainpoolP256r1tls13", tmp_path) as port:
        found = looked(port)
    assert found.refused[TlsVersion.TLS13].stage is Stage.HANDSHAKE
    assert TlsVersion.TLS13 not in found.routes


def test_a_server_that_dies_behind_the_first_connection_refused_no_version(tmp_path: Path) -> None:
    """CivetWeb did: TLS 1.3 was said to be unsupported, for the connection was refused."""
    (tmp_path / "server.pem").write_bytes(self_signed())
    context = server_context(tmp_path / "server.pem").context
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])

        def serve_once() -> None:
            raw, _ = listener.accept()
            listener.close()
            tls = SSL.Connection(context, raw)
            tls.set_accept_state()
            with raw, suppress(SSL.Error):
                while tls.recv(100):
                    tls.sendall(b"pong\n")

        thread = threading.Thread(target=serve_once)
        thread.start()
        found = looked(port)
        thread.join()
    assert set(found.routes) == {TlsVersion.TLS12, TlsVersion.TLS13}
    assert found.refused == {}


def test_a_server_that_is_away_for_the_second_connection_refused_no_version(tmp_path: Path) -> None:
    """PostgreSQL did, of which a process had crashed: "TLS 1.3 is not in the matrix"."""
    (tmp_path / "server.pem").write_bytes(self_signed())
    context = server_context(tmp_path / "server.pem").context

    def serve() -> None:
        for number in range(3):
            raw, _ = listener.accept()
            tls = SSL.Connection(context, raw)
            tls.set_accept_state()
            with raw, suppress(SSL.Error):
                while number != 1 and tls.recv(100):
                    tls.sendall(b"pong\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        thread = threading.Thread(target=serve)
        thread.start()
        found = looked(int(listener.getsockname()[1]))
        thread.join()
    assert set(found.routes) == {TlsVersion.TLS12, TlsVersion.TLS13}
    assert found.refused == {}
    assert len(found.checks) == 3


@pytest.mark.parametrize("groups", [b"X25519", HYBRID])
def test_the_rate_binds_the_preflight_too(tmp_path: Path, groups: bytes) -> None:
    with taking(groups, tmp_path) as port:
        found = looked(port, rate=10.0)
    begun = [check.events[0].time_ns for check in found.checks]
    assert len(begun) == (3 if groups == HYBRID else 2)
    assert min(later - sooner for sooner, later in pairwise(begun)) > 0.08e9  # two clocks


@pytest.mark.slow
def test_a_small_key_share_is_tried_first(tmp_path: Path) -> None:
    with taking(b"X25519:" + HYBRID, tmp_path) as port:
        found = looked(port)
    assert set(found.routes) == {TlsVersion.TLS12, TlsVersion.TLS13}
    assert len(found.checks) == 2


FORWARDER = """
import socket, sys, threading
def passed(one, other):
    while data := one.recv(65536):
        other.sendall(data)
    other.shutdown(socket.SHUT_WR)
with socket.create_server(("127.0.0.1", 0)) as listener:
    print(listener.getsockname()[1], flush=True)
    while True:
        here = listener.accept()[0]
        there = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
        for ends in ((here, there), (there, here)):
            threading.Thread(target=passed, args=ends, daemon=True).start()
"""


@pytest.mark.slow
def test_a_server_behind_a_forwarder_on_this_machine_is_not_near(tmp_path: Path) -> None:
    """Its closes were laid to the server: socat's idle timeout was a broken MUST of PostgreSQL."""
    with taking(b"X25519", tmp_path) as port:
        command = [sys.executable, "-c", FORWARDER, str(port)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as forwarder:
            assert forwarder.stdout is not None
            found, alone = looked(int(forwarder.stdout.readline())), looked(port)
            forwarder.kill()
    assert found.behind.endswith(f"passes the connections on to 127.0.0.1:{port}")
    assert {route.behind for route in found.routes.values()} == {found.behind}
    assert not replace(found.checks[0], behind=found.behind).is_near
    assert found.is_near  # it is no burden to a network
    assert not alone.behind
    assert alone.checks[0].is_near


@pytest.mark.parametrize(
    ("client", "host", "near"),
    [
        (None, "127.0.0.1", True),
        ("192.0.2.9", "192.0.2.9", True),
        ("192.0.2.8", "192.0.2.9", False),
        (None, "192.0.2.9", False),
    ],
)
def test_a_server_at_an_address_of_our_own_is_near(
    client: str | None, host: str, *, near: bool
) -> None:
    ours = (client, 50000) if client else None
    drive = Drive(ours, (host, 443), Stage.SEQUENCE, (), ())
    elsewhere = replace(drive, client=("::1", 50000), server=("::1", 443))
    reached = Reached((socket.AF_INET, (host, 443)), {}, {}, checks=(elsewhere, drive))
    assert reached.is_near is near


def test_a_name_that_has_moved_since_it_was_allowed_is_left_alone() -> None:
    target = Target("x", "::ffff:127.0.0.1", 1, "https", "https")
    ((_, where),) = trio.run(_resolve, target, ("192.0.2.1", "127.0.0.1"))
    assert where[0] == "::ffff:127.0.0.1"
    with pytest.raises(CannotMeasure, match="moved"):
        trio.run(_resolve, target, ("192.0.2.1",))


@contextmanager
def hanging_up() -> Iterator[int]:
    """The port of a server that ends each connection at its first bytes, as PostgreSQL at TLS."""

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                raw, _ = listener.accept()
            except OSError:
                return
            with raw:
                raw.recv(4096)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.mark.parametrize(
    ("name", "hint"), [("raw", "name that with --profile"), ("https", "openssl s_client")]
)
def test_where_nobody_knows_the_protocol_a_handshake_that_fails_may_be_its_fault(
    name: str, hint: str
) -> None:
    profile = load_profile(name)
    with hanging_up() as port:
        target = Target("x", "127.0.0.1", port, profile.name, profile.protocol)
        converse = make_conversation(profile, "x", Login(), port)
        with pytest.raises(CannotMeasure, match="during the handshake") as failed:
            trio.run(reach, target, converse, Settings(tls=tuple(TlsVersion)))
    assert hint in (failed.value.hint or "")


@pytest.mark.parametrize(
    ("says", "ender", "is_other"),
    [
        ("nginx/1.22.1", "haproxy", True),
        ("nginx/1.22.1", "", False),
        ("Caddy", "caddy", False),
        ("stunnel", "stunnel4", False),
        ("", "haproxy", False),
    ],
)
def test_who_ends_the_connection_may_be_another_than_who_names_itself(
    says: str, ender: str, *, is_other: bool
) -> None:
    assert _in_front(ender, says) == (ender if is_other else "")
