from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from struct import pack, unpack

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scramp import ScramMechanism

from tlsprobe.errors import UsageError
from tlsprobe.model.target import Login
from tlsprobe.model.trace import RemarkKind
from tlsprobe.protocols.conversation import Phase
from tlsprobe.protocols.postgres import (
    LONGEST,
    LONGEST_OLD_ERROR,
    LONGEST_READ,
    MOST_ROUNDS,
    SSL_REQUEST,
    TERMINATE,
    Postgres,
    PostgresSettings,
    postgres,
)

ANN = Login(user="ann", database="shop", password="pencil")
SASL, SASL_CONTINUE, SASL_FINAL = 10, 11, 12


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + pack("!I", len(body) + 4) + body


def auth(code: int, body: bytes = b"") -> bytes:
    return message(b"R", pack("!I", code) + body)


def error(**fields: str) -> bytes:
    body = b"".join(key.encode() + value.encode() + b"\0" for key, value in fields.items())
    return message(b"E", body + b"\0")


OK = auth(0)
IDLE = message(b"Z", b"I")
SETTINGS = message(b"S", b"server_version\x0017.2\0") + message(b"K", pack("!II", 7, 9))
TRUSTED = OK + SETTINGS + IDLE
NOTICE = message(b"N", b"SNOTICE\0\0")
ROW = message(b"D", pack("!HI", 1, 1) + b"1")
ONE = message(b"T", pack("!H", 1) + b"?column?\0" + bytes(18)) + ROW + message(b"C", b"SELECT 1\0")
SYNTAX = error(S="ERROR", V="ERROR", C="42601", M="syntax error")


def new(login: Login = ANN, settings: PostgresSettings | None = None) -> Postgres:
    return postgres(settings or PostgresSettings(), login)()


def greeted(login: Login = ANN) -> Postgres:
    session = new(login)
    assert session.open() == SSL_REQUEST
    assert session.feed(b"S") == b""
    assert phase(session) is Phase.SECURE
    session.secured()
    assert phase(session) is Phase.GREETING
    return session


def ready() -> Postgres:
    session = greeted()
    assert session.feed(TRUSTED) == b""
    assert phase(session) is Phase.READY
    return session


def feed(session: Postgres, pieces: Iterable[bytes]) -> bytes:
    return b"".join(session.feed(piece) for piece in pieces)


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def phase(session: Postgres) -> Phase:
    # A call, so that mypy does not take the phase for what it was asserted to be before.
    return session.phase


def state(session: Postgres) -> tuple[object, ...]:
    return session.phase, session.answered, session.owed, session.partial, session.failure


def body(sent: bytes) -> bytes:
    assert sent[:1] == b"p"
    assert unpack("!I", sent[1:5]) == (len(sent) - 1,)
    return sent[5:]


# -- before TLS ------------------------------------------------------------------------------------


def test_asks_for_tls() -> None:
    session = new()
    assert phase(session) is Phase.PLAIN
    assert session.open() == bytes.fromhex("00000008 04d2162f")
    session.feed(b"S")
    assert phase(session) is Phase.SECURE


def test_direct_tls_asks_for_nothing_and_names_the_protocol() -> None:
    session = new(settings=PostgresSettings(direct=True))
    assert phase(session) is Phase.SECURE
    assert session.open() == b""
    assert session.alpn == ("postgresql",)


def test_no_tls_is_a_failure_with_the_mend() -> None:
    session = new()
    session.feed(b"N")
    assert phase(session) is Phase.FAILED
    assert session.hint is not None
    assert "ssl = on" in session.hint


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", r"HTTP/1.1 400 Bad Request\r\n"),
        (b"S\x16\x03\x03", "plain text after it had agreed"),
        (error(S="FATAL", C="53300", M="sorry, too many clients already"), "FATAL 53300: sorry"),
        (b"Ecould not fork new process\n\0", r"could not fork new process\n"),
        (b"E" + b"x" * (LONGEST_OLD_ERROR + 9), "xxx"),
    ],
)
def test_other_answers_are_told_in_the_servers_words(answer: bytes, told: str) -> None:
    session = new()
    session.feed(answer)
    assert phase(session) is Phase.FAILED
    assert session.failure is not None
    assert told in session.failure
    assert session.failure.isprintable()


