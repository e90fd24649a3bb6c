from __future__ import annotations

from collections.abc import Iterable
from importlib import metadata

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsprobe.errors import UsageError
from tlsprobe.model.trace import RemarkKind
from tlsprobe.protocols.conversation import Phase
from tlsprobe.protocols.http1 import HEAD_LIMIT, UPLOAD, Http1, Http1Settings, http1

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nTrailer: x\r\n\r\n"
)
TO_THE_END = b"HTTP/1.1 200 OK\r\nServer: old\r\n\r\nhello"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n"
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
CLOSING = b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok"
HTTP10 = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"
WHOLE = [LENGTH, CHUNKED, EMPTY, NOT_FOUND, EARLY_HINTS + LENGTH, CLOSING, HTTP10]


def asked(requests: int = 1) -> Http1:
    conversation = http1(Http1Settings(), "example.org", None)()
    assert conversation.open() == b""
    assert phase(conversation) is Phase.SECURE
    assert conversation.secured() == b""
    assert phase(conversation) is Phase.READY
    for _ in range(requests):
        conversation.request()
    return conversation


def phase(conversation: Http1) -> Phase:
    # A call, so that mypy does not take the phase for what it was asserted to be before.
    return conversation.phase


def state(conversation: Http1) -> tuple[object, ...]:
    return (
        conversation.phase,
        conversation.answered,
        conversation.owed,
        conversation.partial,
        conversation.failure,
        conversation.closing,
    )


def feed(conversation: Http1, pieces: Iterable[bytes]) -> Http1:
    for piece in pieces:
        assert conversation.feed(piece) == b""
    return conversation


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def parsed(request: bytes) -> tuple[h11.Request, dict[bytes, bytes]]:
    server = h11.Connection(h11.SERVER)
    server.receive_data(request)
    head = server.next_event()
    assert isinstance(head, h11.Request)
    assert isinstance(server.next_event(), h11.EndOfMessage)
    assert server.next_event() in {h11.NEED_DATA, h11.PAUSED}
    return head, dict(head.headers)


def test_asks_for_the_path_and_keeps_the_connection() -> None:
    settings = Http1Settings(path="/health?deep=1")
    head, headers = parsed(http1(settings, "example.org", 8443)().request())
    assert head.target == b"/health?deep=1"
    assert head.method == b"GET"
    assert headers == {
        b"host": b"example.org:8443",
        b"user-agent": b"tlsprobe/" + metadata.version("tlsprobe").encode(),
        b"connection": b"keep-alive",
    }


def test_the_goodbye_is_a_request_that_is_owed_an_answer() -> None:
    conversation = asked(0)
    _, headers = parsed(conversation.goodbye())
    assert headers[b"connection"] == b"close"
    assert state(conversation)[:3] == (Phase.OWED, 0, 1)
    feed(conversation, [CLOSING])
    assert state(conversation)[:3] == (Phase.READY, 1, 1)
    assert conversation.closing


@pytest.mark.parametrize(
    ("host", "port", "field"),
    [
        ("example.org", None, b"example.org"),
        ("example.org", 443, b"example.org"),
        ("::1", 443, b"[::1]"),
        ("fe80::1%eth0", 8443, b"[fe80::1]:8443"),
    ],
)
def test_the_host_field_is_what_a_url_would_say(host: str, port: int | None, field: bytes) -> None:
    _, headers = parsed(http1(Http1Settings(), host, port)().request())
    assert headers[b"host"] == field


def test_a_profile_may_name_another_host() -> None:
    _, headers = parsed(http1(Http1Settings(host="a.example"), "10.0.0.1", 9443)().request())
    assert headers[b"host"] == b"a.example"


@pytest.mark.parametrize(
    "settings",
    [Http1Settings(path="/a b"), Http1Settings(path="/ü"), Http1Settings(host="a\r\nX: 1")],
)
def test_what_no_request_can_carry_is_a_mistake_of_the_user(settings: Http1Settings) -> None:
    with pytest.raises(UsageError) as error:
        http1(settings, "example.org", None)
    assert error.value.hint


@pytest.mark.parametrize("response", WHOLE)
def test_sees_where_a_response_ends(response: bytes) -> None:
    conversation = feed(asked(), bytewise(response[:-1]))
    assert state(conversation)[:4] == (Phase.OWED, 0, 1, True)
    feed(conversation, [response[-1:]])
    assert state(conversation)[:4] == (Phase.READY, 1, 1, False)


