"""PostgreSQL's frontend protocol, version 3.0 (PostgreSQL documentation, part Internals).

The whole of it that a probe needs: SSLRequest, the startup with its authentication, one simple
query, Terminate. Rows are skipped by their length and never held, so a response may be as large
as the query makes it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from struct import pack
from typing import Annotated

from scramp import ScramClient, ScramException

from tlsprobe.errors import UsageError
from tlsprobe.keys import Key, a_flag, a_text
from tlsprobe.model.profile import ProtocolSettings
from tlsprobe.model.target import Login
from tlsprobe.model.trace import RemarkKind
from tlsprobe.protocols.conversation import Conversation, Phase, escaped
from tlsprobe.protocols.protocol import Protocol
from tlsprobe.spelling import as_given

SSL_REQUEST = pack("!II", 8, 80877103)
"""Asks for TLS on a connection that is still plain; answered by one byte, S or N."""

TERMINATE = b"X" + pack("!I", 4)
"""The client's goodbye. Nothing answers it: the backend closes."""

LONGEST = 0x3FFFFFFF
"""The longest message that PostgreSQL can make (its MaxAllocSize), in bytes."""

LONGEST_READ = 64 * 1024
"""The longest message whose content matters here; libpq allows an error 30000 bytes at login."""

LONGEST_OLD_ERROR = 8 * 1024
"""How far we look for the end of an error in the form of protocol 2, in bytes."""

MOST_ROUNDS = 1_000_000
"""SCRAM rounds that we are ready to compute, a good third of a second of one processor."""

# What a backend may send to us ("Message Formats"): nothing of extended queries or replication.
_RESPONSE = frozenset(b"TDCIEHdc")
_AT_ANY_TIME = frozenset(b"NSA")
_STARTUP = frozenset(b"RKv")
_READY_FOR_QUERY = ord("Z")
_ERROR = ord("E")
_AUTHENTICATION = ord("R")
_PARAMETER = ord("S")
_WANTS_DATA = frozenset(b"GW")
_ENDING = frozenset({"FATAL", "PANIC"})
_NOTICE = ord("N")
_CRASHED = "57P02"  # a warning: a process died, and the postmaster ends all others for that
_RECOVERING = "57P03"
_KNOWN = _RESPONSE | _AT_ANY_TIME | _STARTUP | _WANTS_DATA | {_READY_FOR_QUERY}

_NOT_POSTGRES = "is a PostgreSQL server listening there? --profile names the protocol"
_GIVE_PASSWORD = "put the password into an environment variable and name it with --password-env"
_OTHER_METHOD = (
    "use a role for which pg_hba.conf says trust, cert, password, md5 or scram-sha-256 (--user)"
)
_HINTS = {
    "28P01": f"wrong password or user: {_GIVE_PASSWORD}, and the role with --user",
    "28000": (
        "name a role that exists with --user; if it does, pg_hba.conf decides: give a client "
        "certificate with --cert and --key, or add a hostssl line for this address"
    ),
    "3D000": "name a database that exists with --database",
    "42501": "name a database that this role may connect to with --database",
    "53300": "lower --concurrency, or raise max_connections",
    "57P03": "the server is starting, stopping or recovering: try again once it accepts queries",
    "08P01": "something between here and the server may speak another protocol: see its log",
}


@dataclass(frozen=True, slots=True)
class PostgresSettings(ProtocolSettings):
    """The ``[protocol]`` table.

    ``query`` may return any number of rows but must not be a COPY from the client.
    """

    query: Annotated[str, Key(a_text, "one string of SQL, sent as a simple query")] = "SELECT 1"
    direct: Annotated[
        bool, Key(a_flag, "start TLS at once, without SSLRequest (PostgreSQL 17 and later)")
    ] = False


class Auth(IntEnum):
    """What an Authentication message asks for: those that we can do."""

    OK = 0
    CLEARTEXT = 3
    MD5 = 5
    SASL = 10
    SASL_CONTINUE = 11
    SASL_FINAL = 12


