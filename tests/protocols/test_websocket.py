from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Ping, RejectConnection, Request

from tlsprobe.errors import UsageError
from tlsprobe.model.trace import Remark, RemarkKind
from tlsprobe.protocols.conversation import Phase
from tlsprobe.protocols.websocket import WebSocket, WebSocketSettings, websocket


def new(settings: WebSocketSettings | None = None) -> WebSocket:
    return websocket(settings or WebSocketSettings(), "chat.example", 8443)()


def phase(session: WebSocket) -> Phase:
    # A call, so that mypy does not take the phase for what it was asserted to be before.
    return session.phase


def begun(session: WebSocket) -> tuple[WSConnection, Request]:
    """A server that has read the upgrade."""
    server = WSConnection(ConnectionType.SERVER)
    server.receive_data(session.secured())
    (request,) = server.events()
    assert isinstance(request, Request)
    assert phase(session) is Phase.GREETING
    return server, request


def ready() -> tuple[WebSocket, WSConnection]:
    session = new()
    server, _ = begun(session)
    accepted = AcceptConnection(extra_headers=[(b"Server", b"tester")])
    assert session.feed(server.send(accepted)) == b""
    assert phase(session) is Phase.READY
    assert session.server_says == "tester"
    return session, server


def heard(server: WSConnection, data: bytes) -> list[object]:
    server.receive_data(data)
    return list(server.events())


def test_the_upgrade_names_host_and_path() -> None:
    session = new(WebSocketSettings(path="/live?x=1", subprotocol="chat"))
    _, request = begun(session)
    assert (request.host, request.target) == ("chat.example:8443", "/live?x=1")
    assert request.subprotocols == ["chat"]


def test_a_ping_is_owed_its_pong_and_a_pong_answers_all_before_it() -> None:
    session, server = ready()
    (first,) = heard(server, session.request())
    (second,) = heard(server, session.request())
    assert isinstance(first, Ping)
    assert isinstance(second, Ping)
    assert (session.owed, session.answered) == (2, 0)
    session.feed(server.send(second.response()))
    assert (session.owed, session.answered, phase(session)) == (2, 2, Phase.READY)


def test_a_ping_of_the_servers_is_answered() -> None:
    session, server = ready()
    reply = session.feed(server.send(Ping(payload=b"there?")))
    (pong,) = heard(server, reply)
    assert getattr(pong, "payload", b"") == b"there?"
    assert session.owed == 0


def test_a_close_frame_is_owed_one_in_return() -> None:
    session, server = ready()
    (close,) = heard(server, session.goodbye())
    assert isinstance(close, CloseConnection)
    assert (close.code, session.owed, session.answered) == (1000, 1, 0)
    assert session.feed(server.send(close.response())) == b""
    assert (session.answered, session.remarks) == (1, [])


def test_the_servers_own_close_frame_is_told_and_answered_once() -> None:
    session, server = ready()
    reply = session.feed(server.send(CloseConnection(code=1001, reason="going away")))
    (close,) = heard(server, reply)
    assert isinstance(close, CloseConnection)
    assert session.remarks == [Remark(RemarkKind.CLOSE_FRAME, "close 1001 going away")]
    session.goodbye()
    assert session.owed == 0
    assert session.feed(b"whatever follows") == b""


def test_what_a_state_machine_would_refuse_can_be_sent() -> None:
    session, _ = ready()
    frames = [session.goodbye(), session.request(), session.goodbye()]
    assert [frame[0] for frame in frames] == [0x88, 0x89, 0x88]


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            "refused the upgrade with status 404",
        ),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "does not speak WebSocket"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "does not speak WebSocket"),
    ],
)
def test_what_is_no_upgrade_is_said(answer: bytes, failure: str) -> None:
    session = new()
    begun(session)
    session.feed(answer)
    assert phase(session) is Phase.FAILED
    assert failure in str(session.failure)
    assert "path" in str(session.hint)


def test_a_refusal_by_the_servers_library_is_said() -> None:
    session = new()
    server, _ = begun(session)
    session.feed(server.send(RejectConnection(status_code=403)))
    assert "status 403" in str(session.failure)


def test_an_end_in_place_of_the_upgrade_is_said() -> None:
    session = new()
    begun(session)
    session.ended()
    assert "instead of answering the upgrade" in str(session.failure)


@pytest.mark.slow
@given(st.lists(st.integers(1, 60), max_size=12))
def test_it_does_not_matter_how_the_bytes_are_cut(cuts: list[int]) -> None:
    session = new()
    server, _ = begun(session)
    stream = server.send(AcceptConnection())
    (ping,) = heard(server, session.request())
    assert isinstance(ping, Ping)
    stream += server.send(ping.response()) + server.send(CloseConnection(code=1000))
    for size in (*cuts, len(stream)):
        session.feed(stream[:size])
        stream = stream[size:]
    assert (session.answered, len(session.remarks), session.failure) == (1, 1, None)


@given(st.binary(max_size=300))
def test_no_server_breaks_it(data: bytes) -> None:
    session, _ = ready()
    session.feed(data)
    session.ended()


@pytest.mark.parametrize("path", ["/a b", "/\u00e4", "/\r\nx"])
def test_a_path_that_no_request_can_hold_is_refused(path: str) -> None:
    with pytest.raises(UsageError):
        websocket(WebSocketSettings(path=path), "chat.example", 443)
