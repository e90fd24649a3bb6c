"""LDAP version 3 (RFC 4511), over TLS from the start or after StartTLS.

Four messages do: StartTLS, a simple bind where there is a user, a search of the root DSE, and
UnbindRequest as the goodbye. They are few and fixed, so their BER (X.690, restricted as RFC 4511
section 5.1 has it: definite lengths) is written here by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Annotated

from tlsprobe.errors import UsageError
from tlsprobe.keys import Key, a_flag
from tlsprobe.model.profile import ProtocolSettings
from tlsprobe.model.target import Login
from tlsprobe.model.trace import RemarkKind
from tlsprobe.protocols.conversation import Conversation, Phase, escaped
from tlsprobe.protocols.protocol import Protocol
from tlsprobe.spelling import as_given

LONGEST = 1024 * 1024
"""The longest message that is taken for LDAP, in bytes; a root DSE has a few thousand."""

START_TLS = b"1.3.6.1.4.1.1466.20037"
"""The name of the StartTLS operation (RFC 4511 section 4.14.1)."""


@dataclass(frozen=True, slots=True)
class LdapSettings(ProtocolSettings):
    """The ``[protocol]`` table."""

    starttls: Annotated[
        bool, Key(a_flag, "ask for TLS inside LDAP (RFC 4511 section 4.14); default: LDAPS")
    ] = False


class Tag(IntEnum):
    """The identifier octets that occur."""

    INTEGER = 0x02
    OCTET_STRING = 0x04
    ENUMERATED = 0x0A
    SEQUENCE = 0x30
    BIND_REQUEST = 0x60
    BIND_RESPONSE = 0x61
    UNBIND_REQUEST = 0x42
    SEARCH_REQUEST = 0x63
    SEARCH_DONE = 0x65
    EXTENDED_REQUEST = 0x77
    EXTENDED_RESPONSE = 0x78


_SIMPLE = 0x80
_REQUEST_NAME = 0x80
_PRESENT = 0x87
_LAST_ID = 2**31 - 1

_NOT_LDAP = "is an LDAP server listening there? --profile names the protocol"
_NO_START_TLS = (
    "give the server a certificate (slapd: olcTLSCertificateFile and olcTLSCertificateKeyFile), "
    "or probe its LDAPS port with --profile ldaps"
)
_RESULTS = {
    1: "operationsError",
    2: "protocolError",
    7: "authMethodNotSupported",
    8: "strongerAuthRequired",
    13: "confidentialityRequired",
    32: "noSuchObject",
    34: "invalidDNSyntax",
    48: "inappropriateAuthentication",
    49: "invalidCredentials",
    50: "insufficientAccessRights",
    51: "busy",
    52: "unavailable",
    53: "unwillingToPerform",
    80: "other",
}
_LOGIN = "--user is the distinguished name to bind as, --password-env holds its password"
_BIND_HINTS = {34: _LOGIN, 49: _LOGIN, 48: _LOGIN, 51: "try again later", 52: "try again later"}


@dataclass(frozen=True, slots=True)
class Script:
    """Everything that is the same on each connection: operations, without their message."""

    starttls: bool
    bind: bytes | None = field(repr=False)
    search: bytes


class Ldap(Conversation):
    """One session. An error that answers a search is an answer."""

    def __init__(self, script: Script) -> None:
        super().__init__()
        self._script = script
        self._buffer = bytearray()
        self._last_id = 0
        self._searches: set[int] = set()
        self._begun: set[int] = set()
        if script.starttls:
            self.phase = Phase.PLAIN

    def open(self) -> bytes:
        """StartTLS, unless TLS comes first."""
        if self.phase is not Phase.PLAIN:
            return b""
        return self._message(_tlv(Tag.EXTENDED_REQUEST, _tlv(_REQUEST_NAME, START_TLS)))

    def secured(self) -> bytes:
        """The bind; without a user there is none, and everybody may read the root DSE."""
        self.phase = Phase.GREETING if self._script.bind else Phase.READY
        return self._message(self._script.bind) if self._script.bind else b""

    def request(self) -> bytes:
        """A search of the root DSE; its response is whole at SearchResultDone."""
        self.owe()
        message = self._message(self._script.search)
        self._searches.add(self._last_id)
        return message

    def goodbye(self) -> bytes:
        """UnbindRequest; nothing answers it (section 4.3): the server closes."""
        return self._message(_tlv(Tag.UNBIND_REQUEST))

    def ended(self) -> None:
        """An end during the opening exchange is a failure."""
        words = f" with {self.remarks[-1].text}" if self.remarks else ""
        if self.phase is Phase.PLAIN:
            self.fail(f"the server closed instead of answering StartTLS{words}", _NOT_LDAP)
        elif self.phase is Phase.GREETING:
            self.fail(f"the server closed instead of answering the bind{words}", _LOGIN)

    def feed(self, data: bytes) -> bytes:
        """Take messages. Nothing is ever sent in return."""
        if self.phase is Phase.FAILED:
            return b""
        self._buffer += data
        while (message := self._next_message()) is not None:
            self._heard(message)
        self.partial = self.phase is Phase.OWED and bool(self._begun or self._buffer)
        return b""

    def _message(self, operation: bytes) -> bytes:
        self._last_id = self._last_id % _LAST_ID + 1
        return _tlv(Tag.SEQUENCE, _integer(Tag.INTEGER, self._last_id) + operation)

    # -- what the server says ----------------------------------------------------------------------

    def _next_message(self) -> bytes | None:
        """The content of the next LDAPMessage."""
        if self.phase in {Phase.FAILED, Phase.SECURE}:
            return None
        try:
            header, length = _header(self._buffer)
        except _MoreNeeded:
            return None
        except ValueError:
            header, length = 0, LONGEST + 1
        if self._buffer[0] != Tag.SEQUENCE or length > LONGEST:
            self.fail(f"the server sent {escaped(self._buffer)}, no LDAP message", _NOT_LDAP)
            return None
        if len(self._buffer) < header + length:
            return None
        content = bytes(self._buffer[header : header + length])
        del self._buffer[: header + length]
        return content

    def _heard(self, message: bytes) -> None:
        try:
            (_, number), (tag, operation), *_ = _elements(message)
        except ValueError:
            self.fail(f"the server sent {escaped(message)}, no LDAP message", _NOT_LDAP)
            return
        identity = int.from_bytes(number)
        if identity == 0 and tag == Tag.EXTENDED_RESPONSE:  # section 4.4.1
            said = f"notice of disconnection: {_result(operation)}"
            self.remark(RemarkKind.NOTICE_OF_DISCONNECTION, said)
        elif self.phase is Phase.PLAIN and tag == Tag.EXTENDED_RESPONSE:
            self._answer_to_start_tls(operation)
        elif self.phase is Phase.GREETING and tag == Tag.BIND_RESPONSE:
            self._bound(operation)
        elif self.phase is Phase.OWED and identity in self._searches:
            self._found(identity, tag)

    def _answer_to_start_tls(self, operation: bytes) -> None:
        if _code(operation) != 0:
            self.fail(f"the server refused StartTLS: {_result(operation)}", _NO_START_TLS)
        elif self._buffer:
            self.went_on_in_plain(self._buffer, _NOT_LDAP)
        else:
            self.phase = Phase.SECURE

    def _bound(self, operation: bytes) -> None:
        code = _code(operation)
        if code == 0:
            self.phase = Phase.READY
        else:
            hint = _BIND_HINTS.get(code)
            self.fail(f"the server refused the bind: {_result(operation)}", hint)

    def _found(self, identity: int, tag: int) -> None:
        if tag != Tag.SEARCH_DONE:
            self._begun.add(identity)
            return
        self._searches.discard(identity)
        self._begun.discard(identity)
        self.settle()


def ldap(settings: LdapSettings, login: Login) -> Callable[[], Ldap]:
    """Sessions that bind as ``login.user``, a distinguished name, or do not bind at all.

    Raises UsageError for a user without a password, which servers take for nobody (RFC 4513
    section 5.1.2).
    """
    bind = None
    if login.user:
        if not login.password:
            raise UsageError(
                "a bind with a name and no password proves nothing, and LDAP servers refuse it",
                "name the variable that holds the password with --password-env",
            )
        bind = _tlv(
            Tag.BIND_REQUEST,
            _integer(Tag.INTEGER, 3)
            + _tlv(Tag.OCTET_STRING, as_given(login.user))
            + _tlv(_SIMPLE, as_given(login.password)),
        )
    script = Script(settings.starttls, bind, _search())
    return lambda: Ldap(script)


def _search() -> bytes:
    """The root DSE with all its user attributes: base "", this object only, no limits."""
    fields = (
        _tlv(Tag.OCTET_STRING),
        _integer(Tag.ENUMERATED, 0),
        _integer(Tag.ENUMERATED, 0),
        _integer(Tag.INTEGER, 0),
        _integer(Tag.INTEGER, 0),
        _tlv(0x01, b"\0"),
        _tlv(_PRESENT, b"objectClass"),
        _tlv(Tag.SEQUENCE),
    )
    return _tlv(Tag.SEARCH_REQUEST, b"".join(fields))


# -- BER -------------------------------------------------------------------------------------------


class _MoreNeeded(Exception):  # noqa: N818 - control flow, not an error
    """The bytes end inside a header."""


def _tlv(tag: int, content: bytes = b"") -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def _integer(tag: int, value: int) -> bytes:
    # One bit more than the number has, for the sign.
    return _tlv(tag, value.to_bytes(value.bit_length() // 8 + 1))


def _header(data: bytes | bytearray) -> tuple[int, int]:
    """Lengths of an element's header and of its content.

    Raises ValueError for the indefinite form, and for a length of more than four octets.
    """
    if len(data) < 2:
        raise _MoreNeeded
    short = data[1]
    if short < 0x80:
        return 2, short
    octets = short & 0x7F
    if not 1 <= octets <= 4:
        raise ValueError("no definite length of four octets at most")
    if len(data) < 2 + octets:
        raise _MoreNeeded
    return 2 + octets, int.from_bytes(data[2 : 2 + octets])


def _elements(content: bytes) -> list[tuple[int, bytes]]:
    """The first three elements of a constructed one, as tag and content. Raises ValueError.

    No message that matters here keeps anything of interest behind its third.
    """
    elements: list[tuple[int, bytes]] = []
    at = 0
    while at < len(content) and len(elements) < 3:
        try:
            header, length = _header(content[at : at + 6])
        except _MoreNeeded:
            raise ValueError("cut short") from None
        begin, end = at + header, at + header + length
        if end > len(content):
            raise ValueError("cut short")
        elements.append((content[at], content[begin:end]))
        at = end
    return elements


def _code(operation: bytes) -> int:
    """The result code of an LDAPResult (section 4.1.9), -1 if there is none."""
    try:
        (tag, value), *_ = _elements(operation)
    except ValueError:
        return -1
    return int.from_bytes(value[:4]) if tag == Tag.ENUMERATED else -1


def _result(operation: bytes) -> str:
    """The result in words: the code's name, and what the server has to say about it."""
    code = _code(operation)
    name = _RESULTS.get(code, "success" if code == 0 else "unknown result")
    try:
        said = _elements(operation)[2][1]
    except (ValueError, IndexError):
        said = b""
    return f"{code} {name}" + (f": {escaped(said)}" if said else "")


LDAP = Protocol(
    "ldap",
    "LDAP version 3: a search of the root DSE, and UnbindRequest as the goodbye",
    LdapSettings,
    lambda settings, peer: ldap(settings, peer.login),
)
