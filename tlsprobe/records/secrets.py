"""Opens TLS records of a capture with the secrets of a key log: is it an alert, and which.

The key log (SSLKEYLOGFILE, draft-ietf-tls-keylogfile) has the traffic secrets of TLS 1.3 and the
master secret of TLS 1.2; from there it is the key schedule of RFC 8446 section 7.3 or the PRF of
RFC 5246 section 5. A record's sequence number is its place behind the change of keys; where records
were lost, a few more are tried. A renegotiation (TLS 1.2) has hellos of its own, sealed with the
keys before it, and secrets of its own in the key log.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from tlsprobe.model.trace import Side
from tlsprobe.records.key_log import Opened, Secrets
from tlsprobe.records.suites import SUITES, Keys, Suite, nonce_of
from tlsprobe.records.walk import (
    ALERT,
    ALERT_SIZE,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    TLS13,
    FoundRecord,
    Hello,
    read_hello,
)

_MOST_HANDSHAKE_RECORDS = 24
_MOST_NEGOTIATIONS = 8
_MOST_LOST = 256
"""So many records may be missing in front of one, if any are."""

KEY_UPDATE = 24
"""The handshake message that changes keys (RFC 8446 section 4.6.3)."""

_TLS12 = 0x0303
_SEALED_12 = frozenset({ALERT, HANDSHAKE, APPLICATION_DATA})

Found = Mapping[Side, Sequence[FoundRecord]]
Contents = dict[Side, dict[int, Opened]]
"""The records that could be opened, by their place in each direction."""


def opened(
    found: Found, client: Hello, server: Hello, key_log: Mapping[bytes, Secrets], *, lost: bool
) -> Contents:
    """The records of both directions that could be opened, of those that were kept whole.

    ``lost`` says that records are missing between those that were found.
    """
    contents: Contents = {side: {} for side in Side}
    secrets = key_log.get(client.random)
    suite = SUITES.get(server.cipher or 0)
    if secrets is None or suite is None:
        return contents
    if server.version == TLS13:
        for side in Side:
            secret = secrets.get(f"{side.upper()}_TRAFFIC_SECRET_0")
            if secret and suite.aead is not None:
                contents[side] = _opened_13(found.get(side, ()), suite, secret, lost=lost)
    elif server.version == _TLS12:
        _open_12(found, client, server, key_log, contents, lost=lost)
    return contents


# --- TLS 1.3 --------------------------------------------------------------------------------------


def _opened_13(
    found: Sequence[FoundRecord], suite: Suite, secret: bytes, *, lost: bool
) -> dict[int, Opened]:
    contents: dict[int, Opened] = {}
    others = sum(record.kind != APPLICATION_DATA for record in found)
    keys = keys_13(suite, secret)
    # Records sealed with earlier secrets come first; how many, the first that opens tells.
    shift: int | None = None
    for record in found:
        place = record.place - others
        if record.kind != APPLICATION_DATA or not record.whole or place < 0:
            continue
        for candidate in _shifts(shift, lost=lost):
            inner = _open_13(record, keys, place - candidate)
            if inner is not None:
                contents[record.place] = inner
                shift = candidate
                if inner.kind == HANDSHAKE and inner.content[:1] == bytes([KEY_UPDATE]):
                    secret = next_secret(suite, secret)
                    keys, shift = keys_13(suite, secret), place + 1
                break
    return contents


def _shifts(known: int | None, *, lost: bool) -> Iterable[int]:
    """By how much a record's place may differ from its number; less than before, after a loss."""
    if known is None:
        return range(-_MOST_LOST if lost else 0, _MOST_HANDSHAKE_RECORDS)
    return range(known, known - _MOST_LOST, -1) if lost else (known,)


def keys_13(suite: Suite, secret: bytes) -> Keys:
    """The keys of a direction from its traffic secret (RFC 8446 section 7.3)."""
    return Keys(suite, _label(suite, secret, b"key", suite.key), _label(suite, secret, b"iv", 12))


def next_secret(suite: Suite, secret: bytes) -> bytes:
    """The traffic secret behind a KeyUpdate (RFC 8446 section 7.2)."""
    return _label(suite, secret, b"traffic upd", suite.hashed().digest_size)


def _open_13(record: FoundRecord, keys: Keys, sequence: int) -> Opened | None:
    if sequence < 0:
        return None
    return open_13(keys, sequence, record.body)


def open_13(keys: Keys, sequence: int, body: bytes) -> Opened | None:
    """What is in a record of TLS 1.3; None if it was not sealed with these keys, so numbered."""
    head = b"\x17\x03\x03" + len(body).to_bytes(2, "big")
    plain = keys.unseal(nonce_of(keys.iv, sequence), body, head)
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


def _open_12(
    found: Found,
    client: Hello,
    server: Hello,
    key_log: Mapping[bytes, Secrets],
    contents: Contents,
    *,
    lost: bool,
) -> None:
    """From one negotiation to the next: what each seals, up to the next change of keys."""
    for number in range(_MOST_NEGOTIATIONS):
        suite = SUITES.get(server.cipher or 0)
        secrets = key_log.get(client.random)
        if suite is None or secrets is None or "CLIENT_RANDOM" not in secrets:
            return
        randoms = client.random, server.random
        both = keys_12(suite, secrets["CLIENT_RANDOM"], *randoms)
        hellos: dict[Side, Hello] = {}
        for side in Side:
            for record, inner in _opened_12(found.get(side, ()), both[side], number, lost=lost):
                if record.kind == ALERT:
                    contents[side][record.place] = Opened(ALERT, expanded(inner))
                elif record.kind == APPLICATION_DATA:
                    contents[side][record.place] = Opened(APPLICATION_DATA, inner)
                elif (hello := read_hello(inner)) is not None:
                    hellos[side] = hello
        if len(hellos) < len(Side):
            return
        client, server = hellos[Side.CLIENT], hellos[Side.SERVER]


def _opened_12(
    found: Sequence[FoundRecord], keys: Keys, number: int, *, lost: bool
) -> Iterator[tuple[FoundRecord, bytes]]:
    """The records behind the ``number``-th change of keys, up to the next."""
    changes = [record.place for record in found if record.kind == CHANGE_CIPHER_SPEC]
    if number >= len(changes):
        return
    until = changes[number + 1] if number + 1 < len(changes) else 1 << 62
    missing = 0
    for record in found:
        sequence = record.place - changes[number] - 1
        if record.kind not in _SEALED_12 or sequence < 0 or record.place > until:
            continue
        if not record.whole:
            continue
        head = bytes((record.kind, 3, 3))
        for more in range(missing, missing + _MOST_LOST) if lost else (0,):
            inner = keys.open(head, sequence + more, record.body)
            if inner is not None:
                missing = more
                yield record, inner
                break


def keys_12(
    suite: Suite, master: bytes, client_random: bytes, server_random: bytes
) -> dict[Side, Keys]:
    """The key block: MAC keys, keys and nonces, the client's first (RFC 5246 section 6.3)."""
    sizes = suite.mac_key, suite.key, suite.fixed_iv
    seed = b"key expansion" + server_random + client_random
    block = _prf(suite, master, seed, 2 * sum(sizes))
    keys = {}
    for at, side in enumerate((Side.CLIENT, Side.SERVER)):
        mac_key, key, iv = (
            block[2 * sum(sizes[:n]) + at * size :][:size] for n, size in enumerate(sizes)
        )
        keys[side] = Keys(suite, key, iv, mac_key)
    return keys


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
