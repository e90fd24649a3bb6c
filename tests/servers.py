"""Real servers for tests: PostgreSQL and nginx as the distribution ships them, and certificates.

Each server runs from its own folder on a port of its own, on every loopback address; no service of
the system is touched. A context manager starts it and ends it by its pid. Should pytest itself be
killed, the kernel ends the servers (a parent-death signal).

The fixtures over these are in ``conftest.py``.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NoReturn

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from tlsprobe.certificates import Authority, key_pem, pem, write_secret
from tlsprobe.lab import kernel_reasons

GENEROUS_S = 120.0
"""How long a test waits for what must come: nothing but a hang takes so long, on any machine."""


# --- What a test cannot have ----------------------------------------------------------------------


def cannot(reason: str) -> NoReturn:
    """Skips the test, saying why; under continuous integration, conftest.py makes it fail."""
    pytest.skip(reason)


def need_root() -> None:
    """For tests that become somebody else, or make network namespaces."""
    if os.geteuid() != 0:
        cannot("needs root")


def need_packet_socket() -> None:
    """For tests that capture."""
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()
    except PermissionError:
        cannot("a packet socket can be opened by root or with CAP_NET_RAW only")


def need_kernel_truth() -> None:
    """For tests that read the kernel's own reasons for its resets."""
    why_not = kernel_reasons.available()
    if why_not is not None:
        cannot(why_not)


def find_server(name: str) -> Path | None:
    """The binary of a server, also where a user's PATH does not look."""
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True):
        if (folder / name).exists():
            return folder / name
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    found = shutil.which(name, path=path)
    return Path(found) if found else None


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in folder.parent.name.split(".") if part.isdigit())


def need_server(name: str) -> Path:
    """The binary of a server; without it the test cannot be."""
    return find_server(name) or cannot(f"{name} is not installed: see `make test-deps`")


# --- Ports ----------------------------------------------------------------------------------------


@cache
def loopbacks() -> tuple[str, ...]:
    """The loopback addresses of this machine: 127.0.0.1, and ::1 where there is IPv6."""
    return tuple(host for host in ("127.0.0.1", "::1") if _is_free(host, 0))


def free_port() -> int:
    """A TCP port that nothing uses on any loopback address.

    It lies below the range that the kernel picks from, so that no outgoing connection of a test
    running meanwhile can take it.
    """
    for _ in range(1000):
        port = random.randint(15_000, 30_000)
        if all(_is_free(host, port) for host in loopbacks()):
            return port
    raise RuntimeError("no free port found in 1000 tries")


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen()
    except OSError:
        return False
    return True


# --- Processes ------------------------------------------------------------------------------------


class StartError(Exception):
    """A server that ended, or was not ready in time; the message ends with its log."""


