"""Responses that end with the stream: whole where a close_notify says so, FIN or not."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import trio

from tests.drive.test_failures import certificate, server, tls_server, until_left
from tests.servers import GENEROUS_S, Pki
from tlsprobe.drive.script import Patience, Route, drive
from tlsprobe.language import parse
from tlsprobe.model.target import TlsIdentity, TlsVersion
from tlsprobe.model.trace import Drive, EventKind, RecordKind, Side
from tlsprobe.protocols.http1 import Http1Settings, http1
from tlsprobe.tls import TlsSession, client_context, server_context

BOTH = pytest.mark.parametrize("version", TlsVersion)
RESPONSE = b"HTTP/1.0 200 OK\r\n\r\nto the very end\n"


@pytest.fixture(scope="module")
def pem(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(pki, tmp_path_factory.mktemp("delimited"))


def driven(pem: Path, version: TlsVersion, *, notifies: bool, fin: bool) -> Drive:
    def act(sock: socket.socket, session: TlsSession) -> None:
        sock.sendall(session.send(RESPONSE) + (session.close_notify() if notifies else b""))
        if fin:
            sock.shutdown(socket.SHUT_WR)
        until_left(sock)

    tls = client_context(version, TlsIdentity(), None, ())
    converse = http1(Http1Settings(), "localhost", 443)
    with server(tls_server(server_context(pem), act)) as address:
        waits = Patience(0.5, 0.5, tail=0.01, answer=GENEROUS_S if notifies or fin else 0.0)
        route = Route((socket.AF_INET, address), address, tls, converse, waits)
        return trio.run(drive, route, parse("request; close_notify; fin; drain"))


@BOTH
@pytest.mark.parametrize("fin", [True, False])
def test_a_close_notify_ends_it_whole(pem: Path, version: TlsVersion, fin: bool) -> None:
    found = driven(pem, version, notifies=True, fin=fin)
    assert found.failure is None
    assert (found.owed, found.answered, found.cut_short) == (1, 1, False)
    assert not found.ended_early
    assert found.did(EventKind.FIN_SENT) is not None


@BOTH
def test_the_close_notify_belongs_to_what_is_judged(pem: Path, version: TlsVersion) -> None:
    found = driven(pem, version, notifies=True, fin=False)
    assert found.mark is not None
    kinds = [r.kind for r in found.records if r.side is Side.SERVER and r.end > found.mark.server]
    assert kinds == [RecordKind.CLOSE_NOTIFY]


@BOTH
def test_a_fin_alone_does_not_end_it_whole(pem: Path, version: TlsVersion) -> None:
    """RFC 9112 section 9.8: without the alert, whether it is whole is not known."""
    found = driven(pem, version, notifies=False, fin=True)
    assert (found.answered, found.cut_short, found.ended_early) == (0, True, False)


@pytest.mark.slow
@BOTH
def test_nothing_at_all_ends_nothing(pem: Path, version: TlsVersion) -> None:
    found = driven(pem, version, notifies=False, fin=False)
    late = "the server did not finish the handshake in time"  # of a busy machine
    assert found.failure == ("no whole response in time" if found.tls else late)
