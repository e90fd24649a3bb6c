"""Cipher suites: which keys each takes, and how one record of it is opened.

AEAD suites are AES-GCM, AES-CCM and ChaCha20-Poly1305; those with CBC have a MAC, which is inside
of what is encrypted (RFC 5246 section 6.2.3.2) or behind it (RFC 7366): the record shows which. A
record opens only if its tag or MAC fits, so that no wrong key and no wrong place gives anything.

Source: the registry of TLS cipher suites; RFC 5288, 6655, 7905, 8446 section 5.2.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384, HashAlgorithm
from cryptography.hazmat.primitives.hmac import HMAC

_BLOCK = 16
_EXPLICIT = 8
_Aead = type[AESGCM] | type[ChaCha20Poly1305] | type[AESCCM]


@dataclass(frozen=True)
class Suite:
    """A cipher suite of an AEAD or, where ``aead`` is None, of CBC with this ``mac``.

    ``key`` is the length of a key, ``hashed`` the hash of the key schedule, ``tag`` the length of
    an AEAD's tag.
    """

    key: int
    hashed: type[HashAlgorithm]
    aead: _Aead | None = None
    tag: int = 16
    mac: type[HashAlgorithm] | None = None

    @property
    def mac_key(self) -> int:
        """The length of a MAC's key; 0 for an AEAD."""
        return self.mac().digest_size if self.mac else 0

    @property
    def fixed_iv(self) -> int:
        """Bytes of a nonce that come from the key block, in TLS 1.2."""
        if self.aead is None:
            return 0
        return 12 if self.aead is ChaCha20Poly1305 else 4


@dataclass(frozen=True)
class Keys:
    """The keys of one direction, for as long as they hold."""

    suite: Suite
    key: bytes
    iv: bytes
    mac_key: bytes = b""

    def open(self, head: bytes, sequence: int, body: bytes) -> bytes | None:
        """What is in a record of TLS 1.2; None if it was not sealed with these keys, so numbered.

        ``head`` is the record's type and version.
        """
        numbered = sequence.to_bytes(8, "big") + head
        if self.suite.aead is None:
            return self._open_cbc(numbered, body)
        nonce = nonce_of(self.iv, sequence)
        if len(self.iv) < 12:
            nonce, body = self.iv + body[:_EXPLICIT], body[_EXPLICIT:]
        size = len(body) - self.suite.tag
        if size < 0:
            return None
        return self.unseal(nonce, body, numbered + size.to_bytes(2, "big"))

    def seal(self, nonce: bytes, plain: bytes, head: bytes) -> bytes:
        """What ``unseal`` opens again. Suites of CBC are not sealed: raises ValueError."""
        return self._aead().encrypt(nonce, plain, head)

    def unseal(self, nonce: bytes, sealed: bytes, head: bytes) -> bytes | None:
        """What an AEAD sealed with this nonce; None if it did not."""
        if self.suite.aead is None:
            return None
        try:
            return self._aead().decrypt(nonce, sealed, head)
        except (InvalidTag, ValueError):  # not this key or place; or too short for a tag
            return None

    def _aead(self) -> AESGCM | ChaCha20Poly1305 | AESCCM:
        aead = self.suite.aead
        if aead is None:
            raise ValueError("a suite of CBC")
        return AESCCM(self.key, self.suite.tag) if aead is AESCCM else aead(self.key)

    def _open_cbc(self, numbered: bytes, body: bytes) -> bytes | None:
        behind = body[-self.suite.mac_key :]
        sealed = body[: -self.suite.mac_key]
        if self._authentic(numbered + len(sealed).to_bytes(2, "big") + sealed, behind):
            return _unpadded(self._decrypted(sealed))
        plain = _unpadded(self._decrypted(body))
        if plain is None or len(plain) < self.suite.mac_key:
            return None
        content, mac = plain[: -self.suite.mac_key], plain[-self.suite.mac_key :]
        is_good = self._authentic(numbered + len(content).to_bytes(2, "big") + content, mac)
        return content if is_good else None

    def _decrypted(self, body: bytes) -> bytes:
        """Behind an IV of its own; nothing where this is no whole number of blocks."""
        if len(body) < 2 * _BLOCK or len(body) % _BLOCK:
            return b""
        decryptor = Cipher(AES(self.key), CBC(body[:_BLOCK])).decryptor()
        return decryptor.update(body[_BLOCK:]) + decryptor.finalize()

    def _authentic(self, covered: bytes, mac: bytes) -> bool:
        if self.suite.mac is None:
            return False
        hashed = HMAC(self.mac_key, self.suite.mac())
        hashed.update(covered)
        try:
            hashed.verify(mac)
        except InvalidSignature:
            return False
        return True


