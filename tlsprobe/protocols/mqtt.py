"""MQTT 3.1.1 (OASIS standard): CONNECT, PINGREQ as the request, DISCONNECT as the goodbye.

Nothing is published or subscribed to, so that a probe changes nothing in a broker.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from struct import pack
from typing import Annotated

from tlsprobe.errors import UsageError
from tlsprobe.keys import Key, a_short, a_text
from tlsprobe.model.profile import ProtocolSettings
from tlsprobe.model.target import Login
from tlsprobe.protocols.conversation import Conversation, Phase, escaped
from tlsprobe.protocols.protocol import Protocol
from tlsprobe.spelling import as_given

PING = b"\xc0\x00"
GOODBYE = b"\xe0\x00"
"""DISCONNECT. Nothing answers it; the client closes, and the server if the client does not."""

LONGEST_READ = 64
"""The longest packet whose content matters here; a CONNACK has two bytes behind its header."""

_CONNACK, _PUBLISH, _PINGRESP = 2, 3, 13
_CONNECT = 0x10
_CLEAN_SESSION, _PASSWORD, _USER = 0x02, 0x40, 0x80
_LONGEST_STRING = 65_535
_LENGTH_BYTES = 4

_NOT_MQTT = "is an MQTT broker listening there? --profile names the protocol"
_LOGIN = "name a user with --user, and the variable that holds the password with --password-env"
_REFUSALS = {
    1: ("it does not speak MQTT 3.1.1", "probe it with another protocol"),
    2: ("it does not take our client identifier", "set client_id in a copy of the profile"),
    3: ("it is unavailable", "try again once it is up"),
    4: ("wrong user name or password", _LOGIN),
    5: ("we are not authorised", f"{_LOGIN}; or give a client certificate with --cert and --key"),
}


@dataclass(frozen=True, slots=True)
class MqttSettings(ProtocolSettings):
    """The ``[protocol]`` table.

    A broker ends the older of two sessions of one name, and any from which it has heard nothing
    for one and a half times ``keep_alive``.
    """

    client_id: Annotated[
        str | None,
        Key(a_text, "what the session is called; default: a new name for each connection"),
    ] = None
    keep_alive: Annotated[
        int, Key(a_short, "the keep-alive that is announced, in seconds; 0 for none")
    ] = 60


class Mqtt(Conversation):
    """One session."""

    def __init__(self, connect: bytes) -> None:
        super().__init__()
        self._connect = connect
        self._buffer = bytearray()
        self._skip = 0

    def secured(self) -> bytes:
        """CONNECT."""
        self.phase = Phase.GREETING
        return self._connect

    def request(self) -> bytes:
        """PINGREQ; answered by PINGRESP."""
        self.owe()
        return PING

    def goodbye(self) -> bytes:
        """DISCONNECT; nothing is owed in return."""
        return GOODBYE

    def ended(self) -> None:
        """An end before the CONNACK is a failure."""
        if self.phase is Phase.GREETING:
            self.fail("the server closed instead of answering CONNECT", f"{_NOT_MQTT}; or {_LOGIN}")

    def feed(self, data: bytes) -> bytes:
        """Take packets. Nothing is ever sent in return."""
        if self.phase is Phase.FAILED:
            return b""
        self._buffer += data
        while (packet := self._next_packet()) is not None:
            self._heard(*packet)
        self.partial = self.phase is Phase.OWED and bool(self._buffer)
        return b""

    def _next_packet(self) -> tuple[int, bytes] | None:
        """The next packet that matters, as its type and content; others are skipped."""
        while self.phase is not Phase.FAILED:
            skipped = min(self._skip, len(self._buffer))
            del self._buffer[:skipped]
            self._skip -= skipped
            size, length = self._remaining_length()
            if size == 0:
                return None
            kind = self._buffer[0] >> 4
            if not self._plausible(kind, length):
                return None
            if kind not in {_CONNACK, _PINGRESP}:
                self._skip = 1 + size + length
                continue
            if len(self._buffer) < 1 + size + length:
                return None
            content = bytes(self._buffer[1 + size : 1 + size + length])
            del self._buffer[: 1 + size + length]
            return kind, content
        return None

    def _remaining_length(self) -> tuple[int, int]:
        """How many bytes say how long the packet is (section 2.2.3), and what they say.

        No bytes: more are needed. A length without an end comes out as one that none may have.
        """
        length = 0
        for i, octet in enumerate(self._buffer[1 : 1 + _LENGTH_BYTES]):
            length |= (octet & 0x7F) << (7 * i)
            if octet < 0x80:
                return i + 1, length
        endless = len(self._buffer) > _LENGTH_BYTES
        return (_LENGTH_BYTES, -1) if endless else (0, 0)

    def _plausible(self, kind: int, length: int) -> bool:
        first = kind == _CONNACK if self.phase is Phase.GREETING else kind != 0
        read = kind in {_CONNACK, _PINGRESP}
        if first and length >= 0 and not (read and length > LONGEST_READ):
            return True
        self.fail(f"the server sent {escaped(self._buffer)}, no MQTT packet", _NOT_MQTT)
        return False

    def _heard(self, kind: int, content: bytes) -> None:
        if kind == _PINGRESP and self.phase is Phase.OWED:
            self.settle()
        elif kind == _CONNACK and self.phase is Phase.GREETING:
            self._connected(content)

    def _connected(self, content: bytes) -> None:
        code = content[1] if len(content) > 1 else -1
        if code == 0:
            self.phase = Phase.READY
            return
        why, hint = _REFUSALS.get(code, (f"code {code}", None))
        self.fail(f"the server refused the session: {why}", hint)


def mqtt(settings: MqttSettings, login: Login) -> Callable[[], Mqtt]:
    """Sessions of this login, by default of nobody.

    Raises UsageError for a password without a user, and for strings that are too long.
    """
    if login.password and not login.user:
        raise UsageError("MQTT takes no password without a user name", "name it with --user")
    flags = _CLEAN_SESSION
    credentials = b""
    if login.user:
        flags |= _USER
        credentials = _string(login.user, "user")
    if login.password:
        flags |= _PASSWORD
        credentials += _string(login.password, "password")
    head = b"\x00\x04MQTT\x04" + pack("!BH", flags, settings.keep_alive)
    named = settings.client_id and _string(settings.client_id, "client_id")

    def converse() -> Mqtt:
        # What every server has to take: letters and digits, 23 at most (MQTT-3.1.3-5).
        name = named or _string(f"tlsprobe{secrets.token_hex(6)}", "client_id")
        return Mqtt(_packet(_CONNECT, head + name + credentials))

    return converse


def _packet(kind: int, content: bytes) -> bytes:
    length, octets = len(content), bytearray()
    while True:
        length, low = length >> 7, length & 0x7F
        octets.append(low | (0x80 if length else 0))
        if not length:
            return bytes([kind]) + bytes(octets) + content


def _string(value: str, key: str) -> bytes:
    octets = as_given(value)
    if len(octets) > _LONGEST_STRING:
        raise UsageError(f"the {key} is too long for MQTT", "give one of at most 65535 bytes")
    return pack("!H", len(octets)) + octets


MQTT = Protocol(
    "mqtt",
    "MQTT 3.1.1: PINGREQ, and DISCONNECT as the goodbye",
    MqttSettings,
    lambda settings, peer: mqtt(settings, peer.login),
)
