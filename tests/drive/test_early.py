"""A request in the first flight: what a drive reports of it, taken or not, and what it sends."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from OpenSSL import SSL
from OpenSSL._util import ffi as _ffi
from OpenSSL._util import lib as _lib

from tests.drive.test_control import PING, TLS13, WAITS, context, said
from tests.patient_servers import patient_servers
from tests.servers import GENEROUS_S
from tlsprobe.drive.early import NO_TICKET, TOO_LITTLE
from tlsprobe.drive.script import Route, drive
from tlsprobe.language import parse
from tlsprobe.model.trace import Drive, EventKind, RecordKind, Side
from tlsprobe.protocols.raw import raw
from tlsprobe.reference.certificate import self_signed
from tlsprobe.tls import server_context

D, N, H = RecordKind.DATA, RecordKind.CLOSE_NOTIFY, RecordKind.HANDSHAKE
_FINISH = 2  # SSL_READ_EARLY_DATA_FINISH
_MOST = 16384


@contextmanager
def early_server(folder: Path, *, takes: bool, most: int = _MOST) -> Iterator[int]:
    """A server whose tickets allow early data; one that does not take it lets it be sent again."""
    pem = folder / "server.pem"
    pem.write_bytes(self_signed())
    tls = server_context(pem).context
    _lib.SSL_CTX_set_max_early_data(tls._context, most)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def serve() -> None:
            for _ in range(2):  # the one that fetches the ticket, and the one that is judged
                accepted, _ = listener.accept()
                accepted.settimeout(GENEROUS_S)
                answer(tls, accepted, takes=takes)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(GENEROUS_S)


def answer(tls: SSL.Context, accepted: socket.socket, *, takes: bool) -> None:
    """Answer each line with a pong until the client's close_notify; then close in good order."""
    accepted.setblocking(True)
    with accepted:
        connection = SSL.Connection(tls, accepted)
        connection.set_accept_state()
        early = read_early(connection) if takes else b""
        connection.do_handshake()
        try:
            while True:
                if early or connection.recv(100):
                    connection.send(b"pong\n")
                early = b""
        except SSL.ZeroReturnError:
            connection.shutdown()
            accepted.shutdown(socket.SHUT_WR)
            while accepted.recv(100):
                pass


def read_early(connection: Any) -> bytes:
    data, buffer, size = b"", _ffi.new("char[]", _MOST), _ffi.new("size_t *")
    while _lib.SSL_read_early_data(connection._ssl, buffer, _MOST, size) != _FINISH:
        data += bytes(_ffi.buffer(buffer, size[0]))
    return data


def driven(steps: str, port: int) -> Drive:
    address = ("127.0.0.1", port)
    route = Route((socket.AF_INET, address), address, context(TLS13), raw(PING), WAITS)
    return trio.run(drive, route, parse(steps))


@pytest.mark.parametrize("steps", ["await response; close_notify; fin", "close_notify; fin"])
def test_early_data_is_taken_and_answered(steps: str, tmp_path: Path) -> None:
    with early_server(tmp_path, takes=True) as port:
        found = driven(f"early; {steps}; drain", port)
    assert found.worked
    assert found.did(EventKind.EARLY_TAKEN) is not None
    assert (found.owed, found.answered) == (1, 1)
    assert said(found, Side.CLIENT) == [D, H, N]
    assert said(found, Side.SERVER) == [D, N]
    hello, data = [r for r in found.records if r.side is Side.CLIENT][:2]
    assert (hello.kind, data.kind) == (H, D)
    first = next(r for r in found.records if r.side is Side.SERVER)
    assert data.time_ns <= first.time_ns


def test_early_data_that_is_refused_is_sent_again(tmp_path: Path) -> None:
    with early_server(tmp_path, takes=False) as port:
        found = driven("early; await response; close_notify; fin; drain", port)
    assert found.worked
    event = found.did(EventKind.EARLY_REFUSED)
    assert event is not None
    assert event.detail == ""
    assert (found.owed, found.answered) == (1, 1)
    assert said(found, Side.CLIENT) == [D, N]
    assert [r.kind for r in found.records if r.side is Side.CLIENT] == [H, D, H, D, N]


def test_a_ticket_that_allows_less_is_told_from_one_that_allows_none(tmp_path: Path) -> None:
    with early_server(tmp_path, takes=True, most=4) as port:
        found = driven("early; await response; close_notify; fin; drain", port)
    event = found.did(EventKind.EARLY_REFUSED)
    assert event is not None
    assert event.detail == TOO_LITTLE.format(limit=4)
    assert (found.owed, found.answered) == (1, 1)


@pytest.mark.slow
def test_a_server_without_early_data_is_asked_behind_the_handshake() -> None:
    with patient_servers("polite") as ports:
        found = driven("early; await response; close_notify; fin; drain", ports["polite"])
    assert found.worked
    event = found.did(EventKind.EARLY_REFUSED)
    assert event is not None
    assert event.detail == NO_TICKET
    assert (found.owed, found.answered) == (1, 1)
    assert said(found, Side.CLIENT) == [D, N]


def test_bytes_of_ones_own_are_no_request(tmp_path: Path) -> None:
    with early_server(tmp_path, takes=True) as port:
        found = driven('early "ping\\n"; await data; close_notify; fin; drain', port)
    assert found.did(EventKind.EARLY_TAKEN) is not None
    assert found.owed == 0
    assert said(found, Side.SERVER) == [D, N]
