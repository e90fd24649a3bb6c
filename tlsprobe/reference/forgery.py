"""Alerts that OpenSSL would never send: TLS 1.3 records sealed by hand.

OpenSSL's key log tells the secret under which the server writes; the rest is the key schedule and
the record protection of RFC 8446, sections 7.3 and 5.2. A forged record takes a sequence number
that OpenSSL does not know of, so only forged ones can follow.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from tlsprobe.tls import TlsContext, TlsSession

CIPHER = "TLS_AES_256_GCM_SHA384"
"""The one cipher suite that can be forged, OpenSSL's first choice."""

_secrets: WeakKeyDictionary[TlsSession, bytes] = WeakKeyDictionary()


def listen(context: TlsContext) -> None:
    """Keep the write secrets of this context's sessions."""
    context.context.set_keylog_callback(_note)


def can_forge(session: TlsSession) -> bool:
    """Whether this session's records can be made by hand."""
    return session in _secrets and session.cipher == CIPHER


def forged_alert(session: TlsSession, sequence: int, level: int, description: int) -> bytes:
    """The record with this alert, as the ``sequence``-th that the server writes (from 0)."""
    secret = _secrets[session]
    key, iv = _expanded(secret, b"key", 32), _expanded(secret, b"iv", 12)
    inner = bytes((level, description, 21))  # and the content type, an alert
    header = b"\x17\x03\x03" + (len(inner) + 16).to_bytes(2)
    nonce = (int.from_bytes(iv) ^ sequence).to_bytes(12)
    return header + AESGCM(key).encrypt(nonce, inner, header)


def records_in(data: bytes) -> int:
    """How many TLS records these bytes are."""
    count = position = 0
    while position < len(data):
        position += 5 + int.from_bytes(data[position + 3 : position + 5])
        count += 1
    return count


def _note(connection: Any, line: bytes) -> None:
    label, _, rest = line.partition(b" ")
    session = connection.get_app_data()
    if label == b"SERVER_TRAFFIC_SECRET_0" and session is not None:
        _secrets[session] = bytes.fromhex(rest.split()[1].decode())


def _expanded(secret: bytes, label: bytes, length: int) -> bytes:
    """HKDF-Expand-Label with an empty context (section 7.1)."""
    full = b"tls13 " + label
    info = length.to_bytes(2) + bytes((len(full),)) + full + b"\0"
    return HKDFExpand(SHA384(), length, info).derive(secret)
