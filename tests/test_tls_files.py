"""The files of a TLS identity: certificate authority, certificate, key, key log."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers import Pki
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
