"""A server that asks for our certificate in the midst of the session (RFC 8446 section 4.6.2)."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
import trio
from OpenSSL import SSL
from OpenSSL._util import lib as _lib

from tests.servers import Pki
from tlsprobe.drive.script import Patience, Route, drive
from tlsprobe.language import parse
from tlsprobe.model.target import TlsIdentity, TlsVersion
from tlsprobe.model.trace import Drive, EventKind, RecordKind, Side
from tlsprobe.protocols.raw import RawSettings, raw
from tlsprobe.tls import client_context

_POST_HANDSHAKE = 0x08  # SSL_VERIFY_POST_HANDSHAKE
SETTINGS = RawSettings(request=b"ping", guarded=b"show", response=re.compile(rb"(pong|shown)"))


def serve(listening: socket.socket, context: SSL.Context) -> None:
    """Ask for a certificate where "show" was asked; answer, take the close, and close."""
    while True:
        try:
            accepted, _ = listening.accept()
        except OSError:
            return
        with accepted, suppress(SSL.Error):
            answer(SSL.Connection(context, accepted))


def answer(connection: SSL.Connection) -> None:
    connection.set_accept_state()
    connection.do_handshake()
    if connection.recv(10) == b"show":
        assert _lib.SSL_verify_client_post_handshake(connection._ssl) == 1
        connection.do_handshake()
        connection.send(b"shown")
    else:
        connection.send(b"pong")
    with suppress(SSL.ZeroReturnError):
        connection.recv(10)
    connection.shutdown()


@pytest.fixture
def port(pki: Pki) -> Iterator[int]:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate_chain_file(str(pki.server_cert))
    context.use_privatekey_file(str(pki.server_key))
    context.set_session_id(b"guarded")
    context.set_verify(SSL.VERIFY_PEER | _POST_HANDSHAKE, lambda *_: True)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening, context), daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def driven(port: int, pki: Pki, steps: str) -> Drive:
    who = TlsIdentity(cert=pki.client_cert, key=pki.client_key)
    where, tls = ("127.0.0.1", port), client_context(TlsVersion.TLS13, who, None, ())
    waits = Patience(server=20.0)
    route = Route((socket.AF_INET, where), where, tls, raw(SETTINGS), waits, tickets=2)
    return trio.run(drive, route, parse(steps))


def handshakes_behind(found: Drive, side: Side) -> int:
    """How many records of a handshake a side sent after the first of the data."""
    records = [r for r in found.records if r.side is side]
    data = min(r.time_ns for r in found.records if r.kind is RecordKind.DATA)
    return sum(r.kind is RecordKind.HANDSHAKE and r.time_ns > data for r in records)


def test_our_certificate_is_given_and_the_response_comes(port: int, pki: Pki) -> None:
    found = driven(port, pki, "request guarded; close_notify; fin; drain")
    assert (found.failure, found.answered) == (None, 1)
    assert handshakes_behind(found, Side.SERVER) == 1
    assert handshakes_behind(found, Side.CLIENT) >= 1
    assert found.did(EventKind.EOF)


@pytest.mark.parametrize("pause", ["", "pause 20ms; "])
def test_nothing_of_ours_follows_our_close_notify(port: int, pki: Pki, pause: str) -> None:
    found = driven(port, pki, f"send guarded; {pause}close_notify; fin; drain")
    assert found.failure is None
    assert handshakes_behind(found, Side.SERVER) == 1
    assert handshakes_behind(found, Side.CLIENT) == 0
    ours = [record.kind for record in found.records if record.side is Side.CLIENT]
    assert ours[-2:] == [RecordKind.DATA, RecordKind.CLOSE_NOTIFY]


def test_nothing_of_ours_follows_our_fin(port: int, pki: Pki) -> None:
    found = driven(port, pki, "send guarded; pause 20ms; fin; drain")
    assert found.failure is None
    assert handshakes_behind(found, Side.CLIENT) == 0
    assert not found.did(EventKind.BROKEN_PIPE)


def test_who_is_not_to_be_asked_does_not_offer_it(port: int, pki: Pki) -> None:
    """The server cannot ask then; nothing else about a plain request changes."""
    found = driven(port, pki, "request; close_notify; fin; drain")
    assert handshakes_behind(found, Side.SERVER) == 0
