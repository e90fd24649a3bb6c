"""The servers that other tests rely on: they serve, they check, and they are gone afterwards."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import servers
from tests.servers import GENEROUS_S, LARGE, SMALL, Nginx, Pki, Postgres, loopbacks

# --- What a test cannot have ----------------------------------------------------------------------


def test_what_cannot_be_is_skipped_with_a_reason() -> None:
    with pytest.raises(pytest.skip.Exception, match="no-such-server is not installed"):
        servers.need_server("no-such-server")


def test_without_the_right_no_packet_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(pytest.skip.Exception, match="CAP_NET_RAW"):
        servers.need_packet_socket()


# --- Ports and processes --------------------------------------------------------------------------


def test_a_free_port_is_free_on_every_loopback_address() -> None:
    port = servers.free_port()
    for host in loopbacks():
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, port), family=family):
            pass


def test_a_server_that_ends_at_once_is_reported_with_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('no such cipher')"]
    with (
        pytest.raises(servers.StartError, match="exit status 1\nno such cipher"),
        servers.running(command, ready=lambda: False, log=tmp_path / "log", stop=signal.SIGTERM),
    ):
        pass


# --- Certificates ---------------------------------------------------------------------------------


def test_keys_are_for_their_owner_only(pki: Pki) -> None:
    for key in (pki.server_key, pki.client_key, pki.other_key):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


def client_context(
    pki: Pki, pair: tuple[Path, Path] | None = None, only: ssl.TLSVersion | None = None
) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=pki.ca)
    if pair is not None:
        context.load_cert_chain(*pair)
    if only is not None:
        context.minimum_version = context.maximum_version = only
    return context


# --- PostgreSQL -----------------------------------------------------------------------------------


def query(postgres: Postgres, user: str, password: str = "", **settings: object) -> str:
    """The answer of psql to `select 1`, or what it complains of."""
    asked = {
        "host": postgres.hosts[0],
        "port": postgres.port,
        "dbname": postgres.database,
        "user": user,
        "sslmode": "verify-full",
        "sslrootcert": postgres.ca,
        # Names that are not there: a developer's own certificate must not slip in.
        "sslcert": "/nonexistent/crt",
        "sslkey": "/nonexistent/key",
        **settings,
    }
    conninfo = " ".join(f"{name}='{value}'" for name, value in asked.items())
    ended = subprocess.run(
        [postgres.psql, "-XAtwc", "select 1", conninfo],
        env={**os.environ, "PGPASSWORD": password, "LC_ALL": "C"},
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return ended.stdout.strip()


@pytest.mark.server("postgres")
@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("host", loopbacks())
def test_postgres_knows_a_user_by_certificate(postgres: Postgres, host: str, version: str) -> None:
    answer = query(
        postgres,
        postgres.cert_user,
        host=host,
        sslcert=postgres.cert,
        sslkey=postgres.key,
        ssl_min_protocol_version=version,
        ssl_max_protocol_version=version,
    )
    assert answer == "1"


@pytest.mark.server("postgres")
def test_postgres_turns_away_a_strangers_certificate(postgres: Postgres, pki: Pki) -> None:
    answer = query(postgres, postgres.cert_user, sslcert=pki.other_cert, sslkey=pki.other_key)
    assert "unknown ca" in answer


@pytest.mark.server("postgres")
def test_postgres_wants_a_certificate(postgres: Postgres) -> None:
    assert "requires a valid client certificate" in query(postgres, postgres.cert_user)


@pytest.mark.server("postgres")
def test_postgres_wants_tls(postgres: Postgres) -> None:
    assert "no encryption" in query(postgres, postgres.trust_user, sslmode="disable")


@pytest.mark.server("postgres")
@pytest.mark.parametrize("how", ["scram", "md5", "password"])
def test_postgres_knows_a_user_by_password(postgres: Postgres, how: str) -> None:
    user = getattr(postgres, f"{how}_user")
    assert query(postgres, user, postgres.password) == "1"
    assert "password authentication failed" in query(postgres, user, "wrong")


@pytest.mark.server("postgres")
def test_postgres_trusts_the_trusted(postgres: Postgres) -> None:
    assert query(postgres, postgres.trust_user) == "1"


@pytest.mark.server("postgres")
def test_postgres_keeps_a_log(postgres: Postgres) -> None:
    query(postgres, postgres.trust_user)
    assert "connection authorized: user=trustuser" in postgres.log.read_text()


# --- nginx ----------------------------------------------------------------------------------------


def fetch(nginx: Nginx, context: ssl.SSLContext, path: str = "/", host: str = "127.0.0.1") -> bytes:
    """The body of a response that ends the connection."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    with (
        socket.create_connection((host, nginx.port), timeout=GENEROUS_S) as sock,
        context.wrap_socket(sock, server_hostname=host) as tls,
        tls.makefile("rb") as stream,
    ):
        tls.sendall(request)
        return bytes(stream.read().partition(b"\r\n\r\n")[2])