_METHODS = frozenset(Auth)


@dataclass(frozen=True, slots=True)
class Script:
    """Everything that is the same on each connection, written once."""

    user: str
    password: str | None = field(repr=False)
    startup: bytes
    query: bytes
    direct: bool


class Postgres(Conversation):
    """One session. An error that answers the query is an answer; one at login is a failure."""

    def __init__(self, script: Script) -> None:
        super().__init__()
        self._script = script
        self._buffer = bytearray()
        self._skip = 0
        self._begun = False
        self._scram: ScramClient | None = None
        if script.direct:
            # Required with direct TLS (PostgreSQL 17): the server refuses the handshake without.
            self.alpn = ("postgresql",)
        else:
            self.phase = Phase.PLAIN

    def open(self) -> bytes:
        """SSLRequest, unless TLS starts at once."""
        return SSL_REQUEST if self.phase is Phase.PLAIN else b""

    def secured(self) -> bytes:
        """The StartupMessage."""
        self.phase = Phase.GREETING
        return self._script.startup

    def request(self) -> bytes:
        """The query; its response is whole at ReadyForQuery."""
        self.owe()
        return self._script.query

    def large(self) -> bytes:
        """A query with a row of 2 MiB, whatever the database holds."""
        self.owe()
        return _message(b"Q", b"SELECT repeat('x', 2097152)\x00")

    def goodbye(self) -> bytes:
        """Terminate; nothing is owed in return."""
        return TERMINATE

    def ended(self) -> None:
        """An end during the opening exchange is a failure; the message shows what came."""
        words = f" in the middle of {escaped(self._buffer)}" if self._buffer else ""
        if self.phase is Phase.PLAIN:
            self.fail(f"the server closed instead of answering SSLRequest{words}", _NOT_POSTGRES)
        elif self.phase is Phase.GREETING:
            self.fail(
                f"the server closed before it was ready for a query{words}",
                "its log says why; a client certificate may be missing (--cert and --key)",
            )

    def feed(self, data: bytes) -> bytes:
        """Take what the server said; the answer, if any, is a step of the login."""
        self._buffer += data
        if self.phase is Phase.PLAIN:
            self._answer_to_ssl_request()
            return b""
        reply = b""
        while (message := self._next_message()) is not None:
            reply += self._heard(*message)
        self.partial = self.phase is Phase.OWED and (
            self._begun or self._skip > 0 or bool(self._buffer)
        )
        return reply

    # -- before TLS ------------------------------------------------------------------------------

    def _answer_to_ssl_request(self) -> None:
        answer = bytes(self._buffer[:1])
        if self._buffer == b"S":
            self._buffer.clear()
            self.phase = Phase.SECURE
        elif answer == b"S":
            self.went_on_in_plain(self._buffer[1:], _NOT_POSTGRES)
        elif answer == b"N":
            self.fail(
                "the server does not do TLS",
                "set ssl = on, ssl_cert_file and ssl_key_file in postgresql.conf and reload it",
            )
        elif answer == b"E":
            self._error_before_tls()
        elif answer:
            self.fail(
                f"the server answered SSLRequest with {escaped(self._buffer)}, not S or N",
                _NOT_POSTGRES,
            )

    def _error_before_tls(self) -> None:
        if len(self._buffer) < 5:
            return
        length = int.from_bytes(self._buffer[1:5])
        if 4 <= length <= LONGEST_READ:
            if len(self._buffer) > length:
                self._refused(bytes(self._buffer[5 : length + 1]))
        elif 0 in self._buffer or len(self._buffer) > LONGEST_OLD_ERROR:
            # The form of protocol 2: a server that cannot even fork a backend still uses it.
            words = self._buffer[1:].partition(b"\0")[0]
            self.fail(f"the server answered SSLRequest with: {escaped(words)}")

    # -- inside TLS ------------------------------------------------------------------------------

    def _next_message(self) -> tuple[int, bytes] | None:
        """The next message whose content matters, as its type and body; others are skipped."""
        while self.phase is not Phase.FAILED:
            skipped = min(self._skip, len(self._buffer))
            del self._buffer[:skipped]
            self._skip -= skipped
            if len(self._buffer) < 5:
                return None
            kind, length = self._buffer[0], int.from_bytes(self._buffer[1:5])
            if not self._plausible(kind, length):
                return None
            self._begun |= kind in _RESPONSE and self.phase is Phase.OWED
            if not self._matters(kind, length):
                self._skip = length + 1
                continue
            if len(self._buffer) <= length:
                return None
            body = bytes(self._buffer[5 : length + 1])
            del self._buffer[: length + 1]
            return kind, body
        return None

    def _matters(self, kind: int, length: int) -> bool:
        if kind == _NOTICE or (kind == _ERROR and self.phase is not Phase.GREETING):
            return length <= LONGEST_READ
        if kind in (_ERROR, _AUTHENTICATION, _PARAMETER):
            return self.phase is Phase.GREETING
        return kind == _READY_FOR_QUERY or kind in _WANTS_DATA

    def _plausible(self, kind: int, length: int) -> bool:
        longest = LONGEST_READ if self._matters(kind, length) else LONGEST
        if kind in _KNOWN and 4 <= length <= longest:
            return True
        self.fail(
            f"the server sent {escaped(self._buffer)}, which is no PostgreSQL message",
            _NOT_POSTGRES,
        )
        return False

    def _heard(self, kind: int, body: bytes) -> bytes:
        if kind == _AUTHENTICATION:
            return self._authenticate(body)
        if kind == _PARAMETER:
            name, _, value = body.rstrip(b"\0").partition(b"\0")
            self.named(b"server_version " + value if name == b"server_version" else b"")
        elif kind == _ERROR and self.phase is Phase.GREETING:
            self._refused(body)
        elif kind == _ERROR:
            self._failed(body)
        elif kind == _NOTICE:
            self._noticed(body)
        elif kind in _WANTS_DATA:
            self.fail(
                "the query starts a COPY and waits for our data",
                "choose a query that only returns rows",
            )
        elif self.phase is Phase.OWED:
            self._begun = False
            self.settle()
        elif self.phase is Phase.GREETING:
            self.phase = Phase.READY
        return b""

    def _refused(self, body: bytes) -> None:
        fields = _error_fields(body)
        code = fields.get("C", "")
        severity = fields.get("V") or fields.get("S") or "an error"
        words = escaped(fields.get("M", "no message"))
        if code == _RECOVERING:
            self.remark(RemarkKind.RECOVERING, f"{code}: {words}")
        self.fail(
            f"the server refused: {escaped(severity, 20)} {escaped(code, 10)}: {words}",
            _HINTS.get(code),
        )

    def _failed(self, body: bytes) -> None:
        """Note an error that ends the session (57P01: the server is told to stop)."""
        fields = _error_fields(body)
        severity = fields.get("V") or fields.get("S", "")
        if severity in _ENDING:
            words = f"{severity} {fields.get('C', '')}: {fields.get('M', 'no message')}"
            self.remark(RemarkKind.ERROR, words)

    def _noticed(self, body: bytes) -> None:
        fields = _error_fields(body)
        if fields.get("C") == _CRASHED:
            self.remark(RemarkKind.CRASHED, f"{_CRASHED}: {fields.get('M', 'no message')}")

    # -- authentication --------------------------------------------------------------------------

    def _authenticate(self, body: bytes) -> bytes:
        method = int.from_bytes(body[:4]) if len(body) >= 4 else -1
        if method == Auth.OK:
            return b""
        if method not in _METHODS:
            self.fail(f"the server asks for authentication method {method}", _OTHER_METHOD)
        elif not self._script.password:
            self.fail("the server asks for a password and there is none", _GIVE_PASSWORD)
        else:
            return self._prove(Auth(method), body[4:], self._script.password)
        return b""

    def _prove(self, method: Auth, rest: bytes, password: str) -> bytes:
        match method:
            case Auth.CLEARTEXT:
                return _secret(as_given(password) + b"\0")
            case Auth.MD5:
                return _secret(_md5(self._script.user, password, rest) + b"\0")
            case _:
                return self._sasl(method, rest, password)

    def _sasl(self, method: Auth, rest: bytes, password: str) -> bytes:
        try:
            if method is Auth.SASL:
                return self._sasl_first(rest, password)
            if self._scram is None:
                raise ScramException("it went on with an exchange that it had not begun")
            if method is Auth.SASL_CONTINUE:
                return self._sasl_proof(self._scram, rest.decode())
            self._scram.set_server_final(rest.decode())
        except (ScramException, ValueError, LookupError) as error:
            self.fail(f"SCRAM authentication failed: {escaped(str(error))}")
        return b""

    def _sasl_first(self, offered: bytes, password: str) -> bytes:
        mechanisms = offered.rstrip(b"\0").split(b"\0")
        if b"SCRAM-SHA-256" not in mechanisms:
            names = escaped(b", ".join(mechanisms))
            self.fail(f"the server offers only {names} to prove who we are", _OTHER_METHOD)
            return b""
        # Without channel binding data scramp sends the flag 'n', "the client has no channel
        # binding" (RFC 5802 section 6). 'y' would say that the server has none either, and one
        # that offers SCRAM-SHA-256-PLUS must then suspect a downgrade and refuse.
        self._scram = ScramClient(["SCRAM-SHA-256"], self._script.user, password)
        first = self._scram.get_client_first().encode()
        return _secret(b"SCRAM-SHA-256\0" + pack("!I", len(first)) + first)

    def _sasl_proof(self, scram: ScramClient, server_first: str) -> bytes:
        rounds = re.search(r"(?:^|,)i=([0-9]{1,10})", server_first)
        if rounds and int(rounds[1]) > MOST_ROUNDS:
            raise ScramException(f"the server asks for {rounds[1]} rounds of hashing")
        scram.set_server_first(server_first)
        return _secret(scram.get_client_final().encode())


