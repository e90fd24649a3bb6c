"""Records made by hand: OpenSSL on the other side reads them as they were meant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from OpenSSL._util import lib as _lib

from tlsprobe.model.target import TlsIdentity, TlsVersion
from tlsprobe.model.trace import RecordKind
from tlsprobe.records.sealing import MOST_CONTENT, records_in
from tlsprobe.reference.certificate import self_signed
from tlsprobe.tls import Received, TlsSession, client_context, server_context

TLS12, TLS13 = TlsVersion.TLS12, TlsVersion.TLS13
ALERT, DATA = 21, 23
CLOSE_NOTIFY, INTERNAL_ERROR, USER_CANCELED = (1, 0), (2, 80), (1, 90)
ALLOW_CLIENT_RENEGOTIATION = 1 << 8  # SSL_OP_…, which OpenSSL 3 wants and pyOpenSSL does not name
NO_RENEGOTIATION, RECORD_OVERFLOW = (1, 100), (2, 22)
SUITES = [
    (TLS13, b"TLS_AES_128_GCM_SHA256"),
    (TLS13, b"TLS_AES_256_GCM_SHA384"),
    (TLS13, b"TLS_CHACHA20_POLY1305_SHA256"),
    (TLS12, b"ECDHE-ECDSA-AES128-GCM-SHA256"),
    (TLS12, b"ECDHE-ECDSA-AES256-GCM-SHA384"),
    (TLS12, b"ECDHE-ECDSA-CHACHA20-POLY1305"),
]
CBC = (TLS12, b"ECDHE-ECDSA-AES256-SHA384")
EVERY_SUITE = pytest.mark.parametrize(("version", "suite"), SUITES)
BOTH = pytest.mark.parametrize(("version", "suite"), SUITES[1:5:3])

Ends = tuple[TlsSession, TlsSession]
Connect = Callable[[TlsVersion, bytes], Ends]


@pytest.fixture(scope="session")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sealing") / "server.pem"
    path.write_bytes(self_signed())
    return path


@pytest.fixture
def connect(pem: Path) -> Connect:
    """A client and a server that have shaken hands with this suite."""

    def connected(version: TlsVersion, suite: bytes) -> Ends:
        context = client_context(version, TlsIdentity(), None, ())
        if version is TLS13:
            context.context.set_tls13_ciphersuites(suite)
        else:
            context.context.set_cipher_list(suite)
        client, server = context.connect(), server_context(pem).accept()
        out = client.handshake()
        while out:
            server.receive(out)
            client.receive(server.output())
            out = client.output()
        assert (client.cipher or "").encode() == suite
        return client, server

    return connected


def told(received: list[Received]) -> list[tuple[RecordKind, bytes, tuple[int, int] | None]]:
    return [(one.kind, one.data, one.alert) for one in received]


@EVERY_SUITE
@pytest.mark.parametrize("alert", [INTERNAL_ERROR, USER_CANCELED, CLOSE_NOTIFY, (2, 0)])
@pytest.mark.parametrize("before", [(), (b"one", b"two" * 10_000)])
def test_an_alert_is_read_as_it_was_sent(
    version: TlsVersion,
    suite: bytes,
    alert: tuple[int, int],
    before: tuple[bytes, ...],
    connect: Connect,
) -> None:
    client, server = connect(version, suite)
    for words in before:
        server.receive(client.send(words))
    assert client.can_seal()
    kind = RecordKind.ALERT if alert[1] else RecordKind.CLOSE_NOTIFY
    assert told(server.receive(client.seal(ALERT, bytes(alert)))) == [(kind, b"", alert)]


@EVERY_SUITE
def test_all_that_follows_is_sealed_too(
    version: TlsVersion, suite: bytes, connect: Connect
) -> None:
    client, server = connect(version, suite)
    assert client.can_seal()
    server.receive(client.seal(ALERT, bytes(USER_CANCELED)))
    large = b"x" * 40_000
    read = server.receive(client.send(b"ping") + client.send(large))
    assert b"".join(one.data for one in read) == b"ping" + large
    assert told(server.receive(client.close_notify())) == [
        (RecordKind.CLOSE_NOTIFY, b"", CLOSE_NOTIFY)
    ]


@EVERY_SUITE
def test_a_server_can_do_so_as_well(version: TlsVersion, suite: bytes, connect: Connect) -> None:
    client, server = connect(version, suite)
    client.receive(server.send(b"words"))
    assert server.can_seal()
    record = server.seal(ALERT, bytes(USER_CANCELED))
    assert told(client.receive(record)) == [(RecordKind.ALERT, b"", USER_CANCELED)]
    assert client.receive(server.send(b"more"))[0].data == b"more"


@EVERY_SUITE
def test_a_corrupt_record_fits_nothing(version: TlsVersion, suite: bytes, connect: Connect) -> None:
    client, server = connect(version, suite)
    assert client.can_seal()
    server.receive(client.seal(ALERT, bytes(CLOSE_NOTIFY), corrupt=True))
    server.output()
    assert server.alert_sent == (2, 20)
    assert not server.notified


@BOTH
def test_an_empty_record_is_nothing(version: TlsVersion, suite: bytes, connect: Connect) -> None:
    client, server = connect(version, suite)
    assert client.can_seal()
    read = server.receive(client.seal(DATA, b"") + client.send(b"ping"))
    assert [one.data for one in read] == [b"", b"ping"]
    assert not server.failure


@pytest.mark.parametrize(("version", "suite"), SUITES[:3])
@pytest.mark.parametrize("before", [(), (b"one",)])
def test_a_key_update_is_answered(
    version: TlsVersion, suite: bytes, before: tuple[bytes, ...], connect: Connect
) -> None:
    client, server = connect(version, suite)
    for words in before:
        client.receive(server.send(words))
    assert client.can_seal()
    server.receive(client.key_update(request=True))
    assert server.receive(client.send(b"ping"))[0].data == b"ping"
    answer = client.receive(server.send(b"pong"))
    assert [one.kind for one in answer] == [RecordKind.KEY_UPDATE, RecordKind.DATA]
    assert answer[-1].data == b"pong"
    server.receive(client.key_update(request=False))
    assert server.receive(client.send(b"ping"))[0].data == b"ping"


def test_behind_a_key_update_of_openssls_own_the_next_keys_hold(connect: Connect) -> None:
    client, server = connect(*SUITES[1])
    client.send(b"one")
    assert server.can_seal()
    client.receive(server.key_update(request=True))
    client.output()  # the client answers with a KeyUpdate
    assert client.can_seal()


@pytest.mark.parametrize(("version", "suite"), SUITES[:3])
def test_a_record_may_be_padded_to_the_most_it_holds(
    version: TlsVersion, suite: bytes, connect: Connect
) -> None:
    client, server = connect(version, suite)
    assert client.can_seal()
    (read,) = server.receive(client.seal(DATA, b"ping", padding=MOST_CONTENT - 4))
    assert (read.data, server.failure) == (b"ping", None)


@EVERY_SUITE
def test_a_byte_more_is_refused(version: TlsVersion, suite: bytes, connect: Connect) -> None:
    client, server = connect(version, suite)
    assert client.can_seal()
    server.receive(client.seal(DATA, bytes(MOST_CONTENT)))
    assert server.failure is None
    server.receive(client.seal(DATA, bytes(MOST_CONTENT + 1)))
    server.output()
    assert server.alert_sent == RECORD_OVERFLOW


@pytest.mark.parametrize(("version", "suite"), SUITES[3:])
@pytest.mark.parametrize("before", [(), (b"one", b"two")])
def test_a_renegotiation_is_begun_and_goes_no_further(
    version: TlsVersion, suite: bytes, before: tuple[bytes, ...], connect: Connect
) -> None:
    """OpenSSL's server takes part in it, and both sides can still say what they like."""
    client, server = connect(version, suite)
    for words in before:
        server.receive(client.send(words))
        client.receive(server.send(words))
    _lib.SSL_set_options(server._ssl, ALLOW_CLIENT_RENEGOTIATION)
    assert client.can_seal()
    server.receive(client.seal(DATA, b"by hand") + client.renegotiate())
    flight = server.output()
    assert {one.kind for one in client.receive(flight)} == {RecordKind.HANDSHAKE}
    assert client.output() == b""
    assert client.cipher == suite.decode()
    server.receive(client.close_notify())
    assert server.failure is None or "close notify" in server.failure


