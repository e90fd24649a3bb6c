from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from struct import unpack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsprobe.errors import UsageError
from tlsprobe.model.target import Login
from tlsprobe.model.trace import Remark, RemarkKind
from tlsprobe.protocols.conversation import Phase
from tlsprobe.protocols.mysql import LONGEST, LONGEST_READ, Can, Mysql, MysqlSettings, mysql

ANN = Login(user="ann", database="shop", password="pencil")
SCRAMBLE = bytes(range(1, 21))
NATIVE, CACHING, SHA256 = b"mysql_native_password", b"caching_sha2_password", b"sha256_password"
ABILITIES = 0xDFFFFFFF  # those of a MySQL 8


def packet(number: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "little") + bytes([number]) + body


def handshake(
    method: bytes = NATIVE, *, abilities: int = ABILITIES, version: bytes = b"8.0.36"
) -> bytes:
    low, high = abilities.to_bytes(4, "little")[:2], abilities.to_bytes(4, "little")[2:]
    body = b"\x0a" + version + b"\0" + b"\x07\0\0\0" + SCRAMBLE[:8] + b"\0" + low
    body += b"\x2d\x02\0" + high + bytes([21]) + bytes(10) + SCRAMBLE[8:] + b"\0" + method + b"\0"
    return packet(0, body)


def error(code: int, words: str, number: int = 2) -> bytes:
    return packet(number, b"\xff" + code.to_bytes(2, "little") + b"#HY000" + words.encode())


def switch(method: bytes, number: int = 3) -> bytes:
    return packet(number, b"\xfe" + method + b"\0" + SCRAMBLE[::-1] + b"\0")


OK = packet(1, b"\0\0\0\x02\0\0\0")
EOF = packet(5, b"\xfe\0\0\x02\0")
COLUMN = packet(2, b"\x03def" + bytes(20))
ROW = packet(4, b"\x01x")
ROWS = packet(1, b"\x01") + COLUMN + EOF + ROW + ROW + EOF
LOGGED_IN = packet(4, b"\0\0\0\x02\0\0\0")
FULL = packet(4, b"\x01\x04")
FAST = packet(4, b"\x01\x03")


def new(login: Login = ANN, query: str | None = None) -> Mysql:
    return mysql(MysqlSettings(query=query), login)()


def greeted(login: Login = ANN, method: bytes = NATIVE, query: str | None = None) -> Mysql:
    session = new(login, query)
    session.feed(handshake(method))
    assert phase(session) is Phase.SECURE
    session.secured()
    return session


def ready(query: str | None = None) -> Mysql:
    session = greeted(query=query)
    assert session.feed(LOGGED_IN) == b""
    assert phase(session) is Phase.READY
    return session


def feed(session: Mysql, pieces: Iterable[bytes]) -> bytes:
    return b"".join(session.feed(piece) for piece in pieces)


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def phase(session: Mysql) -> Phase:
    # A call, so that mypy does not take the phase for what it was asserted to be before.
    return session.phase


def state(session: Mysql) -> tuple[object, ...]:
    return session.phase, session.answered, session.owed, session.partial, session.failure


def sha1(data: bytes) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


# -- before TLS ------------------------------------------------------------------------------------


def test_the_server_speaks_first_and_is_asked_for_tls() -> None:
    session = new()
    assert phase(session) is Phase.PLAIN
    assert session.open() == b""
    assert feed(session, bytewise(handshake()[:-1])) == b""
    asked = session.feed(handshake()[-1:])
    assert phase(session) is Phase.SECURE
    assert asked[:4] == b"\x20\0\0\x01"
    abilities, longest, charset = unpack("<IIB23x", asked[4:])
    assert abilities & Can.SSL and abilities & Can.CONNECT_WITH_DB
    assert (longest, charset) == (LONGEST, 45)


def test_no_tls_is_a_failure_with_the_mend() -> None:
    session = new()
    session.feed(handshake(abilities=ABILITIES & ~Can.SSL, version=b"5.5.5-10.11\x1b"))
    assert session.failure == r"the server, 5.5.5-10.11\x1b, does not do TLS"
    assert session.hint is not None
    assert "ssl_cert" in session.hint


def test_plain_bytes_behind_the_handshake_are_not_taken_over_into_tls() -> None:
    session = new()
    assert session.feed(handshake() + OK) == b""
    assert phase(session) is Phase.FAILED


