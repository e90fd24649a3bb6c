"""Real servers of text protocols for tests: Redis, Exim, Dovecot, vsftpd and nats-server.

Like those in ``servers.py`` each runs from its own folder, on loopback only, on ports of its own.
Exim, Dovecot and vsftpd give up root for users of their own, who cannot look into the folders of
pytest; so they live below a temporary folder of theirs.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from tests.servers import Pki, cannot, free_port, loopbacks, need_server, running

USER = "prober"
PASSWORD = 'correct "horse" \\battery'
"""With everything that has to be quoted."""

LOCALHOST = "127.0.0.1"


@dataclass(frozen=True)
class TextServer:
    """A running server: a port for each of the profiles that can probe it.

    ``login`` are the options of tlsprobe for its user, to be read with ENVIRONMENT.
    """

    ports: Mapping[str, int]
    pid: int
    log: Path
    login: tuple[str, ...] = ()
    hosts: tuple[str, ...] = (LOCALHOST,)


Starter = Callable[[Pki], AbstractContextManager[TextServer]]


def need_root(server: str) -> None:
    """For servers that only root can start with a configuration of one's own."""
    if os.geteuid() != 0:
        cannot(f"{server} can be started by root only")


def _accepts(*where: tuple[str, int]) -> bool:
    try:
        for address in where:
            socket.create_connection(address, timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def _open_folder(name: str) -> Iterator[Path]:
    """A temporary folder that other users may enter."""
    with tempfile.TemporaryDirectory(prefix=f"tlsprobe-{name}-") as path:
        folder = Path(path)
        folder.chmod(0o755)
        yield folder


PASSWORD_ONLY = ("--password-env", "TLSPROBE_TEST_PASSWORD")
LOGIN = ("--user", USER, *PASSWORD_ONLY)
ENVIRONMENT = {"TLSPROBE_TEST_PASSWORD": PASSWORD}


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


# --- Redis ----------------------------------------------------------------------------------------

_REDIS_CONF = """
bind {hosts}
port 0
tls-port {port}
tls-cert-file {pki.server_cert}
tls-key-file {pki.server_key}
tls-ca-cert-file {pki.ca}
tls-auth-clients no
requirepass "{password}"
dir {folder}
save ""
appendonly no
"""


@contextmanager
def running_redis(pki: Pki) -> Iterator[TextServer]:
    """A Redis that asks for a password and never closes an idle connection."""
    binary, port, hosts = need_server("redis-server"), free_port(), loopbacks()
    with _open_folder("redis") as folder:
        conf, log = folder / "redis.conf", folder / "redis.log"
        settings = {"pki": pki, "folder": folder, "password": _escaped(PASSWORD)}
        conf.write_text(_REDIS_CONF.format(hosts=" ".join(hosts), port=port, **settings))
        with running(
            [binary, conf],
            ready=lambda: _accepts(*((host, port) for host in hosts)),
            log=log,
            stop=signal.SIGTERM,
        ) as pid:
            yield TextServer({"redis": port}, pid, log, PASSWORD_ONLY, hosts)


# --- NATS -----------------------------------------------------------------------------------------

_NATS_CONF = """
listen: "127.0.0.1:{port}"
tls {{ cert_file: "{pki.server_cert}", key_file: "{pki.server_key}", ca_file: "{pki.ca}" }}
authorization {{ user: "{user}", password: "{password}" }}
"""


@contextmanager
def running_nats(pki: Pki) -> Iterator[TextServer]:
    """A nats-server that asks for a user and a password."""
    binary, port = need_server("nats-server"), free_port()
    with _open_folder("nats") as folder:
        conf, log = folder / "nats.conf", folder / "nats.log"
        conf.write_text(
            _NATS_CONF.format(port=port, pki=pki, user=USER, password=_escaped(PASSWORD))
        )
        with running(
            [binary, "-c", conf],
            ready=lambda: _accepts((LOCALHOST, port)),
            log=log,
            stop=signal.SIGTERM,
        ) as pid:
            yield TextServer({"nats": port}, pid, log, LOGIN)


# --- Exim -----------------------------------------------------------------------------------------

_EXIM_CONF = """
primary_hostname = localhost
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
pid_file_path = {folder}/exim.pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {smtp} : {smtps}
tls_on_connect_ports = {smtps}
tls_advertise_hosts = *
tls_certificate = {folder}/server.crt
tls_privatekey = {folder}/server.key
smtp_accept_max = 0
host_lookup =
rfc1413_query_timeout = 0s
keep_environment =

begin authenticators

plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and {{{{eq{{$auth2}}{{{user}}}}} \
    {{eq{{${{sha256:$auth3}}}}{{{password}}}}}}}}}
"""


@contextmanager
def running_exim(pki: Pki) -> Iterator[TextServer]:
    """An Exim that takes no mail, with STARTTLS on one port and TLS from the start on another."""
    binary, ports = need_server("exim4"), {"smtp": free_port(), "smtps": free_port()}
    need_root("exim4")
    with _open_folder("exim") as folder:
        conf = folder / "exim.conf"
        conf.write_text(
            _EXIM_CONF.format(folder=folder, **ports, user=USER, password=_sha256(PASSWORD))
        )
        for name in ("spool", "log"):
            _own(_made(folder / name), "Debian-exim")
        for source in (pki.server_cert, pki.server_key):
            _own(Path(shutil.copy(source, folder / source.name)), "Debian-exim")
        log = folder / "exim.log"
        with running(
            [binary, "-bdf", "-C", conf],
            ready=lambda: _accepts(*((LOCALHOST, port) for port in ports.values())),
            log=log,
            stop=signal.SIGTERM,
        ) as pid:
            yield TextServer(ports, pid, log, LOGIN)


def _sha256(text: str) -> str:
    return sha256(text.encode()).hexdigest().upper()


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _own(path: Path, user: str) -> None:
    shutil.chown(path, user)


# --- Dovecot --------------------------------------------------------------------------------------

_DOVECOT_CONF = """
base_dir = {folder}/run
log_path = /dev/stderr
protocols = imap pop3
listen = 127.0.0.1
ssl = required
ssl_cert = <{pki.server_cert}
ssl_key = <{pki.server_key}
ssl_min_protocol = TLSv1.2
mail_location = maildir:{folder}/mail
mail_max_userip_connections = 0
auth_failure_delay = 0
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
first_valid_uid = 1
passdb {{
  driver = passwd-file
  args = scheme=plain username_format=%u {folder}/passwd
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={folder}/mail
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = {pop3s}
    ssl = yes
  }}
}}
"""


@contextmanager
def running_dovecot(pki: Pki) -> Iterator[TextServer]:
    """A Dovecot with one user and an empty mailbox: IMAP and POP3, each in both ways of TLS."""
    binary, ports = need_server("dovecot"), {name: free_port() for name in _MAIL}
    for protocol in ("imap", "pop3"):
        if not Path("/usr/lib/dovecot", protocol).exists():
            cannot(f"dovecot-{protocol}d is not installed: see `make test-deps`")
    need_root("dovecot")
    with _open_folder("dovecot") as folder:
        conf, log, users = folder / "dovecot.conf", folder / "dovecot.log", folder / "passwd"
        conf.write_text(_DOVECOT_CONF.format(folder=folder, pki=pki, **ports))
        users.write_text(f"{USER}:{PASSWORD}\n")
        _own(_made(folder / "mail"), "nobody")
        with running(
            [binary, "-F", "-c", conf],
            ready=lambda: _accepts(*((LOCALHOST, port) for port in ports.values())),
            log=log,
            stop=signal.SIGTERM,
        ) as pid:
            yield TextServer(ports, pid, log, LOGIN)


_MAIL = ("imap", "imaps", "pop3", "pop3s")


# --- vsftpd ---------------------------------------------------------------------------------------

_VSFTPD_CONF = """
background=NO
listen=YES
listen_address=127.0.0.1
listen_port={port}
anonymous_enable=YES
anon_root={folder}/files
secure_chroot_dir={folder}/empty
write_enable=YES
anon_upload_enable=YES
anon_other_write_enable=YES
local_enable=NO
ssl_enable=YES
allow_anon_ssl=YES
ssl_ciphers=HIGH
rsa_cert_file={pki.server_cert}
rsa_private_key_file={pki.server_key}
vsftpd_log_file={folder}/vsftpd.log
max_per_ip=0
"""


@contextmanager
def running_vsftpd(pki: Pki) -> Iterator[TextServer]:
    """A vsftpd with a folder for anonymous users, and one in it where they may write."""
    binary, port = need_server("vsftpd"), free_port()
    need_root("vsftpd")
    with _open_folder("vsftpd") as folder:
        conf, log = folder / "vsftpd.conf", folder / "output.log"
        conf.write_text(_VSFTPD_CONF.format(folder=folder, pki=pki, port=port))
        for name in ("files", "empty", "files/incoming"):
            _made(folder / name)
        _own(folder / "files/incoming", "ftp")
        with running(
            [binary, conf],
            ready=lambda: _accepts((LOCALHOST, port)),
            log=log,
            stop=signal.SIGTERM,
        ) as pid:
            yield TextServer(dict.fromkeys(("ftp", "ftps-upload", "ftps-download"), port), pid, log)
