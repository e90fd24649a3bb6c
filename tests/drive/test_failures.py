"""Servers that fail us, each in its way: what a drive says of it, and that nothing is raised."""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trio

from tests.servers import GENEROUS_S, Pki
from tlsprobe.drive.script import Patience, Route, drive
from tlsprobe.language import parse
from tlsprobe.model.target import TlsIdentity, TlsVersion
from tlsprobe.model.trace import Drive, EventKind, RecordKind, Side, Stage
from tlsprobe.protocols.raw import RawSettings, raw
from tlsprobe.tls import TlsContext, TlsSession, client_context, server_context

TLS12, TLS13 = TlsVersion.TLS12, TlsVersion.TLS13
BOTH = pytest.mark.parametrize("version", TlsVersion)
PING = RawSettings(request=b"ping\n", response=re.compile(rb"pong\n"), goodbye=b"bye\n")
GREETED = RawSettings(request=b"ping\n", greeting=re.compile(b"hello"))
NOBODY = TlsIdentity()
CLOSE = "request; close_notify; fin; drain"

Act = Callable[[socket.socket], None]
TlsAct = Callable[[socket.socket, TlsSession], None]
Address = tuple[str, int]
Known = tuple[RecordKind, tuple[int, int] | None]


# --- servers that are told what to do -------------------------------------------------------------


@contextmanager
def server(act: Act) -> Iterator[Address]:
    """Accepts one connection, acts on it in a thread, and closes it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(GENEROUS_S)
        thread = threading.Thread(target=serve, args=(listening, act))
        thread.start()
        yield listening.getsockname()
        thread.join(GENEROUS_S)
        assert not thread.is_alive()


def serve(listening: socket.socket, act: Act) -> None:
    sock, _ = listening.accept()
    with sock, suppress(OSError):  # the prober may leave when it likes
        sock.settimeout(GENEROUS_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        act(sock)


def tls_server(context: TlsContext, act: TlsAct) -> Act:
    """Shakes hands, answers the first bytes that come with "pong", then acts."""

    def after_handshake(sock: socket.socket) -> None:
        session = context.accept()
        asked = False
        while not asked:
            received = session.receive(sock.recv(2**16) or b"\0")
            sock.sendall(session.output())
            asked = any(one.data for one in received)
            if session.failure or session.over:
                end_at_once(sock)
                return
        act(sock, session)

    return after_handshake


def end_at_once(sock: socket.socket) -> None:
    sock.shutdown(socket.SHUT_WR)
    until_left(sock)  # closed with data unread, it would reset, and the alert be lost


def until_left(sock: socket.socket) -> None:
    while sock.recv(2**16):
        pass


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def pong_then(act: TlsAct) -> TlsAct:
    def answered(sock: socket.socket, session: TlsSession) -> None:
        sock.sendall(session.send(b"pong\n"))
        act(sock, session)

    return answered


@pytest.fixture(scope="module")
def context(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> TlsContext:
    return server_context(certificate(pki, tmp_path_factory.mktemp("drive")))


def certificate(pki: Pki, folder: Path) -> Path:
    path = folder / "server.pem"
    path.write_bytes(pki.server_key.read_bytes() + pki.server_cert.read_bytes())
    return path


def driven(
    address: Address,
    steps: str = CLOSE,
    *,
    version: TlsVersion = TLS13,
    identity: TlsIdentity = NOBODY,
    settings: RawSettings = PING,
    patience: float = GENEROUS_S,
    answer: float = 0.0,
    tickets: int = 0,
) -> Drive:
    tls = client_context(version, identity, None, ())
    waits = Patience(server=patience, idle=patience, tail=0.01, answer=answer)
    where = Route((socket.AF_INET, address), address, tls, raw(settings), waits, tickets=tickets)
    return trio.run(drive, where, parse(steps))


def records(found: Drive, side: Side, *, last: int) -> list[Known]:
    sent = [record for record in found.records if record.side is side]
    return [(record.kind, record.alert) for record in sent][-last:]


# --- before TLS -----------------------------------------------------------------------------------


def test_nobody_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        found = driven(bound.getsockname())
    assert found.refused
    assert found.stage is Stage.CONNECT
    assert found.failure == "connection refused"
    assert [event.kind for event in found.events] == [EventKind.CONNECT, EventKind.LEFT]
    assert not found.records
    assert not found.worked


def test_nobody_answers_the_syn() -> None:
    """A full backlog drops it."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listening:
        waiting = [socket.socket() for _ in range(3)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(listening.getsockname())
        found = driven(listening.getsockname(), patience=0.2)
        for sock in waiting:
            sock.close()
    assert found.stage is Stage.CONNECT
    assert found.failure == "no answer to the SYN within 0.2 s"
    assert not found.refused


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "'HTTP/1.1 400 Bad Request\\r\\n\\r\\n'"),
        (b"N", "'N'"),
        (b"\xff\x1b[31m" + b"x" * 200, "'\\xff\\x1b[31m" + "x" * 54 + "'..."),
    ],
)
def test_a_port_that_does_not_speak_tls(answer: bytes, shown: str) -> None:
    def act(sock: socket.socket) -> None:
        sock.recv(2**16)
        sock.sendall(answer)

    with server(act) as address:
        found = driven(address)
    assert found.stage is Stage.HANDSHAKE
    assert found.failure == f"the port does not speak TLS: it answered {shown}"
    assert "--profile" in (found.hint or "")
    assert records(found, Side.SERVER, last=1) == [(RecordKind.PLAIN, None)]


