"""The files of a TLS identity: certificate authority, certificate, key, key log."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.servers import Pki
from tlsprobe.certificates import Authority, key_pem, pem
from tlsprobe.errors import UsageError
from tlsprobe.model.target import TlsIdentity, TlsVersion
from tlsprobe.tls import TlsContext, TlsSession, client_context, server_context

NOBODY = TlsIdentity()
BOTH = pytest.mark.parametrize("version", TlsVersion)


@pytest.fixture
def serving(tmp_path: Path, pki: Pki) -> TlsContext:
    """A server whose certificate comes from the authority of the test session."""
    path = tmp_path / "server.pem"
    path.write_bytes(pki.server_key.read_bytes() + pki.server_cert.read_bytes())
    return server_context(path)


def shake(client: TlsContext, server: TlsContext) -> tuple[TlsSession, TlsSession]:
    ours, theirs = client.connect(), server.accept()
    out = ours.handshake()
    while out:
        theirs.receive(out)
        ours.receive(theirs.output())
        out = ours.output()
    return ours, theirs


def context(identity: TlsIdentity = NOBODY, version: TlsVersion = TlsVersion.TLS13) -> TlsContext:
    return client_context(version, identity, None, ())


# --- trust --------------------------------------------------------------------------------------


@BOTH
def test_an_authority_that_is_trusted(version: TlsVersion, serving: TlsContext, pki: Pki) -> None:
    ours, theirs = shake(context(TlsIdentity(ca=pki.ca), version), serving)
    assert ours.handshaken
    assert theirs.handshaken


@BOTH
def test_an_authority_that_is_not(version: TlsVersion, serving: TlsContext, pki: Pki) -> None:
    ours, theirs = shake(context(TlsIdentity(ca=pki.other_ca), version), serving)
    assert not ours.handshaken
    assert "certificate verify failed" in (ours.failure or "")
    assert ours.alert_sent == (2, 48)  # unknown_ca
    assert "unknown ca" in (theirs.failure or "")
    assert ours.untrusted == (20, "unable to get local issuer certificate")


def pem_of(folder: Path, *, days: int = 30, alone: bool = False) -> tuple[Path, Path]:
    """A server's certificate with its key, good until so many days from now, and its authority's.

    ``alone``: nobody signed it but itself.
    """
    key, issuer = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    signer, name = (key, "db") if alone else (issuer, "some CA")
    now = datetime.now(UTC)

    def made(subject: str, public: ec.EllipticCurvePublicKey, ends: datetime) -> bytes:
        own, by = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, n)]) for n in (subject, name))
        builder = x509.CertificateBuilder(by, own, public, x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=60)).not_valid_after(ends)
        authority = x509.BasicConstraints(ca=subject == name, path_length=None)
        known = x509.SubjectAlternativeName(
            [x509.DNSName("db.example"), x509.IPAddress(ip_address("192.0.2.7"))]
        )
        builder = builder.add_extension(authority, critical=True)
        builder = builder.add_extension(known, critical=False)
        return pem(builder.sign(signer, hashes.SHA256()))

    server, ca = folder / "server.pem", folder / "ca.pem"
    server.write_bytes(key_pem(key) + made("db", key.public_key(), now + timedelta(days=days)))
    ca.write_bytes(made(name, signer.public_key(), now + timedelta(days=90)))
    return server, ca


@BOTH
@pytest.mark.parametrize(
    ("how", "asked", "reason"),
    [
        ({}, "db.example", None),
        ({}, "192.0.2.7", None),
        ({}, None, None),
        ({"days": -1}, "db.example", "certificate has expired"),
        ({"alone": True}, "db.example", "self-signed certificate"),
        ({}, "www.example", "hostname mismatch"),
        ({}, "db.example.org", "hostname mismatch"),
        ({}, "192.0.2.8", "IP address mismatch"),
        ({}, "2001:db8::7", "IP address mismatch"),
    ],
)
def test_why_a_certificate_is_not_trusted(
    how: dict[str, Any], asked: str | None, reason: str | None, version: TlsVersion, tmp_path: Path
) -> None:
    server, ca = pem_of(tmp_path, **how)
    stranger = tmp_path / "stranger.pem"
    stranger.write_bytes(pem(Authority("somebody else").certificate))
    identity = TlsIdentity(ca=stranger if "alone" in how else ca)
    client = client_context(version, identity, None, (), asked)
    ours, _ = shake(client, server_context(server))
    assert (ours.untrusted and ours.untrusted.words) == reason
    assert ours.handshaken == (reason is None)


@BOTH
def test_the_name_can_be_left_unchecked(version: TlsVersion, tmp_path: Path) -> None:
    server, ca = pem_of(tmp_path)
    identity = TlsIdentity(ca=ca, verify_name=False)
    client = client_context(version, identity, None, (), "www.example")
    assert shake(client, server_context(server))[0].handshaken


@BOTH
def test_without_an_authority_nothing_is_untrusted(version: TlsVersion, tmp_path: Path) -> None:
    server, _ = pem_of(tmp_path, days=-1, alone=True)
    ours, _ = shake(client_context(version, NOBODY, None, (), "other"), server_context(server))
    assert (ours.handshaken, ours.untrusted) == (True, None)


@BOTH
@pytest.mark.parametrize("asks", [True, False])
def test_whether_the_server_asked_for_a_certificate(
    asks: bool, version: TlsVersion, serving: TlsContext, pki: Pki
) -> None:
    if asks:
        serving.context.load_verify_locations(str(pki.ca))
        serving.context.set_verify(1)  # VERIFY_PEER
    ours, _ = shake(context(NOBODY, version), serving)
    assert (ours.handshaken, ours.asked_certificate) == (True, asks)


def test_without_an_authority_nothing_is_verified(serving: TlsContext) -> None:
    ours, _ = shake(context(), serving)
    assert ours.handshaken


# --- our certificate ------------------------------------------------------------------------------


def test_a_certificate_with_its_key(serving: TlsContext, pki: Pki, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(pki.client_cert.read_bytes() + pki.client_key.read_bytes())
    for ours in (
        context(TlsIdentity(cert=pki.client_cert, key=pki.client_key)),
        context(TlsIdentity(cert=both)),
    ):
        assert shake(ours, serving)[0].handshaken


Identity = Callable[[Pki, Path], TlsIdentity]


@pytest.mark.parametrize(
    ("identity", "file", "message"),
    [
        (lambda _, d: TlsIdentity(ca=d / "none"), "none", "cannot read the CA"),
        (lambda _, d: TlsIdentity(ca=d), "", "cannot read the CA"),
        (lambda _, d: TlsIdentity(ca=d / "text"), "text", "not a PEM CA"),
        (lambda p, _: TlsIdentity(ca=p.client_key), "client.key", "not a PEM CA"),
        (lambda _, d: TlsIdentity(cert=d / "none"), "none", "cannot read the certificate"),
        (lambda _, d: TlsIdentity(cert=d / "text"), "text", "not a PEM certificate"),
        (lambda p, _: TlsIdentity(cert=p.client_key), "client.key", "not a PEM certificate"),
        (lambda p, _: TlsIdentity(cert=p.client_cert), "client.crt", "not a PEM private key"),
        (
            lambda p, d: TlsIdentity(cert=p.client_cert, key=d / "none"),
            "none",
            "cannot read the private",
        ),
        (
            lambda p, d: TlsIdentity(cert=p.client_cert, key=d / "text"),
            "text",
            "not a PEM private key",
        ),
        (
            lambda p, _: TlsIdentity(cert=p.client_cert, key=p.other_key),
            "other.key",
            "it does not belong to the certificate",
        ),
        (lambda p, _: TlsIdentity(key=p.client_key), "client.key", "without a certificate"),
    ],
)
def test_files_that_cannot_be_used(
    identity: Identity, file: str, message: str, pki: Pki, tmp_path: Path
) -> None:
    (tmp_path / "text").write_text("this is no PEM\n")
    with pytest.raises(UsageError) as caught:
        context(identity(pki, tmp_path))
    assert message in caught.value.message
    assert file in caught.value.message


def test_a_key_without_a_certificate_says_the_mend(pki: Pki) -> None:
    with pytest.raises(UsageError) as caught:
        context(TlsIdentity(key=pki.client_key))
    assert caught.value.hint == "add --cert FILE"


# --- the key log ----------------------------------------------------------------------------------

LABELS = {
    TlsVersion.TLS12: {"CLIENT_RANDOM"},
    TlsVersion.TLS13: {
        "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
        "SERVER_HANDSHAKE_TRAFFIC_SECRET",
        "CLIENT_TRAFFIC_SECRET_0",
        "SERVER_TRAFFIC_SECRET_0",
    },
}


@BOTH
def test_the_key_log(version: TlsVersion, serving: TlsContext, tmp_path: Path) -> None:
    """The lines are those of NSS (RFC 9850), and only their owner may read them."""
    path = tmp_path / "keys"
    logging = context(TlsIdentity(keylog=path), version)
    shake(logging, serving)
    shake(logging, serving)
    lines = path.read_text().splitlines()
    assert all(re.fullmatch("[A-Z0-9_]+ [0-9a-f]{64} ([0-9a-f]{2})+", line) for line in lines)
    randoms = {line.split()[1] for line in lines}
    assert len(randoms) == 2
    for random in randoms:
        assert {line.split()[0] for line in lines if random in line} >= LABELS[version]
    assert path.stat().st_mode & 0o077 == 0


def test_a_key_log_is_continued(serving: TlsContext, tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("# mine\n")
    shake(context(TlsIdentity(keylog=path)), serving)
    assert path.read_text().startswith("# mine\n")
    assert len(path.read_text().splitlines()) > 4


@pytest.mark.slow
def test_a_context_that_is_forgotten_leaves_no_file_open(
    serving: TlsContext, tmp_path: Path
) -> None:
    shake(context(TlsIdentity(keylog=tmp_path / "keys")), serving)
    gc.collect()  # an unclosed file would be a ResourceWarning, which is an error here
    assert not [fd for fd in Path("/proc/self/fd").iterdir() if points_to(fd, tmp_path / "keys")]


def points_to(descriptor: Path, path: Path) -> bool:
    try:
        return descriptor.readlink() == path
    except OSError:  # the one that lists the folder
        return False


@pytest.mark.parametrize("name", ["none/keys", ""])
def test_a_key_log_that_cannot_be_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot write the key log") as caught:
        context(TlsIdentity(keylog=tmp_path / name))
    assert str(tmp_path) in caught.value.message


@BOTH
def test_a_passphrase_opens_an_encrypted_key(version: TlsVersion, tmp_path: Path) -> None:
    ca = Authority("ours")
    certificate, key = ca.issue_client("me")
    (tmp_path / "me.crt").write_bytes(pem(certificate))
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (tmp_path / "me.key").write_bytes(locked)
    files = TlsIdentity(cert=tmp_path / "me.crt", key=tmp_path / "me.key")
    client_context(version, replace(files, passphrase="secret"), None, ())
    with pytest.raises(UsageError, match="the passphrase is wrong"):
        client_context(version, replace(files, passphrase="guess"), None, ())
    with pytest.raises(UsageError, match="is encrypted"):
        client_context(version, files, None, ())
