"""Certificates for servers of our own: an authority that lasts a month, and what it signs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import get_args

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NAMES = ("localhost",)
"""The names that a server's certificate is for, unless told otherwise; the first is its subject."""

ADDRESSES = ("127.0.0.1", "::1")
"""The addresses that a server's certificate is for, unless told otherwise."""

Pair = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]
"""A certificate and the key that it is about."""


class Authority:
    """A certificate authority that signs with ECDSA on P-256."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _common_name(name)
        usage = _key_usage(key_cert_sign=True, crl_sign=True)
        self.certificate = (
            self._unsigned(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def issue_server(
        self, names: Sequence[str] = NAMES, addresses: Sequence[str] = ADDRESSES
    ) -> Pair:
        """A certificate for a server of these names and addresses."""
        known = x509.SubjectAlternativeName(
            [
                *(x509.DNSName(name) for name in names),
                *(x509.IPAddress(ip_address(address)) for address in addresses),
            ]
        )
        return self._issue(names[0], ExtendedKeyUsageOID.SERVER_AUTH, known)

    def issue_client(self, user: str) -> Pair:
        """A certificate for a client that is called ``user``."""
        return self._issue(user, ExtendedKeyUsageOID.CLIENT_AUTH)

    def _issue(
        self,
        name: str,
        purpose: x509.ObjectIdentifier,
        alternative_names: x509.SubjectAlternativeName | None = None,
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            self._unsigned(_common_name(name), key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        )
        if alternative_names is not None:
            builder = builder.add_extension(alternative_names, critical=False)
        return builder.sign(self._key, hashes.SHA256()), key

    def _unsigned(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=30))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(authority, critical=False)
        )


def pem(certificate: x509.Certificate) -> bytes:
    """A certificate as PEM."""
    return certificate.public_bytes(Encoding.PEM)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as PEM, not encrypted."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def pkcs12_file(pair: Pair, authority: Authority, password: str) -> bytes:
    """Key, certificate and authority in one, as programs written in Java want them."""
    certificate, key = pair
    encryption = BestAvailableEncryption(password.encode())
    return pkcs12.serialize_key_and_certificates(
        b"tlsprobe", key, certificate, [authority.certificate], encryption
    )


def write_secret(path: Path, content: bytes, mode: int = 0o600) -> Path:
    """Write a file that others may never read, not even while it is being made."""
    path.touch(mode=mode)
    path.write_bytes(content)
    path.chmod(mode)
    return path


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


ClientKey = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)
"""A private key that a client certificate can have."""


def opened_key(data: bytes, passphrase: str) -> ClientKey | None:
    """The private key in an encrypted PEM; None if the passphrase does not open it."""
    try:
        found = load_pem_private_key(data, passphrase.encode())
    except (TypeError, ValueError):
        return None
    return found if isinstance(found, get_args(ClientKey)) else None
