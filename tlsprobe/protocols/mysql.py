"""The MySQL client/server protocol (MySQL and MariaDB documentation, "Client/Server Protocol").

The server speaks first: its handshake is answered with an SSLRequest, TLS starts, and the login
goes on inside it. One statement or COM_PING is the request, COM_QUIT the goodbye. Rows are skipped
by their length and never held.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, IntFlag
from struct import pack
from typing import Annotated

from tlsprobe.errors import UsageError
from tlsprobe.keys import Key, a_text
from tlsprobe.model.profile import ProtocolSettings
from tlsprobe.model.target import Login
from tlsprobe.model.trace import RemarkKind
from tlsprobe.protocols.conversation import Conversation, Phase, escaped
from tlsprobe.protocols.protocol import Protocol
from tlsprobe.spelling import as_given

LONGEST_READ = 64 * 1024
"""The longest packet of the login, in bytes; an error message has 512 at most."""

LONGEST = 2**24 - 1
"""The longest packet. One of this length goes on in the next."""

PING = b"\x0e"
QUIT = b"\x01"
"""The client's goodbye, COM_QUIT. Nothing answers it: the server closes."""

LARGE = b"SELECT REPEAT('x', 2097152)"
"""A row of 2 MiB, whatever the database holds; a lower max_allowed_packet makes it NULL."""


@dataclass(frozen=True, slots=True)
class MysqlSettings(ProtocolSettings):
    """The ``[protocol]`` table."""

    query: Annotated[
        str | None,
        Key(a_text, "one statement of SQL; default: COM_PING, which every user may send"),
    ] = None


class Can(IntFlag):
    """Capabilities that we and the server tell each other: those that matter here."""

    LONG_PASSWORD = 0x1
    LONG_FLAG = 0x4
    CONNECT_WITH_DB = 0x8
    PROTOCOL_41 = 0x200
    SSL = 0x800
    TRANSACTIONS = 0x2000
    SECURE_CONNECTION = 0x8000
    PLUGIN_AUTH = 0x80000


# Bit 0 also tells MariaDB that our capabilities are MySQL's. DEPRECATE_EOF is left out, so that
# result sets have one form on every server; MULTI_RESULTS too, so that there is one at a time.
_OURS = (
    Can.LONG_PASSWORD
    | Can.LONG_FLAG
    | Can.PROTOCOL_41
    | Can.SSL
    | Can.TRANSACTIONS
    | Can.SECURE_CONNECTION
    | Can.PLUGIN_AUTH
)
_UTF8MB4 = 45
_HEADER = 4
_OK, _MORE, _LOCAL_INFILE, _EOF, _ERROR = 0x00, 0x01, 0xFB, 0xFE, 0xFF
_FAST_PASSED, _FULL_LOGIN = b"\x03", b"\x04"

_NATIVE = "mysql_native_password"
_CACHING = "caching_sha2_password"
_SHA256 = "sha256_password"

_NOT_MYSQL = "is MySQL or MariaDB listening there? --profile names the protocol"
_GIVE_PASSWORD = "put the password into an environment variable and name it with --password-env"
_WRONG_LOGIN = f"name a user of this host with --user; {_GIVE_PASSWORD}"
_HINTS = {
    1040: "lower --concurrency, or raise max_connections",
    1044: "name a database that this user may use with --database",
    1045: _WRONG_LOGIN,
    1049: "name a database that exists with --database",
    1129: "the server has blocked this host: FLUSH HOSTS, or raise max_connect_errors",
    1130: "no account is for this host: CREATE USER 'name'@'host'",
    1203: "lower --concurrency, or raise max_user_connections",
    1226: "lower --concurrency, or raise the user's MAX_USER_CONNECTIONS",
    1698: _WRONG_LOGIN,
    1820: "the user's password has expired: set a new one first",
    3118: "the account is locked: ALTER USER ... ACCOUNT UNLOCK",
}
_OTHER_METHOD = f"use an account that logs in with {_NATIVE}, {_CACHING} or {_SHA256} (--user)"


@dataclass(frozen=True, slots=True)
class Script:
    """Everything that is the same on each connection."""

    user: bytes
    password: bytes = field(repr=False)
    database: bytes
    request: bytes

    @property
    def can(self) -> int:
        """The capabilities that we ask for."""
        return int(_OURS | Can.CONNECT_WITH_DB if self.database else _OURS)


class _Part(Enum):
    """How far the response owed has come."""

    FIRST = "first"
    COLUMNS = "columns"
    ROWS = "rows"


