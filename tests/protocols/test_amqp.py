from __future__ import annotations

from collections.abc import Callable, Iterable
from struct import pack, unpack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsprobe.errors import UsageError
from tlsprobe.model.target import Login
from tlsprobe.model.trace import Remark, RemarkKind
from tlsprobe.protocols.amqp import LONGEST, PROTOCOL, Amqp, AmqpSettings, amqp
from tlsprobe.protocols.conversation import Phase

ANN = Login(user="ann", database="shop", password="pencil")


def frame(kind: int, payload: bytes, channel: int = 0) -> bytes:
    return pack("!BHI", kind, channel, len(payload)) + payload + b"\xce"


def method(major: int, minor: int, arguments: bytes = b"", channel: int = 0) -> bytes:
    return frame(1, pack("!HH", major, minor) + arguments, channel)


def close(code: int, words: str) -> bytes:
    said = words.encode()
    return method(10, 50, pack("!HB", code, len(said)) + said + pack("!HH", 0, 0))


START = method(10, 10, b"\0\x09" + bytes(4) + pack("!I", 5) + b"PLAIN" + pack("!I", 5) + b"en_US")
TUNE = method(10, 30, pack("!HIH", 2047, 131072, 60))
OPEN_OK = method(10, 41, b"\0")
CLOSE_OK = method(10, 51)
CHANNEL = method(20, 11, bytes(4), 1) + method(20, 41, b"", 1)
HEARTBEAT = frame(8, b"")


def new(login: Login = ANN, heartbeat: int | None = None) -> Amqp:
    return amqp(AmqpSettings(heartbeat=heartbeat), login)()


def greeted(login: Login = ANN, heartbeat: int | None = None) -> Amqp:
    session = new(login, heartbeat)
    assert session.secured() == PROTOCOL == b"AMQP\x00\x00\x09\x01"
    assert phase(session) is Phase.GREETING
    return session


def ready() -> Amqp:
    session = greeted()
    session.feed(START + TUNE + OPEN_OK)
    assert phase(session) is Phase.READY
    return session


def feed(session: Amqp, pieces: Iterable[bytes]) -> bytes:
    return b"".join(session.feed(piece) for piece in pieces)


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def phase(session: Amqp) -> Phase:
    # A call, so that mypy does not take the phase for what it was asserted to be before.
    return session.phase


def state(session: Amqp) -> tuple[object, ...]:
    return session.phase, session.answered, session.owed, session.partial, session.failure


def methods(sent: bytes) -> list[tuple[int, int, int, bytes]]:
    """Channel, class, method and arguments of the frames in what we sent."""
    found = []
    while sent:
        kind, channel, size = unpack("!BHI", sent[:7])
        assert (kind, sent[7 + size]) == (1, 0xCE)
        payload, sent = sent[7 : 7 + size], sent[8 + size :]
        found.append((channel, *unpack("!HH", payload[:4]), payload[4:]))
    return found


# -- the opening -----------------------------------------------------------------------------------


def test_logs_in_with_plain() -> None:
    ((channel, major, minor, arguments),) = methods(greeted().feed(START))
    assert (channel, major, minor) == (0, 10, 11)
    properties = arguments[4 : 4 + int.from_bytes(arguments[:4])]
    assert b"\x1cauthentication_failure_closet\x01" in properties
    rest = arguments[4 + len(properties) :]
    assert rest == b"\x05PLAIN" + pack("!I", 11) + b"\0ann\0pencil" + b"\x05en_US"


def test_tunes_and_opens_the_virtual_host() -> None:
    session = greeted()
    session.feed(START)
    tuned, opened = methods(session.feed(TUNE))
    assert tuned == (0, 10, 31, pack("!HIH", 2047, LONGEST, 60))
    assert opened == (0, 10, 40, b"\x04shop\0\0")
    assert phase(session) is Phase.GREETING
    session.feed(OPEN_OK)
    assert phase(session) is Phase.READY


def test_the_profile_may_ask_for_another_heartbeat() -> None:
    session = greeted(heartbeat=2)
    session.feed(START)
    tuned, _ = methods(session.feed(method(10, 30, pack("!HIH", 0, 0, 60))))
    assert tuned[3] == pack("!HIH", 2047, LONGEST, 2)


def test_guest_is_who_nobody_is() -> None:
    ((_, _, _, arguments),) = methods(greeted(Login()).feed(START))
    assert b"\0guest\0guest" in arguments


@pytest.mark.parametrize("login", [Login(user="ann"), Login(database="v" * 256)])
def test_what_cannot_log_in_is_a_mistake_of_the_user(login: Login) -> None:
    with pytest.raises(UsageError) as wrong:
        new(login)
    assert wrong.value.hint


