"""A session as it can be offered on another connection: its bytes, and by what it is resumed."""

from __future__ import annotations

from typing import Any, NamedTuple

from OpenSSL._util import ffi as _ffi
from OpenSSL._util import lib as _lib

from tlsprobe.model.trace import By

_ID_FIELD, _TICKET_FIELD = 3, 0xAA


class Resumable(NamedTuple):
    """A session as bytes (OpenSSL's own form of it, with its keys), and by what it is resumed."""

    data: bytes
    by: By


def resumable(ssl: Any) -> Resumable | None:
    """The session of a connection (OpenSSL's ``SSL *``); None if nothing can resume it.

    A copy: OpenSSL gives its own up where a connection ends without a close_notify.
    """
    session = _lib.SSL_get_session(ssl)
    size = 0 if session == _ffi.NULL else _lib.i2d_SSL_SESSION(session, _ffi.NULL)
    if size <= 0:
        return None
    buffer = _ffi.new("unsigned char[]", size)
    _lib.i2d_SSL_SESSION(session, _ffi.new("unsigned char **", buffer))
    data = bytes(_ffi.buffer(buffer, size))
    by = resumed_by(data)
    return None if by is None else Resumable(data, by)


def resumed_by(session: bytes) -> By | None:
    """By what a session of OpenSSL's can be resumed: a ticket, where it has one, or an id.

    It is a sequence in DER: version, version of TLS, cipher, id, keys, and optional fields with
    numbers, of which the ticket has 10 (openssl/ssl/ssl_asn1.c).
    """
    fields = _fields(_fields(session)[0][1])
    if any(tag == _TICKET_FIELD for tag, _ in fields):
        return By.TICKET
    return By.ID if fields[_ID_FIELD][1] else None


def _fields(der: bytes) -> list[tuple[int, bytes]]:
    """The tags and contents of the values that follow each other in DER (X.690 section 8.1)."""
    found, at = [], 0
    while at < len(der):
        tag, size, at = der[at], der[at + 1], at + 2
        if size & 0x80:
            count = size & 0x7F
            size, at = int.from_bytes(der[at : at + count], "big"), at + count
        found.append((tag, der[at : at + size]))
        at += size
    return found
