"""TLS in memory: both ends are OpenSSL, and every record is known by what came of it.

ARCHITECTURE.md, "Decisions": TLS runs over memory BIOs, so that each record is known.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tlsprobe.errors import UsageError
from tlsprobe.model.alerts import alert_name
from tlsprobe.model.target import TlsIdentity, TlsVersion
from tlsprobe.model.trace import RecordKind
from tlsprobe.reference.certificate import self_signed
from tlsprobe.tls import (
    Received,
    TlsSession,
    client_context,
    server_context,
)

TLS12, TLS13 = TlsVersion.TLS12, TlsVersion.TLS13
BOTH = pytest.mark.parametrize("version", TlsVersion)
H, T, D = RecordKind.HANDSHAKE, RecordKind.TICKET, RecordKind.DATA
N, A, P = RecordKind.CLOSE_NOTIFY, RecordKind.ALERT, RecordKind.PLAIN
LARGEST_RECORD = 5 + 2**14 + 2048
FIXTURES_ARE_FIXED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="session")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(self_signed())
    return path


@dataclass
class Ends:
    """Two ends of one connection, what each was sent, and what it made of that."""

    client: TlsSession
    server: TlsSession
    to_client: list[Received] = field(default_factory=list)
    to_server: list[Received] = field(default_factory=list)
    octets: int = 0

    def shake(self, at_once: int = 2**16) -> Ends:
        out = self.client.handshake()
        while out:
            self.to_server += feed(self.server, out, at_once)
            out = self.server.output()
            self.octets += len(out)
            self.to_client += feed(self.client, out, at_once)
            out = self.client.output()
        return self


def feed(session: TlsSession, stream: bytes, at_once: int = 2**16) -> list[Received]:
    pieces = [stream[at : at + at_once] for at in range(0, len(stream), at_once)]
    return [received for piece in pieces for received in session.receive(piece)]


def client(version: TlsVersion, identity: TlsIdentity | None = None) -> TlsSession:
    return client_context(version, identity or TlsIdentity(), None, ()).connect()


def connected(version: TlsVersion, pem: Path, identity: TlsIdentity | None = None) -> Ends:
    return Ends(client(version, identity), server_context(pem).accept()).shake()


def kinds(received: list[Received]) -> list[RecordKind]:
    return [one.kind for one in received]


def spoiled(one: bytes) -> bytes:
    return one[:-1] + bytes([one[-1] ^ 1])


def record(length: int) -> bytes:
    """A record of handshake, alert or data as far as its header says."""
    return struct.pack(">BHH", 20 + length % 5, 0x0303, length) + bytes(length)


# --- the handshake ------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("at_once", [2**16, 7, 1])
def test_the_handshake_and_its_records(version: TlsVersion, at_once: int, pem: Path) -> None:
    ends = Ends(client(version), server_context(pem).accept()).shake(at_once)
    for session in (ends.client, ends.server):
        assert session.handshaken
        assert session.failure is None
        assert session.version is version
        assert session.alpn is None
        assert not session.over
        assert not session.pending
    assert ends.client.cipher == ends.server.cipher
    assert set(kinds(ends.to_server)) == {H}
    tickets = 2 if version is TLS13 else 0  # a TLS 1.2 ticket is part of the handshake
    greeting = kinds(ends.to_client)[: len(ends.to_client) - tickets]
    assert set(greeting) == {H}
    assert kinds(ends.to_client)[len(greeting) :] == [T] * tickets
    assert sum(one.length for one in ends.to_client) == ends.octets


@pytest.mark.slow
@BOTH
@FIXTURES_ARE_FIXED
@given(cuts=st.sets(st.integers(1, 200)))
def test_records_do_not_depend_on_how_the_stream_was_cut(
    version: TlsVersion, pem: Path, cuts: set[int]
) -> None:
    ends = connected(version, pem)
    server = ends.server
    stream = server.send(b"one") + server.send(b"two") + server.close_notify() + server.send(b"3")
    marks = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    found = [
        received
        for start, end in pairwise(marks)
        for received in ends.client.receive(stream[start:end])
    ]
    assert kinds(found) == [D, D, N, D]
    assert [one.data for one in found[:2]] == [b"one", b"two"]
    assert sum(one.length for one in found) == len(stream)


@BOTH
@pytest.mark.parametrize("at_once", [2**16, 7, 1])
def test_what_follows_the_handshake_in_the_same_bytes_is_no_part_of_it(
    version: TlsVersion, at_once: int, pem: Path
) -> None:
    ends = Ends(client(version), server_context(pem).accept())
    speaker, hearer = ends.client, ends.server
    last = speaker.handshake()
    while not speaker.handshaken:  # the server has the last word in TLS 1.2, the client in 1.3
        feed(hearer, last)
        speaker, hearer, last = hearer, speaker, hearer.output()
    stream = last + speaker.send(b"one") + speaker.send(b"two") + speaker.close_notify()
    found = feed(hearer, stream, at_once)
    assert kinds(found)[-3:] == [D, D, N]
    assert set(kinds(found)[:-3]) == {H}
    assert [one.data for one in found[-3:]] == [b"one", b"two", b""]
    assert sum(one.length for one in found) == len(stream)
    assert hearer.handshaken


WARNING, FATAL = b"\x15\x03\x03\0\2\1\x5a", b"\x15\x03\x03\0\2\2\x28"


@pytest.mark.parametrize("at_once", [2**16, 7, 1])
@pytest.mark.parametrize(
    ("alerts", "expected"),
    [
        ({1: WARNING}, [H, A, H, H, H]),
        ({1: WARNING, 3: WARNING}, [H, A, H, H, A, H]),
        ({4: WARNING}, [H, H, H, H, A]),
        ({1: FATAL}, [H, A, H, H, H]),
        ({2: WARNING + FATAL}, [H, H, A, A, H, H]),
    ],
)
def test_an_alert_within_a_flight_is_known_by_its_record(
    at_once: int, alerts: dict[int, bytes], expected: list[RecordKind], pem: Path
) -> None:
    ends = Ends(client(TLS12), server_context(pem).accept())
    feed(ends.server, ends.client.handshake())
    flight = records_of(ends.server.output())
    stream = b"".join(alerts.get(at, b"") + one for at, one in enumerate([*flight, b""]))
    found = feed(ends.client, stream, at_once)
    assert kinds(found) == expected
    assert {one.alert for one in found if one.kind is A} <= {(1, 90), (2, 40)}
    assert [one.length for one in found if one.kind is A] == [7] * expected.count(A)
    fatal = any(FATAL in alert for alert in alerts.values())
    assert (ends.client.failure is not None) == fatal


def records_of(stream: bytes) -> list[bytes]:
    found = []
    while stream:
        size = 5 + int.from_bytes(stream[3:5])
        found.append(stream[:size])
        stream = stream[size:]
    return found


@pytest.mark.parametrize("at_once", [2**16, 7, 1])
def test_a_server_may_speak_before_the_client_has_finished(at_once: int, pem: Path) -> None:
    """RFC 8446 section 4.4.4: after its Finished a server may send data (half-RTT data)."""
    lines: list[bytes] = []
    serving = server_context(pem)
    serving.context.set_keylog_callback(lambda _, line: lines.append(line))
    ends = Ends(client(TLS13), serving.accept())
    feed(ends.server, ends.client.handshake())
    flight = ends.server.output()
    secret = server_secret(line.decode() for line in lines)
    behind = sealed(secret, 0, b"hello\x17") + sealed(secret, 1, b"\1\0\x15")
    found = feed(ends.client, flight + behind, at_once)
    assert kinds(found)[-2:] == [D, N]
    assert set(kinds(found)[:-2]) == {H}
    assert found[-2].data == b"hello"
    assert found[-1].alert == (1, 0)


@BOTH
def test_large_plaintext_is_cut_into_records(version: TlsVersion, pem: Path) -> None:
    ends = connected(version, pem)
    plaintext = bytes(range(256)) * 1024
    found = ends.client.receive(ends.server.send(plaintext))
    assert b"".join(one.data for one in found) == plaintext
    assert kinds(found) == [D] * 16
    assert ends.server.send(b"") == b""


@BOTH
def test_the_hello_carries_no_large_key_share(version: TlsVersion) -> None:
    """An ML-KEM share has 1184 bytes, and is kept for as long as a connection waits."""
    context = client_context(version, TlsIdentity(), "db.example", ())
    assert len(context.connect().handshake()) < 512


# --- the end ------------------------------------------------------------------------------------


@BOTH
def test_close_notify_has_its_known_length(version: TlsVersion, pem: Path) -> None:
    ends = connected(version, pem)
    record = ends.client.close_notify()
    assert len(record) == {TLS12: 31, TLS13: 24}[version]
    assert ends.client.alert_sent == (1, 0)
    assert ends.server.receive(record) == [Received(N, len(record), b"", (1, 0))]
    assert ends.server.notified
    assert not ends.client.notified
    assert ends.server.alert_sent is None


@BOTH
def test_each_side_may_go_on_behind_the_others_close_notify(version: TlsVersion, pem: Path) -> None:
    ends = connected(version, pem)
    ends.client.receive(ends.server.close_notify())
    found = ends.server.receive(ends.client.send(b"more") + ends.client.close_notify())
    assert kinds(found) == [D, N]
    assert found[0].data == b"more"


@BOTH
def test_data_behind_a_close_notify_is_seen_and_ignored(version: TlsVersion, pem: Path) -> None:
    """RFC 8446 section 6.1: any data received after a closure alert is ignored."""
    ends = connected(version, pem)
    late = ends.server.close_notify() + ends.server.send(b"late")
    found = ends.client.receive(late)
    assert kinds(found) == [N, D]
    assert found[1].data == b""
    assert found[1].length == len(late) - found[0].length


@BOTH
def test_a_second_close_notify(version: TlsVersion, pem: Path) -> None:
    ends = connected(version, pem)
    first, second = ends.server.close_notify(), ends.server.close_notify()
    assert len(first) == len(second)
    assert first != second
    found = ends.client.receive(first + second)
    assert [one.length for one in found] == [len(first), len(second)]
    assert kinds(found) == [N, N]  # behind the first one, OpenSSL reads no more in TLS 1.3


@BOTH
def test_what_follows_the_end_of_tls_is_plain(version: TlsVersion, pem: Path) -> None:
    ends = connected(version, pem)
    found = ends.client.receive(ends.server.close_notify() + b"HTTP/1.1 400")
    assert kinds(found) == [N, P]
    assert found[1] == Received(P, 12, b"HTTP/1.1 400")
    assert ends.client.over
    assert kinds(ends.client.receive(b"\x17\x03\x03")) == [P]  # once over, always over


@BOTH
def test_a_spoiled_record_is_answered_with_an_alert(version: TlsVersion, pem: Path) -> None:
    ends = connected(version, pem)
    found = ends.client.receive(spoiled(ends.server.send(b"data")))
    assert kinds(found) == [D]
    assert found[0].data == b""
    assert ends.client.failure
    assert ends.client.alert_sent == (2, 20)
    record = ends.client.output()
    assert ends.server.receive(record) == [Received(A, len(record), b"", (2, 20))]
    assert alert_name((2, 20)) == "bad_record_mac"
    for session in (ends.client, ends.server):
        assert session.send(b"more") == b""  # nothing follows a fatal alert, and nothing is raised
        assert session.close_notify() == b""
        assert kinds(session.receive(b"\x17\x03\x03\x00\x20" + bytes(32))) == [D]


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize("end", ["close_notify", "failure"])
def test_nothing_is_kept_of_what_follows_the_end(version: TlsVersion, end: str, pem: Path) -> None:
    ends = connected(version, pem)
    last = ends.server.close_notify() if end == "close_notify" else spoiled(ends.server.send(b"x"))
    ends.client.receive(last)
    flood = ends.server.send(bytes(2**20))
    before = resident_megabytes()
    for _ in range(48):
        ends.client.receive(flood)
    assert resident_megabytes() - before < 24


def resident_megabytes() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


# --- records that OpenSSL would not make ----------------------------------------------------------


def forge(ends: Ends, secrets: Path, content: bytes, kind: int, padding: int = 0) -> bytes:
    """The server's next TLS 1.3 record, OpenSSL not asked."""
    assert ends.server.cipher == "TLS_AES_256_GCM_SHA384"
    secret = server_secret(secrets.read_text().splitlines())
    number = kinds(ends.to_client).count(T)
    return sealed(secret, number, content + bytes([kind]) + bytes(padding))