@pytest.mark.parametrize("plain", [b"", b"E", b"E\0\0\0\x50SFATAL", b"Ecould not fo"])
def test_an_end_before_tls_is_a_failure(plain: bytes) -> None:
    session = new()
    session.feed(plain)
    assert phase(session) is Phase.PLAIN
    session.ended()
    assert phase(session) is Phase.FAILED


# -- login -----------------------------------------------------------------------------------------


def test_the_startup_message() -> None:
    startup = new().secured()
    assert unpack("!III", startup[:8] + pack("!I", 0))[:2] == (len(startup), 196608)
    assert startup[8:] == b"user\0ann\0application_name\0tlsprobe\0database\0shop\0\0"


def test_without_a_login_it_is_postgres() -> None:
    assert new(Login()).secured()[8:] == b"user\0postgres\0application_name\0tlsprobe\0\0"


def test_trust_leads_to_ready() -> None:
    assert state(ready())[:3] == (Phase.READY, 0, 0)


def test_cleartext_password() -> None:
    session = greeted()
    assert body(session.feed(auth(3))) == b"pencil\0"
    session.feed(TRUSTED)
    assert phase(session) is Phase.READY


def test_md5_password() -> None:
    session = greeted()
    inner = hashlib.md5(b"pencil" + b"ann").hexdigest().encode()
    expected = b"md5" + hashlib.md5(inner + b"salt").hexdigest().encode()
    assert body(session.feed(auth(5, b"salt"))) == expected + b"\0"
    session.feed(TRUSTED)
    assert phase(session) is Phase.READY


class ScramServer:
    """The server's half of a SCRAM login, with scramp doing the sums."""

    def __init__(self, password: str = "pencil", plus: bool = True) -> None:
        mechanism = ScramMechanism("SCRAM-SHA-256")
        secrets = mechanism.make_auth_info(password, iteration_count=4096)
        # A server that could bind to the channel must refuse the flag 'y': so scramp does here.
        binding = ("tls-server-end-point", b"digest") if plus else None
        self.scram = mechanism.make_server(lambda _: secrets, channel_binding=binding)
        self.offer = b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0" if plus else b"SCRAM-SHA-256\0\0"

    def first(self, sent: bytes) -> bytes:
        mechanism, _, rest = body(sent).partition(b"\0")
        assert mechanism == b"SCRAM-SHA-256"
        assert unpack("!I", rest[:4]) == (len(rest) - 4,)
        self.scram.set_client_first(rest[4:].decode())
        return auth(SASL_CONTINUE, self.scram.get_server_first().encode())

    def final(self, sent: bytes) -> bytes:
        self.scram.set_client_final(body(sent).decode())
        return auth(SASL_FINAL, self.scram.get_server_final().encode())


@pytest.mark.parametrize("plus", [True, False])
@pytest.mark.parametrize("cut", [bytewise, lambda data: [data]])
def test_scram_with_a_real_server_side(plus: bool, cut: Callable[[bytes], list[bytes]]) -> None:
    server, session = ScramServer(plus=plus), greeted()
    first = feed(session, cut(auth(SASL, server.offer)))
    assert b"n,,n=ann,r=" in first
    proof = feed(session, cut(server.first(first)))
    assert feed(session, cut(server.final(proof) + TRUSTED)) == b""
    assert phase(session) is Phase.READY