class Mysql(Conversation):
    """One session. An error that answers the request is an answer; one at login is a failure."""

    def __init__(self, script: Script) -> None:
        super().__init__()
        self.phase = Phase.PLAIN
        self._script = script
        self._buffer = bytearray()
        self._skip = 0
        self._continued = False
        self._part = _Part.FIRST
        self._scramble = b""
        self._method = ""

    def secured(self) -> bytes:
        """HandshakeResponse41: who we are, and the proof that the server's method asks for."""
        self.phase = Phase.GREETING
        script = self._script
        proof = _proof(self._method, script.password, self._scramble) or b""
        database = script.database + b"\0" if script.database else b""
        return _packet(
            2,
            _announcement(script.can)
            + (script.user + b"\0" + bytes([len(proof)]) + proof + database)
            + (self._method.encode() + b"\0"),
        )

    def request(self) -> bytes:
        """COM_PING, or the profile's query."""
        return self._ask(self._script.request)

    def large(self) -> bytes:
        """A query for one large row."""
        return self._ask(b"\x03" + LARGE)

    def goodbye(self) -> bytes:
        """COM_QUIT; nothing is owed in return."""
        return _packet(0, QUIT)

    def ended(self) -> None:
        """An end during the opening exchange is a failure; the message shows what came."""
        words = f" in the middle of {escaped(self._buffer)}" if self._buffer else ""
        if self.phase is Phase.PLAIN:
            self.fail(f"the server closed before its handshake was whole{words}", _NOT_MYSQL)
        elif self.phase is Phase.GREETING:
            self.fail(f"the server closed during the login{words}", "its error log may say why")

    def feed(self, data: bytes) -> bytes:
        """Take what the server said; the answer, if any, is a step of the login."""
        if self.phase is Phase.FAILED:
            return b""
        self._buffer += data
        reply = b""
        while True:
            packet = self._next_in_session() if self._in_session() else self._next_packet()
            if packet is None:
                break
            reply += self._heard(*packet)
        begun = self._part is not _Part.FIRST or self._continued or self._skip or self._buffer
        self.partial = self.phase is Phase.OWED and bool(begun)
        return reply

    def _ask(self, command: bytes) -> bytes:
        self.owe()
        return _packet(0, command)

    # -- packets -----------------------------------------------------------------------------------

    def _in_session(self) -> bool:
        return self.phase in {Phase.READY, Phase.OWED}

    def _next_packet(self) -> tuple[int, bytes] | None:
        """The next packet once it is whole, as its sequence number and body."""
        if self.phase in {Phase.SECURE, Phase.FAILED} or len(self._buffer) < _HEADER:
            return None
        length = int.from_bytes(self._buffer[:3], "little")
        if not 0 < length <= LONGEST_READ:
            self.fail(f"the server sent {escaped(self._buffer)}, no MySQL packet", _NOT_MYSQL)
            return None
        if len(self._buffer) < _HEADER + length:
            return None
        packet = self._buffer[3], bytes(self._buffer[_HEADER : _HEADER + length])
        del self._buffer[: _HEADER + length]
        return packet

    def _next_in_session(self) -> tuple[int, bytes] | None:
        """The next packet that ends something, whole; the others are skipped."""
        while self._in_session():
            skipped = min(self._skip, len(self._buffer))
            del self._buffer[:skipped]
            self._skip -= skipped
            length = int.from_bytes(self._buffer[:3], "little")
            begins = length > 0 and not self._continued
            if len(self._buffer) < _HEADER + begins:
                return None
            if begins and self._is_end(length, self._buffer[_HEADER]):
                return self._next_packet()
            if begins and self.phase is Phase.OWED and self._part is _Part.FIRST:
                self._part = _Part.COLUMNS
            self._continued = length == LONGEST
            self._skip = _HEADER + length
        return None

    def _is_end(self, length: int, head: int) -> bool:
        if self._part is _Part.FIRST:
            return head in {_OK, _ERROR, _LOCAL_INFILE}
        return head == _ERROR or (head == _EOF and length < 9)

    def _heard(self, number: int, body: bytes) -> bytes:
        if self.phase is Phase.PLAIN:
            return self._handshake(number, body)
        if self.phase is Phase.GREETING:
            return self._login(number, body)
        if self.phase is Phase.OWED:
            self._response(body[0])
        elif body[0] == _ERROR:
            self.remark(RemarkKind.ERROR, f"error {_error(body)}")
        return b""

    # -- the opening exchange ----------------------------------------------------------------------

    def _handshake(self, number: int, body: bytes) -> bytes:
        if body[0] == _ERROR:
            self._refused(body)
        elif body[0] != 10 or number != 0:
            self.fail(f"the server began with {escaped(body)}, not with MySQL's", _NOT_MYSQL)
        elif self._buffer:
            # Bytes that a man in the middle could have put there, to be taken for TLS's own.
            self.fail("the server went on before we had answered its handshake", _NOT_MYSQL)
        else:
            return self._ask_for_tls(body)
        return b""

    def _ask_for_tls(self, body: bytes) -> bytes:
        version, _, rest = body[1:].partition(b"\0")
        self.named(version)
        # thread 4, scramble 8, filler 1, capabilities 2, charset 1, status 2, capabilities 2,
        # length of the scramble 1, reserved 10, then the rest of the scramble
        capabilities = int.from_bytes(rest[13:15] + rest[18:20], "little")
        if not capabilities & Can.SSL:
            self.fail(
                f"the server, {escaped(version, 60)}, does not do TLS",
                "give it ssl_cert and ssl_key, and restart it",
            )
            return b""
        scramble, _, method = rest[31:].partition(b"\0")
        self._scramble = (rest[4:12] + scramble)[:20]
        self._method = _known(method)
        self.phase = Phase.SECURE
        return _packet(1, _announcement(self._script.can))

    def _login(self, number: int, body: bytes) -> bytes:
        head = body[0]
        if head == _EOF:
            return self._switch(number, body)
        if head == _MORE:
            return self._more(number, body[1:])
        if head == _OK:
            self.phase = Phase.READY
        elif head == _ERROR:
            self._refused(body)
        else:
            self.fail(f"the server answered the login with {escaped(body)}", _NOT_MYSQL)
        return b""

    def _switch(self, number: int, body: bytes) -> bytes:
        method, _, data = body[1:].partition(b"\0")
        self._method, self._scramble = method.decode("utf-8", "backslashreplace"), data[:20]
        proof = _proof(self._method, self._script.password, self._scramble)
        if proof is None:
            self.fail(f"the server asks for {escaped(method) or 'a very old login'}", _OTHER_METHOD)
            return b""
        return _packet(number + 1, proof)

    def _more(self, number: int, data: bytes) -> bytes:
        """caching_sha2_password: the server knows our hash, or wants the password over TLS."""
        if data == _FAST_PASSED:
            return b""
        if data == _FULL_LOGIN and self._method == _CACHING:
            return _packet(number + 1, self._script.password + b"\0")
        self.fail(f"the server went on with {escaped(data)} in its login", _OTHER_METHOD)
        return b""

    def _refused(self, body: bytes) -> None:
        self.fail(f"the server refused: {_error(body)}", _HINTS.get(_code(body)))

    # -- responses ---------------------------------------------------------------------------------

    def _response(self, head: int) -> None:
        if head == _LOCAL_INFILE:
            self.fail("the query asks for a file of ours", "choose a query that only returns rows")
        elif head == _EOF and self._part is _Part.COLUMNS:
            self._part = _Part.ROWS
        else:
            self._part = _Part.FIRST
            self.settle()


