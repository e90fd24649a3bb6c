"""WebSocket inside TLS (RFC 6455): an upgrade of HTTP/1.1, pings as requests, Close as the goodbye.

A ping asks nothing of the application behind the server, and every endpoint has to answer it
(section 5.5.2). The closing handshake is a Close frame of each side (section 7.1.2), after which
the server ends the TCP connection; TLS's own alert comes between the two.

wsproto reads what the server sends. Our own frames are written one by one, by its encoder alone: a
state machine would refuse what tlsprobe is there to send, such as a ping behind a Close frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Annotated

import wsproto
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    Request,
)
from wsproto.frame_protocol import CloseReason, FrameProtocol
from wsproto.utilities import ProtocolError

from tlsprobe.keys import Key, a_text
from tlsprobe.model.profile import ProtocolSettings
from tlsprobe.model.trace import RemarkKind
from tlsprobe.protocols.conversation import Conversation, Phase, escaped
from tlsprobe.protocols.http1 import Http1Settings, authority, http1
from tlsprobe.protocols.protocol import Protocol

_NOT_UPGRADED = "set path under [protocol] in a copy of the profile to where WebSocket is spoken"


@dataclass(frozen=True, slots=True)
class WebSocketSettings(ProtocolSettings):
    """The ``[protocol]`` table."""

    path: Annotated[str, Key(a_text, "the request target of the upgrade")] = "/"
    host: Annotated[
        str | None, Key(a_text, "what the Host field says; default: the target's name")
    ] = None
    subprotocol: Annotated[str | None, Key(a_text, "the subprotocol to ask for; default: none")] = (
        None
    )


class WebSocket(Conversation):
    """One session."""

    alpn = ("http/1.1",)

    def __init__(self, upgrade: Request) -> None:
        super().__init__()
        self._upgrade = upgrade
        self._incoming = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        self._outgoing = FrameProtocol(client=True, extensions=[])
        self._said_close = False
        self._is_closed = False

    def secured(self) -> bytes:
        """The upgrade."""
        self.phase = Phase.GREETING
        return self._incoming.send(self._upgrade)

    def request(self) -> bytes:
        """A ping with its number; the pong has the same."""
        self.owe()
        return bytes(self._outgoing.ping(str(self.owed).encode()))

    def goodbye(self) -> bytes:
        """A Close frame, which is owed another one unless it answers the server's."""
        if not self._is_closed:
            self.owe()
        self._said_close = True
        return bytes(self._outgoing.close(CloseReason.NORMAL_CLOSURE))

    def ended(self) -> None:
        """An end before the upgrade is a failure."""
        if self.phase is Phase.GREETING:
            self.fail("the server closed instead of answering the upgrade", _NOT_UPGRADED)

    def feed(self, data: bytes) -> bytes:
        """Take frames; pings and the server's own Close are answered."""
        if self.phase is Phase.FAILED or self._is_closed:
            return b""
        try:
            self._incoming.receive_data(data)
            return b"".join(map(self._heard, self._incoming.events()))
        except ProtocolError as error:
            said = escaped(str(error))
            self.fail(f"the server does not speak WebSocket: {said}", _NOT_UPGRADED)
            return b""

    def _heard(self, event: Event) -> bytes:
        match event:
            case AcceptConnection():
                self.named(next((v for n, v in event.extra_headers if n == b"server"), b""))
                self.phase = Phase.READY
            case RejectConnection():
                failure = f"the server refused the upgrade with status {event.status_code}"
                self.fail(failure, _NOT_UPGRADED)
            case Ping():
                return bytes(self._outgoing.pong(event.payload))
            case Pong():
                self._answered_to(bytes(event.payload))
            case CloseConnection():
                return self._closed(event)
        return b""

    def _answered_to(self, number: bytes) -> None:
        """A pong answers its ping and all before it (section 5.5.3)."""
        latest = int(number) if number.isdigit() and len(number) < 10 else 0
        while self.answered < min(latest, self.owed):
            self.settle()

    def _closed(self, event: CloseConnection) -> bytes:
        """Answer the server's Close, unless it is an answer; nothing else of it matters then."""
        self._is_closed = True
        if self._said_close:
            while self.answered < self.owed:
                self.settle()
            return b""
        self.remark(RemarkKind.CLOSE_FRAME, f"close {int(event.code)} {event.reason or ''}".strip())
        self._said_close = True
        return bytes(self._outgoing.close(CloseReason.NORMAL_CLOSURE))


def websocket(settings: WebSocketSettings, host: str, port: int | None) -> Callable[[], WebSocket]:
    """Sessions with the server that a URL would call ``host`` and ``port``.

    Raises UsageError for a path or host that no request line or header field can hold.
    """
    where = settings.host or authority(host, port)
    http1(Http1Settings(settings.path, host=where), host, port)  # the same head, and its errors
    upgrade = Request(
        host=where,
        target=settings.path,
        subprotocols=[settings.subprotocol] if settings.subprotocol else [],
        extra_headers=[(b"User-Agent", f"tlsprobe/{metadata.version('tlsprobe')}".encode())],
    )
    return lambda: WebSocket(upgrade)


WEBSOCKET = Protocol(
    "websocket",
    "WebSocket over HTTP/1.1: a ping, and a Close frame as the goodbye",
    WebSocketSettings,
    lambda settings, peer: websocket(settings, peer.host, peer.port),
)