@pytest.mark.slow
@given(st.lists(st.sampled_from(WHOLE), min_size=1, max_size=5), st.data())
def test_how_the_bytes_are_cut_does_not_matter(responses: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(responses)
    stream = stream[: data.draw(st.integers(0, len(stream)))]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    whole = feed(asked(len(responses)), [stream])
    assert state(feed(asked(len(responses)), pieces)) == state(whole)
    assert state(feed(asked(len(responses)), bytewise(stream))) == state(whole)


heads = st.lists(
    st.sampled_from(
        [
            *(b"Server: nginx\r\n", b"Content-Length: 3\r\n", b"content-length:0\r\n"),
            *(b"Content-Length: 3, 3\r\n", b"Content-Length: x\r\n", b"X:\r\n", b"X: \xe9\r\n"),
            *(b"Connection: close\r\n", b"connection: a , CLOSE\r\n", b"X: 1\r\n folded\r\n"),
            *(b"Transfer-Encoding: chunked\r\n", b"Y: 1 \t\r\n", b"Y : 1\r\n", b"Z: 1\n"),
        ]
    ),
    max_size=4,
)


@pytest.mark.slow
@given(
    status=st.sampled_from(
        [
            *(b"1.1 200 OK", b"1.1 200", b"1.1 204 No", b"1.1 304 Not", b"1.1 500 \t"),
            *(b"1.0 200 OK", b"1.1 101 Up", b"1.1 103 Early", b"1.1 600 X", b"1.1 2000"),
            b"1.1 \xb2\xb2\xb2 x",
        ]
    ),
    fields=heads,
    body=st.sampled_from([b"", b"no\n", b"3\r\nabc\r\n0\r\n\r\n", b"no\n" + LENGTH]),
)
def test_a_head_is_read_alike_with_h11_and_without(
    status: bytes, fields: list[bytes], body: bytes
) -> None:
    """Byte by byte no head is ever whole at once, and h11 has all of it."""
    stream = b"HTTP/" + status + b"\r\n" + b"".join(fields) + b"\r\n" + body
    whole, asked_h11 = feed(asked(2), [stream]), feed(asked(2), bytewise(stream))
    assert state(whole)[:4] == state(asked_h11)[:4]
    assert whole.closing == asked_h11.closing
    assert whole.remarks == asked_h11.remarks
    assert (whole.failure is None) == (asked_h11.failure is None)


def test_requests_may_be_sent_ahead_of_the_answers() -> None:
    conversation = feed(asked(300), [LENGTH * 299])
    assert state(conversation)[:4] == (Phase.OWED, 299, 300, False)
    feed(conversation, [LENGTH])
    assert phase(conversation) is Phase.READY


def test_a_second_answer_after_connection_close_is_still_counted() -> None:
    conversation = feed(asked(), [CLOSING])
    assert conversation.closing
    conversation.request()
    feed(conversation, [LENGTH])
    assert conversation.answered == 2
    assert not conversation.closing


def test_the_end_completes_a_response_of_no_stated_length() -> None:
    conversation = feed(asked(), bytewise(TO_THE_END))
    assert state(conversation)[:4] == (Phase.OWED, 0, 1, True)
    conversation.ended()
    assert state(conversation)[:4] == (Phase.READY, 1, 1, False)
    conversation.ended()
    assert conversation.answered == 1


@pytest.mark.parametrize("response", [LENGTH, CHUNKED])
@pytest.mark.parametrize("missing", [1, 5, 40])
def test_the_end_cuts_another_response_short(response: bytes, missing: int) -> None:
    conversation = feed(asked(), [response[:-missing]])
    conversation.ended()
    assert state(conversation)[:5] == (Phase.OWED, 0, 1, True, None)


def test_no_answer_at_all_is_not_a_partial_one() -> None:
    conversation = asked()
    conversation.ended()
    assert state(conversation)[:5] == (Phase.OWED, 0, 1, False, None)


def test_bytes_that_nobody_asked_for_are_ignored() -> None:
    timeout = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    conversation = feed(asked(0), [timeout])
    assert state(conversation)[:5] == (Phase.READY, 0, 0, False, None)
    conversation.request()
    feed(conversation, [LENGTH + timeout])
    assert state(conversation) == (Phase.READY, 1, 1, False, None, False)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x15\x03\x03\x00\x02\x01\x00",
        b"SSH-2.0-OpenSSH_9.2\r\n\x1b[2J\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * HEAD_LIMIT,
    ],
)
def test_what_is_not_http_is_a_failure_in_a_sentence(garbage: bytes) -> None:
    conversation = feed(asked(), [garbage])
    assert phase(conversation) is Phase.FAILED
    assert conversation.failure is not None
    assert conversation.failure.isprintable()
    assert len(conversation.failure) < 300
    assert conversation.hint
    assert conversation.answered == 0
    conversation.feed(LENGTH)
    conversation.ended()
    assert conversation.answered == 0


@given(st.lists(st.binary(max_size=80) | st.sampled_from([*WHOLE, TO_THE_END])))
def test_nothing_a_server_says_raises(pieces: list[bytes]) -> None:
    conversation = feed(asked(3), pieces)
    conversation.ended()
    assert conversation.answered <= 3


def test_an_upload_is_made_once_for_all_connections_of_a_target_and_not_kept_for_each_target() -> (
    None
):
    makes = http1(Http1Settings(), "a.example", None)
    one, same = makes(), makes()
    assert one.upload() is same.upload()
    assert one.upload().endswith(bytes(UPLOAD))
    assert f"\r\nContent-Length: {UPLOAD}\r\n".encode() in one.upload()
    assert sum(len(words or b"") for words in one._messages) < HEAD_LIMIT


def test_a_large_body_is_not_held() -> None:
    conversation = feed(asked(), [b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n"])
    feed(conversation, [b"x" * 100_000] * 1000)
    assert state(conversation)[:4] == (Phase.READY, 1, 1, False)


@pytest.mark.parametrize(
    ("head", "kinds"),
    [
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", [RemarkKind.CLOSE_IMPLIED]),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", []),
        (b"HTTP/1.1 200 OK\r\n\r\n", [RemarkKind.CLOSE_IMPLIED]),
        (b"HTTP/1.1 204 No Content\r\n\r\n", []),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", []),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", []),
        (
            b"HTTP/1.1 501 No\r\nConnection: close\r\n\r\n",
            [RemarkKind.CLOSE_ANNOUNCED, RemarkKind.CLOSE_IMPLIED],
        ),
        (
            b"HTTP/1.0 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            [RemarkKind.CLOSE_ANNOUNCED],
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", []),
        (
            b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            [RemarkKind.TIMED_OUT, RemarkKind.CLOSE_ANNOUNCED],
        ),
        (
            b"HTTP/1.1 408 \r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            [RemarkKind.TIMED_OUT],
        ),
    ],
)
def test_a_response_may_end_the_connection_without_a_word(
    head: bytes, kinds: list[RemarkKind]
) -> None:
    assert [remark.kind for remark in feed(asked(), [head]).remarks] == kinds
