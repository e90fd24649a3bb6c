"""What all connections of a run have in common: version, keys, trust; and the files they come from.

The callbacks that OpenSSL calls in the midst of a connection are set here, once for all of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from OpenSSL._util import ffi as _ffi
from OpenSSL._util import lib as _lib

from tlsprobe.errors import UsageError
from tlsprobe.model.target import TlsIdentity, TlsVersion
from tlsprobe.model.trace import Side
from tlsprobe.tls.session import TlsSession, sentence

OPENSSL_VERSION = SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode("ascii", "replace")
"""The library that does the cryptography, for the run document."""

_VERSIONS = {TlsVersion.TLS12: SSL.TLS1_2_VERSION, TlsVersion.TLS13: SSL.TLS1_3_VERSION}
_GROUPS = b"X25519:P-256:X448:P-384:P-521:ffdhe2048:ffdhe3072"
_ALERT = SSL.SSL_CB_ALERT
_WHOLE_LABELS = 4  # X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS: none of "db*.example.com" (RFC 9525)
_FILE_ERRORS = {"key values mismatch": "it does not belong to the certificate"}


class TlsContext:
    """What all connections of a run in one TLS version share: keys, trust, version."""

    def __init__(self, context: SSL.Context, sni: bytes | None) -> None:
        self.context = context
        self.sni = sni

    def connect(
        self, earlier: bytes = b"", *, tickets: bool = True, authenticates: bool = False
    ) -> TlsSession:
        """A fresh client side, which offers an ``earlier`` session (``TlsSession.resumable``).

        Without ``tickets`` it takes none, so that TLS 1.2 has the session's id alone.
        ``authenticates``: it may be asked for its certificate after the handshake (RFC 8446
        section 4.6.2).
        """
        connection = SSL.Connection(self.context, None)
        if self.sni is not None:
            connection.set_tlsext_host_name(self.sni)
        if not tickets:
            _lib.SSL_set_options(connection._ssl, SSL.OP_NO_TICKET)
        if authenticates:
            _lib.SSL_set_post_handshake_auth(connection._ssl, 1)
        if earlier:
            _offer(connection, earlier)
        connection.set_connect_state()
        session = TlsSession(connection, Side.CLIENT)
        session.authenticates = authenticates
        return session

    def accept(self) -> TlsSession:
        """A fresh server side (the reference servers')."""
        connection = SSL.Connection(self.context, None)
        connection.set_accept_state()
        return TlsSession(connection, Side.SERVER)


def client_context(
    version: TlsVersion,
    identity: TlsIdentity,
    server_name: str | None,
    alpn: tuple[str, ...],
    certified: str | None = None,
    *,
    large_key_shares: bool = False,
) -> TlsContext:
    """A client that speaks just ``version``. Raises UsageError on a file that cannot be used.

    ``server_name`` is what it asks for; ``certified`` is the name or address that the server's
    certificate has to be for, where there is a CA to verify it with. ``large_key_shares`` are those
    of the hybrid key exchanges with ML-KEM, for a server that takes no other.
    """
    context = _context(version, version)
    if not large_key_shares:
        _offer_small_key_shares(context)
    _lib.SSL_CTX_set_cert_cb(context._context, _CERTIFICATE_CALLBACK, _ffi.NULL)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    if identity.ca is not None:
        _load(
            "CA", identity.ca, lambda: context.load_verify_locations(os.fspath(identity.ca or ""))
        )
        context.set_verify(SSL.VERIFY_PEER)
        if certified and identity.verify_name:
            _expect_name(context, certified)
    if identity.cert is not None:
        key = identity.key or identity.cert
        load_certificate(context, identity.cert, key, identity.passphrase)
    elif identity.key is not None:
        raise UsageError(f"--key {identity.key} without a certificate", "add --cert FILE")
    offered = identity.alpn or alpn
    if offered:
        context.set_alpn_protos(_alpn(offered))
    if identity.keylog is not None:
        context.set_keylog_callback(_keylog(_appended_to(identity.keylog)))
    return TlsContext(context, _server_name(server_name) if server_name else None)


def server_context(
    cert: Path,
    lowest: TlsVersion = TlsVersion.TLS12,
    highest: TlsVersion = TlsVersion.TLS13,
) -> TlsContext:
    """A server with certificate and key from one PEM file (the reference servers')."""
    context = _context(lowest, highest)
    context.set_session_cache_mode(SSL.SESS_CACHE_SERVER)
    load_certificate(context, cert, cert)
    return TlsContext(context, None)


def load_certificate(
    context: SSL.Context, cert: Path, key: Path, passphrase: str | None = None
) -> None:
    """Certificate chain and private key. Raises UsageError naming the file.

    OpenSSL would ask the terminal for a passphrase: without one, an encrypted key is an error.
    """
    _load("certificate", cert, lambda: context.use_certificate_chain_file(os.fspath(cert)))
    if is_encrypted(key):
        _use_encrypted(context, key, passphrase)
    else:
        _load("private key", key, lambda: context.use_privatekey_file(os.fspath(key)))


def _use_encrypted(context: SSL.Context, key: Path, passphrase: str | None) -> None:
    from tlsprobe.certificates import opened_key  # noqa: PLC0415 - brings cryptography

    if passphrase is None:
        raise UsageError(f"the private key {key} is encrypted", "give its passphrase as well")
    found = opened_key(key.read_bytes(), passphrase)
    if found is None:
        raise UsageError(f"cannot use the private key {key}: the passphrase is wrong")
    _load("private key", key, lambda: context.use_privatekey(found))


def is_encrypted(key: Path) -> bool:
    """Whether a PEM file holds a private key that only a passphrase opens."""
    try:
        return b"ENCRYPTED" in key.read_bytes()
    except OSError:
        return False  # whoever loads it says why


def _context(lowest: TlsVersion, highest: TlsVersion) -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(_VERSIONS[lowest])
    context.set_max_proto_version(_VERSIONS[highest])
    _lib.SSL_CTX_set_info_callback(context._context, _INFO_CALLBACK)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_keylog_callback(_keylog())
    return context


def _on_info(ssl: Any, where: int, value: int) -> None:
    if not where & _ALERT:  # it is called for each step of a handshake
        return
    session = _session_of(ssl)
    if session is not None:
        session.note_alert((value >> 8, value & 0xFF), incoming=bool(where & SSL.SSL_CB_READ))


def _on_request(ssl: Any, _: Any) -> int:
    """The server has asked for our certificate; whatever there is may be sent."""
    session = _session_of(ssl)
    if session is not None:
        session.asked_certificate = True
    return 1


def _session_of(ssl: Any) -> TlsSession | None:
    connection = SSL.Connection._reverse_mapping.get(ssl)
    session: TlsSession | None = None if connection is None else connection.get_app_data()
    return session


def _offer(connection: SSL.Connection, earlier: bytes) -> None:
    """Have a connection offer an earlier session."""
    data = _ffi.new("unsigned char[]", earlier)
    start = _ffi.new("const unsigned char **", data)
    session = _lib.d2i_SSL_SESSION(_ffi.NULL, start, len(earlier))
    assert session != _ffi.NULL
    _lib.SSL_set_session(connection._ssl, session)
    _lib.SSL_SESSION_free(session)


_INFO_CALLBACK = _ffi.callback("void (*)(const SSL *, int, int)", _on_info)
_CERTIFICATE_CALLBACK = _ffi.callback("int (*)(SSL *, void *)", _on_request)


def _offer_small_key_shares(context: SSL.Context) -> None:
    """OpenSSL's own key exchanges, but for the hybrid one with ML-KEM.

    Its key share is kept as long as the connection, 8 KiB in each of thousands that wait idle; it
    takes a kilobyte more of each ClientHello, and of a handshake's time a tenth.
    """
    if not _lib.SSL_CTX_set1_curves_list(context._context, _GROUPS):
        _lib.ERR_clear_error()  # a build without one of them offers what it has


def _expect_name(context: SSL.Context, name: str) -> None:
    """Have verification fail for a certificate that is for another name or address (RFC 9525)."""
    parameters = _lib.SSL_CTX_get0_param(context._context)
    try:
        packed = ip_address(name.partition("%")[0]).packed
    except ValueError:
        host = _server_name(name)
        _lib.X509_VERIFY_PARAM_set_hostflags(parameters, _WHOLE_LABELS)
        _lib.X509_VERIFY_PARAM_set1_host(parameters, host, len(host))
    else:
        _lib.X509_VERIFY_PARAM_set1_ip(parameters, packed, len(packed))


def _keylog(
    log: Callable[[bytes], None] = lambda _: None,
) -> Callable[[SSL.Connection, bytes], None]:
    """Tell each session its secrets, and whoever wants to know as well."""

    def note(connection: SSL.Connection, line: bytes) -> None:
        session: TlsSession | None = connection.get_app_data()
        if session is not None:
            session.note_secret(line)
        log(line)

    return note


def _appended_to(path: Path) -> Callable[[bytes], None]:
    """Append NSS key log lines; the file is made now, so that a bad path is said now."""

    def log(line: bytes) -> None:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:
            file.write(line and line + b"\n")

    try:
        log(b"")
    except OSError as error:
        raise UsageError(f"cannot write the key log {path}: {error.strerror}") from error
    return log


def _server_name(name: str) -> bytes:
    try:
        return name.encode("idna")
    except UnicodeError:
        hint = "a server name is a DNS name, for example db.example.com: --sni NAME"
        raise UsageError(f"{name!a} is not a server name", hint) from None


def _alpn(names: tuple[str, ...]) -> list[bytes]:
    """RFC 7301 section 3.1: each name has 1 to 255 bytes."""
    for name in names:
        if not (name.isascii() and 0 < len(name) <= 255):
            hint = "protocol names are short and ASCII, for example http/1.1 or h2: --alpn NAME"
            raise UsageError(f"cannot offer the protocol {name!a}", hint)
    return [name.encode("ascii") for name in names]


def _load(what: str, path: Path, load: Callable[[], None]) -> None:
    try:
        path.read_bytes()
    except OSError as error:
        hint = "check the path and that this user may read it"
        raise UsageError(f"cannot read the {what} {path}: {error.strerror}", hint) from error
    try:
        load()
    except SSL.Error as error:
        said = sentence(error)
        reason = _FILE_ERRORS.get(said, f"not a PEM {what} that OpenSSL understands ({said})")
        raise UsageError(f"cannot use the {what} {path}: {reason}") from error