def postgres(settings: PostgresSettings, login: Login) -> Callable[[], Postgres]:
    """Sessions of this login, by default of ``postgres``, the role that a new cluster begins with.

    Without a database the server takes the one of the user's name. Raises UsageError for values
    with a zero byte, which end a string in this protocol.
    """
    user = login.user or "postgres"
    parameters = {"user": user, "application_name": "tlsprobe"}
    if login.database:
        parameters["database"] = login.database
    startup = pack("!I", 3 << 16)
    for name, value in parameters.items():
        startup += _string(name, name) + _string(value, name)
    startup += b"\0"
    script = Script(
        user=user,
        password=login.password,
        startup=pack("!I", len(startup) + 4) + startup,
        query=_message(b"Q", _string(settings.query, "query")),
        direct=settings.direct,
    )
    return lambda: Postgres(script)


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + pack("!I", len(body) + 4) + body


def _secret(proof: bytes) -> bytes:
    return _message(b"p", proof)


def _md5(user: str, password: str, salt: bytes) -> bytes:
    def digest(data: bytes) -> bytes:
        return hashlib.md5(data, usedforsecurity=False).hexdigest().encode()

    return b"md5" + digest(digest(as_given(password) + as_given(user)) + salt[:4])


def _string(value: str, key: str) -> bytes:
    if "\0" in value:
        raise UsageError(f"the {key} for PostgreSQL contains a zero byte", "leave it out")
    return as_given(value) + b"\0"


def _error_fields(body: bytes) -> dict[str, str]:
    """The fields by their letter ("Error and Notice Message Fields"), whatever else there is."""
    parts = body.split(b"\0")
    return {chr(part[0]): part[1:].decode("utf-8", "backslashreplace") for part in parts if part}


POSTGRES = Protocol(
    "postgres",
    "PostgreSQL: a query, and Terminate as the goodbye",
    PostgresSettings,
    lambda settings, peer: postgres(settings, peer.login),
)