@pytest.mark.parametrize(("version", "suite"), SUITES[3:])
def test_a_refused_renegotiation_changes_nothing(
    version: TlsVersion, suite: bytes, connect: Connect
) -> None:
    """OpenSSL's client would give the connection up; ours goes on."""
    client, server = connect(version, suite)
    assert client.can_seal()
    server.receive(client.renegotiate())
    refusal = client.receive(server.output())
    assert told(refusal) == [(RecordKind.ALERT, b"", NO_RENEGOTIATION)]
    assert server.receive(client.send(b"ping"))[0].data == b"ping"
    assert told(client.receive(server.send(b"pong"))) == [(RecordKind.DATA, b"pong", None)]
    assert told(client.receive(server.close_notify())) == [
        (RecordKind.CLOSE_NOTIFY, b"", CLOSE_NOTIFY)
    ]
    assert client.notified
    assert client.failure is None


def test_suites_of_cbc_are_left_alone(connect: Connect) -> None:
    client, server = connect(*CBC)
    assert not client.can_seal()
    assert server.receive(client.send(b"ping"))[0].data == b"ping"


def test_before_there_are_keys_there_is_nothing_to_seal_with(pem: Path) -> None:
    assert not server_context(pem).accept().can_seal()


def test_records_are_told_apart() -> None:
    first, second = b"\x17\x03\x03\x00\x02ab", b"\x15\x03\x03\x00\x01c"
    assert records_in(b"") == []
    assert records_in(first + second) == [first, second]


@BOTH
def test_what_comes_behind_a_fatal_alert_is_named(
    version: TlsVersion, suite: bytes, connect: Connect
) -> None:
    """OpenSSL reads no further; Go sends a close_notify there."""
    client, server = connect(version, suite)
    assert server.can_seal()
    stream = server.seal(ALERT, bytes(INTERNAL_ERROR)) + server.close_notify() + server.send(b"x")
    assert [(one.kind, one.alert) for one in client.receive(stream)] == [
        (RecordKind.ALERT, INTERNAL_ERROR),
        (RecordKind.CLOSE_NOTIFY, CLOSE_NOTIFY),
        (RecordKind.DATA, None),
    ]


@BOTH
def test_a_close_notify_behind_a_warning_is_one(
    version: TlsVersion, suite: bytes, connect: Connect
) -> None:
    """OpenSSL calls it an error without a reason in TLS 1.3."""
    client, server = connect(version, suite)
    assert server.can_seal()
    client.receive(server.seal(ALERT, bytes(USER_CANCELED)) + server.close_notify())
    assert client.notified
    assert client.failure is None
