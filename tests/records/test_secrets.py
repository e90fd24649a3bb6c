"""Alerts opened with a key log, of sessions that OpenSSL really made."""

from __future__ import annotations

import ssl
import zlib
from contextlib import suppress
from pathlib import Path

import pytest

from tests.servers import Pki
from tlsprobe.model.trace import Side
from tlsprobe.records.key_log import Opened, read_key_log
from tlsprobe.records.secrets import expanded, opened
from tlsprobe.records.walk import RecordWalk, read_hello

SUITES_12 = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-CCM",
    "ECDHE-ECDSA-AES256-CCM",
    "ECDHE-ECDSA-AES128-CCM8",
    "ECDHE-ECDSA-AES256-CCM8",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-ECDSA-AES256-SHA384",
]


class Session:
    """Client and server over memory; what each sent, and the key log."""

    def __init__(self, pki: Pki, folder: Path, version: ssl.TLSVersion, suite: str | None) -> None:
        self.key_log = folder / "keys"
        self.sent = dict.fromkeys(Side, b"")
        client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client_context.check_hostname = False
        client_context.verify_mode = ssl.CERT_NONE
        client_context.keylog_filename = str(self.key_log)
        server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server_context.load_cert_chain(pki.server_cert, pki.server_key)
        for context in (client_context, server_context):
            context.minimum_version = context.maximum_version = version
            if suite is not None:
                context.set_ciphers(f"{suite}:@SECLEVEL=0")
        self.up, self.down = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.inbox = {Side.CLIENT: self.down, Side.SERVER: self.up}
        self.out = {Side.CLIENT: ssl.MemoryBIO(), Side.SERVER: ssl.MemoryBIO()}
        self.ends = {
            Side.CLIENT: client_context.wrap_bio(self.down, self.out[Side.CLIENT]),
            Side.SERVER: server_context.wrap_bio(self.up, self.out[Side.SERVER], server_side=True),
        }
        for _ in range(4):
            for side in Side:
                self.step(side, self.ends[side].do_handshake)

    def step(self, side: Side, act: object, *words: object) -> None:
        with suppress(ssl.SSLWantReadError):  # the other side's turn
            act(*words)  # type: ignore[operator]
        data = self.out[side].read()
        self.sent[side] += data
        self.inbox[side.peer].write(data)

    def alerts(self, side: Side) -> list[Opened]:
        walks = {}
        for each in Side:
            walks[each] = RecordWalk(from_start=True, keep_bodies=True)
            walks[each].feed(0, self.sent[each], len(self.sent[each]), 1, 1)
        client, server = (read_hello(walks[each].found[0].body) for each in Side)
        assert client is not None
        assert server is not None
        log = read_key_log([self.key_log.read_bytes()])
        found = {each: walk.found for each, walk in walks.items()}
        contents = opened(found, client, server, log, lost=False)[side].values()
        return [content for content in contents if content.kind == 21]


def talked(session: Session) -> None:
    for side in Side:
        session.step(side, session.ends[side].write, b"hello" * 100)
        session.step(side.peer, session.ends[side.peer].read, 1000)
        session.step(side, session.ends[side].write, b"a")
        session.step(side.peer, session.ends[side.peer].read, 1000)


@pytest.mark.parametrize("side", Side)
def test_a_close_notify_of_tls_1_3(pki: Pki, tmp_path: Path, side: Side) -> None:
    session = Session(pki, tmp_path, ssl.TLSVersion.TLSv1_3, None)
    talked(session)
    assert session.alerts(side) == []
    session.step(side, session.ends[side].unwrap)
    assert session.alerts(side) == [Opened(21, b"\x01\x00")]


@pytest.mark.parametrize("suite", SUITES_12)
@pytest.mark.parametrize("side", Side)
def test_a_close_notify_of_tls_1_2(pki: Pki, tmp_path: Path, side: Side, suite: str) -> None:
    session = Session(pki, tmp_path, ssl.TLSVersion.TLSv1_2, suite)
    talked(session)
    assert session.alerts(side) == []
    session.step(side, session.ends[side].unwrap)
    assert session.alerts(side) == [Opened(21, b"\x01\x00")]


@pytest.mark.parametrize(
    ("version", "suite"),
    [
        (ssl.TLSVersion.TLSv1_3, None),
        (ssl.TLSVersion.TLSv1_2, SUITES_12[0]),
        (ssl.TLSVersion.TLSv1_2, SUITES_12[2]),
        (ssl.TLSVersion.TLSv1_2, SUITES_12[-1]),
    ],
)
def test_an_alert_behind_records_that_were_lost(
    pki: Pki, tmp_path: Path, version: ssl.TLSVersion, suite: str | None
) -> None:
    session = Session(pki, tmp_path, version, suite)
    before = {side: len(session.sent[side]) for side in Side}
    for _ in range(5):
        talked(session)
    gone = len(session.sent[Side.CLIENT])
    talked(session)
    session.step(Side.CLIENT, session.ends[Side.CLIENT].unwrap)
    walks = {side: RecordWalk(from_start=True, keep_bodies=True) for side in Side}
    for side, walk in walks.items():
        sent = session.sent[side]
        walk.feed(0, sent[: before[side]], before[side], 1, 1)
        if side is Side.CLIENT:
            walk.feed(gone, sent[gone:], len(sent) - gone, 2, 2)
        walk.finish()
    client, server = (read_hello(walks[side].found[0].body) for side in Side)
    assert client is not None
    assert server is not None
    log = read_key_log([session.key_log.read_bytes()])
    found = {side: walk.found for side, walk in walks.items()}
    assert walks[Side.CLIENT].lost
    assert (
        Opened(21, b"\x01\x00")
        in opened(found, client, server, log, lost=True)[Side.CLIENT].values()
    )


@pytest.mark.parametrize("flush", [zlib.Z_SYNC_FLUSH, zlib.Z_PARTIAL_FLUSH, zlib.Z_FULL_FLUSH])
def test_an_alert_of_a_session_that_compresses(flush: int) -> None:
    stream = zlib.compressobj()
    for earlier in (b"Finished, 16 byte", b"\x01\x00" * 50):
        stream.compress(earlier)
        stream.flush(flush)
    piece = stream.compress(b"\x01\x00") + stream.flush(flush)
    assert len(piece) > 2
    assert expanded(piece) == b"\x01\x00"


@pytest.mark.parametrize("content", [b"", b"\x01", b"\x01\x00\x01\x00", b"\xff" * 20, bytes(9)])
def test_what_is_not_compressed_stays_as_it_is(content: bytes) -> None:
    assert expanded(content) == content


@pytest.mark.parametrize(
    "text", [b"", b"# comment", b"CLIENT_RANDOM zz 00", b"a b", b"\xff \xfe \xfd", b"x " * 500]
)
def test_what_is_no_key_log_is_passed_over(text: bytes) -> None:
    assert read_key_log([text]) == {}


def test_a_key_log_has_many_sessions() -> None:
    log = read_key_log([b"CLIENT_RANDOM 00 aa\nX 00 bb\r\n", b"CLIENT_RANDOM 01 cc"])
    assert log == {
        b"\0": {"CLIENT_RANDOM": b"\xaa", "X": b"\xbb"},
        b"\1": {"CLIENT_RANDOM": b"\xcc"},
    }
