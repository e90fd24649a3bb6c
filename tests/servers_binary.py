"""Real servers of binary protocols for tests: MariaDB, OpenLDAP, Mosquitto and RabbitMQ.

As in ``servers.py``: from a folder and on ports of their own, over TLS, gone with the block.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers import (
    Pki,
    _accepts,
    _run,
    cannot,
    find_server,
    free_port,
    loopbacks,
    need_server,
    running,
)

USER = "prober"
PASSWORD = "correct horse"


@dataclass(frozen=True)
class Server:
    """A running server; ``user`` with ``password`` may use ``database``, where it has any."""

    port: int
    log: Path
    user: str = USER
    password: str = PASSWORD
    database: str | None = None
    starttls_port: int | None = None


def _at(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


# --- MariaDB --------------------------------------------------------------------------------------

_MARIADB_USERS = f"""
CREATE DATABASE probed;
CREATE USER '{USER}'@'%' IDENTIFIED BY '{PASSWORD}' REQUIRE SSL;
GRANT ALL ON probed.* TO '{USER}'@'%';
"""


@contextmanager
def running_mariadb(folder: Path, pki: Pki, *options: str) -> Iterator[Server]:
    """A new MariaDB for the time of the block. ``options`` are of its command line."""
    binary, install = need_server("mariadbd"), need_server("mariadb-install-db")
    port, log, data = free_port(), folder / "mariadb.log", folder / "data"
    (folder / "users.sql").write_text(_MARIADB_USERS)
    ourselves = ["--user=root"] if os.geteuid() == 0 else []
    how = ["--no-defaults", f"--datadir={data}", *ourselves]
    quick = ["--skip-test-db", "--auth-root-authentication-method=normal"]
    _run([install, *how, *quick, "--innodb-buffer-pool-size=8M"], folder)
    command: list[str | Path] = [
        binary,
        *how,
        *(f"--port={port}", f"--bind-address={','.join(loopbacks())}"),
        *(f"--socket={folder}/mariadb.sock", f"--pid-file={folder}/mariadb.pid"),
        *(f"--ssl-ca={pki.ca}", f"--ssl-cert={pki.server_cert}", f"--ssl-key={pki.server_key}"),
        *("--tls-version=TLSv1.2,TLSv1.3", f"--init-file={folder}/users.sql"),
        *("--skip-name-resolve", "--innodb-buffer-pool-size=8M", "--innodb-fast-shutdown=2"),
        *options,
    ]
    with running(command, ready=lambda: _accepts(port), log=log, stop=signal.SIGTERM):
        yield Server(port, log, database="probed")


# --- OpenLDAP -------------------------------------------------------------------------------------

ADMIN = "cn=admin,dc=example,dc=org"

_SLAPD_CONF = """
include /etc/ldap/schema/core.schema
pidfile {folder}/slapd.pid
argsfile {folder}/slapd.args
TLSCACertificateFile {pki.ca}
TLSCertificateFile {pki.server_cert}
TLSCertificateKeyFile {pki.server_key}
{settings}
database ldif
suffix "dc=example,dc=org"
directory {folder}/entries
rootdn "{admin}"
rootpw "{password}"
"""


@contextmanager
def running_slapd(folder: Path, pki: Pki, settings: str = "") -> Iterator[Server]:
    """A new slapd for the time of the block: ``port`` is LDAPS, ``starttls_port`` plain LDAP.

    ``settings`` are global directives of slapd.conf(5).
    """
    binary = need_server("slapd")
    ldaps, ldap = free_port(), free_port()
    log, conf = folder / "slapd.log", folder / "slapd.conf"
    (folder / "entries").mkdir()
    conf.write_text(
        _SLAPD_CONF.format(
            folder=folder, pki=pki, settings=settings, admin=ADMIN, password=PASSWORD
        )
    )
    urls = [f"ldap://{_at(h, ldap)}/ ldaps://{_at(h, ldaps)}/" for h in loopbacks()]
    # With a debug level, be it 0, it stays in the foreground.
    command: list[str | Path] = [binary, "-f", conf, "-h", " ".join(urls), "-d", "0"]
    with running(
        command,
        ready=lambda: _accepts(ldaps) and _accepts(ldap),
        log=log,
        stop=signal.SIGTERM,
    ):
        yield Server(ldaps, log, user=ADMIN, starttls_port=ldap)


# --- Mosquitto ------------------------------------------------------------------------------------

_MOSQUITTO_CONF = """
{user}
allow_anonymous true
password_file {folder}/passwords
log_dest stderr
"""
_MOSQUITTO_LISTENER = """
listener {port} {host}
cafile {pki.ca}
certfile {pki.server_cert}
keyfile {pki.server_key}
"""


@contextmanager
def running_mosquitto(folder: Path, pki: Pki) -> Iterator[Server]:
    """A new Mosquitto for the time of the block; it takes nobody in particular, and ``user``."""
    binary, passwd = need_server("mosquitto"), need_server("mosquitto_passwd")
    port, log, conf = free_port(), folder / "mosquitto.log", folder / "mosquitto.conf"
    _run([passwd, "-b", "-c", folder / "passwords", USER, PASSWORD], folder)
    user = "user root" if os.geteuid() == 0 else ""
    listeners = [_MOSQUITTO_LISTENER.format(port=port, host=h, pki=pki) for h in loopbacks()]
    conf.write_text(_MOSQUITTO_CONF.format(user=user, folder=folder) + "".join(listeners))
    command: list[str | Path] = [binary, "-c", conf]
    with running(command, ready=lambda: _accepts(port), log=log, stop=signal.SIGTERM):
        yield Server(port, log)


# --- RabbitMQ -------------------------------------------------------------------------------------

_RABBITMQ_CONF = """
listeners.tcp = none
{listeners}
ssl_options.cacertfile = {pki.ca}
ssl_options.certfile = {pki.server_cert}
ssl_options.keyfile = {pki.server_key}
ssl_options.verify = verify_none
ssl_options.versions.1 = tlsv1.3
ssl_options.versions.2 = tlsv1.2
default_user = {user}
default_pass = {password}
heartbeat = 60
log.file = false
log.console = true
"""
_RABBITMQ_PASSWORD = PASSWORD.replace(" ", "-")  # a value of its configuration ends at a blank


@contextmanager
def running_rabbitmq(folder: Path, pki: Pki) -> Iterator[Server]:
    """A new RabbitMQ for the time of the block.

    Erlang's port mapper would be started unasked and outlive it, so it gets one of its own.
    """
    server = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
    if not server.exists() or find_server("epmd") is None:
        cannot("rabbitmq-server is not installed: see `make test-deps`")
    port, mapper, node = free_port(), free_port(), free_port()
    log, conf = folder / "rabbitmq.log", folder / "rabbitmq.conf"
    listeners = [f"listeners.ssl.{i} = {h}:{port}" for i, h in enumerate(loopbacks(), 1)]
    settings = {"user": USER, "password": _RABBITMQ_PASSWORD, "pki": pki}
    conf.write_text(_RABBITMQ_CONF.format(listeners="\n".join(listeners), **settings))
    (folder / "plugins").write_text("[].\n")
    environment = {
        "ERL_EPMD_PORT": str(mapper),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "HOME": str(folder),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_CONFIG_FILE": str(conf),
        "RABBITMQ_DIST_PORT": str(node),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_LOG_BASE": str(folder),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_NODENAME": f"tlsprobe{secrets.token_hex(4)}@localhost",
        # So that the script becomes the server, and does not ask another one to stop it.
        "RUNNING_UNDER_SYSTEMD": "true",
    }
    env = [shutil.which("env") or "env", *(f"{k}={v}" for k, v in environment.items())]
    epmd = ["epmd", "-port", str(mapper), "-address", "127.0.0.1", "-relaxed_command_check"]
    with ExitStack() as stack:
        stack.enter_context(
            running(
                [*env, *epmd],
                ready=lambda: _maps(mapper),
                log=folder / "epmd.log",
                stop=signal.SIGTERM,
            )
        )
        stack.enter_context(
            running([*env, server], ready=lambda: _accepts(port), log=log, stop=signal.SIGTERM)
        )
        yield Server(port, log, password=_RABBITMQ_PASSWORD, database="/")


def _maps(port: int) -> bool:
    asked = ["epmd", "-port", str(port), "-names"]
    return subprocess.run(asked, check=False, capture_output=True).returncode == 0