@contextmanager
def running(
    command: Sequence[str | Path],
    *,
    ready: Callable[[], bool],
    log: Path,
    stop: signal.Signals,
    user: str | None = None,
) -> Iterator[int]:
    """Runs a server for the time of the block, from the folder of its log; the value is its pid.

    ``stop`` is the signal that ends it at once but in order.
    """
    with (
        log.open("ab") as output,
        subprocess.Popen(
            [*_as_user(user), "--pdeathsig", stop.name.removeprefix("SIG"), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
            env=_environment(log.parent),
            start_new_session=True,  # a Ctrl-C is for pytest alone
        ) as process,
    ):
        try:
            _await_ready(process, ready, log)
            yield process.pid
        finally:
            _stop(process, stop)


def _as_user(user: str | None) -> list[str]:
    credentials = [f"--reuid={user}", f"--regid={user}", "--init-groups"] if user else []
    return ["setpriv", *credentials]


def _environment(folder: Path) -> dict[str, str]:
    """Ours, but for what is PostgreSQL's, and with a place of its own for temporary files.

    MariaDB, when it starts, removes those of any other in the same place.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "LC_ALL": "C", "TMPDIR": str(folder)}


def _await_ready(process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + GENEROUS_S
    while not ready():
        if process.poll() is not None:
            raise StartError(f"exit status {process.returncode}\n{log.read_text()}")
        if time.monotonic() > deadline:
            raise StartError(f"not ready within {GENEROUS_S} s\n{log.read_text()}")
        time.sleep(0.02)


def _stop(process: subprocess.Popen[bytes], stop: signal.Signals) -> None:
    process.send_signal(stop)
    try:
        process.wait(GENEROUS_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def _accepts(port: int) -> bool:
    try:
        for host in loopbacks():
            socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


# --- Certificates ---------------------------------------------------------------------------------

CERT_USER = "certuser"
"""The name in the client's certificate, which is a user of the database."""


@dataclass(frozen=True)
class Pki:
    """PEM files: what a server and its client show each other, and what a stranger would.

    ``other_cert`` carries the same user's name, but comes from ``other_ca``, whom nobody trusts.
    """

    ca: Path
    server_cert: Path
    server_key: Path
    client_cert: Path
    client_key: Path
    other_ca: Path
    other_cert: Path
    other_key: Path


def make_pki(folder: Path) -> Pki:
    """Writes new certificates, good for a month, into the folder."""
    ca = Authority("tlsprobe test CA")
    other = Authority("unrelated test CA")
    server_cert, server_key = _write_pair(folder, "server", *ca.issue_server())
    client_cert, client_key = _write_pair(folder, "client", *ca.issue_client(CERT_USER))
    other_cert, other_key = _write_pair(folder, "other", *other.issue_client(CERT_USER))
    return Pki(
        ca=write_secret(folder / "ca.crt", pem(ca.certificate), 0o644),
        server_cert=server_cert,
        server_key=server_key,
        client_cert=client_cert,
        client_key=client_key,
        other_ca=write_secret(folder / "other-ca.crt", pem(other.certificate), 0o644),
        other_cert=other_cert,
        other_key=other_key,
    )


def _write_pair(
    folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> tuple[Path, Path]:
    return (
        write_secret(folder / f"{name}.crt", pem(certificate), 0o644),
        write_secret(folder / f"{name}.key", key_pem(key)),
    )


# --- PostgreSQL -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Postgres:
    """A running PostgreSQL that takes TLS connections only, one way of logging in for each user.

    ``cert_user`` must show ``cert``; ``trust_user`` is asked for nothing; the other three give
    ``password``, in the manner of their names. ``psql`` is the client of the same version.
    """

    port: int
    hosts: tuple[str, ...]
    database: str
    ca: Path
    cert: Path
    key: Path
    cert_user: str
    trust_user: str
    scram_user: str
    md5_user: str
    password_user: str
    password: str
    psql: Path
    log: Path
    pid: int


_PASSWORD = "correct horse"
_DATABASE = "probed"

_POSTGRESQL_CONF = """
listen_addresses = '{hosts}'
port = {port}
unix_socket_directories = '{folder}'
ssl = on
ssl_ca_file = '{folder}/ca.crt'
ssl_cert_file = '{folder}/server.crt'
ssl_key_file = '{folder}/server.key'
ssl_min_protocol_version = 'TLSv1.2'
fsync = off
max_connections = 60
shared_buffers = 16MB
max_wal_senders = 0
wal_level = minimal
log_connections = on
log_disconnections = on
"""

_PG_HBA_CONF = """
local   all all                            trust
hostssl all certuser     all               cert clientcert=verify-full
hostssl all trustuser    all               trust
hostssl all scramuser    all               scram-sha-256
hostssl all md5user      all               md5
hostssl all passworduser all               password
"""

_USERS_SQL = f"""
CREATE ROLE certuser LOGIN;
CREATE ROLE trustuser LOGIN;
CREATE ROLE scramuser LOGIN PASSWORD '{_PASSWORD}';
CREATE ROLE passworduser LOGIN PASSWORD '{_PASSWORD}';
SET password_encryption = 'md5';
CREATE ROLE md5user LOGIN PASSWORD '{_PASSWORD}';
"""


@contextmanager
def running_postgres(pki: Pki) -> Iterator[Postgres]:
    """A new PostgreSQL for the time of the block.

    It refuses to run as root, and the folders of pytest are closed to everybody else. So it has a
    temporary folder of its own, which goes with it.
    """
    binary = need_server("postgres")
    with tempfile.TemporaryDirectory(prefix="tlsprobe-postgres-") as name:
        folder = Path(name)
        user = _hand_over_to_postgres(folder)
        _initdb(binary, folder, user)
        yield from _serve_postgres(binary, folder, user, pki)


def _hand_over_to_postgres(folder: Path) -> str | None:
    """Whom to run PostgreSQL as, who then owns the folder; None: ourselves."""
    if os.geteuid() != 0:
        return None
    shutil.chown(folder, "postgres", "postgres")
    return "postgres"


def _initdb(binary: Path, folder: Path, user: str | None) -> None:
    options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]
    _run([*_as_user(user), binary.parent / "initdb", *options, folder / "data"], folder)


def _run(command: Sequence[str | Path], folder: Path, stdin: str = "") -> None:
    ended = subprocess.run(
        command,
        input=stdin,
        cwd=folder,
        env=_environment(folder),
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if ended.returncode != 0:
        raise StartError(f"{command}: exit status {ended.returncode}\n{ended.stdout}")


def _serve_postgres(binary: Path, folder: Path, user: str | None, pki: Pki) -> Iterator[Postgres]:
    port = free_port()
    _configure_postgres(folder, port, pki)
    for path in (folder / "server.key", folder / "server.crt", folder / "ca.crt"):
        if user:
            shutil.chown(path, user, user)
    on_socket = ["--host", str(folder), "--port", str(port)]
    log = folder / "postgres.log"
    with running(
        [binary, "-D", folder / "data"],
        ready=lambda: _is_ready(binary.parent / "pg_isready", on_socket),
        log=log,
        stop=signal.SIGINT,  # "fast": disconnects its clients
        user=user,
    ) as pid:
        psql = [
            str(binary.parent / "psql"),
            *on_socket,
            "-XqU",
            "postgres",
            "-v",
            "ON_ERROR_STOP=1",
        ]
        _run([*psql, "-c", f"CREATE DATABASE {_DATABASE} TEMPLATE template0"], folder)
        _run([*psql, "-f", "-"], folder, _USERS_SQL)
        yield Postgres(
            port=port,
            hosts=loopbacks(),
            database=_DATABASE,
            ca=pki.ca,
            cert=pki.client_cert,
            key=pki.client_key,
            cert_user=CERT_USER,
            trust_user="trustuser",
            scram_user="scramuser",
            md5_user="md5user",
            password_user="passworduser",
            password=_PASSWORD,
            psql=binary.parent / "psql",
            log=log,
            pid=pid,
        )


def _configure_postgres(folder: Path, port: int, pki: Pki) -> None:
    settings = _POSTGRESQL_CONF.format(hosts=",".join(loopbacks()), port=port, folder=folder)
    with (folder / "data/postgresql.conf").open("a") as conf:
        conf.write(settings)
    (folder / "data/pg_hba.conf").write_text(_PG_HBA_CONF)
    write_secret(folder / "ca.crt", pki.ca.read_bytes(), 0o644)
    write_secret(folder / "server.crt", pki.server_cert.read_bytes(), 0o644)
    write_secret(folder / "server.key", pki.server_key.read_bytes(), 0o600)


def _is_ready(pg_isready: Path, on_socket: Sequence[str]) -> bool:
    return subprocess.run([pg_isready, "-q", *on_socket], check=False).returncode == 0


# --- nginx ----------------------------------------------------------------------------------------

SMALL = b"hello from nginx\n"
LARGE = bytes(range(256)) * (3 * 1024 * 1024 // 256)


@dataclass(frozen=True)
class Nginx:
    """A running nginx that serves ``small`` at ``/`` and ``large`` (3 MiB) at ``/large``."""

    port: int
    hosts: tuple[str, ...]
    ca: Path
    small: bytes
    large: bytes = field(repr=False)
    log: Path
    pid: int


_NGINX_DIRECTIVES = {
    "ssl_protocols": "TLSv1.2 TLSv1.3",
    "keepalive_timeout": "1s",
}

_NGINX_CONF = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
{user}
events {{ worker_connections 512; }}
http {{
    access_log off;
    default_type text/plain;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        {listens}
        server_name localhost;
        root {folder}/www;
        ssl_certificate {pki.server_cert};
        ssl_certificate_key {pki.server_key};
        ssl_client_certificate {pki.ca};
        {directives}
    }}
}}
"""


@contextmanager
def running_nginx(
    folder: Path, pki: Pki, directives: Mapping[str, str] | None = None
) -> Iterator[Nginx]:
    """A new nginx for the time of the block, one worker, all its files in the folder.

    ``directives`` are of the ``server`` block, by name; ``listen`` is what follows address and
    port, ``ssl`` unless told otherwise (``ssl http2``). The authority of ``pki`` is configured for
    client certificates, which are asked for if ``ssl_verify_client`` says so.
    """
    binary = need_server("nginx")
    port = free_port()
    _write_site(folder / "www")
    conf, log = folder / "nginx.conf", folder / "error.log"
    conf.write_text(_nginx_conf(folder, pki, port, {**_NGINX_DIRECTIVES, **(directives or {})}))
    with running(
        [binary, "-p", folder, "-c", conf, "-e", log],
        ready=lambda: _accepts(port),
        log=log,
        stop=signal.SIGTERM,  # "fast": drops its connections
    ) as pid:
        yield Nginx(port, loopbacks(), pki.ca, SMALL, LARGE, log, pid)


def _write_site(www: Path) -> None:
    www.mkdir()
    (www / "index.html").write_bytes(SMALL)
    (www / "large").write_bytes(LARGE)


def _nginx_conf(folder: Path, pki: Pki, port: int, directives: Mapping[str, str]) -> str:
    how = directives.get("listen", "ssl")
    addresses = [f"[{host}]" if ":" in host else host for host in loopbacks()]
    others = {name: value for name, value in directives.items() if name != "listen"}
    return _NGINX_CONF.format(
        folder=folder,
        pki=pki,
        listens=" ".join(f"listen {address}:{port} {how};" for address in addresses),
        directives="\n        ".join(f"{name} {value};" for name, value in others.items()),
        # The worker of a master run by root would become `nobody`, and not see the folder.
        user="user root;" if os.geteuid() == 0 else "",
    )
