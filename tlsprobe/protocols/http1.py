"""HTTP/1.1 inside TLS (RFC 9112): GET, and GET with ``Connection: close`` as the goodbye.

h11 is asked one thing only: where a response ends. Requests are the same bytes on every
connection, so they are written once, and each response gets a parser of its own that knows
"a GET was sent". A parser that lived as long as the connection would refuse what tlsprobe is there
to see, such as a second answer after ``Connection: close``, and could not be asked twice before
the first answer is in.

Nor is h11 asked where there is no question: most responses begin with a whole head, all of it in
ASCII, that gives the length of the body in one Content-Length. To make a parser for each of those
would cost more than everything else that is done with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from typing import Annotated, NamedTuple

import h11

from tlsprobe.errors import UsageError
from tlsprobe.keys import Key, a_text
from tlsprobe.model.profile import ProtocolSettings
from tlsprobe.model.trace import RemarkKind
from tlsprobe.protocols.conversation import Conversation, Phase, escaped
from tlsprobe.protocols.protocol import Protocol

HEAD_LIMIT = 64 * 1024
"""Longest response head, in bytes, before it is taken for something else than HTTP."""

# The framing of a response depends on the method of its request and on nothing else of it
# (RFC 9112 section 6.3), so one GET stands for all.
_A_GET = h11.Request(method="GET", target="/", headers=[("Host", "any")])
_NO_BODY = h11.EndOfMessage()

_PLAIN_HEAD = re.compile(
    rb"HTTP/1\.1 (?!204|304)([2-5][0-9][0-9])(?: [ -~]*)?\r\n"
    rb"(?:[-!#$%&'*+.^_`|~0-9A-Za-z]+:[ \t]*[!-~][ -~]*\r\n)*\r\n"
)
"""A whole response head about which there can be no two opinions: no folded lines, no 1xx, and no
status that goes without a body (RFC 9112 section 6.3)."""
_FRAMING = re.compile(
    rb"\r\n(content-length|transfer-encoding|connection):[ \t]*([^\r]*)", re.IGNORECASE
)
_MOST_DIGITS = 15
_TIMED_OUT = 408

_SERVER = re.compile(rb"\r\nserver:([^\r]*)\r", re.IGNORECASE)

UPLOAD = 4 * 1024 * 1024
"""Bytes of the body that an upload brings; nginx takes 1 MiB unless configured otherwise."""


@dataclass(frozen=True, slots=True)
class Http1Settings(ProtocolSettings):
    """The ``[protocol]`` table."""

    path: Annotated[str, Key(a_text, "the request target")] = "/"
    large: Annotated[str | None, Key(a_text, "a target whose response has 1 MiB or more")] = None
    guarded: Annotated[
        str | None,
        Key(a_text, "a target for which the server asks for a certificate, after the handshake"),
    ] = None
    host: Annotated[
        str | None, Key(a_text, "what the Host field says; default: the target's name")
    ] = None


class Messages(NamedTuple):
    """The requests that a connection can be asked to make, ready for the wire.

    Of an upload it is the head alone: many targets are probed at once, and bodies are large.
    """

    request: bytes
    last_request: bytes
    large: bytes | None
    upload_head: bytes
    guarded: bytes | None


@lru_cache(maxsize=1)
def _with_body(head: bytes) -> bytes:
    """An upload; that of the last target is kept, since its connections all send it."""
    return head + bytes(UPLOAD)


class Http1(Conversation):
    """One connection's requests; bodies are thrown away as they arrive.

    ``closing`` says whether the newest response carried ``Connection: close`` (RFC 9112
    section 9.6). An interim response (1xx) counts as a response begun.
    """

    alpn = ("http/1.1",)

    def __init__(self, messages: Messages) -> None:
        super().__init__()
        self.closing = False
        self._messages = messages
        self._response: h11.Connection | None = None
        self._left = 0

    def secured(self) -> bytes:
        """The client speaks first: READY at once."""
        self.phase = Phase.READY
        return b""

    def feed(self, data: bytes) -> bytes:
        """Read the responses owed. Bytes that answer nothing are ignored (section 9.2)."""
        try:
            while data and self.phase is Phase.OWED:
                data = self._read(data)
        except h11.RemoteProtocolError as error:
            self.fail(
                f"the server's answer is not HTTP/1.1: {escaped(str(error))}",
                "--profile names the protocol that the server speaks",
            )
        return b""

    def request(self) -> bytes:
        """A GET that leaves the connection open."""
        self.owe()
        return self._messages.request

    def goodbye(self) -> bytes:
        """The same GET with ``Connection: close``: it is owed a response like any other."""
        self.owe()
        return self._messages.last_request

    def large(self) -> bytes | None:
        """A GET for the profile's large path."""
        return self._ask(self._messages.large)

    def guarded(self) -> bytes | None:
        """A GET for the profile's guarded path."""
        return self._ask(self._messages.guarded)

    def _ask(self, request: bytes | None) -> bytes | None:
        if request is not None:
            self.owe()
        return request

    def upload(self) -> bytes:
        """A POST with a body beyond what servers take where nothing expects one."""
        self.owe()
        return _with_body(self._messages.upload_head)

    def ended(self) -> None:
        """Complete a response that is delimited by the end; another one stays cut short."""
        if self._response is not None and self.phase is Phase.OWED:
            # A body whose own length promised more is no failure of ours to read it: ``partial``
            # stays, and the judge makes of it what it means.
            with suppress(h11.RemoteProtocolError):
                self._parse(b"")

    def _read(self, data: bytes) -> bytes:
        """Go on with the current response; return what follows it."""
        if self._response is None and not self._left:
            plain = _plain_head(data)
            if plain is not None:
                self._heed_status(plain.status)
                self._heed(plain.says_close)
                if not self.server_says and (found := _SERVER.search(data, 0, plain.size)):
                    self.named(found[1])
                self._left = plain.body
                return self._skip(data[plain.size :])
        return self._skip(data) if self._left else self._parse(data)

    def _heed_status(self, status: int) -> None:
        """A 408 answers no request: none came in time (RFC 9110 section 15.5.9)."""
        if status == _TIMED_OUT:
            self.remark(RemarkKind.TIMED_OUT, "408, which answers no request")

    def _heed(self, says_close: bool) -> None:
        self.closing = says_close
        if says_close:
            self.remark(RemarkKind.CLOSE_ANNOUNCED, "connection: close")

    def _heed_framing(self, head: h11.Response) -> None:
        """What its version and framing say of the connection (RFC 9112 sections 6.3 and 9.3)."""
        fields = {name for name, _ in head.headers}
        keeps = _has_option(head.headers, b"keep-alive")
        if _has_body(head) and fields.isdisjoint({b"content-length", b"transfer-encoding"}):
            self.remark(RemarkKind.CLOSE_IMPLIED, "a body that ends with the connection")
        elif head.http_version < b"1.1" and not keeps and not self.closing:
            self.remark(RemarkKind.CLOSE_IMPLIED, "HTTP/1.0 without keep-alive")

    def _skip(self, data: bytes) -> bytes:
        """Go on with a body of known length; return what follows it."""
        self.partial = True
        rest = data[self._left :]
        self._left -= len(data) - len(rest)
        if not self._left:
            self.settle()
        return rest

    def _parse(self, data: bytes) -> bytes:
        """Have h11 go on with the current response. No bytes mean the end."""
        response = self._response = self._response or _response_to_get()
        self.partial = True
        response.receive_data(data)
        while True:
            match response.next_event():
                case h11.Response() as head:
                    self._heed_status(head.status_code)
                    self._heed(_says_close(head.headers))
                    self._heed_framing(head)
                    self.named(next((v for n, v in head.headers if n == b"server"), b""))
                case h11.EndOfMessage():
                    self.settle()
                    self._response = None
                    return response.trailing_data[0]
                case h11.Data() | h11.InformationalResponse():
                    continue
                case _:
                    return b""