# --- during the handshake -------------------------------------------------------------------------


@pytest.mark.parametrize("half", [b"", b"\x16\x03\x03\x00\x40half"])
@pytest.mark.parametrize(
    ("end", "failure"),
    [
        ("close", "the server closed the connection during the handshake"),
        ("reset", "the server reset the connection during the handshake"),
        ("wait", "the server did not finish the handshake in time"),
    ],
)
def test_a_handshake_that_is_not_finished(half: bytes, end: str, failure: str) -> None:
    def act(sock: socket.socket) -> None:
        sock.recv(2**16)
        sock.sendall(half)
        if end == "wait":
            until_left(sock)
        if end == "reset":
            reset(sock)

    with server(act) as address:
        found = driven(address, patience=0.2 if end == "wait" else GENEROUS_S)
    assert (found.stage, found.failure) == (Stage.HANDSHAKE, failure)
    assert found.mark is None
    assert not found.worked


@pytest.mark.parametrize(("ours", "theirs"), [(TLS12, TLS13), (TLS13, TLS12)])
def test_versions_that_do_not_meet(
    ours: TlsVersion, theirs: TlsVersion, pki: Pki, tmp_path: Path
) -> None:
    context = server_context(certificate(pki, tmp_path), theirs, theirs)
    with server(tls_server(context, lambda *_: None)) as address:
        found = driven(address, version=ours)
    assert found.failure == "the server refused the handshake with the alert protocol_version"
    assert "--tls" in (found.hint or "")
    assert records(found, Side.SERVER, last=1) == [(RecordKind.ALERT, (2, 70))]
    assert found.tls is None


@BOTH
def test_a_certificate_that_we_do_not_trust(
    version: TlsVersion, pki: Pki, context: TlsContext
) -> None:
    with server(tls_server(context, lambda *_: None)) as address:
        found = driven(address, version=version, identity=TlsIdentity(ca=pki.other_ca))
    assert found.stage is Stage.HANDSHAKE
    assert found.failure == (
        "the server's certificate could not be verified: unable to get local issuer certificate"
    )
    assert "--ca FILE" in (found.hint or "")
    assert records(found, Side.CLIENT, last=1) == [(RecordKind.ALERT, (2, 48))]


