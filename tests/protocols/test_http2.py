from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from struct import pack

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    Event,
    RequestReceived,
    SettingsAcknowledged,
    WindowUpdated,
)
from hypothesis import given
from hypothesis import strategies as st

from tlsprobe.errors import UsageError
from tlsprobe.model.trace import Remark, RemarkKind
from tlsprobe.protocols.conversation import MOST_REMARKS, Phase
from tlsprobe.protocols.http2 import FRAME_LIMIT, GOODBYE, MOST_GOAWAYS, Http2, Http2Settings, http2

SETTINGS, PING, GOAWAY = 4, 6, 7
OK = [(":status", "200"), ("server", "test")]


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    return len(payload).to_bytes(3) + pack("!BBI", kind, flags, stream) + payload


def goaway(last: int, error: int = 0) -> bytes:
    return frame(GOAWAY, pack("!II", last, error))


GREETING = frame(SETTINGS) + frame(SETTINGS, flags=1)


class Server:
    """The other end, by the same library: what it says, and what it was told."""

    def __init__(self) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self.h2.initiate_connection()
        self.events: list[Event] = []

    def hear(self, data: bytes) -> bytes:
        self.events += self.h2.receive_data(data)
        return self.h2.data_to_send()

    def respond(self, stream: int, body: bytes = b"") -> bytes:
        self.h2.send_headers(stream, OK, end_stream=not body)
        if body:
            self.h2.send_data(stream, body, end_stream=True)
        return self.h2.data_to_send()

    def heard(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


def new(settings: Http2Settings | None = None) -> Http2:
    return http2(settings or Http2Settings(), "example.org", 8443)()


def met(settings: Http2Settings | None = None) -> tuple[Http2, Server]:
    client, server = new(settings), Server()
    reply = client.feed(server.hear(client.secured()))
    server.hear(reply)
    assert phase(client) is Phase.READY
    return client, server


def ready(requests: int = 0) -> Http2:
    client = new()
    client.secured()
    client.feed(GREETING)
    for _ in range(requests):
        client.request()
    return client


def phase(client: Http2) -> Phase:
    # A call, so that mypy does not take the phase for what it was asserted to be before.
    return client.phase


def state(client: Http2) -> tuple[object, ...]:
    return client.phase, client.answered, client.owed, client.partial, client.failure


def feed(client: Http2, pieces: Iterable[bytes]) -> bytes:
    return b"".join(client.feed(piece) for piece in pieces)


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def test_offers_h2_and_begins_with_the_preface() -> None:
    client = new()
    assert client.alpn == ("h2",)
    assert client.open() == b""
    assert client.secured().startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00")
    assert phase(client) is Phase.GREETING


def test_ready_once_both_sides_have_settled() -> None:
    client = new()
    client.secured()
    assert client.feed(frame(SETTINGS)) == frame(SETTINGS, flags=1)
    assert phase(client) is Phase.GREETING
    assert client.feed(frame(SETTINGS, flags=1)) == b""
    assert phase(client) is Phase.READY


def test_a_server_that_speaks_first_is_answered_behind_the_preface() -> None:
    """In TLS 1.2 its SETTINGS may lie in the segment of its Finished."""
    client = new()
    assert client.feed(frame(SETTINGS)) == b""
    assert phase(client) is Phase.SECURE
    said = client.secured()
    assert said.startswith(b"PRI")
    assert said.endswith(frame(SETTINGS, flags=1))


def test_the_request_is_a_get() -> None:
    client, server = met(Http2Settings(path="/health?deep=1"))
    server.hear(client.request())
    (request,) = server.heard(RequestReceived)
    assert isinstance(request, RequestReceived)
    headers = dict(request.headers)
    assert (headers[b":method"], headers[b":scheme"]) == (b"GET", b"https")
    assert (headers[b":authority"], headers[b":path"]) == (b"example.org:8443", b"/health?deep=1")
    assert headers[b"user-agent"].startswith(b"tlsprobe/")
    assert server.heard(SettingsAcknowledged)


def test_a_response_is_whole_when_its_stream_ends() -> None:
    client, server = met()
    server.hear(client.request())
    response = server.respond(1, b"hello")
    feed(client, bytewise(response[:-1]))
    assert state(client) == (Phase.OWED, 0, 1, True, None)
    client.feed(response[-1:])
    assert state(client) == (Phase.READY, 1, 1, False, None)


def test_responses_may_come_in_any_order() -> None:
    client, server = met()
    for _ in range(3):
        server.hear(client.request())
    client.feed(server.respond(5) + server.respond(1, b"x"))
    assert state(client) == (Phase.OWED, 2, 3, False, None)
    client.feed(server.respond(3))
    assert state(client) == (Phase.READY, 3, 3, False, None)


def test_a_large_path_is_asked_for_where_the_profile_names_one() -> None:
    assert new().large() is None
    client, server = met(Http2Settings(large="/large"))
    asked = client.large()
    assert asked is not None
    server.hear(asked)
    (request,) = server.heard(RequestReceived)
    assert isinstance(request, RequestReceived)
    assert dict(request.headers)[b":path"] == b"/large"
    assert client.owed == 1


def test_received_data_is_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body of many windows arrives, since each is given back."""
    monkeypatch.setattr(sys.modules[Http2.__module__], "WINDOW", 100_000)
    client, server = met()
    server.hear(client.request())
    server.h2.send_headers(1, OK)
    left = 1_000_000
    while left:
        room = min(server.h2.local_flow_control_window(1), FRAME_LIMIT, left)
        assert room > 0, "the window closed for good"
        server.h2.send_data(1, bytes(room))
        left -= room
        server.hear(client.feed(server.h2.data_to_send()))
    server.h2.end_stream(1)
    client.feed(server.h2.data_to_send())
    assert state(client) == (Phase.READY, 1, 1, False, None)
    assert server.heard(WindowUpdated)


def test_ordinary_bodies_need_no_acknowledgement() -> None:
    client, server = met()
    server.hear(client.request())
    server.h2.send_headers(1, OK)
    for _ in range(1000):
        server.h2.send_data(1, bytes(FRAME_LIMIT))
    assert client.feed(server.h2.data_to_send()) == b""


def test_a_reset_stream_owes_nothing_more() -> None:
    client, server = met()
    server.hear(client.request())
    server.h2.send_headers(1, OK)
    server.h2.reset_stream(1, error_code=2)
    client.feed(server.h2.data_to_send())
    assert state(client) == (Phase.READY, 1, 1, False, None)
    assert client.remarks == [Remark(RemarkKind.STREAM_RESET, "stream 1 reset error=2")]


def test_pings_are_answered() -> None:
    assert ready().feed(frame(PING, b"12345678")) == frame(PING, b"12345678", flags=1)


def test_the_goodbye_is_a_goaway_that_owes_nothing() -> None:
    client, server = met()
    assert client.goodbye() == GOODBYE == goaway(0)
    server.hear(client.goodbye())
    (ended,) = server.heard(ConnectionTerminated)
    assert isinstance(ended, ConnectionTerminated)
    assert (ended.error_code, ended.last_stream_id) == (0, 0)
    assert state(client) == (Phase.READY, 0, 0, False, None)


def test_goaways_are_kept_and_responses_still_read_behind_them() -> None:
    """A graceful server announces itself, finishes its streams, and names the last."""
    client, server = met()
    server.hear(client.request())
    client.feed(goaway(2**31 - 1) + server.respond(1, b"hello") + goaway(1))
    client.goodbye()
    assert client.goaways == [(2**31 - 1, 0), (1, 0)]
    assert client.remarks == [
        Remark(RemarkKind.GOAWAY, "goaway last=2147483647 error=0", 2**31 - 1, 0),
        Remark(RemarkKind.GOAWAY, "goaway last=1 error=0", 1, 0),
    ]
    assert state(client) == (Phase.READY, 1, 1, False, None)


def test_after_our_goodbye_a_response_is_still_read() -> None:
    client, server = met()
    server.hear(client.request())
    client.goodbye()
    client.feed(server.respond(1, b"x"))
    assert state(client) == (Phase.READY, 1, 1, False, None)


def test_a_server_may_not_fill_our_memory_with_goaways() -> None:
    client = ready()
    client.feed(goaway(1) * 1000)
    assert len(client.goaways) == MOST_GOAWAYS
    assert len(client.remarks) == MOST_REMARKS


def test_no_further_request_is_a_failure_in_a_sentence() -> None:
    client = new()
    client.secured()
    client.feed(frame(SETTINGS, pack("!HI", 3, 0)) + frame(SETTINGS, flags=1))
    assert client.request() == b""
    assert phase(client) is Phase.FAILED
    assert client.failure is not None
    assert "no further request" in client.failure


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x15\x03\x03\x00\x02\x01\x00\x00\x00",
        b"220 mail.example ESMTP\x1b[31m\r\n",
        frame(SETTINGS, bytes(FRAME_LIMIT + 6)),
        frame(PING, b"12345678"),
    ],
)
def test_what_is_not_http2_is_a_failure_at_its_first_nine_bytes(said: bytes) -> None:
    client = new()
    client.secured()
    client.feed(said[:8])
    assert phase(client) is Phase.GREETING
    client.feed(said[8:9])
    assert phase(client) is Phase.FAILED
    assert client.failure is not None
    assert client.failure.isprintable()
    assert client.hint
    assert client.feed(GREETING) == b""


@pytest.mark.parametrize(
    "said",
    [
        frame(GOAWAY, b"short"),
        frame(GOAWAY, bytes(8), stream=1),
        frame(0, b"data", stream=7),
        frame(1, b"\xff" * 20, flags=4, stream=1),
        frame(SETTINGS, b"odd"),
        frame(8, bytes(4)),
    ],
)
def test_a_broken_rule_is_a_failure_in_a_sentence(said: bytes) -> None:
    client = ready(1)
    client.feed(said)
    assert phase(client) is Phase.FAILED
    assert client.failure is not None
    assert client.failure.isprintable()


def test_an_end_before_the_settings_is_a_failure() -> None:
    client = new()
    client.secured()
    client.feed(frame(SETTINGS) + goaway(0, 12))
    client.ended()
    assert client.failure is not None
    assert "goaway last=0 error=12" in client.failure
    later = ready(1)
    later.ended()
    assert state(later) == (Phase.OWED, 0, 1, False, None)


@pytest.mark.parametrize("settings", [Http2Settings(path="/a b"), Http2Settings(host="ü")])
def test_what_no_request_can_carry_is_a_mistake_of_the_user(settings: Http2Settings) -> None:
    with pytest.raises(UsageError) as error:
        http2(settings, "example.org", None)
    assert error.value.hint


def test_headers_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client, server = met()
    server.hear(client.request())
    client.feed(server.respond(1, b"x"))
    assert not caplog.records


RESPONSE = frame(1, b"\x88", flags=4, stream=1) + frame(0, b"hello", flags=1, stream=1)
SAID = [
    *(RESPONSE, frame(1, b"\x88", flags=5, stream=3), goaway(1), goaway(0, 2)),
    *(frame(PING, bytes(8)), frame(SETTINGS), frame(3, bytes(4), stream=5), frame(99, b"new")),
]


@given(st.lists(st.sampled_from(SAID), max_size=8), st.data())
def test_how_the_bytes_are_cut_does_not_matter(said: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(said)
    stream = stream[: data.draw(st.integers(0, len(stream)))]
    whole, cut = ready(3), ready(3)
    assert feed(whole, [stream]) == feed(cut, bytewise(stream))
    assert state(whole) == state(cut)
    assert (whole.goaways, whole.remarks) == (cut.goaways, cut.remarks)


def frames() -> st.SearchStrategy[bytes]:
    kinds, flags, streams = st.integers(0, 12), st.integers(0, 255), st.integers(0, 8)
    payloads = st.binary(max_size=40)
    return st.builds(
        lambda kind, payload, flags, stream: frame(kind, payload, flags=flags, stream=stream),
        *(kinds, payloads, flags, streams),
    )


@given(st.lists(st.binary(max_size=40) | frames() | st.sampled_from(SAID)), st.booleans())
def test_nothing_a_server_says_raises(pieces: list[bytes], settled: bool) -> None:
    client = ready(3) if settled else new()
    if not settled:
        client.secured()
    for piece in pieces:
        assert isinstance(client.feed(piece), bytes)
        client.request()
    client.ended()
    assert client.failure is None or client.failure.isprintable()
