"""AMQP 0-9-1 (its specification, and RabbitMQ's notes on it), logging in with PLAIN.

A channel opened and closed is the request, since a heartbeat is answered by nobody;
Connection.Close is the goodbye, and Close-Ok its answer. No heartbeats are sent, so that the idle
sequences meet the server's own timer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from struct import pack
from typing import Annotated

from tlsprobe.errors import UsageError
from tlsprobe.keys import Key, a_short
from tlsprobe.model.profile import ProtocolSettings
from tlsprobe.model.target import Login
from tlsprobe.model.trace import RemarkKind
from tlsprobe.protocols.conversation import Conversation, Phase, escaped
from tlsprobe.protocols.protocol import Protocol
from tlsprobe.spelling import as_given

PROTOCOL = b"AMQP\x00\x00\x09\x01"
"""The protocol header, the client's first words; a server of other versions answers its own."""

LONGEST = 128 * 1024
"""The longest frame payload in bytes, ours to propose and RabbitMQ's default."""

_METHOD, _HEARTBEAT = 1, 8
_FRAME_END = 0xCE
_HEADER = 7

Method = tuple[int, int]
START, START_OK = (10, 10), (10, 11)
TUNE, TUNE_OK = (10, 30), (10, 31)
OPEN, OPEN_OK = (10, 40), (10, 41)
CLOSE, CLOSE_OK = (10, 50), (10, 51)
SECURE = (10, 20)
CHANNEL_OPEN, CHANNEL_OPEN_OK = (20, 10), (20, 11)
CHANNEL_CLOSE, CHANNEL_CLOSE_OK = (20, 40), (20, 41)

_NAMES = (b"product", b"version")
_NOT_AMQP = "is an AMQP 0-9-1 broker listening there? --profile names the protocol"
_LOGIN = (
    "name a user with --user and the variable that holds the password with --password-env; "
    "RabbitMQ takes guest from its own machine only"
)
_HINTS = {
    403: _LOGIN,
    530: "name a virtual host that exists, and that this user may enter, with --database",
    320: "an operator closed the connection: try again",
}


@dataclass(frozen=True, slots=True)
class AmqpSettings(ProtocolSettings):
    """The ``[protocol]`` table.

    No heartbeats are sent, so that the server ends an idle connection when it has missed them.
    """

    heartbeat: Annotated[
        int | None,
        Key(a_short, "the heartbeat to agree on, in seconds; 0 for none; default: the server's"),
    ] = None


@dataclass(frozen=True, slots=True)
class Script:
    """Everything that is the same on each connection. ``heartbeat`` None: what is proposed."""

    login: bytes = field(repr=False)
    vhost: bytes
    heartbeat: int | None