def server_secret(key_log: Iterable[str]) -> bytes:
    lines = [line.split() for line in key_log]
    return next(bytes.fromhex(line[2]) for line in lines if line[0] == "SERVER_TRAFFIC_SECRET_0")


def sealed(secret: bytes, number: int, inner: bytes) -> bytes:
    """A TLS 1.3 record with this sequence number (RFC 8446 section 5.2 and 7.3)."""
    key, iv = expand(secret, b"key", 32), expand(secret, b"iv", 12)
    nonce = (int.from_bytes(iv) ^ number).to_bytes(12)
    header = struct.pack(">BHH", 23, 0x0303, len(inner) + 16)
    return header + AESGCM(key).encrypt(nonce, inner, header)


def expand(secret: bytes, label: bytes, length: int) -> bytes:
    info = struct.pack(">HB", length, 6 + len(label)) + b"tls13 " + label + b"\0"
    return HKDFExpand(SHA384(), length, info).derive(secret)


@pytest.mark.parametrize("padding", [0, 1, 487, 16_000])
def test_a_padded_close_notify_is_still_one(padding: int, pem: Path, tmp_path: Path) -> None:
    secrets = tmp_path / "keys"
    ends = connected(TLS13, pem, TlsIdentity(keylog=secrets))
    record = forge(ends, secrets, b"\1\0", kind=21, padding=padding)
    assert ends.client.receive(record) == [Received(N, 24 + padding, b"", (1, 0))]
    assert ends.client.notified