def test_scram_with_a_server_that_does_not_know_the_password() -> None:
    server, session = ScramServer(), greeted()
    session.feed(server.first(session.feed(auth(SASL, server.offer))))
    session.feed(auth(SASL_FINAL, b"v=" + b"A" * 43 + b"="))
    assert phase(session) is Phase.FAILED
    assert session.failure is not None
    assert "SCRAM" in session.failure


@pytest.mark.parametrize(
    "said",
    [
        auth(SASL, b"SCRAM-SHA-256-PLUS\0\0"),
        auth(SASL, b"OAUTHBEARER\0\0"),
        auth(SASL, b""),
        auth(SASL_CONTINUE, b"r=x,s=QSXCR+Q6sek8bf92,i=4096"),
        auth(SASL_FINAL, b"v=x"),
        auth(SASL, b"SCRAM-SHA-256\0\0") + auth(SASL_CONTINUE, b"\xff"),
        auth(SASL, b"SCRAM-SHA-256\0\0") + auth(SASL_CONTINUE, b"r=x,s=?,i=4096"),
        auth(SASL, b"SCRAM-SHA-256\0\0") + auth(SASL_FINAL, b"v=x"),
        auth(7),
        auth(99),
        message(b"R", b"\0"),
    ],
)
def test_what_cannot_be_proved_is_a_failure(said: bytes) -> None:
    session = greeted()
    session.feed(said)
    assert phase(session) is Phase.FAILED
    assert session.failure is not None
    assert session.failure.isprintable()


def test_a_server_cannot_make_us_hash_for_ever() -> None:
    session = greeted()
    session.feed(auth(SASL, b"SCRAM-SHA-256\0\0"))
    rounds = MOST_ROUNDS + 1
    session.feed(auth(SASL_CONTINUE, f"r=x,s=QSXCR+Q6sek8bf92QSXC,i={rounds}".encode()))
    assert session.failure is not None
    assert str(rounds) in session.failure


@pytest.mark.parametrize("asked", [auth(3), auth(5, b"salt"), auth(SASL, b"SCRAM-SHA-256\0\0")])
@pytest.mark.parametrize("password", [None, ""])
def test_a_missing_password_is_told_with_the_mend(asked: bytes, password: str | None) -> None:
    session = greeted(Login(user="ann", password=password))
    assert session.feed(asked) == b""
    assert phase(session) is Phase.FAILED
    assert session.hint is not None
    assert "--password-env" in session.hint


def test_another_method_is_not_blamed_on_the_password() -> None:
    session = greeted(Login(user="ann"))
    session.feed(auth(7))
    assert session.failure is not None
    assert "method 7" in session.failure


@pytest.mark.parametrize(
    ("code", "option"),
    [("28P01", "--password-env"), ("28000", "--cert"), ("3D000", "--database"), ("53300", "max_")],
)
def test_a_refusal_is_told_with_the_mend(code: str, option: str) -> None:
    session = greeted()
    session.feed(error(S="FATALE", V="FATAL", C=code, M="no \x1b[31m way"))
    assert session.failure == rf"the server refused: FATAL {code}: no \x1b[31m way"
    assert session.hint is not None
    assert option in session.hint


def test_a_refusal_of_no_known_code_or_form_is_told_too() -> None:
    session = greeted()
    session.feed(error(S="FATAL", C="XX000", M="x" * 5000))
    assert session.failure is not None
    assert len(session.failure) < 300
    assert session.hint is None
    session = greeted()
    session.feed(message(b"E", b"\xff\xfe"))
    assert phase(session) is Phase.FAILED


def test_an_end_during_the_login_is_a_failure() -> None:
    session = greeted()
    session.feed(OK + b"S\0\0")
    session.ended()
    assert phase(session) is Phase.FAILED
    assert session.failure is not None
    assert r"S\x00\x00" in session.failure


# -- queries ---------------------------------------------------------------------------------------