def mysql(settings: MysqlSettings, login: Login) -> Callable[[], Mysql]:
    """Sessions of this login, by default of ``root``.

    Raises UsageError for a user or database with a zero byte, and for a query of 16 MiB.
    """
    query = settings.query
    script = Script(
        user=_string(login.user or "root", "user"),
        password=as_given(login.password or ""),
        database=_string(login.database or "", "database"),
        request=PING if query is None else b"\x03" + as_given(query),
    )
    if len(script.request) >= LONGEST:
        raise UsageError("the query is longer than a MySQL packet", "keep it below 16 MiB")
    return lambda: Mysql(script)


def _packet(number: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "little") + bytes([number % 256]) + body


def _announcement(capabilities: int) -> bytes:
    """The part that SSLRequest and HandshakeResponse41 have in common."""
    return pack("<IIB23x", capabilities, LONGEST, _UTF8MB4)


def _code(body: bytes) -> int:
    return int.from_bytes(body[1:3], "little")


def _error(body: bytes) -> str:
    """An error's number and message, safe to print."""
    # The state is left out when the server does not know yet what we can take.
    words = body[9:] if body[3:4] == b"#" else body[3:]
    return f"{_code(body)}: {escaped(words)}"


def _known(method: bytes) -> str:
    """The server's default method if we can do it, else the one that all clients know.

    A server that wants another for this user switches; what it proposes here is a guess.
    """
    name = method.partition(b"\0")[0].decode("ascii", "replace")
    return name if name in {_NATIVE, _CACHING} else _NATIVE


def _proof(method: str, password: bytes, scramble: bytes) -> bytes | None:
    """What proves the password; None for a method that we cannot do."""
    match method:
        case "mysql_native_password":
            return _scrambled("sha1", password, scramble, first=True)
        case "caching_sha2_password":
            return _scrambled("sha256", password, scramble, first=False)
        case "sha256_password":
            return password + b"\0"  # readable, for a connection that hides it
        case _:
            return None


def _scrambled(hash_name: str, password: bytes, scramble: bytes, *, first: bool) -> bytes:
    """H(password) XOR H(scramble and H(H(password))); ``first``: the scramble comes first."""

    def digest(data: bytes) -> bytes:
        return hashlib.new(hash_name, data, usedforsecurity=False).digest()

    if not password:
        return b""
    once = digest(password)
    twice = digest(once)
    mask = digest(scramble + twice if first else twice + scramble)
    return bytes(a ^ b for a, b in zip(once, mask, strict=True))


def _string(value: str, key: str) -> bytes:
    if "\0" in value:
        raise UsageError(f"the {key} for MySQL contains a zero byte", "leave it out")
    return as_given(value)


MYSQL = Protocol(
    "mysql",
    "MySQL and MariaDB: a query or COM_PING, and COM_QUIT as the goodbye",
    MysqlSettings,
    lambda settings, peer: mysql(settings, peer.login),
)