@pytest.mark.parametrize(("code", "option"), [(403, "--password-env"), (530, "--database")])
def test_a_refusal_is_told_with_the_mend(code: int, option: str) -> None:
    session = greeted()
    session.feed(START)
    assert session.feed(close(code, "no \x1b[31m way")) == b""
    assert session.failure == rf"the server refused: {code} no \x1b[31m way"
    assert session.hint is not None
    assert option in session.hint


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (PROTOCOL.replace(b"\x09", b"\x08"), "another version"),
        (method(10, 20, b"\0\0\0\0"), "login step"),
        (TUNE, "during the opening"),
        (b"HTTP/1.1 400 Bad Request\r\n", "no AMQP frame"),
        (frame(1, b"\0\x0a"), "no AMQP frame"),
        (START[:-1] + b"\0", "no AMQP frame"),
        (pack("!BHI", 1, 0, LONGEST + 1), "no AMQP frame"),
        (START + method(10, 30, b"\0"), "no AMQP frame"),
        (close(0, "")[:-8] + b"\xce", "no AMQP frame"),
    ],
)
def test_what_is_not_amqp_is_a_failure(said: bytes, words: str) -> None:
    session = greeted()
    session.feed(said + bytes(200))
    assert phase(session) is Phase.FAILED
    assert session.failure is not None
    assert words in session.failure
    assert session.failure.isprintable()
    assert session.hint
    assert session.feed(START) == b""


def test_an_end_during_the_opening_is_a_failure() -> None:
    session = greeted()
    session.feed(START)
    session.ended()
    assert phase(session) is Phase.FAILED
    assert session.hint is not None
    assert "guest" in session.hint


def test_the_password_does_not_show() -> None:
    assert "pencil" not in repr(new()._script)


# -- requests --------------------------------------------------------------------------------------


def test_a_channel_is_opened_and_closed() -> None:
    session = ready()
    opened, closed = methods(session.request())
    assert opened == (1, 20, 10, b"\0")
    assert closed == (1, 20, 40, pack("!HBHH", 200, 0, 0, 0))
    feed(session, bytewise(CHANNEL[:-1]))
    assert state(session) == (Phase.OWED, 0, 1, True, None)
    session.feed(CHANNEL[-1:])
    assert state(session) == (Phase.READY, 1, 1, False, None)


def test_each_request_has_a_channel_of_its_own_as_far_as_they_go() -> None:
    session = greeted()
    session.feed(START + method(10, 30, pack("!HIH", 2, 4096, 0)) + OPEN_OK)
    assert [methods(session.request())[0][0] for _ in range(3)] == [1, 2, 1]
    session.feed(CHANNEL * 2)
    assert state(session) == (Phase.OWED, 2, 3, False, None)


def test_an_error_of_the_channel_is_an_answer() -> None:
    session = ready()
    session.request()
    session.feed(method(20, 40, pack("!HBHH", 504, 0, 20, 10), 1))
    assert state(session) == (Phase.READY, 1, 1, False, None)


def test_the_goodbye_is_owed_close_ok() -> None:
    session = ready()
    assert methods(session.goodbye()) == [(0, 10, 50, pack("!HBHH", 200, 0, 0, 0))]
    assert state(session) == (Phase.OWED, 0, 1, False, None)
    session.feed(HEARTBEAT + CLOSE_OK)
    assert state(session) == (Phase.READY, 1, 1, False, None)


def test_the_servers_goodbye_is_answered_and_remarked() -> None:
    session = ready()
    said = session.feed(close(320, "CONNECTION_FORCED"))
    assert methods(said) == [(0, 10, 51, b"")]
    expected = Remark(RemarkKind.CONNECTION_CLOSE, "connection.close 320 CONNECTION_FORCED")
    assert session.remarks == [expected]
    assert state(session) == (Phase.READY, 0, 0, False, None)


def test_heartbeats_mean_nothing() -> None:
    session = ready()
    assert session.feed(HEARTBEAT * 3) == b""
    assert state(session) == (Phase.READY, 0, 0, False, None)


MESSAGES = st.sampled_from(
    [START, TUNE, OPEN_OK, CHANNEL, CLOSE_OK, HEARTBEAT, close(320, "x"), b"AMQP\0\0\x09\x01"]
)


@given(st.lists(MESSAGES, max_size=8), st.integers(0, 3), st.data())
def test_how_the_bytes_are_cut_does_not_matter(
    messages: list[bytes], requests: int, data: st.DataObject
) -> None:
    stream = b"".join(messages)
    stream = stream[: data.draw(st.integers(0, len(stream)))]
    whole, cut = (ready(), ready()) if requests else (greeted(), greeted())
    for _ in range(requests):
        whole.request()
        cut.request()
    assert feed(whole, [stream]) == feed(cut, bytewise(stream))
    assert state(whole)[:4] == state(cut)[:4]


METHODS = st.builds(
    method,
    st.sampled_from([10, 20]),
    st.sampled_from([10, 11, 20, 30, 31, 40, 41, 50, 51]),
    st.binary(max_size=20),
    st.integers(0, 3),
)


@given(st.lists(st.binary(max_size=40) | METHODS | MESSAGES), st.sampled_from([greeted, ready]))
def test_nothing_a_server_says_raises(pieces: list[bytes], make: Callable[[], Amqp]) -> None:
    session = make()
    for piece in pieces:
        assert isinstance(session.feed(piece), bytes)
        session.request()
    session.ended()
    assert session.failure is None or session.failure.isprintable()
    assert all(remark.text.isprintable() for remark in session.remarks)
