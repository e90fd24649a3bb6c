"""One side of one TLS connection: ciphertext in and out, typed records and alerts out.

What every connection does a dozen times goes past pyOpenSSL's methods to the functions of OpenSSL
that they call: there "nothing to read yet" is a number and no exception.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from OpenSSL import SSL
from OpenSSL._util import ffi as _ffi
from OpenSSL._util import lib as _lib

from tlsprobe.model.alerts import CLOSE_NOTIFY
from tlsprobe.model.target import TlsVersion
from tlsprobe.model.trace import RecordKind, Side
from tlsprobe.records.key_log import Opened
from tlsprobe.records.sealing import MOST_CONTENT, Sealer, changes_keys, records_in
from tlsprobe.records.walk import ALERT, ALERT_SIZE, APPLICATION_DATA, HANDSHAKE
from tlsprobe.tls.memory import allocate, new_memory, taken, unread
from tlsprobe.tls.resumption import Resumable, resumable
from tlsprobe.tls.session_keys import Opener, SessionKeys

_WANT_READ, _ZERO_RETURN = _lib.SSL_ERROR_WANT_READ, _lib.SSL_ERROR_ZERO_RETURN
_SYSCALL = _lib.SSL_ERROR_SYSCALL
_SENT = SSL.SENT_SHUTDOWN
_HEADER = 5
_CLOSE_NOTIFY = bytes((1, CLOSE_NOTIFY))
_CERTIFICATE_REQUEST = b"\x0d"
_RECORD_HEADER = struct.Struct(">BBxH").unpack_from
_MAX_RECORD = 2**14 + 2048
_NO_RECORD = -1
_VERIFY_FAILED = "certificate verify failed"
_CONTENT_TYPES = {20: RecordKind.HANDSHAKE, 21: RecordKind.ALERT, 22: RecordKind.HANDSHAKE}
_KINDS_IN_HANDSHAKE = {
    number: _CONTENT_TYPES.get(number, RecordKind.HANDSHAKE) for number in range(20, 25)
}
_CHUNK = 2**16
_END_OF_EARLY_DATA = 5 + 4 + 1 + 16
"""The size of its record: header, message (RFC 8446 section 4.5), type, tag; no other is so short.