class Amqp(Conversation):
    """One connection. An error of a channel is an answer; one of the connection ends it."""

    def __init__(self, script: Script) -> None:
        super().__init__()
        self._script = script
        self._buffer = bytearray()
        self._channels = 2047
        self._channel = 0
        self._begun = False
        self._next_in_greeting = START

    def secured(self) -> bytes:
        """The protocol header."""
        self.phase = Phase.GREETING
        return PROTOCOL

    def request(self) -> bytes:
        """Open a channel and close it; answered by Open-Ok and Close-Ok."""
        self.owe()
        self._channel = self._channel % self._channels + 1
        nothing = pack("!HBHH", 200, 0, 0, 0)
        return _method(self._channel, CHANNEL_OPEN, b"\0") + _method(
            self._channel, CHANNEL_CLOSE, nothing
        )

    def goodbye(self) -> bytes:
        """Connection.Close, which is owed a Close-Ok."""
        self.owe()
        return _method(0, CLOSE, pack("!HBHH", 200, 0, 0, 0))

    def ended(self) -> None:
        """An end during the opening exchange is a failure."""
        if self.phase is Phase.GREETING:
            # Servers that cannot tell "access refused" just close.
            self.fail("the server closed during the opening of the connection", _LOGIN)

    def feed(self, data: bytes) -> bytes:
        """Take frames; return the next step of the opening, or what a Close is owed."""
        if self.phase is Phase.FAILED:
            return b""
        self._buffer += data
        reply = b""
        while (method := self._next_method()) is not None:
            reply += self._heard(*method)
        self.partial = self.phase is Phase.OWED and (self._begun or bool(self._buffer))
        return reply

    # -- frames ------------------------------------------------------------------------------------

    def _next_method(self) -> tuple[Method, bytes] | None:
        """The next method with its arguments; other frames carry nothing of interest."""
        while self.phase is not Phase.FAILED:
            if len(self._buffer) < _HEADER:
                return None
            kind, size = self._buffer[0], int.from_bytes(self._buffer[3:_HEADER])
            end = _HEADER + size
            if self._buffer.startswith(b"AMQP"):
                words = escaped(self._buffer[4:8])
                self.fail(f"the server speaks another version of AMQP: {words}", _NOT_AMQP)
            elif not _METHOD <= kind <= _HEARTBEAT or size > LONGEST:
                self._no_frame(self._buffer)
            elif len(self._buffer) <= end:
                return None
            else:
                frame = bytes(self._buffer[: end + 1])
                del self._buffer[: end + 1]
                if frame[end] != _FRAME_END or (kind == _METHOD and size < 4):
                    self._no_frame(frame)
                elif kind == _METHOD:
                    method = int.from_bytes(frame[7:9]), int.from_bytes(frame[9:11])
                    return method, frame[11:end]
        return None

    def _no_frame(self, data: bytes | bytearray) -> None:
        self.fail(f"the server sent {escaped(data)}, no AMQP frame", _NOT_AMQP)

    def _heard(self, method: Method, arguments: bytes) -> bytes:
        if method == CLOSE:
            return self._closed(arguments)
        if self.phase is Phase.GREETING:
            return self._opening(method, arguments)
        if self.phase is Phase.OWED and method in {CHANNEL_CLOSE_OK, CLOSE_OK, CHANNEL_CLOSE}:
            self._begun = False
            self.settle()
        elif self.phase is Phase.OWED and method == CHANNEL_OPEN_OK:
            self._begun = True
        return b""

    def _closed(self, arguments: bytes) -> bytes:
        """The server's own goodbye: a failure during the opening, later something to answer."""
        code = int.from_bytes(arguments[:2])
        said = f"{code} {escaped(arguments[3 : 3 + arguments[2]])}" if len(arguments) > 2 else "?"
        if self.phase is Phase.GREETING:
            self.fail(f"the server refused: {said}", _HINTS.get(code))
            return b""
        self.remark(RemarkKind.CONNECTION_CLOSE, f"connection.close {said}")
        return _method(0, CLOSE_OK)

    # -- the opening exchange ----------------------------------------------------------------------

    def _opening(self, method: Method, arguments: bytes) -> bytes:
        if method != self._next_in_greeting:
            asked = "a further login step" if method == SECURE else f"method {method}"
            self.fail(f"the server sent {asked} during the opening of the connection", _NOT_AMQP)
        elif method == START:
            self.named(_product(arguments))
            self._next_in_greeting = TUNE
            return _method(0, START_OK, self._script.login)
        elif method == TUNE:
            self._next_in_greeting = OPEN_OK
            return self._tuned(arguments)
        else:
            self.phase = Phase.READY
        return b""

    def _tuned(self, arguments: bytes) -> bytes:
        if len(arguments) < 8:
            self._no_frame(arguments)
            return b""
        channels, longest = int.from_bytes(arguments[:2]), int.from_bytes(arguments[2:6])
        proposed = int.from_bytes(arguments[6:8])
        self._channels = min(channels or 2047, 2047)  # 0 leaves it to us
        heartbeat = proposed if self._script.heartbeat is None else self._script.heartbeat
        limits = pack("!HIH", self._channels, min(longest or LONGEST, LONGEST), heartbeat)
        return _method(0, TUNE_OK, limits) + _method(0, OPEN, self._script.vhost + b"\0\0")


def _product(arguments: bytes) -> bytes:
    """``product`` and ``version`` among the properties that Start brings, both long strings."""
    found = (re.search(rb"%c%sS(.{4})" % (len(n), n), arguments, re.DOTALL) for n in _NAMES)
    return b" ".join(
        arguments[one.end() : one.end() + int.from_bytes(one[1])] for one in found if one
    )


def amqp(settings: AmqpSettings, login: Login) -> Callable[[], Amqp]:
    """Connections of this login, by default of ``guest`` to the virtual host ``/``.

    Raises UsageError for a user without a password, and for names that are too long.
    """
    if login.user and not login.password:
        raise UsageError(
            "AMQP logs in with a user and a password, and there is only a user",
            "name the variable that holds the password with --password-env",
        )
    user, password = login.user or "guest", login.password or "guest"
    # SASL PLAIN (RFC 4616); a long string is written like a table.
    response = _table(b"\0" + as_given(user) + b"\0" + as_given(password))
    script = Script(
        login=_PROPERTIES + _short("PLAIN") + response + _short("en_US"),
        vhost=_short(login.database or "/"),
        heartbeat=settings.heartbeat,
    )
    return lambda: Amqp(script)


def _method(channel: int, method: Method, arguments: bytes = b"") -> bytes:
    payload = pack("!HH", *method) + arguments
    return pack("!BHI", _METHOD, channel, len(payload)) + payload + bytes([_FRAME_END])


def _short(value: str) -> bytes:
    octets = as_given(value)
    if len(octets) > 255:
        raise UsageError("the virtual host is too long for AMQP", "--database takes 255 bytes")
    return bytes([len(octets)]) + octets


def _table(fields: bytes) -> bytes:
    return pack("!I", len(fields)) + fields


# Without this capability RabbitMQ closes on a wrong password instead of saying so.
_CAPABILITIES = _table(_short("authentication_failure_close") + b"t\x01")
_PROPERTIES = _table(
    _short("product") + b"S" + _table(b"tlsprobe") + _short("capabilities") + b"F" + _CAPABILITIES
)


AMQP = Protocol(
    "amqp",
    "AMQP 0-9-1: a channel opened and closed, and Connection.Close as the goodbye",
    AmqpSettings,
    lambda settings, peer: amqp(settings, peer.login),
)
