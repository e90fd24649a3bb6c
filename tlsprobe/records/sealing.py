"""Seals TLS records by hand: what OpenSSL would never send goes out with the session's own keys.

Whoever seals one record has to seal all that follow in that direction, since OpenSSL does not know
of the sequence numbers that were used. The keys are those of ``secrets``, backwards: RFC 8446
section 5.2 and RFC 5246 section 6.2.3.3. Suites of CBC are not sealed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tlsprobe.model.trace import Side
from tlsprobe.records.key_log import Opened, read_key_log
from tlsprobe.records.secrets import KEY_UPDATE, keys_12, keys_13, next_secret, open_13
from tlsprobe.records.suites import Keys, Suite, nonce_of, suite_named
from tlsprobe.records.walk import APPLICATION_DATA, HANDSHAKE

MOST_CONTENT = 2**14
"""Bytes that one record holds (RFC 8446 section 5.1)."""

_HEADER = 5
_VERSION = b"\x03\x03"


class Sealer:
    """Writes records of one direction, numbered from ``sequence`` on."""

    def __init__(self, suite: Suite, keys: Keys, secret: bytes, sequence: int) -> None:
        self._suite = suite
        self._keys = keys
        self._secret = secret
        self._sequence = sequence

    def seal(self, kind: int, content: bytes, *, corrupt: bool = False, padding: int = 0) -> bytes:
        """One record of this content type; ``corrupt``: its tag fits nothing.

        ``padding`` is so many zeros behind the content (RFC 8446 section 5.4); only TLS 1.3 has it.
        """
        sequence, self._sequence = self._sequence, self._sequence + 1
        if self._secret:
            sealed = self._sealed_13(sequence, kind, content, bytes(padding))
        else:
            sealed = self._sealed_12(sequence, kind, content)
        return sealed[:-1] + bytes((sealed[-1] ^ 0xFF,)) if corrupt else sealed

    def key_update(self, *, request: bool) -> bytes:
        """A KeyUpdate of TLS 1.3; what is sealed behind it takes the next keys."""
        record = self.seal(HANDSHAKE, bytes((KEY_UPDATE, 0, 0, 1, int(request))))
        self._renew()
        return record

    def follows(self, record: bytes) -> bool:
        """Whether ``record`` is the one before: sealed with these keys, and numbered so.

        Behind a KeyUpdate the next keys hold, and nothing was sealed with them yet.
        """
        kind, body, sequence = record[:1], record[_HEADER:], self._sequence - 1
        if not self._secret:
            return self._keys.open(kind + _VERSION, sequence, body) is not None
        inner = open_13(self._keys, sequence, body)
        if inner is not None and changes_keys(inner):
            self._renew()
        return inner is not None

    def _renew(self) -> None:
        self._secret = next_secret(self._suite, self._secret)
        self._keys = keys_13(self._suite, self._secret)
        self._sequence = 0

    def _sealed_13(self, sequence: int, kind: int, content: bytes, padding: bytes) -> bytes:
        inner = content + bytes((kind,)) + padding
        head = bytes((APPLICATION_DATA,)) + _VERSION
        head += (len(inner) + self._suite.tag).to_bytes(2, "big")
        return head + self._keys.seal(nonce_of(self._keys.iv, sequence), inner, head)

    def _sealed_12(self, sequence: int, kind: int, content: bytes) -> bytes:
        head, numbered = bytes((kind,)) + _VERSION, sequence.to_bytes(8, "big")
        explicit = b"" if len(self._keys.iv) == 12 else numbered
        nonce = self._keys.iv + explicit if explicit else nonce_of(self._keys.iv, sequence)
        covered = numbered + head + len(content).to_bytes(2, "big")
        body = explicit + self._keys.seal(nonce, content, covered)
        return head + len(body).to_bytes(2, "big") + body


def sealer_of(
    side: Side, cipher: str, key_log: Iterable[bytes], server_random: bytes, sequence: int
) -> Sealer | None:
    """Who goes on to write a side's records; None where the suite or the secrets do not allow it.

    ``cipher`` is OpenSSL's name of the suite, ``sequence`` the number of the next record.
    """
    suite = suite_named(cipher)
    sessions = read_key_log(key_log)
    if suite is None or len(sessions) != 1:
        return None
    ((client_random, secrets),) = sessions.items()
    secret = traffic_secret(secrets, side)
    if secret is not None:
        return Sealer(suite, keys_13(suite, secret), secret, sequence)
    if "CLIENT_RANDOM" not in secrets:
        return None
    keys = keys_12(suite, secrets["CLIENT_RANDOM"], client_random, server_random)
    return Sealer(suite, keys[side], b"", sequence)


def traffic_secret(secrets: Mapping[str, bytes], side: Side) -> bytes | None:
    """The first secret of TLS 1.3 that protects a side's application data."""
    return secrets.get(f"{side.upper()}_TRAFFIC_SECRET_0")


def opened(
    record: bytes,
    place: int,
    side: Side,
    *,
    cipher: str,
    key_log: Iterable[bytes],
    server_random: bytes,
) -> Opened | None:
    """What is in a record that a side wrote, the ``place``-th behind its Finished, from 0.

    None where the suite or the secrets do not tell, or where its keys have changed since.
    """
    kind, body = record[0], record[_HEADER:]
    suite, sessions = suite_named(cipher), read_key_log(key_log)
    if suite is None or len(sessions) != 1:
        return None
    ((client_random, secrets),) = sessions.items()
    secret = traffic_secret(secrets, side)
    if secret is not None:
        return open_13(keys_13(suite, secret), place, body)
    if "CLIENT_RANDOM" not in secrets:
        return None
    keys = keys_12(suite, secrets["CLIENT_RANDOM"], client_random, server_random)[side]
    content = keys.open(bytes((kind,)) + _VERSION, place + 1, body)
    return None if content is None else Opened(kind, content)


def changes_keys(inner: Opened) -> bool:
    """Whether a record ends with a KeyUpdate; nothing may follow one (RFC 8446 section 5.1)."""
    return inner.kind == HANDSHAKE and inner.content[-5:-1] == bytes((KEY_UPDATE, 0, 0, 1))


def records_in(data: bytes) -> list[bytes]:
    """The TLS records of these bytes, which hold whole ones."""
    found, at = [], 0
    while at < len(data):
        end = at + _HEADER + int.from_bytes(data[at + 3 : at + _HEADER], "big")
        found.append(data[at:end])
        at = end
    return found
