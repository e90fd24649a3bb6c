"""A throw-away self-signed certificate for the reference servers."""

from __future__ import annotations

import datetime
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tlsprobe.certificates import key_pem, pem

_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tlsprobe reference server")])
_SUBJECTS = x509.SubjectAlternativeName(
    [
        x509.DNSName("localhost"),
        x509.IPAddress(ip_address("127.0.0.1")),
        x509.IPAddress(ip_address("::1")),
    ]
)


def self_signed() -> bytes:
    """Key and certificate (ECDSA P-256, good for a day) as one PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_NAME)
        .issuer_name(_NAME)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(_SUBJECTS, critical=False)
        .sign(key, hashes.SHA256())
    )
    return key_pem(key) + pem(certificate)
