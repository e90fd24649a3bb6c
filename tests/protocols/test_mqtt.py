from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsprobe.errors import UsageError
from tlsprobe.model.target import Login
from tlsprobe.protocols.conversation import Phase
from tlsprobe.protocols.mqtt import LONGEST_READ, Mqtt, MqttSettings, mqtt

ACCEPTED = b"\x20\x02\x00\x00"
PONG = b"\xd0\x00"
PUBLISH = b"\x30\x05\x00\x01aok"


def new(settings: MqttSettings | None = None, login: Login | None = None) -> Mqtt:
    return mqtt(settings or MqttSettings(), login or Login())()


def greeted() -> Mqtt:
    session = new()
    session.secured()
    assert phase(session) is Phase.GREETING
    return session


def ready() -> Mqtt:
    session = greeted()
    session.feed(ACCEPTED)
    assert phase(session) is Phase.READY
    return session


def feed(session: Mqtt, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        assert session.feed(piece) == b""


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def phase(session: Mqtt) -> Phase:
    # A call, so that mypy does not take the phase for what it was asserted to be before.
    return session.phase


def state(session: Mqtt) -> tuple[object, ...]:
    return session.phase, session.answered, session.owed, session.partial, session.failure


def test_connects_as_nobody_in_particular() -> None:
    connect = new().secured()
    assert connect[:14] == b"\x10\x20\x00\x04MQTT\x04\x02\x00\x3c\x00\x14"
    assert connect[14:22] == b"tlsprobe"
    assert connect[14:].isalnum()
    assert len(connect[14:]) <= 23


def test_each_connection_has_a_name_of_its_own() -> None:
    make = mqtt(MqttSettings(), Login())
    assert make().secured() != make().secured()
    named = mqtt(MqttSettings(client_id="fixed"), Login())
    assert named().secured() == named().secured()
    assert named().secured().endswith(b"\x00\x05fixed")


def test_user_password_and_keep_alive_go_along() -> None:
    settings = MqttSettings(client_id="c", keep_alive=300)
    connect = new(settings, Login(user="ann", password="pencil")).secured()
    assert connect[8:] == b"\x04\xc2\x01\x2c\x00\x01c\x00\x03ann\x00\x06pencil"
    only_user = new(settings, Login(user="ann")).secured()
    assert only_user[9:10] == b"\x82"
    assert only_user.endswith(b"\x00\x03ann")


def test_a_long_password_takes_a_longer_length() -> None:
    settings = MqttSettings(client_id="c")
    connect = new(settings, Login(user="a", password="p" * 20_000)).secured()
    # two bytes of length would do for 16383
    assert connect[1] & 0x80 and connect[2] & 0x80 and not connect[3] & 0x80
    length = (connect[1] & 0x7F) | (connect[2] & 0x7F) << 7 | connect[3] << 14
    assert length == len(connect) - 4


@pytest.mark.parametrize(
    "login", [Login(password="x"), Login(user="u" * 65_536), Login(user="u", password="p" * 65_536)]
)
def test_what_connect_cannot_carry_is_a_mistake_of_the_user(login: Login) -> None:
    with pytest.raises(UsageError):
        mqtt(MqttSettings(), login)


@pytest.mark.parametrize(
    ("code", "words"),
    [(1, "3.1.1"), (2, "client identifier"), (4, "password"), (5, "authorised"), (9, "code 9")],
)
def test_a_refusal_is_told(code: int, words: str) -> None:
    session = greeted()
    session.feed(bytes([0x20, 2, 0, code]))
    assert session.failure is not None
    assert words in session.failure


def test_an_end_in_place_of_an_answer_is_a_failure() -> None:
    session = greeted()
    session.ended()
    assert phase(session) is Phase.FAILED
    assert session.hint is not None
    assert "--password-env" in session.hint


def test_a_ping_is_answered() -> None:
    session = ready()
    assert session.request() == b"\xc0\x00"
    session.feed(PONG[:1])
    assert state(session) == (Phase.OWED, 0, 1, True, None)
    session.feed(PONG[1:])
    assert state(session) == (Phase.READY, 1, 1, False, None)


def test_requests_may_be_sent_ahead_of_the_answers() -> None:
    session = ready()
    for _ in range(3):
        session.request()
    session.feed(PONG + PUBLISH + PONG)
    assert state(session) == (Phase.OWED, 2, 3, False, None)
    session.feed(PONG)
    assert state(session) == (Phase.READY, 3, 3, False, None)


def test_the_goodbye_owes_nothing() -> None:
    session = ready()
    assert session.goodbye() == b"\xe0\x00"
    assert state(session) == (Phase.READY, 0, 0, False, None)


def test_what_nobody_asked_for_is_ignored() -> None:
    session = ready()
    session.feed(PONG + PUBLISH)
    assert state(session) == (Phase.READY, 0, 0, False, None)


def test_the_largest_message_is_skipped_not_held() -> None:
    session = ready()
    session.request()
    session.feed(b"\x30\xff\xff\xff\x7f")
    left = 2**28 - 1
    while left:
        piece = min(left, 16_000_000)
        session.feed(bytes(piece))
        assert len(session._buffer) == 0
        left -= piece
    session.feed(PONG)
    assert state(session) == (Phase.READY, 1, 1, False, None)


@pytest.mark.parametrize(
    "said",
    [b"HTTP/1.1 400 Bad Request\r\n", b"\x15\x03\x03\x00\x02", PONG, b"\x20\xff\xff\xff\xff"],
)
def test_what_is_no_connack_is_a_failure(said: bytes) -> None:
    session = greeted()
    session.feed(said)
    assert phase(session) is Phase.FAILED
    assert session.failure is not None
    assert session.failure.isprintable()
    assert session.hint
    session.feed(ACCEPTED)
    assert phase(session) is Phase.FAILED


@pytest.mark.parametrize(
    "said", [b"\x00\x00", b"\x30\xff\xff\xff\xff", bytes([0xD0, LONGEST_READ + 1])]
)
def test_absurd_packets_fail_by_their_header(said: bytes) -> None:
    session = ready()
    session.request()
    session.feed(said)
    assert phase(session) is Phase.FAILED


PACKETS = st.sampled_from([ACCEPTED, PONG, PUBLISH, b"\x20\x02\x00\x05", b"\x90\x00", b"\x00\x00"])


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
    feed(whole, [stream])
    feed(cut, bytewise(stream))
    assert state(whole)[:4] == state(cut)[:4]


@given(st.lists(st.binary(max_size=40) | PACKETS), st.booleans())
def test_nothing_a_server_says_raises(pieces: list[bytes], logged_in: bool) -> None:
    session = ready() if logged_in else greeted()
    for piece in pieces:
        assert session.feed(piece) == b""
        session.request()
    session.ended()
    assert session.failure is None or session.failure.isprintable()
