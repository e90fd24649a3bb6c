"""Certificates that OpenSSL takes: an authority, a server of it, a client, and all in one file."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID

from tlsprobe.certificates import Authority, key_pem, pem, pkcs12_file, write_secret


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", "other.test"])
def test_a_server_is_known_by_each_of_its_names(tmp_path: Path, name: str) -> None:
    ca = Authority("an authority")
    certificate, key = ca.issue_server(("localhost", "other.test"))
    bundle = write_secret(tmp_path / "server.pem", pem(certificate) + key_pem(key))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(bundle)
    client = ssl.create_default_context(cadata=pem(ca.certificate).decode())
    assert shaken(client, server, name)
    with pytest.raises(ssl.SSLCertVerificationError):
        shaken(client, server, "stranger.test")


def shaken(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> bool:
    """Whether client and server agree, in memory."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(down, up, server_hostname=name)
    theirs = server.wrap_bio(up, down, server_side=True)
    for _ in range(4):
        for side in (ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ours.version() is not None


def test_a_client_is_called_what_it_was_asked_to_be() -> None:
    ca = Authority("an authority")
    certificate, _ = ca.issue_client("somebody")
    assert certificate.subject.rfc4514_string() == "CN=somebody"
    certificate.verify_directly_issued_by(ca.certificate)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_everything_in_one_file_opens_with_its_password() -> None:
    ca = Authority("an authority")
    pair = ca.issue_server()
    key, certificate, others = pkcs12.load_key_and_certificates(
        pkcs12_file(pair, ca, "open sesame"), b"open sesame"
    )
    assert (certificate, others) == (pair[0], [ca.certificate])
    assert key is not None


def test_a_secret_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = write_secret(tmp_path / "key", b"secret")
    assert path.stat().st_mode & 0o777 == 0o600
    assert write_secret(path, b"other", 0o644).stat().st_mode & 0o777 == 0o644
    assert path.read_bytes() == b"other"