def _response_to_get() -> h11.Connection:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_LIMIT)
    connection.send(_A_GET)
    connection.send(_NO_BODY)
    return connection


class _PlainHead(NamedTuple):
    """A response head that was read without h11: its own bytes, and those of the body to come."""

    size: int
    body: int
    says_close: bool
    status: int


def _plain_head(data: bytes) -> _PlainHead | None:
    """The head at the beginning of these bytes, if it is whole and gives the body's length."""
    found = _PLAIN_HEAD.match(data)
    if found is None:
        return None
    fields = [(name.lower(), value) for name, value in _FRAMING.findall(found[0])]
    lengths = [value.rstrip() for name, value in fields if name != b"connection"]
    if len(lengths) != 1 or not lengths[0].isdigit() or len(lengths[0]) > _MOST_DIGITS:
        return None  # no length, several, or a transfer coding
    return _PlainHead(found.end(), int(lengths[0]), _says_close(fields), int(found[1]))


def _has_body(head: h11.Response) -> bool:
    return head.status_code not in {204, 304}


def _says_close(fields: Iterable[tuple[bytes, bytes]]) -> bool:
    return _has_option(fields, b"close")


def _has_option(fields: Iterable[tuple[bytes, bytes]], wanted: bytes) -> bool:
    return any(
        option.strip() == wanted
        for name, value in fields
        if name == b"connection"
        for option in value.lower().split(b",")
    )


def http1(settings: Http1Settings, host: str, port: int | None) -> Callable[[], Http1]:
    """Conversations with the server that a URL would call ``host`` and ``port``.

    Raises UsageError for a path or host that no request line or header field can hold.
    """
    where = settings.host or authority(host, port)
    messages = Messages(
        _head("GET", settings.path, where, ("Connection", "keep-alive")),
        _head("GET", settings.path, where, ("Connection", "close")),
        _head("GET", settings.large, where) if settings.large else None,
        _head("POST", settings.path, where, ("Content-Length", str(UPLOAD))),
        _head("GET", settings.guarded, where) if settings.guarded else None,
    )
    return lambda: Http1(messages)


def authority(host: str, port: int | None) -> str:
    """Host and port as a URL of the scheme ``https`` has them (RFC 3986 section 3.2)."""
    # The zone of a link-local address means something on this machine only (RFC 6874).
    name = f"[{host.partition('%')[0]}]" if ":" in host else host
    return name if port in {None, 443} else f"{name}:{port}"


def _head(method: str, path: str, where: str, *further: tuple[str, str]) -> bytes:
    headers = [
        ("Host", where),
        ("User-Agent", f"tlsprobe/{metadata.version('tlsprobe')}"),
        *further,
    ]
    try:
        request = h11.Request(method=method, target=path, headers=headers)
    except (h11.LocalProtocolError, ValueError) as error:
        raise UsageError(
            f"no HTTP request can ask {escaped(where)} for {escaped(path)}: {error}",
            "write the path as a URL has it: ASCII, no spaces, percent signs for the rest",
        ) from None
    return h11.Connection(h11.CLIENT).send(request) or b""


HTTP1 = Protocol(
    "http1",
    "HTTP/1.1: GET, and GET with Connection: close as the goodbye",
    Http1Settings,
    lambda settings, peer: http1(settings, peer.host, peer.port),
)