@BOTH
@pytest.mark.parametrize("shown", ["none", "untrusted"])
def test_a_client_certificate_is_missing_or_not_trusted(
    version: TlsVersion, shown: str, pki: Pki, tmp_path: Path
) -> None:
    context = server_context(certificate(pki, tmp_path))
    context.context.load_verify_locations(str(pki.ca))
    context.context.set_verify(1 | 2)  # VERIFY_PEER | VERIFY_FAIL_IF_NO_PEER_CERT
    stranger = TlsIdentity(cert=pki.other_cert, key=pki.other_key)
    with server(tls_server(context, lambda *_: None)) as address:
        found = driven(address, version=version, identity=NOBODY if shown == "none" else stranger)
    assert found.stage is Stage.HANDSHAKE
    assert found.failure
    assert found.hint == "give a certificate that the server trusts: --cert FILE --key FILE"
    if (version, shown) == (TLS12, "none"):  # has no alert of its own in TLS 1.2
        refused = "the server refused the handshake with the alert handshake_failure"
        assert found.failure == f"{refused}, after it had asked for a client certificate"
        return
    name = {"none": "certificate_required", "untrusted": "unknown_ca"}[shown]
    assert found.failure == f"the server refused our certificate with the alert {name}"


# --- the greeting ---------------------------------------------------------------------------------


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize(
    ("end", "failure"),
    [
        ("close", "the server closed the connection before its greeting was whole"),
        ("reset", "the server reset the connection before the greeting was over; it said: hel"),
        ("wait", "the server said nothing more before the greeting was over; it said: hel"),
    ],
)
def test_a_greeting_that_does_not_come(
    version: TlsVersion, end: str, failure: str, context: TlsContext
) -> None:
    def act(sock: socket.socket) -> None:
        session = context.accept()
        while not session.handshaken:
            session.receive(sock.recv(2**16))
            sock.sendall(session.output())
        sock.sendall(session.send(b"hel"))
        if end == "wait":
            until_left(sock)
        if end == "reset":
            reset(sock)

    with server(act) as address:
        wait = 1.0 if end == "wait" else GENEROUS_S
        found = driven(address, version=version, settings=GREETED, patience=wait)
    if end == "wait" and found.tls is None:
        return  # a busy machine takes longer for the handshake than is waited for all
    assert (found.stage, found.failure) == (Stage.GREETING, failure)
    assert found.tls == version


# --- before the sequence, or instead of it --------------------------------------------------------


@BOTH
def test_a_server_that_ends_instead_of_answering(version: TlsVersion, context: TlsContext) -> None:
    with server(tls_server(context, lambda *_: None)) as address:
        found = driven(address, version=version)
    assert (found.stage, found.failure) == (Stage.SEQUENCE, None)
    assert (found.owed, found.answered, found.cut_short) == (1, 0, False)
    assert found.did(EventKind.EOF) is not None
    assert found.mark is not None
    assert found.ended_early
    assert found.did(EventKind.STEP) is None


@BOTH
def test_a_server_that_cuts_its_response_did_answer(
    version: TlsVersion, context: TlsContext
) -> None:
    with server(tls_server(context, lambda sock, tls: sock.sendall(tls.send(b"po")))) as address:
        found = driven(address, version=version)
    assert (found.cut_short, found.ended_early) == (True, False)


@BOTH
@pytest.mark.parametrize("with_fin", [True, False])
def test_a_server_that_says_goodbye_behind_the_handshake(
    version: TlsVersion, with_fin: bool, context: TlsContext
) -> None:
    """Whoever asks for nothing reads that before the first step, and leaves it at that."""

    def act(sock: socket.socket) -> None:
        session, last = context.accept(), b""
        while not session.handshaken:
            sock.sendall(last)
            session.receive(sock.recv(2**16))
            last = session.output()
        sock.sendall(last + session.close_notify())
        if with_fin:
            sock.shutdown(socket.SHUT_WR)
        until_left(sock)

    with server(act) as address:
        tickets = 0 if version is TLS12 else 2
        found = driven(address, "await end idle; drain", version=version, tickets=tickets)
    assert records(found, Side.SERVER, last=1) == [(RecordKind.CLOSE_NOTIFY, (1, 0))]
    assert (found.failure, found.ended_early) == (None, True)
    assert found.did(EventKind.STEP) is None


# --- in the sequence ------------------------------------------------------------------------------