def test_a_query_is_answered_at_ready_for_query() -> None:
    session = ready()
    assert session.request() == b"Q\0\0\0\x0dSELECT 1\0"
    session.feed(NOTICE)
    assert state(session) == (Phase.OWED, 0, 1, False, None)
    session.feed(ONE)
    assert state(session) == (Phase.OWED, 0, 1, True, None)
    session.feed(IDLE)
    assert state(session) == (Phase.READY, 1, 1, False, None)


def test_the_profile_chooses_the_query() -> None:
    session = new(settings=PostgresSettings(query="SELECT 'ü'"))
    assert session.request() == message(b"Q", "SELECT 'ü'".encode() + b"\0")


def test_an_error_is_an_answer_too() -> None:
    session = ready()
    session.request()
    session.feed(SYNTAX + IDLE)
    assert state(session) == (Phase.READY, 1, 1, False, None)


def test_queries_may_be_sent_ahead_of_the_answers() -> None:
    session = ready()
    for _ in range(3):
        session.request()
    session.feed(ONE + IDLE + ONE + IDLE)
    assert state(session) == (Phase.OWED, 2, 3, False, None)
    session.feed(SYNTAX + IDLE)
    assert state(session) == (Phase.READY, 3, 3, False, None)


def test_a_fatal_error_leaves_the_answer_cut_short() -> None:
    session = ready()
    session.request()
    session.feed(error(S="FATAL", C="57P01", M="terminating connection"))
    session.ended()
    assert state(session) == (Phase.OWED, 0, 1, True, None)
    assert [said.text for said in session.remarks] == ["FATAL 57P01: terminating connection"]


def test_an_error_that_ends_nothing_is_no_remark() -> None:
    session = ready()
    session.request()
    session.feed(SYNTAX + IDLE)
    assert session.remarks == []


def test_an_error_too_long_to_read_is_skipped() -> None:
    session = ready()
    session.request()
    session.feed(error(S="FATAL", C="57P01", M="x" * 70_000) + IDLE)
    assert (session.phase, session.remarks) == (Phase.READY, [])


def test_a_fatal_error_in_an_idle_session_is_an_observation() -> None:
    session = ready()
    session.feed(error(S="FATAL", C="57P05", M="terminating connection due to idle-session"))
    session.ended()
    assert state(session) == (Phase.READY, 0, 0, False, None)
    session.request()
    assert not session.partial


def test_the_goodbye_owes_nothing() -> None:
    session = ready()
    assert session.goodbye() == TERMINATE == b"X\0\0\0\x04"
    assert state(session) == (Phase.READY, 0, 0, False, None)