def _unpadded(plain: bytes) -> bytes | None:
    """Without the padding, every byte of which is its length."""
    if not plain or plain[-1] >= len(plain):
        return None
    size = plain[-1] + 1
    return plain[:-size] if plain.endswith(bytes((plain[-1],)) * size) else None


def nonce_of(iv: bytes, sequence: int) -> bytes:
    """The nonce of a record where the IV is twelve bytes (RFC 8446 section 5.3)."""
    return (int.from_bytes(iv, "big") ^ sequence).to_bytes(12, "big")


_AES128, _AES256 = Suite(16, SHA256, AESGCM), Suite(32, SHA384, AESGCM)
_CHACHA = Suite(32, SHA256, ChaCha20Poly1305)
_CCM128, _CCM256 = Suite(16, SHA256, AESCCM), Suite(32, SHA256, AESCCM)
_CCM128_8, _CCM256_8 = Suite(16, SHA256, AESCCM, 8), Suite(32, SHA256, AESCCM, 8)
_CBC128, _CBC256 = Suite(16, SHA256, mac=SHA1), Suite(32, SHA256, mac=SHA1)
_CBC128_SHA256, _CBC256_SHA256 = Suite(16, SHA256, mac=SHA256), Suite(32, SHA256, mac=SHA256)
_CBC256_SHA384 = Suite(32, SHA384, mac=SHA384)

_NUMBERS: tuple[tuple[Suite, str], ...] = (
    (_AES128, "1301 009c 009e 00a2 00a6 00a8 00aa c02b c02d c02f c031"),
    (_AES256, "1302 009d 009f 00a3 00a7 00a9 00ab c02c c02e c030 c032"),
    (_CHACHA, "1303 cca8 cca9 ccaa ccab ccac ccad ccae"),
    (_CCM128, "1304 c09c c09e c0a4 c0a6 c0ac"),
    (_CCM256, "c09d c09f c0a5 c0a7 c0ad"),
    (_CCM128_8, "1305 c0a0 c0a2 c0a8 c0aa c0ae"),
    (_CCM256_8, "c0a1 c0a3 c0a9 c0ab c0af"),
    (_CBC128, "002f 0032 0033 0034 008c 0090 c004 c009 c00e c013 c018 c035"),
    (_CBC256, "0035 0038 0039 003a 008d 0091 c005 c00a c00f c014 c019 c036"),
    (_CBC128_SHA256, "003c 003f 0040 0067 006c 00ae 00b2 c023 c025 c027 c029 c037"),
    (_CBC256_SHA256, "003d 006a 006b 006d"),
    (_CBC256_SHA384, "00af 00b3 c024 c026 c028 c02a c038"),
)
SUITES = {int(number, 16): suite for suite, numbers in _NUMBERS for number in numbers.split()}
"""The suites that are opened, by their numbers."""


def suite_named(name: str) -> Suite | None:
    """The suite of an AEAD by OpenSSL's name for it, None for others."""
    words = name.replace("-", "_")
    if "CHACHA20" in words:
        return _CHACHA
    if "GCM" not in words:
        return None
    return _AES256 if "AES256" in words or "AES_256" in words else _AES128