@pytest.mark.parametrize(
    ("alert", "kind", "name"),
    [
        ((2, 0), N, "close_notify"),  # RFC 9846: the level has to be warning, and is to be told
        ((1, 90), A, "user_canceled"),
        ((2, 80), A, "internal_error"),
        ((1, 80), A, "internal_error"),
        ((2, 200), A, "alert 200"),
    ],
)
def test_alerts_carry_level_and_description(
    alert: tuple[int, int], kind: RecordKind, name: str, pem: Path, tmp_path: Path
) -> None:
    secrets = tmp_path / "keys"
    ends = connected(TLS13, pem, TlsIdentity(keylog=secrets))
    record = forge(ends, secrets, bytes(alert), kind=21)
    assert ends.client.receive(record) == [Received(kind, len(record), b"", alert)]
    assert alert_name(alert) == name
    assert (ends.client.failure is None) == (alert in {(2, 0), (1, 90)})


# --- strangers ----------------------------------------------------------------------------------


@BOTH
@FIXTURES_ARE_FIXED
@given(
    pieces=st.lists(st.binary(max_size=60) | st.integers(0, 2**14 + 2048).map(record)),
    handshaken=st.booleans(),
)
def test_arbitrary_bytes_never_raise_and_are_all_accounted_for(
    version: TlsVersion, pem: Path, pieces: list[bytes], handshaken: bool
) -> None:
    session = connected(version, pem).client if handshaken else client(version)
    session.handshake()
    for piece in pieces:
        found = session.receive(piece)
        assert all(one.length > 0 for one in found)
        assert len(session.pending) < LARGEST_RECORD
    session.output()
    if session.handshaken:
        session.send(b"x")
    session.close_notify()


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8))
def test_no_byte_is_lost_or_counted_twice(pieces: list[bytes]) -> None:
    session = client(TLS13)
    session.handshake()
    lengths = [one.length for piece in pieces for one in session.receive(piece)]
    assert sum(lengths) + len(session.pending) == len(b"".join(pieces))


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n", b"S", b"\x16\x02", b"\x16\x03\x03\xff\xff"]
)
def test_a_stranger_is_recognised_by_his_first_bytes(answer: bytes) -> None:
    session = client(TLS13)
    session.handshake()
    assert session.receive(answer) == [Received(P, len(answer), answer)]
    assert session.over