It goes out in front of our Finished if the server has taken the early data, and only then.
"""


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


class TlsSession:
    """One side of one TLS connection.

    ``failure`` is a sentence once the handshake or the record layer has given up, ``untrusted``
    why, if that was the server's certificate; ``over`` says that what follows in the stream is no
    TLS. ``asked_certificate``: the server wanted a certificate of ours; ``asked_again``: after the
    handshake, which it may where ``authenticates`` says that we have offered it.
    """

    def __init__(self, connection: SSL.Connection, side: Side) -> None:
        self._connection = connection
        self._side = side
        self._keys = SessionKeys(side, connection)
        self._taken_in = 0
        self._awaits_key_update = False
        self._offers_early = False
        self.took_early = False
        self._by_hand: Opener | None = None
        self._ssl = connection._ssl
        self._into, self._out = connection._into_ssl, connection._from_ssl
        self._buffer = bytearray()
        self._alerts: dict[int, tuple[int, int]] = {}
        self._given = 0
        self._slim = False
        self._version: TlsVersion | None = None
        connection.set_app_data(self)
        self.handshaken = False
        self.failure: str | None = None
        self.untrusted: Untrusted | None = None
        self.asked_certificate = False
        self.authenticates = False
        self.asked_again = False
        self.alert_sent: tuple[int, int] | None = None
        self.over = False
        self.notified = False

    @property
    def version(self) -> TlsVersion:
        """What was negotiated."""
        if self._version is not None:
            return self._version
        version = TlsVersion(self._connection.get_protocol_version_name().removeprefix("TLSv"))
        if self.handshaken:
            self._version = version
        return version

    @property
    def cipher(self) -> str | None:
        """The cipher suite by OpenSSL's name."""
        return self._keys.cipher

    @property
    def alpn(self) -> str | None:
        """The protocol that ALPN chose."""
        return self._connection.get_alpn_proto_negotiated().decode("ascii", "replace") or None

    @property
    def resumable(self) -> Resumable | None:
        """The session as it can be offered on another connection; None if nothing can resume it."""
        return resumable(self._ssl) if self.handshaken else None

    @property
    def said_close(self) -> bool:
        """Whether our close_notify has gone out."""
        return bool(_lib.SSL_get_shutdown(self._ssl) & _SENT)

    @property
    def was_resumed(self) -> bool:
        """Whether the handshake was that of an earlier session."""
        return bool(_lib.SSL_session_reused(self._ssl))

    def handshake(self) -> bytes:
        """Go on with the handshake; what is to be sent, if anything."""
        self._greet()
        return self.output()

    @property
    def early_limit(self) -> int:
        """How many bytes of early data the session allows that is offered, or was given; or 0."""
        session = _lib.SSL_get_session(self._ssl)
        return 0 if session == _ffi.NULL else int(_lib.SSL_SESSION_get_max_early_data(session))

    def early(self, plaintext: bytes) -> bytes:
        """The ClientHello, and records of early data behind it; at most ``early_limit`` bytes.

        ``took_early`` says, behind the handshake, whether the server took them.
        """
        self._offers_early = True
        written = _ffi.new("size_t *")
        result = _lib.SSL_write_early_data(self._ssl, plaintext, len(plaintext), written)
        if result != 1:
            self._fail(result)
        return self.output()

    def output(self) -> bytes:
        """Ciphertext that OpenSSL wants on the wire."""
        data = taken(self._out)
        if self._offers_early and self.handshaken and data:
            sizes = {len(record) for record in records_in(data) if record[0] == APPLICATION_DATA}
            self.took_early, self._offers_early = _END_OF_EARLY_DATA in sizes, False
        if not self.handshaken:
            return data
        if self._slim or (data and self._begins_with_the_keys):
            self._keys.count(data)
        if not self._slim:
            self._renew_buffers()
        return data if self._keys.sealer is None else b""

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
        return self.handshaken and self._keys.take_over(self.version)

    def seal(self, kind: int, content: bytes, *, corrupt: bool = False, padding: int = 0) -> bytes:
        """A record of this content type, made by hand; ``corrupt``: with a tag that fits nothing.

        ``padding`` is so many zeros behind the content (TLS 1.3). Only if ``can_seal``.
        """
        return self._hand.seal(kind, content, corrupt=corrupt, padding=padding)

    def renegotiate(self) -> bytes:
        """The record with a ClientHello for another handshake (TLS 1.2), which goes no further.

        OpenSSL makes it and hears no more of the connection: it would end it where the server does
        not want to. All that comes is opened by hand from now on. Empty where OpenSSL does not ask
        such a server. Only if ``can_seal``.
        """
        if self._by_hand is None:
            self._by_hand = self._keys.opener(self._side.peer)
            self._keys.keep_cipher()
        _lib.SSL_renegotiate(self._ssl)
        _lib.SSL_do_handshake(self._ssl)
        records = records_in(taken(self._out))
        _lib.ERR_clear_error()
        hello = self._keys.next_of_ours(records[0]) if records else None
        return self._hand.seal(HANDSHAKE, hello.content) if hello else b""

    def key_update(self, *, request: bool) -> bytes:
        """The record with our KeyUpdate (TLS 1.3); ``request``: it asks for the peer's.

        Only if ``can_seal``.
        """
        self._awaits_key_update = self._awaits_key_update or request
        return self._hand.key_update(request=request)

    def send(self, plaintext: bytes) -> bytes:
        """The records that carry ``plaintext``; also after our close_notify, if asked to."""
        if self._keys.sealer is not None:
            starts = range(0, len(plaintext), MOST_CONTENT)
            pieces = (plaintext[start : start + MOST_CONTENT] for start in starts)
            return b"".join(self._keys.sealer.seal(APPLICATION_DATA, piece) for piece in pieces)
        self._reopen()
        view = memoryview(plaintext)
        out = bytearray()
        try:
            while view:
                view = view[self._connection.send(view[:_CHUNK]) :]
                out += self.output()
        except SSL.Error as error:  # after a fatal alert nothing can be sent any more
            self.failure = self.failure or sentence(error)
        return bytes(out)

    def close_notify(self) -> bytes:
        """The record that carries our close_notify; every call makes another one."""
        if self._keys.sealer is not None:
            return self._keys.sealer.seal(ALERT, _CLOSE_NOTIFY)
        self._reopen()
        try:
            self._connection.shutdown()
        except SSL.Error as error:
            self.failure = self.failure or sentence(error)
        return self.output()

    def forget(self) -> None:
        """Let go of the callback's reference, so that no cycle outlives the connection."""
        self._connection.set_app_data(None)

    def note_secret(self, line: bytes) -> None:
        """A line of the key log; what is of no use behind the handshake is not kept."""
        self._keys.note(line)

    def note_alert(self, alert: tuple[int, int], *, incoming: bool) -> None:
        """The info callback's report."""
        if incoming:
            self._alerts[self._given - unread(self._into)] = alert
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
        self._given -= len(taken(self._into))
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
        if self._by_hand is not None:
            return self._read_by_hand(self._by_hand(record, place), record)
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
        elif self.authenticates and self._asks(record, place):
            kind, self.asked_again = RecordKind.HANDSHAKE, True
        else:
            kind = self._unread_kind(record[0])
        if kind is RecordKind.TICKET and self._awaits_key_update:
            kind = self._told_from_ticket(record, place)
        # RFC 8446 section 6.1: data after a closure alert is ignored
        return Received(kind, len(record), b"" if late else data, alert)

    def _unread(self, record: bytes, place: int) -> Received:
        """A record that OpenSSL does not look at, by what is in it where our own keys tell."""
        inner = self._keys.opened(record, place) if self.handshaken else None
        if inner is not None and inner.kind == ALERT and len(inner.content) == ALERT_SIZE:
            alert = inner.content[0], inner.content[1]
            return Received(_kind_of(alert), len(record), b"", alert)
        return Received(self._unread_kind(record[0]), len(record))

    def _asks(self, record: bytes, place: int) -> bool:
        """Whether it is a CertificateRequest behind the handshake (RFC 8446 section 4.6.2)."""
        inner = self._keys.opened(record, place)
        if inner is None or inner.kind != HANDSHAKE:
            return False
        return inner.content[:1] == _CERTIFICATE_REQUEST

    def _told_from_ticket(self, record: bytes, place: int) -> RecordKind:
        """A ticket, or the KeyUpdate that we have asked for: both leave nothing to read.

        What cannot be opened may be either; nobody is blamed for a KeyUpdate that is missing.
        """
        inner = self._keys.opened(record, place)
        if inner is not None and not changes_keys(inner):
            return RecordKind.TICKET
        self._awaits_key_update = False
        return RecordKind.KEY_UPDATE

    def _read_by_hand(self, inner: Opened | None, record: bytes) -> Received:
        """A record that OpenSSL is not given."""
        size, late = len(record), self.notified
        if inner is None:
            return Received(self._unread_kind(record[0]), size)
        if inner.kind == ALERT and len(inner.content) == ALERT_SIZE:
            alert = inner.content[0], inner.content[1]
            self.notified = late or alert[1] == CLOSE_NOTIFY
            return Received(_kind_of(alert), size, b"", alert)
        if inner.kind == APPLICATION_DATA:
            return Received(RecordKind.DATA, size, b"" if late else inner.content)
        return Received(RecordKind.HANDSHAKE, size)

    @property
    def _hand(self) -> Sealer:
        """Who writes our records in OpenSSL's place; only if ``can_seal``."""
        assert self._keys.sealer is not None
        return self._keys.sealer

    @property
    def _begins_with_the_keys(self) -> bool:
        """Whether what ends the handshake on our side goes out under the keys of the session.

        A server's tickets do, in TLS 1.3; a client's Finished has keys of its own, or (TLS 1.2) is
        the first record under those of the session.
        """
        return self._side is Side.SERVER and self.version is TlsVersion.TLS13

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
        buffer = allocate("char[]", most)
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
            self.failure = self.failure or sentence(error)
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
        self._into, self._out = new_memory(), new_memory()
        _lib.SSL_set_bio(self._ssl, self._into, self._out)


def _kind_of(alert: tuple[int, int]) -> RecordKind:
    return RecordKind.CLOSE_NOTIFY if alert[1] == CLOSE_NOTIFY else RecordKind.ALERT


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


def sentence(error: SSL.Error) -> str:
    """OpenSSL's error queue as words: the first reason that it gives."""
    queue = error.args[0] if error.args else None
    reasons = [entry[-1] for entry in queue if entry[-1]] if isinstance(queue, list) else []
    return reasons[0] if reasons else "TLS failed without giving a reason"
