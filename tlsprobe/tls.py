"""TLS without a socket: ciphertext goes in and out of memory, typed records come out.

OpenSSL runs over memory BIOs (RFC 8446 and 5246 as it implements them), which lets us see both
sides of it. Two habits make every byte on the wire nameable:

* Incoming ciphertext is handed over one record at a time, so that a record is known by what came
  of it: application data, an alert, a ticket, a handshake message. No guess is made from a length;
  a close_notify may be padded. Only the records of a handshake are handed over together: OpenSSL
  reads from memory no further than the record that it works on, and so what it left unread tells
  which record ended the handshake and which carried an alert.
* Alerts are read from OpenSSL's info callback, which gives level and description in both
  versions, although TLS 1.3 encrypts them.

What OpenSSL has no way to send, ``seal`` makes with the session's own keys; from then on all our
records are made so, and what OpenSSL itself would say is dropped.

This is the only module that imports pyOpenSSL, and the only one that knows OpenSSL's words. What
every connection does a dozen times goes past pyOpenSSL's methods to the functions of OpenSSL that
they call: there "nothing to read yet" is a number and no exception.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

from OpenSSL import SSL
from OpenSSL._util import ffi as _ffi
from OpenSSL._util import lib as _lib

from tlsprobe.errors import UsageError
from tlsprobe.model.alerts import CLOSE_NOTIFY
from tlsprobe.model.target import TlsIdentity, TlsVersion
from tlsprobe.model.trace import RecordKind, Side
from tlsprobe.records.key_log import Opened
from tlsprobe.records.sealing import (
    MOST_CONTENT,
    Sealer,
    changes_keys,
    opened,
    records_in,
    sealer_of,
)
from tlsprobe.records.walk import ALERT, ALERT_SIZE, APPLICATION_DATA

OPENSSL_VERSION = SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode("ascii", "replace")
"""The library that does the cryptography, for the run document."""

_VERSIONS = {TlsVersion.TLS12: SSL.TLS1_2_VERSION, TlsVersion.TLS13: SSL.TLS1_3_VERSION}
_GROUPS = b"X25519:P-256:X448:P-384:P-521:ffdhe2048:ffdhe3072"
_allocate = _ffi.new_allocator(should_clear_after_alloc=False)
_WANT_READ, _ZERO_RETURN = _lib.SSL_ERROR_WANT_READ, _lib.SSL_ERROR_ZERO_RETURN
_SYSCALL = _lib.SSL_ERROR_SYSCALL
_SENT, _ALERT = SSL.SENT_SHUTDOWN, SSL.SSL_CB_ALERT
_POINTER = _ffi.new("char **")  # where OpenSSL says where bytes are; nobody looks
_HEADER = 5
_CLOSE_NOTIFY = bytes((1, CLOSE_NOTIFY))
_RECORD_HEADER = struct.Struct(">BBxH").unpack_from
_MAX_RECORD = 2**14 + 2048
_NO_RECORD = -1
_VERIFY_FAILED = "certificate verify failed"
_WHOLE_LABELS = 4  # X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS: none of "db*.example.com" (RFC 9525)
_CONTENT_TYPES = {20: RecordKind.HANDSHAKE, 21: RecordKind.ALERT, 22: RecordKind.HANDSHAKE}
_KINDS_IN_HANDSHAKE = {
    number: _CONTENT_TYPES.get(number, RecordKind.HANDSHAKE) for number in range(20, 25)
}
_CHUNK = 2**16
_FILE_ERRORS = {"key values mismatch": "it does not belong to the certificate"}


class Received(NamedTuple):
    """One incoming record (or run of bytes that are none), with its ciphertext length.

    ``data`` is the plaintext of DATA, or the bytes themselves for PLAIN.
    """

    kind: RecordKind
    length: int
    data: bytes = b""
    alert: tuple[int, int] | None = None


class Untrusted(NamedTuple):
    """Why the server's certificate did not convince us: OpenSSL's number, and its words for it."""

    code: int
    words: str


class TlsContext:
    """What all connections of a run in one TLS version share: keys, trust, version."""

    def __init__(self, context: SSL.Context, sni: bytes | None) -> None:
        self.context = context
        self.sni = sni

    def connect(self) -> TlsSession:
        """A fresh client side."""
        connection = SSL.Connection(self.context, None)
        if self.sni is not None:
            connection.set_tlsext_host_name(self.sni)
        connection.set_connect_state()
        return TlsSession(connection, Side.CLIENT)

    def accept(self) -> TlsSession:
        """A fresh server side (the reference servers')."""
        connection = SSL.Connection(self.context, None)
        connection.set_accept_state()
        return TlsSession(connection, Side.SERVER)


def client_context(
    version: TlsVersion,
    identity: TlsIdentity,
    server_name: str | None,
    alpn: tuple[str, ...],
    certified: str | None = None,
) -> TlsContext:
    """A client that speaks just ``version``. Raises UsageError on a file that cannot be used.

    ``server_name`` is what it asks for; ``certified`` is the name or address that the server's
    certificate has to be for, where there is a CA to verify it with.
    """
    context = _context(version, version)
    _offer_small_key_shares(context)
    _lib.SSL_CTX_set_cert_cb(context._context, _CERTIFICATE_CALLBACK, _ffi.NULL)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    if identity.ca is not None:
        _load(
            "CA", identity.ca, lambda: context.load_verify_locations(os.fspath(identity.ca or ""))
        )
        context.set_verify(SSL.VERIFY_PEER)
        if certified and identity.verify_name:
            _expect_name(context, certified)
    if identity.cert is not None:
        key = identity.key or identity.cert
        load_certificate(context, identity.cert, key, identity.passphrase)
    elif identity.key is not None:
        raise UsageError(f"--key {identity.key} without a certificate", "add --cert FILE")
    offered = identity.alpn or alpn
    if offered:
        context.set_alpn_protos(_alpn(offered))
    if identity.keylog is not None:
        context.set_keylog_callback(_keylog(_appended_to(identity.keylog)))
    return TlsContext(context, _server_name(server_name) if server_name else None)


def server_context(
    cert: Path,
    lowest: TlsVersion = TlsVersion.TLS12,
    highest: TlsVersion = TlsVersion.TLS13,
) -> TlsContext:
    """A server with certificate and key from one PEM file (the reference servers')."""
    context = _context(lowest, highest)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    load_certificate(context, cert, cert)
    return TlsContext(context, None)


def load_certificate(
    context: SSL.Context, cert: Path, key: Path, passphrase: str | None = None
) -> None:
    """Certificate chain and private key. Raises UsageError naming the file.

    OpenSSL would ask the terminal for a passphrase: without one, an encrypted key is an error.
    """
    _load("certificate", cert, lambda: context.use_certificate_chain_file(os.fspath(cert)))
    if is_encrypted(key):
        _use_encrypted(context, key, passphrase)
    else:
        _load("private key", key, lambda: context.use_privatekey_file(os.fspath(key)))


def _use_encrypted(context: SSL.Context, key: Path, passphrase: str | None) -> None:
    from tlsprobe.certificates import opened_key  # noqa: PLC0415 - brings cryptography

    if passphrase is None:
        raise UsageError(f"the private key {key} is encrypted", "give its passphrase as well")
    found = opened_key(key.read_bytes(), passphrase)
    if found is None:
        raise UsageError(f"cannot use the private key {key}: the passphrase is wrong")
    _load("private key", key, lambda: context.use_privatekey(found))


def is_encrypted(key: Path) -> bool:
    """Whether a PEM file holds a private key that only a passphrase opens."""
    try:
        return b"ENCRYPTED" in key.read_bytes()
    except OSError:
        return False  # whoever loads it says why


class TlsSession:
    """One side of one TLS connection.

    ``failure`` is a sentence once the handshake or the record layer has given up, ``untrusted``
    why, if that was the server's certificate; ``over`` says that what follows in the stream is no
    TLS. ``asked_certificate``: the server wanted a certificate of ours.
    """

    def __init__(self, connection: SSL.Connection, side: Side) -> None:
        self._connection = connection
        self._side = side
        self._key_log: list[bytes] = []
        self._sealer: Sealer | None = None
        self._written = 0
        self._last = b""
        self._taken_in = 0
        self._awaits_key_update = False
        self._ssl = connection._ssl
        self._into, self._out = connection._into_ssl, connection._from_ssl
        self._buffer = bytearray()
        self._alerts: dict[int, tuple[int, int]] = {}
        self._given = 0
        self._slim = False
        connection.set_app_data(self)
        self.handshaken = False
        self.failure: str | None = None
        self.untrusted: Untrusted | None = None
        self.asked_certificate = False
        self.alert_sent: tuple[int, int] | None = None
        self.over = False
        self.notified = False

    @property
    def version(self) -> TlsVersion:
        """What was negotiated."""
        return TlsVersion(self._connection.get_protocol_version_name().removeprefix("TLSv"))

    @property
    def cipher(self) -> str | None:
        """The cipher suite by OpenSSL's name."""
        return self._connection.get_cipher_name()

    @property
    def alpn(self) -> str | None:
        """The protocol that ALPN chose."""
        return self._connection.get_alpn_proto_negotiated().decode("ascii", "replace") or None

    def handshake(self) -> bytes:
        """Go on with the handshake; what is to be sent, if anything."""
        self._greet()
        return self.output()

    def output(self) -> bytes:
        """Ciphertext that OpenSSL wants on the wire."""
        data = _taken(self._out)
        if not self.handshaken:
            return data
        if self._slim or (data and self._begins_with_the_keys):
            self._count(data)
        if not self._slim:
            self._renew_buffers()
        return data if self._sealer is None else b""

    def receive(self, ciphertext: bytes) -> list[Received]:
        """Take stream bytes; the records that they complete, in order.

        During the handshake, call ``output`` afterwards.
        """
        buffer = self._buffer
        buffer += ciphertext
        received: list[Received] = []
        while buffer:
            size = _NO_RECORD if self.over else _record_size(buffer, 0)
            if size == _NO_RECORD:
                self.over = True
                received.append(Received(RecordKind.PLAIN, len(buffer), bytes(buffer)))
                del buffer[:]
            elif not size:
                break
            elif self.handshaken or self.failure:
                record = bytes(buffer[:size])
                del buffer[:size]
                received.append(self._one(record))
            else:
                received += self._flight(size)
        return received

    @property
    def pending(self) -> bytes:
        """The beginning of a record whose rest has not arrived."""
        return bytes(self._buffer)

    def can_seal(self) -> bool:
        """Whether ``seal`` can make records of this session: its suite is an AEAD's."""
        if self._sealer is None:
            self._sealer = self._take_over()
        return self._sealer is not None

    def seal(self, kind: int, content: bytes, *, corrupt: bool = False) -> bytes:
        """A record of this content type, made by hand; ``corrupt``: with a tag that fits nothing.

        Only if ``can_seal``.
        """
        assert self._sealer is not None
        return self._sealer.seal(kind, content, corrupt=corrupt)

    def key_update(self, *, request: bool) -> bytes:
        """The record with our KeyUpdate (TLS 1.3); ``request``: it asks for the peer's.

        Only if ``can_seal``.
        """
        assert self._sealer is not None
        self._awaits_key_update = self._awaits_key_update or request
        return self._sealer.key_update(request=request)

    def send(self, plaintext: bytes) -> bytes:
        """The records that carry ``plaintext``; also after our close_notify, if asked to."""
        if self._sealer is not None:
            starts = range(0, len(plaintext), MOST_CONTENT)
            pieces = (plaintext[start : start + MOST_CONTENT] for start in starts)
            return b"".join(self._sealer.seal(APPLICATION_DATA, piece) for piece in pieces)
        self._reopen()
        view = memoryview(plaintext)
        out = bytearray()
        try:
            while view:
                view = view[self._connection.send(view[:_CHUNK]) :]
                out += self.output()
        except SSL.Error as error:  # after a fatal alert nothing can be sent any more
            self.failure = self.failure or _sentence(error)
        return bytes(out)

    def close_notify(self) -> bytes:
        """The record that carries our close_notify; every call makes another one."""
        if self._sealer is not None:
            return self._sealer.seal(ALERT, _CLOSE_NOTIFY)
        self._reopen()
        try:
            self._connection.shutdown()
        except SSL.Error as error:
            self.failure = self.failure or _sentence(error)
        return self.output()

    def forget(self) -> None:
        """Let go of the callback's reference, so that no cycle outlives the connection."""
        self._connection.set_app_data(None)

    def note_secret(self, line: bytes) -> None:
        """A line of the key log."""
        self._key_log.append(line)

    def note_alert(self, alert: tuple[int, int], *, incoming: bool) -> None:
        """The info callback's report."""
        if incoming:
            self._alerts[self._given - _unread(self._into)] = alert
        else:
            self.alert_sent = alert

    def _flight(self, end: int) -> list[Received]:
        """Hand over all whole records, until the handshake ends or fails in one of them.

        The first ends at ``end``. What OpenSSL did not read is none of the handshake, and stays.
        """
        buffer, ends = self._buffer, [end]
        while (size := _record_size(buffer, end)) > 0:
            end += size
            ends.append(end)
        self._give(bytes(buffer[:end]))
        self._greet()
        self._given -= len(_taken(self._into))
        data = self._plaintext(end) if self.handshaken else b""
        received, start = [], 0
        for end in ends:
            alert = self._alerts.get(end)
            kind = _KINDS_IN_HANDSHAKE[buffer[start]] if alert is None else _kind_of(alert)
            received.append(Received(kind, end - start, b"", alert))
            start = end
            if end >= self._given:
                break
        if data:  # the record that ended the handshake held more than that
            last = received.pop()
            kind = RecordKind.DATA if last.alert is None else last.kind
            received.append(Received(kind, last.length, data, last.alert))
        del buffer[:start]
        return received

    def _one(self, record: bytes) -> Received:
        late = self.notified
        place = self._taken_in
        self._taken_in += record[0] == APPLICATION_DATA or self.version is TlsVersion.TLS12
        if self.failure or (late and self.version is TlsVersion.TLS13):
            # OpenSSL reads no more, and would only pile up what it is given
            return self._unread(record, place)
        if late:  # in TLS 1.2 it can be made to look at what follows a close_notify
            _lib.SSL_set_shutdown(self._ssl, _lib.SSL_get_shutdown(self._ssl) & _SENT)
        self._give(record)
        data = self._plaintext(len(record))
        alert = next(reversed(self._alerts.values()), None)
        if alert is not None:
            kind = _kind_of(alert)
        elif data:
            kind = RecordKind.DATA
        else:
            kind = self._unread_kind(record[0])
        if kind is RecordKind.TICKET and self._awaits_key_update:
            kind = self._told_from_ticket(record, place)
        # RFC 8446 section 6.1: data after a closure alert is ignored
        return Received(kind, len(record), b"" if late else data, alert)

    def _unread(self, record: bytes, place: int) -> Received:
        """A record that OpenSSL does not look at, by what is in it where our own keys tell."""
        inner = self._opened(record, place) if self.handshaken else None
        if inner is not None and inner.kind == ALERT and len(inner.content) == ALERT_SIZE:
            alert = inner.content[0], inner.content[1]
            return Received(_kind_of(alert), len(record), b"", alert)
        return Received(self._unread_kind(record[0]), len(record))

    def _told_from_ticket(self, record: bytes, place: int) -> RecordKind:
        """A ticket, or the KeyUpdate that we have asked for: both leave nothing to read.

        What cannot be opened may be either; nobody is blamed for a KeyUpdate that is missing.
        """
        inner = self._opened(record, place)
        if inner is not None and not changes_keys(inner):
            return RecordKind.TICKET
        self._awaits_key_update = False
        return RecordKind.KEY_UPDATE

    def _opened(self, record: bytes, place: int) -> Opened | None:
        """What is in the ``place``-th record of the peer's behind its Finished."""
        return opened(
            record,
            place,
            self._side.peer,
            cipher=self.cipher or "",
            key_log=self._key_log,
            server_random=self._connection.server_random() or b"",
        )

    @property
    def _begins_with_the_keys(self) -> bool:
        """Whether what ends the handshake on our side goes out under the keys of the session.

        A server's tickets do, in TLS 1.3; a client's Finished has keys of its own, or (TLS 1.2) is
        the first record under those of the session.
        """
        return self._side is Side.SERVER and self.version is TlsVersion.TLS13

    def _count(self, data: bytes) -> None:
        """Keep in mind how many records have gone out under the keys of the session."""
        records = records_in(data)
        if records and self._sealer is None:
            self._written += len(records)
            self._last = records[-1]

    def _take_over(self) -> Sealer | None:
        """Who writes our records from now on; None where OpenSSL's last one says otherwise."""
        if not self.handshaken:
            return None
        finished = int(self.version is TlsVersion.TLS12)
        sealer = sealer_of(
            self._side,
            self.cipher or "",
            self._key_log,
            self._connection.server_random() or b"",
            self._written + finished,
        )
        if sealer is None or (self._last and not sealer.follows(self._last)):
            return None
        return sealer

    def _unread_kind(self, content_type: int) -> RecordKind:
        """What a record is, of which nothing came."""
        if not self.handshaken:
            return _KINDS_IN_HANDSHAKE[content_type]
        unnamed = RecordKind.DATA if self.failure or self.notified else RecordKind.TICKET
        return _CONTENT_TYPES.get(content_type, unnamed)

    def _give(self, records: bytes) -> None:
        self._alerts.clear()
        self._given = len(records)
        _lib.BIO_write(self._into, records, len(records))

    def _greet(self) -> None:
        result = _lib.SSL_do_handshake(self._ssl)
        if result == 1:
            self.handshaken = True
        elif _lib.SSL_get_error(self._ssl, result) != _WANT_READ:
            self._fail(result)

    def _plaintext(self, most: int) -> bytes:
        buffer = _allocate("char[]", most)
        result = _lib.SSL_read(self._ssl, buffer, most)
        if result > 0:
            return bytes(_ffi.buffer(buffer, result))
        error = _lib.SSL_get_error(self._ssl, result)
        alert = next(reversed(self._alerts.values()), None)
        told = alert is not None and alert[1] == CLOSE_NOTIFY
        if error == _ZERO_RETURN or (told and error == _SYSCALL):
            self.notified = (
                True  # behind a user_canceled OpenSSL calls it an error without a reason
            )
        elif error != _WANT_READ:
            self._fail(result)
        return b""

    def _fail(self, result: int) -> None:
        """Keep OpenSSL's reason for a result that is none of the usual ones."""
        try:
            self._connection._raise_ssl_error(self._ssl, result)
        except SSL.Error as error:
            self.failure = self.failure or _sentence(error)
        if self.failure == _VERIFY_FAILED:
            verified = _lib.SSL_get_verify_result(self._ssl)
            words = _ffi.string(_lib.X509_verify_cert_error_string(verified)).decode("ascii")
            self.untrusted = Untrusted(verified, words)

    def _reopen(self) -> None:
        """Make OpenSSL forget that it has sent a close_notify."""
        state = _lib.SSL_get_shutdown(self._ssl)
        if state & _SENT:
            _lib.SSL_set_shutdown(self._ssl, state & ~_SENT)

    def _renew_buffers(self) -> None:
        """Give back the memory that the flights of the handshake took; it is kept otherwise."""
        self._slim = True
        self._into, self._out = _memory(), _memory()
        _lib.SSL_set_bio(self._ssl, self._into, self._out)


def _kind_of(alert: tuple[int, int]) -> RecordKind:
    return RecordKind.CLOSE_NOTIFY if alert[1] == CLOSE_NOTIFY else RecordKind.ALERT


def _memory() -> Any:
    """A memory BIO; the session that takes it frees it."""
    memory = _lib.BIO_new(_lib.BIO_s_mem())
    if memory == _ffi.NULL:
        raise MemoryError
    return memory


def _unread(memory: Any) -> int:
    """Bytes in a memory BIO."""
    return int(_lib.BIO_get_mem_data(memory, _POINTER))


def _taken(memory: Any) -> bytes:
    """Take all that is in a memory BIO."""
    size = _lib.BIO_get_mem_data(memory, _POINTER)
    if not size:
        return b""
    buffer = _allocate("char[]", size)
    return bytes(_ffi.buffer(buffer, _lib.BIO_read(memory, buffer, size)))


def _record_size(stream: bytearray, at: int) -> int:
    """Length of the record that begins there, 0 while it is not whole, NO_RECORD if it is none.

    RFC 8446 section 5.1: content type 20 to 24, major version 3, bounded length.
    """
    left = len(stream) - at
    if left < _HEADER:
        stranger = (left and not 20 <= stream[at] <= 24) or (left > 1 and stream[at + 1] != 3)
        return _NO_RECORD if stranger else 0
    kind, major, length = _RECORD_HEADER(stream, at)
    if not 20 <= kind <= 24 or major != 3 or length > _MAX_RECORD:
        return _NO_RECORD
    size: int = _HEADER + length
    return size if size <= left else 0


def _context(lowest: TlsVersion, highest: TlsVersion) -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(_VERSIONS[lowest])
    context.set_max_proto_version(_VERSIONS[highest])
    _lib.SSL_CTX_set_info_callback(context._context, _INFO_CALLBACK)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_keylog_callback(_keylog())
    return context


def _on_info(ssl: Any, where: int, value: int) -> None:
    if not where & _ALERT:  # it is called for each step of a handshake
        return
    session = _session_of(ssl)
    if session is not None:
        session.note_alert((value >> 8, value & 0xFF), incoming=bool(where & SSL.SSL_CB_READ))


def _on_request(ssl: Any, _: Any) -> int:
    """The server has asked for our certificate; whatever there is may be sent."""
    session = _session_of(ssl)
    if session is not None:
        session.asked_certificate = True
    return 1


def _session_of(ssl: Any) -> TlsSession | None:
    connection = SSL.Connection._reverse_mapping.get(ssl)
    session: TlsSession | None = None if connection is None else connection.get_app_data()
    return session


_INFO_CALLBACK = _ffi.callback("void (*)(const SSL *, int, int)", _on_info)
_CERTIFICATE_CALLBACK = _ffi.callback("int (*)(SSL *, void *)", _on_request)


def _offer_small_key_shares(context: SSL.Context) -> None:
    """OpenSSL's own key exchanges, but for the hybrid one with ML-KEM.

    Its key share is kept as long as the connection, 8 KiB in each of thousands that wait idle; it
    takes a kilobyte more of each ClientHello, and of a handshake's time a tenth.
    """
    if not _lib.SSL_CTX_set1_curves_list(context._context, _GROUPS):
        _lib.ERR_clear_error()  # a build without one of them offers what it has


def _expect_name(context: SSL.Context, name: str) -> None:
    """Have verification fail for a certificate that is for another name or address (RFC 9525)."""
    parameters = _lib.SSL_CTX_get0_param(context._context)
    try:
        packed = ip_address(name.partition("%")[0]).packed
    except ValueError:
        host = _server_name(name)
        _lib.X509_VERIFY_PARAM_set_hostflags(parameters, _WHOLE_LABELS)
        _lib.X509_VERIFY_PARAM_set1_host(parameters, host, len(host))
    else:
        _lib.X509_VERIFY_PARAM_set1_ip(parameters, packed, len(packed))


def _keylog(
    log: Callable[[bytes], None] = lambda _: None,
) -> Callable[[SSL.Connection, bytes], None]:
    """Tell each session its secrets, and whoever wants to know as well."""

    def note(connection: SSL.Connection, line: bytes) -> None:
        session: TlsSession | None = connection.get_app_data()
        if session is not None:
            session.note_secret(line)
        log(line)

    return note


def _appended_to(path: Path) -> Callable[[bytes], None]:
    """Append NSS key log lines; the file is made now, so that a bad path is said now."""

    def log(line: bytes) -> None:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:
            file.write(line and line + b"\n")

    try:
        log(b"")
    except OSError as error:
        raise UsageError(f"cannot write the key log {path}: {error.strerror}") from error
    return log


def _server_name(name: str) -> bytes:
    try:
        return name.encode("idna")
    except UnicodeError:
        hint = "a server name is a DNS name, for example db.example.com: --sni NAME"
        raise UsageError(f"{name!a} is not a server name", hint) from None


def _alpn(names: tuple[str, ...]) -> list[bytes]:
    """RFC 7301 section 3.1: each name has 1 to 255 bytes."""
    for name in names:
        if not (name.isascii() and 0 < len(name) <= 255):
            hint = "protocol names are short and ASCII, for example http/1.1 or h2: --alpn NAME"
            raise UsageError(f"cannot offer the protocol {name!a}", hint)
    return [name.encode("ascii") for name in names]


def _load(what: str, path: Path, load: Callable[[], None]) -> None:
    try:
        path.read_bytes()
    except OSError as error:
        hint = "check the path and that this user may read it"
        raise UsageError(f"cannot read the {what} {path}: {error.strerror}", hint) from error
    try:
        load()
    except SSL.Error as error:
        said = _sentence(error)
        reason = _FILE_ERRORS.get(said, f"not a PEM {what} that OpenSSL understands ({said})")
        raise UsageError(f"cannot use the {what} {path}: {reason}") from error


def _sentence(error: SSL.Error) -> str:
    """OpenSSL's error queue as words: the first reason that it gives."""
    queue = error.args[0] if error.args else None
    reasons = [entry[-1] for entry in queue if entry[-1]] if isinstance(queue, list) else []
    return reasons[0] if reasons else "TLS failed without giving a reason"
