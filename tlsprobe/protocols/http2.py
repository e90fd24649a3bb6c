"""HTTP/2 inside TLS (RFC 9113): GET on a stream of its own, and GOAWAY as the goodbye.

h2 speaks the protocol while the connection lives. Frames are cut here first, for the sake of one
of them: h2 takes a GOAWAY, sent or received, for the end of everything, whereas a server may
finish its streams, and announce itself twice, before it closes (section 6.8). That is what
tlsprobe is there to see, so GOAWAY never reaches h2, and ours is written by hand.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from struct import pack
from typing import Annotated

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    Event,
    InformationalResponseReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    SettingsAcknowledged,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings

from tlsprobe.errors import UsageError
from tlsprobe.keys import Key, a_text
from tlsprobe.model.profile import ProtocolSettings
from tlsprobe.model.trace import RemarkKind
from tlsprobe.protocols.conversation import Conversation, Phase, escaped
from tlsprobe.protocols.http1 import authority
from tlsprobe.protocols.protocol import Protocol

# hpack logs every header at level DEBUG, which costs time and would put a login into a log.
logging.getLogger("hpack").setLevel(logging.WARNING)

FRAME_LIMIT = 16_384
"""Longest frame payload in bytes: SETTINGS_MAX_FRAME_SIZE as everybody begins (section 4.2)."""

WINDOW = 2**30
"""Bytes that the server may send before it needs a WINDOW_UPDATE, for a stream and in all.

So much that ordinary responses arrive without one: a WINDOW_UPDATE of ours that the server leaves
unread would turn its close into a reset, and after our close_notify we can send none.
"""

MOST_GOAWAYS = 32
"""How many GOAWAY frames are kept."""

GOODBYE = pack("!HBBBIII", 0, 8, 7, 0, 0, 0, 0)
"""GOAWAY with NO_ERROR. Its last stream id speaks of streams that the *server* opened: none."""

Headers = tuple[tuple[str, str], ...]

_HEADER = 9
_FIRST_WINDOW = 65_535
_SETTINGS, _GOAWAY = 4, 7
_STREAM_ID = 2**31 - 1
_NO_SPACES = re.compile(r"[!-~]+")

_NOT_HTTP2 = "does this port speak HTTP/2? Try --profile https, or another that names the protocol"


@dataclass(frozen=True, slots=True)
class Http2Settings(ProtocolSettings):
    """The ``[protocol]`` table: the same keys as for HTTP/1.1."""

    path: Annotated[str, Key(a_text, "the path that is asked for")] = "/"
    large: Annotated[str | None, Key(a_text, "a path whose response has 1 MiB or more")] = None
    host: Annotated[str | None, Key(a_text, "what :authority says; default: the target's name")] = (
        None
    )


class Http2(Conversation):
    """One connection's requests; bodies are thrown away as they arrive.

    ``goaways`` are the server's GOAWAY frames as ``(last stream id, error code)``, in order. A
    response is whole when its stream ends, be it by RST_STREAM: nothing more is owed then.
    """

    alpn = ("h2",)

    def __init__(self, request: Headers, large: Headers | None) -> None:
        super().__init__()
        self.goaways: list[tuple[int, int]] = []
        self._request = request
        self._large = large
        self._h2 = _client()
        self._buffer = bytearray()
        self._settings_seen = False
        self._settings_taken = False
        self._open: set[int] = set()
        self._begun: set[int] = set()

    def secured(self) -> bytes:
        """The connection preface: magic, SETTINGS, and a WINDOW_UPDATE for the whole."""
        self.phase = Phase.GREETING
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(WINDOW - _FIRST_WINDOW)
        return self._h2.data_to_send() + self.feed(b"")

    def feed(self, data: bytes) -> bytes:
        """Take frames; in return go acknowledgements, of SETTINGS, PING and received data."""
        if self.phase is Phase.FAILED:
            return b""
        self._buffer += data
        if self.phase is Phase.SECURE:
            # A server may send its SETTINGS right behind its Finished; our preface comes first.
            return b""
        reply = b""
        while (frame := self._next_frame()) is not None:
            reply += self._heard(frame)
        self.partial = self.phase is Phase.OWED and bool(self._begun or self._buffer)
        return reply

    def request(self) -> bytes:
        """A GET on a new stream."""
        return self._ask(self._request)

    def large(self) -> bytes | None:
        """A GET for the profile's large path."""
        return None if self._large is None else self._ask(self._large)

    def goodbye(self) -> bytes:
        """GOAWAY; nothing is owed in return. The server may finish its streams and go."""
        return GOODBYE

    def ended(self) -> None:
        """An end before both sides have settled is a failure."""
        if self.phase is Phase.GREETING:
            words = f" with {self.remarks[-1].text}" if self.goaways else ""
            self.fail(f"the server closed before the SETTINGS were exchanged{words}", _NOT_HTTP2)

    def _ask(self, headers: Headers) -> bytes:
        self.owe()
        try:
            stream = self._h2.get_next_available_stream_id()
            self._h2.send_headers(stream, headers, end_stream=True)
        except H2Error as error:
            self.fail(f"the server allows no further request: {escaped(str(error))}")
            return b""
        self._open.add(stream)
        return self._h2.data_to_send()

    # -- frames ------------------------------------------------------------------------------------

    def _next_frame(self) -> bytes | None:
        if self.phase is Phase.FAILED or len(self._buffer) < _HEADER:
            return None
        length, kind = int.from_bytes(self._buffer[:3]), self._buffer[3]
        if length > FRAME_LIMIT or (kind != _SETTINGS and not self._settings_seen):
            self.fail(f"the server sent {escaped(self._buffer)}, not HTTP/2", _NOT_HTTP2)
            return None
        if len(self._buffer) < _HEADER + length:
            return None
        frame = bytes(self._buffer[: _HEADER + length])
        del self._buffer[: _HEADER + length]
        return frame

    def _heard(self, frame: bytes) -> bytes:
        self._settings_seen = True
        if frame[3] == _GOAWAY:
            self._goaway(frame)
            return b""
        try:
            for event in self._h2.receive_data(frame):
                self._happened(event)
        except H2Error as error:
            # h2 has a GOAWAY of its own ready; how we end is the sequence's to say.
            words = escaped(str(error) or type(error).__name__)
            self.fail(f"the server broke the rules of HTTP/2: {words}")
            return b""
        return self._h2.data_to_send()

    def _goaway(self, frame: bytes) -> None:
        stream = int.from_bytes(frame[5:_HEADER]) & _STREAM_ID
        payload = frame[_HEADER:]
        if stream or len(payload) < 8:
            self.fail(f"the server sent a malformed GOAWAY: {escaped(frame)}")
            return
        last, error = int.from_bytes(payload[:4]) & _STREAM_ID, int.from_bytes(payload[4:8])
        if len(self.goaways) < MOST_GOAWAYS:
            self.goaways.append((last, error))
        self.remark(RemarkKind.GOAWAY, f"goaway last={last} error={error}", last, error)

    def _happened(self, event: Event) -> None:
        match event:
            case RemoteSettingsChanged():
                self._greeted()
            case SettingsAcknowledged():
                self._settings_taken = True
                self._greeted()
            case ResponseReceived() | InformationalResponseReceived():
                self._begin(event.stream_id)
                self.named(next((v for n, v in event.headers or () if n == b"server"), b""))
            case DataReceived():
                self._begin(event.stream_id)
                self._h2.acknowledge_received_data(
                    event.flow_controlled_length, event.stream_id or 0
                )
            case StreamEnded():
                self._settled(event.stream_id)
            case StreamReset():
                said = f"stream {event.stream_id} reset error={int(event.error_code or 0)}"
                self.remark(RemarkKind.STREAM_RESET, said)
                self._settled(event.stream_id)
            case _:
                pass

    def _greeted(self) -> None:
        # Both: a late acknowledgement of ours would otherwise look like an answer to a request.
        if self.phase is Phase.GREETING and self._settings_taken:
            self.phase = Phase.READY

    def _begin(self, stream: int | None) -> None:
        if stream in self._open:
            self._begun.add(stream)

    def _settled(self, stream: int | None) -> None:
        if stream in self._open:
            self._open.discard(stream)
            self._begun.discard(stream)
            self.settle()