@pytest.mark.parametrize("beginning", [b"\x16", b"\x15\x03", b"\x17\x03\x03\x48\x00"])
def test_the_beginning_of_a_record_is_waited_for(beginning: bytes) -> None:
    session = client(TLS13)
    assert session.receive(beginning) == []
    assert (session.pending, session.over) == (beginning, False)


# --- agreement ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("ours", "theirs"), [(TLS12, TLS13), (TLS13, TLS12)])
def test_versions_that_do_not_meet(ours: TlsVersion, theirs: TlsVersion, pem: Path) -> None:
    ends = Ends(client(ours), server_context(pem, theirs, theirs).accept()).shake()
    assert kinds(ends.to_client) == [A]
    assert ends.to_client[0].alert == (2, 70)
    assert alert_name((2, 70)) == "protocol_version"
    assert ends.client.failure
    assert ends.server.failure
    assert not ends.client.handshaken


@pytest.mark.parametrize(
    ("asked", "default", "chosen"),
    [((), (), None), ((), ("http/1.1",), "http/1.1"), (("h2", "x"), ("http/1.1",), "h2")],
)
def test_alpn(asked: tuple[str, ...], default: tuple[str, ...], chosen: str, pem: Path) -> None:
    serving = server_context(pem)
    serving.context.set_alpn_select_callback(lambda _, offered: offered[0])
    context = client_context(TLS13, TlsIdentity(alpn=asked), None, default)
    assert Ends(context.connect(), serving.accept()).shake().client.alpn == chosen


@pytest.mark.parametrize(
    ("name", "said"),
    [("db.example", b"db.example"), ("bücher.example", b"xn--bcher-kva.example"), (None, None)],
)
def test_the_server_name(name: str | None, said: bytes | None, pem: Path) -> None:
    heard: list[bytes | None] = []
    serving = server_context(pem)
    serving.context.set_tlsext_servername_callback(lambda c: heard.append(c.get_servername()))
    context = client_context(TLS13, TlsIdentity(), name, ())
    Ends(context.connect(), serving.accept()).shake()
    assert heard == [said]


@pytest.mark.parametrize("name", ["a" * 64 + ".example", "a..b", "\udcff"])
def test_what_is_no_server_name(name: str) -> None:
    with pytest.raises(UsageError, match="not a server name"):
        client_context(TLS13, TlsIdentity(), name, ())


@pytest.mark.parametrize("names", [("é",), ("",), ("a" * 256,)])
def test_what_is_no_protocol_name(names: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="cannot offer"):
        client_context(TLS13, TlsIdentity(alpn=names), None, ())