@pytest.mark.slow
def test_a_large_response_is_skipped_not_held() -> None:
    session = ready()
    session.request()
    session.feed(b"D" + pack("!I", LONGEST))
    for _ in range(LONGEST // 10_000_000):
        session.feed(bytes(10_000_000))
    session.feed(bytes(LONGEST % 10_000_000 - 4))
    assert session.partial
    session.feed(IDLE)
    assert state(session) == (Phase.READY, 1, 1, False, None)


def test_a_copy_from_us_is_refused_rather_than_waited_for() -> None:
    session = ready()
    session.request()
    session.feed(message(b"G", b"\0\0\0"))
    assert session.failure is not None
    assert "COPY" in session.failure


@pytest.mark.parametrize(
    "absurd",
    [
        b"D\0\0\0\x03",
        b"D" + pack("!I", LONGEST + 1),
        b"Z" + pack("!I", LONGEST_READ + 1),
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\x15\x03\x03\x00\x02",
    ],
)
@pytest.mark.parametrize("make", [greeted, ready])
def test_absurd_messages_fail_at_their_first_five_bytes(
    absurd: bytes, make: Callable[[], Postgres]
) -> None:
    session = make()
    session.request()
    session.feed(absurd[:4])
    assert phase(session) is not Phase.FAILED
    session.feed(absurd[4:])
    assert phase(session) is Phase.FAILED
    assert session.failure is not None
    assert session.failure.isprintable()
    assert session.feed(TRUSTED) == b""


MESSAGES = st.sampled_from([OK, SETTINGS, IDLE, NOTICE, ONE, SYNTAX, auth(3), auth(5, b"salt")])


@given(st.lists(MESSAGES, max_size=8), st.integers(0, 3), st.data())
def test_how_the_bytes_are_cut_does_not_matter(
    messages: list[bytes], requests: int, data: st.DataObject
) -> None:
    stream = b"".join(messages)
    stream = stream[: data.draw(st.integers(0, len(stream)))]
    whole, cut = greeted(), greeted()
    if requests:
        whole, cut = ready(), ready()
    for _ in range(requests):
        whole.request()
        cut.request()
    assert feed(whole, [stream]) == feed(cut, bytewise(stream))
    assert state(whole) == state(cut)


@given(st.lists(st.binary(max_size=40) | MESSAGES, max_size=8), st.booleans())
def test_nothing_a_server_says_raises(pieces: list[bytes], secured: bool) -> None:
    session = greeted() if secured else new()
    for piece in pieces:
        assert isinstance(session.feed(piece), bytes)
    session.ended()
    assert session.failure is None or session.failure.isprintable()


@given(st.text(max_size=60) | st.from_regex(r"r=[!-~]{0,9},s=[A-Za-z0-9+/=]{0,24},i=[0-9]{1,7}"))
def test_no_scram_challenge_raises(challenge: str) -> None:
    session = greeted()
    session.feed(auth(SASL, b"SCRAM-SHA-256\0\0"))
    session.feed(auth(SASL_CONTINUE, challenge.encode("utf-8", "surrogatepass")))
    assert phase(session) is Phase.FAILED


# -- the login as a value --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("login", "settings"),
    [
        (Login(user="a\0b"), PostgresSettings()),
        (Login(database="a\0b"), PostgresSettings()),
        (Login(), PostgresSettings(query="SELECT '\0'")),
    ],
)
def test_a_zero_byte_is_a_mistake_of_the_user(login: Login, settings: PostgresSettings) -> None:
    with pytest.raises(UsageError):
        postgres(settings, login)


def test_bytes_of_the_command_line_go_as_they_came() -> None:
    login = Login(user=b"\xe9".decode("utf-8", "surrogateescape"), password="p\udce9")
    assert b"user\0\xe9\0" in new(login).secured()
    assert body(greeted(login).feed(auth(3))) == b"p\xe9\0"
    session = greeted(login)
    session.feed(auth(SASL, b"SCRAM-SHA-256\0\0"))
    assert phase(session) is Phase.FAILED


def test_the_password_does_not_show() -> None:
    assert "pencil" not in repr(new()._script)


CRASHED = "terminating connection because of crash of another server process"


def warning(code: str, words: str) -> bytes:
    return b"N" + error(S="WARNING", V="WARNING", C=code, M=words)[1:]


def test_whose_neighbour_died_is_told_so_in_a_warning() -> None:
    """It is no fatal error: the connection ended without a word, as it seemed."""
    session = ready()
    session.request()
    session.feed(NOTICE + warning("57P02", CRASHED))
    session.ended()
    assert [(r.kind, r.text) for r in session.remarks] == [
        (RemarkKind.CRASHED, f"57P02: {CRASHED}")
    ]
    assert state(session) == (Phase.OWED, 0, 1, False, None)


def test_another_warning_is_no_remark_and_answers_nothing() -> None:
    session = ready()
    session.request()
    session.feed(warning("01000", "have a care"))
    assert (session.phase, session.remarks) == (Phase.OWED, [])


def test_who_recovers_says_so_to_those_that_come() -> None:
    session = greeted()
    session.feed(
        error(S="FATAL", V="FATAL", C="57P03", M="the database system is in recovery mode")
    )
    assert [r.kind for r in session.remarks] == [RemarkKind.RECOVERING]
    assert session.phase is Phase.FAILED