@BOTH
def test_garbage_behind_the_end_of_tls(version: TlsVersion, context: TlsContext) -> None:
    def act(sock: socket.socket, session: TlsSession) -> None:
        sock.sendall(session.close_notify() + b"garbage")

    with server(tls_server(context, pong_then(act))) as address:
        found = driven(address, "request; drain", version=version)
    theirs = records(found, Side.SERVER, last=2)
    assert theirs == [(RecordKind.CLOSE_NOTIFY, (1, 0)), (RecordKind.PLAIN, None)]
    assert found.records[-1].end - found.records[-1].start == len(b"garbage")
    assert found.worked


@BOTH
def test_a_record_that_cannot_be_decrypted(version: TlsVersion, context: TlsContext) -> None:
    """We say so with a fatal alert, after which we have nothing more to say."""

    def act(sock: socket.socket, session: TlsSession) -> None:
        answer, record = session.send(b"pong\n"), session.send(b"data")
        sock.sendall(answer + record[:-1] + bytes([record[-1] ^ 1]))
        until_left(sock)

    with server(tls_server(context, act)) as address:
        steps = "request; send; terminate; close_notify; fin; drain"
        found = driven(address, steps, version=version)
    ours = records(found, Side.CLIENT, last=2)
    assert ours == [(RecordKind.DATA, None), (RecordKind.ALERT, (2, 20))]
    assert records(found, Side.SERVER, last=1) == [(RecordKind.DATA, None)]
    assert found.did(EventKind.FIN_SENT) is not None


@BOTH
def test_a_fatal_alert_in_the_middle(version: TlsVersion, context: TlsContext) -> None:
    def act(sock: socket.socket, session: TlsSession) -> None:
        session.receive(b"\x17\x03\x03\x00\x20" + bytes(32))
        sock.sendall(session.output())
        until_left(sock)

    with server(tls_server(context, pong_then(act))) as address:
        steps = "request; sleep 50ms; send; terminate + close_notify; fin; drain"
        found = driven(address, steps, version=version)
    assert records(found, Side.SERVER, last=1) == [(RecordKind.ALERT, (2, 20))]
    assert found.did(EventKind.EOF) is not None


@pytest.mark.parametrize("notified", [False, True])
def test_a_server_that_never_pauses(notified: bool, context: TlsContext) -> None:
    """Patience ends a wait even if there is always something to read."""

    def act(sock: socket.socket, session: TlsSession) -> None:
        sock.sendall(session.close_notify() if notified else b"")
        for _ in range(10_000):  # more than anybody waits for; the prober's leaving ends it
            sock.sendall(b"x" * 2**20)

    with server(tls_server(context, pong_then(act))) as address:
        found = driven(address, "request; drain 100ms", patience=0.1, answer=GENEROUS_S)
    assert found.did(EventKind.GAVE_UP) is not None


def test_a_server_that_stops_reading(context: TlsContext) -> None:
    left = threading.Event()

    def act(_: socket.socket, __: TlsSession) -> None:
        left.wait(GENEROUS_S)

    big = RawSettings(request=b"ping\n", response=re.compile(b"pong"), goodbye=bytes(2**24))
    with server(tls_server(context, pong_then(act))) as address:
        steps = "request; terminate; fin; drain"
        found = driven(address, steps, settings=big, patience=0.2, answer=GENEROUS_S)
        left.set()
    gave_up = found.did(EventKind.GAVE_UP)
    assert gave_up is not None
    assert gave_up.detail == "the server stopped reading"
    assert found.did(EventKind.FIN_SENT) is None
    assert found.failure == "the server stopped reading"


def test_a_cancelled_drive_closes_its_connection(context: TlsContext) -> None:
    waiting, gone = threading.Event(), threading.Event()

    def act(sock: socket.socket, _: TlsSession) -> None:
        waiting.set()
        with suppress(OSError):
            until_left(sock)
        gone.set()

    async def cancelled(address: Address) -> None:
        tls = client_context(TLS13, NOBODY, None, ())
        patience = Patience(server=GENEROUS_S, answer=GENEROUS_S)
        where = Route((socket.AF_INET, address), address, tls, raw(PING), patience)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drive, where, parse("request; drain"))
            assert await trio.to_thread.run_sync(waiting.wait, GENEROUS_S)
            nursery.cancel_scope.cancel()

    with server(tls_server(context, pong_then(act))) as address:
        trio.run(cancelled, address)
        assert gone.wait(GENEROUS_S)
