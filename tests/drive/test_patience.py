"""How long is waited for what: an answer may take longer than the end of a connection."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest
import trio

from tests.drive.test_failures import PING, Act, certificate, server, tls_server, until_left
from tests.servers import Pki
from tlsprobe.drive.script import Patience, Route, drive
from tlsprobe.language import parse
from tlsprobe.model.target import TlsIdentity, TlsVersion
from tlsprobe.model.trace import Drive
from tlsprobe.protocols.raw import raw
from tlsprobe.tls import TlsSession, client_context, server_context

PATIENCE, SLOW_S, PLENTY = 0.1, 0.5, 300.0


@pytest.fixture(scope="module")
def pem(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(pki, tmp_path_factory.mktemp("patience"))


def driven(act: Act, steps: str, answer: float) -> Drive:
    tls = client_context(TlsVersion.TLS13, TlsIdentity(), None, ())
    waits = Patience(server=PATIENCE, idle=PATIENCE, tail=0.01, answer=answer)
    with server(act) as address:
        route = Route((socket.AF_INET, address), address, tls, raw(PING), waits)
        return trio.run(drive, route, parse(steps))


def late_pong(sock: socket.socket, session: TlsSession) -> None:
    time.sleep(SLOW_S)
    sock.sendall(session.send(b"pong\n"))
    until_left(sock)


@pytest.mark.slow
def test_a_response_has_the_time_for_an_answer(pem: Path) -> None:
    late = tls_server(server_context(pem), late_pong)
    assert driven(late, "request; abort", PLENTY).worked
    never = tls_server(server_context(pem), lambda sock, _: until_left(sock))
    assert not driven(never, "request; abort", 0.0).worked


@pytest.mark.slow
def test_so_has_the_handshake(pem: Path) -> None:
    quick = tls_server(server_context(pem), late_pong)

    def late(sock: socket.socket) -> None:
        time.sleep(SLOW_S)
        quick(sock)

    assert driven(late, "request; abort", PLENTY).worked
    assert not driven(until_left, "request; abort", 0.0).worked


@pytest.mark.slow
def test_an_end_that_does_not_come_is_not_waited_for_as_long(pem: Path) -> None:
    act = tls_server(server_context(pem), late_pong)
    begun = time.monotonic()
    found = driven(act, "request; close_notify; drain", PLENTY)
    assert found.worked
    assert time.monotonic() - begun < PLENTY