def test_a_refusal_before_the_handshake_is_told() -> None:
    session = new()
    session.feed(packet(0, b"\xff\x6a\x04Host 'x' is not allowed"))
    assert session.failure == "the server refused: 1130: Host 'x' is not allowed"
    assert session.hint is not None
    assert "CREATE USER" in session.hint


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"220 mail.example ESMTP\r\n",
        b"\x15\x03\x03\x00\x02\x01\x00",
        b"\0\0\0\0",
        packet(0, b"\x09old") + bytes(80),
        packet(7, b"\x0a8.0\0"),
    ],
)
def test_what_is_not_mysql_is_a_failure(said: bytes) -> None:
    session = new()
    session.feed(said)
    assert phase(session) is Phase.FAILED
    assert session.failure is not None
    assert session.failure.isprintable()
    assert session.hint
    assert session.feed(handshake()) == b""


def test_an_absurd_length_fails_at_the_header() -> None:
    session = new()
    session.feed((LONGEST_READ + 1).to_bytes(3, "little"))
    assert phase(session) is Phase.PLAIN
    session.feed(b"\0")
    assert phase(session) is Phase.FAILED


# -- the login -------------------------------------------------------------------------------------


def proof_of(login: bytes) -> tuple[bytes, bytes, bytes]:
    """User, proof and the rest of a HandshakeResponse41."""
    user, _, rest = login[4 + 32 :].partition(b"\0")
    return user, rest[1 : 1 + rest[0]], rest[1 + rest[0] :]


def test_the_native_proof_is_what_the_server_computes() -> None:
    session = new()
    session.feed(handshake())
    login = session.secured()
    assert login[3] == 2
    user, proof, rest = proof_of(login)
    assert (user, rest) == (b"ann", b"shop\0" + NATIVE + b"\0")
    kept = sha1(sha1(b"pencil"))
    assert sha1(xor(proof, sha1(SCRAMBLE + kept))) == kept


def test_the_caching_proof_is_what_the_server_computes() -> None:
    session = new()
    session.feed(handshake(CACHING))
    user, proof, rest = proof_of(session.secured())
    assert (user, rest) == (b"ann", b"shop\0" + CACHING + b"\0")
    kept = sha256(sha256(b"pencil"))
    assert sha256(xor(proof, sha256(kept + SCRAMBLE))) == kept
    assert session.feed(FAST + packet(5, b"\0\0\0\x02\0\0\0")) == b""
    assert phase(session) is Phase.READY


def test_full_authentication_sends_the_password_inside_tls() -> None:
    session = greeted(method=CACHING)
    assert session.feed(FULL) == packet(5, b"pencil\0")
    session.feed(LOGGED_IN)
    assert phase(session) is Phase.READY


def test_an_auth_switch_is_followed() -> None:
    session = greeted(method=CACHING)
    answer = session.feed(switch(NATIVE))
    assert answer[3] == 4
    kept = sha1(sha1(b"pencil"))
    assert sha1(xor(answer[4:], sha1(SCRAMBLE[::-1] + kept))) == kept
    assert greeted().feed(switch(SHA256)) == packet(4, b"pencil\0")
    full = greeted()
    full.feed(switch(CACHING))
    assert full.feed(packet(5, b"\x01\x04")) == packet(6, b"pencil\0")


def test_no_password_is_an_empty_proof() -> None:
    session = new(Login())
    session.feed(handshake())
    user, proof, rest = proof_of(session.secured())
    assert (user, proof, rest) == (b"root", b"", NATIVE + b"\0")


@pytest.mark.parametrize(
    "said",
    [switch(b"client_ed25519"), packet(2, b"\xfe"), FULL, packet(2, b"\x01?"), packet(2, b"\x42")],
)
def test_another_method_is_a_failure(said: bytes) -> None:
    session = greeted()
    assert session.feed(said) == b""
    assert phase(session) is Phase.FAILED
    assert session.hint


@pytest.mark.parametrize(
    ("code", "option"),
    [(1045, "--password-env"), (1049, "--database"), (1040, "--concurrency"), (1698, "--user")],
)
def test_a_refusal_is_told_with_the_mend(code: int, option: str) -> None:
    session = greeted()
    session.feed(error(code, "no \x1b[31m way"))
    assert session.failure == rf"the server refused: {code}: no \x1b[31m way"
    assert session.hint is not None
    assert option in session.hint


def test_an_end_during_the_login_is_a_failure() -> None:
    early, late = new(), greeted()
    early.ended()
    late.feed(b"\x07\0")
    late.ended()
    assert early.failure is not None and "handshake" in early.failure
    assert late.failure is not None and r"\x07\x00" in late.failure


# -- requests --------------------------------------------------------------------------------------


def test_a_ping_is_answered_by_ok() -> None:
    session = ready()
    assert session.request() == b"\x01\0\0\0\x0e"
    feed(session, bytewise(OK[:-1]))
    assert state(session) == (Phase.OWED, 0, 1, True, None)
    session.feed(OK[-1:])
    assert state(session) == (Phase.READY, 1, 1, False, None)


