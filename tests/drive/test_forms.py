"""Steps that send something else than the whole, and handshakes in the sequence's own hands."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

import pytest
import trio

from tests.patient_servers import patient_server
from tests.servers import GENEROUS_S
from tlsprobe.drive.script import Patience, Route, drive
from tlsprobe.language import parse
from tlsprobe.model.target import TlsIdentity, TlsVersion
from tlsprobe.model.trace import Drive, EventKind, RecordKind, Side, Stage
from tlsprobe.protocols import Conversations
from tlsprobe.protocols.http1 import Http1Settings, http1
from tlsprobe.protocols.raw import RawSettings, raw
from tlsprobe.tls import client_context

BOTH = pytest.mark.parametrize("version", TlsVersion)
PING = RawSettings(
    request=b"ping\n",
    response=re.compile(b"\n"),
    goodbye=b"bye\n",
    large=b"get 2000000\n",
)
WAITS = Patience(server=GENEROUS_S, idle=GENEROUS_S, tail=0.01)


def driven(steps: str, version: TlsVersion, converse: Conversations | None = None) -> Drive:
    return trio.run(drive, route(patient_server("polite"), version, converse), parse(steps))


def route(port: int, version: TlsVersion, converse: Conversations | None = None) -> Route:
    address = ("127.0.0.1", port)
    tls = client_context(version, TlsIdentity(), None, ())
    return Route((socket.AF_INET, address), address, tls, converse or raw(PING), WAITS)


def ours(found: Drive) -> list[tuple[RecordKind, int]]:
    """Kind and length of what we sent behind the mark."""
    assert found.mark is not None
    records = [r for r in found.records if r.side is Side.CLIENT and r.start >= found.mark.client]
    return [(r.kind, r.end - r.start) for r in records]


OVERHEAD = {TlsVersion.TLS12: 29, TlsVersion.TLS13: 22}
"""What a record is longer than its plaintext."""


@pytest.mark.slow
@BOTH
def test_half_a_request_is_owed_nothing(version: TlsVersion) -> None:
    found = driven("request; send part; close_notify; fin; drain", version)
    assert ours(found)[0] == (RecordKind.DATA, len(b"pi") + OVERHEAD[version])
    assert (found.owed, found.answered) == (1, 1)


@BOTH
def test_half_a_record_is_owed_nothing(version: TlsVersion) -> None:
    found = driven("request; send cut; fin; drain", version)
    assert ours(found) == [(RecordKind.DATA, (len(b"ping\n") + OVERHEAD[version]) // 2)]
    assert (found.owed, found.answered) == (1, 1)
    assert found.did(EventKind.EOF) is not None


@BOTH
def test_a_split_alert_is_one_record(version: TlsVersion) -> None:
    found = driven("request; close_notify split; fin; drain", version)
    assert ours(found) == [(RecordKind.CLOSE_NOTIFY, 2 + OVERHEAD[version])]
    theirs = [r.kind for r in found.records if r.side is Side.SERVER]
    assert theirs[-1] is RecordKind.CLOSE_NOTIFY  # it was put together again


@BOTH
def test_a_large_response(version: TlsVersion) -> None:
    found = driven("request; send large; await response; terminate; drain", version)
    assert (found.owed, found.answered) == (2, 2)
    assert found.records[-1].end > 2_000_000


@BOTH
def test_a_large_response_that_is_waited_for(version: TlsVersion) -> None:
    found = driven("request large; fin; drain", version)
    assert (found.owed, found.answered) == (1, 1)
    assert found.mark is not None
    assert found.mark.server > 2_000_000


@BOTH
def test_an_upload_is_refused_before_its_body_is_read(version: TlsVersion) -> None:
    found = driven("send upload; drain", version, http1(Http1Settings(), "localhost", None))
    assert (found.owed, found.answered) == (1, 1)
    assert ours(found)[0][0] is RecordKind.DATA
    assert sum(length for _, length in ours(found)) > 100_000


@BOTH
def test_nothing_is_read_in_a_pause(version: TlsVersion) -> None:
    """The response arrives meanwhile or later, and stays in the socket's buffer."""
    found = driven("request; send; pause 5ms; close", version)
    assert (found.owed, found.answered) == (2, 1)
    assert found.did(EventKind.EOF) is None


# --- handshakes -----------------------------------------------------------------------------------


@contextmanager
def collecting() -> Iterator[tuple[int, Callable[[], bytes]]]:
    """A port, and what the first connection to it brought until its FIN."""
    arrived = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def collect() -> None:
            sock, _ = listening.accept()
            with sock:
                while data := sock.recv(2**16):
                    arrived.extend(data)

        thread = Thread(target=collect)
        thread.start()

        def ended() -> bytes:
            thread.join(GENEROUS_S)
            return bytes(arrived)

        yield listening.getsockname()[1], ended


@BOTH
@pytest.mark.parametrize(
    ("steps", "halves"),
    [
        ("connect; hello part; fin; drain", 1),
        ("connect; hello part; pause 5ms; hello; fin; drain", 2),
        ("connect; hello; fin; drain", 2),
    ],
)
def test_a_hello_in_parts(version: TlsVersion, steps: str, halves: int) -> None:
    with collecting() as (port, arrived):
        found = trio.run(drive, route(port, version), parse(steps))
        stream = arrived()
    assert stream[:2] == b"\x16\x03"
    whole = 5 + int.from_bytes(stream[3:5])
    assert len(stream) == (whole if halves == 2 else whole // 2)
    assert sum(length for _, length in ours(found)) == len(stream)
    assert (found.stage, found.failure) == (Stage.SEQUENCE, None)
    assert (found.owed, found.answered, found.tls) == (0, 0, None)


@BOTH
def test_nothing_is_said_by_itself_in_a_handshake_in_hand(version: TlsVersion) -> None:
    found = driven("connect; hello; await flight; fin; drain", version)
    assert [kind for kind, _ in ours(found)] == [RecordKind.HANDSHAKE]
    theirs = [r.kind for r in found.records if r.side is Side.SERVER]
    assert theirs
    assert set(theirs) == {RecordKind.HANDSHAKE}
    assert found.did(EventKind.EOF) is not None


def test_an_alert_before_there_are_keys() -> None:
    with collecting() as (port, arrived):
        steps = parse("connect; close_notify; fin; drain")
        found = trio.run(drive, route(port, TlsVersion.TLS13), steps)
        assert arrived() == bytes.fromhex("15030100020100")
    assert ours(found) == [(RecordKind.CLOSE_NOTIFY, 7)]