def http2(settings: Http2Settings, host: str, port: int | None) -> Callable[[], Http2]:
    """Connections to the server that a URL would call ``host`` and ``port``.

    Raises UsageError for a path or host that no request can carry.
    """
    where = settings.host or authority(host, port)
    request = _get(settings.path, where)
    large = _get(settings.large, where) if settings.large else None
    return lambda: Http2(request, large)


def _get(path: str, where: str) -> Headers:
    if not _NO_SPACES.fullmatch(where) or not _NO_SPACES.fullmatch(path):
        raise UsageError(
            f"no HTTP request can ask {escaped(where)} for {escaped(path)}",
            "write the path as a URL has it: ASCII, no spaces, percent signs for the rest",
        )
    return (
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", where),
        (":path", path),
        ("user-agent", f"tlsprobe/{metadata.version('tlsprobe')}"),
    )


def _client() -> H2Connection:
    # Field names and values of responses are none of our business: only where they end.
    config = H2Configuration(
        client_side=True,
        header_encoding=None,
        validate_inbound_headers=False,
        normalize_inbound_headers=False,
    )
    connection = H2Connection(config)
    connection.local_settings = Settings(
        client=True,
        initial_values={
            SettingCodes.ENABLE_PUSH: 0,
            SettingCodes.INITIAL_WINDOW_SIZE: WINDOW,
            SettingCodes.MAX_FRAME_SIZE: FRAME_LIMIT,
            SettingCodes.MAX_HEADER_LIST_SIZE: 2**16,
        },
    )
    return connection


HTTP2 = Protocol(
    "http2",
    "HTTP/2: GET on a stream of its own, and GOAWAY as the goodbye",
    Http2Settings,
    lambda settings, peer: http2(settings, peer.host, peer.port),
)