@pytest.mark.server("nginx")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("host", loopbacks())
def test_nginx_serves(nginx: Nginx, pki: Pki, host: str, version: ssl.TLSVersion) -> None:
    context = client_context(pki, only=version)
    assert fetch(nginx, context, host=host) == SMALL
    assert fetch(nginx, context, "/large", host) == LARGE
    assert len(LARGE) == 3 << 20


@pytest.mark.server("nginx")
def test_nginx_ends_an_idle_connection_after_a_second(nginx: Nginx, pki: Pki) -> None:
    with (
        socket.create_connection(("127.0.0.1", nginx.port), timeout=GENEROUS_S) as sock,
        client_context(pki).wrap_socket(sock, server_hostname="localhost") as tls,
    ):
        began = time.monotonic()
        tls.sendall(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert tls.recv(4096).startswith(b"HTTP/1.1 200")
        assert tls.recv(4096) == b""
    assert time.monotonic() - began > 0.9


@pytest.mark.server("nginx")
def test_nginx_of_one_tls_version(nginx_factory: Callable[..., Nginx], pki: Pki) -> None:
    old = nginx_factory(ssl_protocols="TLSv1.2")
    assert fetch(old, client_context(pki)) == SMALL
    with pytest.raises(ssl.SSLError):
        fetch(old, client_context(pki, only=ssl.TLSVersion.TLSv1_3))


@pytest.mark.server("nginx")
def test_nginx_that_wants_client_certificates(
    nginx_factory: Callable[..., Nginx], pki: Pki
) -> None:
    strict = nginx_factory(ssl_verify_client="on")
    known = client_context(pki, (pki.client_cert, pki.client_key))
    stranger = client_context(pki, (pki.other_cert, pki.other_key))
    assert fetch(strict, known) == SMALL
    assert b"400" in fetch(strict, client_context(pki))
    assert b"400" in fetch(strict, stranger)


@pytest.mark.server("nginx")
def test_the_same_directives_are_the_same_server(nginx_factory: Callable[..., Nginx]) -> None:
    one = nginx_factory(keepalive_timeout="60s", lingering_close="always")
    assert nginx_factory(lingering_close="always", keepalive_timeout="60s") is one
    assert nginx_factory() is not one


@pytest.mark.server("nginx")
def test_nginx_speaks_http2_when_asked(nginx_factory: Callable[..., Nginx], pki: Pki) -> None:
    server = nginx_factory(listen="ssl http2")
    context = client_context(pki)
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=GENEROUS_S) as sock,
        context.wrap_socket(sock, server_hostname="localhost") as tls,
    ):
        assert tls.selected_alpn_protocol() == "h2"


# --- Nothing is left ------------------------------------------------------------------------------


def family_of(pid: int) -> set[int]:
    """The process and all that came of it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {pid}.union(*(family_of(int(child)) for child in children))


def alive(pids: set[int]) -> set[int]:
    return {pid for pid in pids if Path(f"/proc/{pid}").exists()}


@pytest.mark.server("nginx")
def test_nginx_leaves_no_process(pki: Pki, tmp_path: Path) -> None:
    with servers.running_nginx(tmp_path, pki) as server:
        family = family_of(server.pid)
        assert len(family) == 2, "a master and a worker"
    assert alive(family) == set()


@pytest.mark.server("postgres")
def test_postgres_leaves_neither_process_nor_folder(pki: Pki) -> None:
    with servers.running_postgres(pki) as server:
        family = family_of(server.pid)
        assert len(family) > 3, "a postmaster and its helpers"
    assert alive(family) == set()
    assert not server.log.parent.exists()