def test_rows_are_answered_at_their_second_eof() -> None:
    session = ready("SELECT 'ü'")
    assert session.request() == packet(0, b"\x03" + "SELECT 'ü'".encode())
    feed(session, bytewise(ROWS[:-1]))
    assert state(session) == (Phase.OWED, 0, 1, True, None)
    session.feed(ROWS[-1:])
    assert state(session) == (Phase.READY, 1, 1, False, None)


@pytest.mark.parametrize("before", [b"", ROWS[: -len(EOF)]])
def test_an_error_is_an_answer_too(before: bytes) -> None:
    session = ready("x")
    session.request()
    session.feed(before + error(1064, "syntax"))
    assert state(session) == (Phase.READY, 1, 1, False, None)


def test_requests_may_be_sent_ahead_of_the_answers() -> None:
    session = ready()
    for _ in range(3):
        session.request()
    session.feed(OK + ROWS)
    assert state(session) == (Phase.OWED, 2, 3, False, None)
    session.feed(OK)
    assert state(session) == (Phase.READY, 3, 3, False, None)


def test_a_row_may_begin_like_an_end() -> None:
    """A value of 16 MiB is announced by 254 too, and goes on in a packet that begins anyhow."""
    session = ready("x")
    session.request()
    session.feed(packet(1, b"\x01") + COLUMN + EOF)
    session.feed(LONGEST.to_bytes(3, "little") + b"\x04\xfe" + bytes(LONGEST - 1))
    session.feed(packet(5, b"\xff\xff\xff") + packet(6, b"\xfe" + bytes(8)))
    assert state(session) == (Phase.OWED, 0, 1, True, None)
    session.feed(EOF)
    assert state(session) == (Phase.READY, 1, 1, False, None)


def test_a_large_response_is_skipped_not_held() -> None:
    session = ready()
    assert b"REPEAT" in session.large()
    session.feed(packet(1, b"\x01") + COLUMN + EOF + b"\x04\0\x20\x04\xfd\0\0\x20")
    for _ in range(2):
        session.feed(bytes(1024 * 1024))
        assert len(session._buffer) == 0
    session.feed(EOF)
    assert state(session) == (Phase.READY, 1, 1, False, None)


def test_a_file_of_ours_is_refused() -> None:
    session = ready("LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE x")
    session.request()
    session.feed(packet(1, b"\xfb/etc/passwd"))
    assert phase(session) is Phase.FAILED


def test_the_goodbye_owes_nothing() -> None:
    session = ready()
    assert session.goodbye() == b"\x01\0\0\0\x01"
    assert state(session) == (Phase.READY, 0, 0, False, None)


def test_an_idle_expiry_says_why() -> None:
    session = ready()
    session.feed(error(4031, "disconnected by the server because of inactivity", 0))
    session.ended()
    assert state(session) == (Phase.READY, 0, 0, False, None)
    said = "error 4031: disconnected by the server because of inactivity"
    assert session.remarks == [Remark(RemarkKind.ERROR, said)]


PACKETS = st.sampled_from([OK, ROWS, EOF, COLUMN, FULL, FAST, switch(NATIVE), error(1064, "no")])


@given(st.lists(PACKETS, max_size=8), st.integers(0, 3), st.data())
def test_how_the_bytes_are_cut_does_not_matter(
    packets: list[bytes], requests: int, data: st.DataObject
) -> None:
    stream = b"".join(packets)
    stream = stream[: data.draw(st.integers(0, len(stream)))]
    whole, cut = (ready(), ready()) if requests else (greeted(), greeted())
    for _ in range(requests):
        whole.request()
        cut.request()
    assert feed(whole, [stream]) == feed(cut, bytewise(stream))
    assert state(whole) == state(cut)


SOUND = st.builds(packet, st.integers(0, 255), st.binary(max_size=30))


@given(st.lists(st.binary(max_size=40) | SOUND | PACKETS), st.sampled_from([new, greeted, ready]))
def test_nothing_a_server_says_raises(pieces: list[bytes], make: Callable[[], Mysql]) -> None:
    session = make()
    for piece in pieces:
        assert isinstance(session.feed(piece), bytes)
        if phase(session) is Phase.SECURE:
            session.secured()
    session.request()
    session.ended()
    assert session.failure is None or session.failure.isprintable()


@given(st.binary(max_size=80))
def test_no_handshake_raises(body: bytes) -> None:
    session = new()
    session.feed(packet(0, b"\x0a" + body))
    session.secured()


# -- the login as a value --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("login", "query"),
    [(Login(user="a\0b"), None), (Login(database="a\0b"), None), (Login(), "x" * LONGEST)],
)
def test_what_no_packet_can_carry_is_a_mistake_of_the_user(login: Login, query: str | None) -> None:
    with pytest.raises(UsageError):
        mysql(MysqlSettings(query=query), login)


def test_the_password_does_not_show() -> None:
    assert "pencil" not in repr(new()._script)
