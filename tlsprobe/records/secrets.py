"""Opens small TLS records of a capture with the secrets of a key log: is it an alert, and which.

The key log (SSLKEYLOGFILE, draft-ietf-tls-keylogfile) has the traffic secrets of TLS 1.3 and the
master secret of TLS 1.2; from there it is the key schedule of RFC 8446 section 7.3 or the PRF of
RFC 5246 section 5, and the nonce of section 5.3, RFC 5288 or RFC 7905. AEAD ciphers only: older
ones stay closed. A record's sequence number is its place in the direction, so a capture that lost
records can be opened up to the loss.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, HashAlgorithm
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from tlsprobe.model.trace import Side
from tlsprobe.records.key_log import Opened, Secrets
from tlsprobe.records.walk import (
    ALERT,
    ALERT_SIZE,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    TLS13,
    FoundRecord,
    Hello,
)

_TAG = 16
_MOST_HANDSHAKE_RECORDS = 24
_KEY_UPDATE = 24
_Aead = type[AESGCM] | type[ChaCha20Poly1305] | type[AESCCM]


class Suite(NamedTuple):
    """A cipher suite: the AEAD, its key length and the hash of its key schedule."""

    aead: _Aead
    key: int
    hashed: type[HashAlgorithm]
    tag: int = _TAG


_AES128, _AES256 = Suite(AESGCM, 16, SHA256), Suite(AESGCM, 32, SHA384)
_CHACHA = Suite(ChaCha20Poly1305, 32, SHA256)
_SUITES = {
    0x1301: _AES128, 0x1302: _AES256, 0x1303: _CHACHA,
    0x1304: Suite(AESCCM, 16, SHA256), 0x1305: Suite(AESCCM, 16, SHA256, 8),
    0x009C: _AES128, 0x009E: _AES128, 0xC02B: _AES128, 0xC02F: _AES128,
    0x009D: _AES256, 0x009F: _AES256, 0xC02C: _AES256, 0xC030: _AES256,
    0xCCA8: _CHACHA, 0xCCA9: _CHACHA, 0xCCAA: _CHACHA,
}  # fmt: skip


def opened(
    found: Sequence[FoundRecord], side: Side, client: Hello, server: Hello, secrets: Secrets
) -> dict[int, Opened]:
    """The small records of one direction that could be opened, by their index."""
    suite = _SUITES.get(server.cipher or 0)
    if suite is None:
        return {}
    if server.version == TLS13:
        secret = secrets.get(f"{side.upper()}_TRAFFIC_SECRET_0")
        return _opened_13(found, suite, secret) if secret else {}
    master = secrets.get("CLIENT_RANDOM")
    randoms = server.random + client.random
    return _opened_12(found, side, suite, master, randoms) if master else {}


# --- TLS 1.3 --------------------------------------------------------------------------------------


def _opened_13(found: Sequence[FoundRecord], suite: Suite, secret: bytes) -> dict[int, Opened]:
    contents: dict[int, Opened] = {}
    others = sum(record.kind != APPLICATION_DATA for record in found)
    sealed = [record for record in found if record.kind == APPLICATION_DATA]
    shifts: Iterable[int] = range(_MOST_HANDSHAKE_RECORDS)  # records sealed with earlier secrets
    for record in sealed:
        place = record.place - others
        if not record.whole or place < 0:
            continue
        for shift in shifts:
            inner = _open_13(record, suite, secret, place - shift)
            if inner is not None:
                contents[record.place] = inner
                shifts = (shift,)
                if inner.kind == HANDSHAKE and inner.content[:1] == bytes([_KEY_UPDATE]):
                    secret = _label(suite, secret, b"traffic upd", suite.hashed().digest_size)
                    shifts = (place + 1,)
                break
    return contents


def _open_13(record: FoundRecord, suite: Suite, secret: bytes, sequence: int) -> Opened | None:
    if sequence < 0:
        return None
    key, iv = _label(suite, secret, b"key", suite.key), _label(suite, secret, b"iv", 12)
    head = b"\x17\x03\x03" + record.size.to_bytes(2, "big")
    plain = _unseal(suite, key, _nonce(iv, sequence), record.body, head)
    if plain is None:
        return None
    inner = plain.rstrip(b"\0")
    return Opened(inner[-1], inner[:-1]) if inner else None


def _label(suite: Suite, secret: bytes, label: bytes, length: int) -> bytes:
    """HKDF-Expand-Label with an empty context (RFC 8446 section 7.1)."""
    full = b"tls13 " + label
    info = length.to_bytes(2, "big") + bytes((len(full),)) + full + b"\0"
    return HKDFExpand(suite.hashed(), length, info).derive(secret)


# --- TLS 1.2 --------------------------------------------------------------------------------------


def _opened_12(
    found: Sequence[FoundRecord], side: Side, suite: Suite, master: bytes, randoms: bytes
) -> dict[int, Opened]:
    changed = next((r.place for r in found if r.kind == CHANGE_CIPHER_SPEC), None)
    if changed is None:
        return {}
    fixed = 12 if suite.aead is ChaCha20Poly1305 else 4
    block = _prf(suite, master, b"key expansion" + randoms, 2 * 44)
    mine = int(side is Side.SERVER)
    key = block[mine * suite.key :][: suite.key]
    iv = block[2 * suite.key + mine * fixed :][:fixed]
    contents = {}
    for record in found:
        if record.kind != ALERT or record.place <= changed or not record.whole:
            continue
        plain = _open_12(record, suite, key, iv, record.place - changed - 1)
        if plain is not None:
            contents[record.place] = Opened(record.kind, expanded(plain))
    return contents


def expanded(content: bytes) -> bytes:
    """An alert's two bytes, where the session compresses with DEFLATE (RFC 3749).

    A direction is one stream, but two bytes repeat nothing of what came before, so that the alert's
    piece of it can be read alone. What is no such piece is given back as it is.
    """
    if len(content) == ALERT_SIZE:
        return content
    try:
        alert = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, ALERT_SIZE + 1)
    except zlib.error:
        return content
    return alert if len(alert) == ALERT_SIZE else content


def _open_12(
    record: FoundRecord, suite: Suite, key: bytes, iv: bytes, sequence: int
) -> bytes | None:
    sealed = record.body
    if len(iv) == 12:
        nonce = _nonce(iv, sequence)
    else:
        nonce, sealed = iv + sealed[:8], sealed[8:]
    size = len(sealed) - suite.tag
    if size < 0:
        return None
    head = sequence.to_bytes(8, "big") + bytes((record.kind, 3, 3)) + size.to_bytes(2, "big")
    return _unseal(suite, key, nonce, sealed, head)


def _prf(suite: Suite, secret: bytes, seed: bytes, length: int) -> bytes:
    """P_hash of RFC 5246 section 5."""
    out, chained = b"", seed
    while len(out) < length:
        chained = _hmac(suite, secret, chained)
        out += _hmac(suite, secret, chained + seed)
    return out[:length]


def _hmac(suite: Suite, key: bytes, data: bytes) -> bytes:
    mac = HMAC(key, suite.hashed())
    mac.update(data)
    return mac.finalize()


# --- both -----------------------------------------------------------------------------------------


def _nonce(iv: bytes, sequence: int) -> bytes:
    return (int.from_bytes(iv, "big") ^ sequence).to_bytes(12, "big")


def _unseal(suite: Suite, key: bytes, nonce: bytes, sealed: bytes, head: bytes) -> bytes | None:
    cipher = AESCCM(key, suite.tag) if suite.aead is AESCCM else suite.aead(key)
    try:
        return cipher.decrypt(nonce, sealed, head)
    except (InvalidTag, ValueError):  # not this key or place; or too short for a tag
        return None
