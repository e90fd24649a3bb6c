"""Where the lab works: certificates and scratch folders, tools that stay, ports, accounts."""

from __future__ import annotations

import fcntl
import grp
import os
import pwd
import random
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tlsprobe.certificates import Authority, key_pem, pem, pkcs12_file, write_secret
from tlsprobe.errors import CannotMeasure
from tlsprobe.model.profile import LAB_PLACEHOLDER

SERVER_NAME = "localhost"
"""The name by which the lab's servers are asked for."""

PASSWORD = "tlsprobe"
"""What the PKCS#12 file is encrypted with."""

CLIENT = "tlsprobe"
"""The name in the client's certificate."""

_SCRATCH, _PKI = "tlsprobe-lab-", "pki"
"""How the names of scratch folders begin, which a living lab holds locked; the folder in them."""

_NAMES = (SERVER_NAME, "tlsprobe.test")
_SOCKETS_BELOW = 30_000
_SOCKETS_FROM = 15_000


@dataclass(frozen=True, slots=True)
class Workspace:
    """``scratch`` holds a folder for each running server, ``pki`` the certificates, ``tools`` what
    was installed or built for a vendor; only that outlives the lab.
    """  # noqa: D205 - three places, one sentence

    scratch: Path
    pki: Path
    tools: Path

    @property
    def client_cert(self) -> Path:
        """The certificate of a client, for vendors that ask for one."""
        return self.pki / "client.crt"

    @property
    def client_key(self) -> Path:
        """Its private key."""
        return self.pki / "client.key"


@contextmanager
def new_workspace(tools: Path | None = None) -> Iterator[Workspace]:
    """New certificates in a new scratch folder; both are gone after the block."""
    _remove_abandoned()
    scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH))
    with ExitStack() as until_the_end:
        until_the_end.callback(shutil.rmtree, scratch, ignore_errors=True)
        until_the_end.enter_context(_held(scratch))
        scratch.chmod(0o755)  # servers that run as somebody else have to get in
        pki = scratch / _PKI
        pki.mkdir(mode=0o700)
        _write_pki(pki)
        yield Workspace(scratch, pki, tools or tools_folder())


@contextmanager
def _held(scratch: Path, how: int = 0) -> Iterator[None]:
    """Mark a scratch folder as in use; the lock ends with the process, however it ends."""
    lock = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | how)
        yield
    finally:
        os.close(lock)


def _remove_abandoned() -> None:
    """Remove the scratch folders of labs that were killed."""
    for scratch in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*"):
        with suppress(OSError):
            if scratch.is_symlink() or scratch.stat().st_uid != os.geteuid():
                continue
            if (scratch / _PKI).is_dir():  # else it was made just now, and is about to be locked
                with _held(scratch, fcntl.LOCK_NB):  # refused while the lab lives
                    shutil.rmtree(scratch, ignore_errors=True)


def tools_folder() -> Path:
    """Where tools are kept from one lab to the next.

    Root's own cache is closed to the accounts that servers run as, so that root has none.
    """
    if cache := os.environ.get("XDG_CACHE_HOME"):
        return Path(cache, "tlsprobe", "lab")
    if os.geteuid() == 0:
        return Path("/var/cache/tlsprobe/lab")
    return Path.home() / ".cache" / "tlsprobe" / "lab"


# --- Certificates ---------------------------------------------------------------------------------


def _write_pki(folder: Path) -> None:
    ca = Authority("tlsprobe lab CA")
    server, client = ca.issue_server(_NAMES), ca.issue_client(CLIENT)
    chain = pem(server[0]) + pem(ca.certificate)
    for name, content in {
        "ca.crt": pem(ca.certificate),
        "server.crt": chain,
        "server.key": key_pem(server[1]),
        "server.pem": chain + key_pem(server[1]),
        "server.p12": pkcs12_file(server, ca, PASSWORD),
        "client.crt": pem(client[0]),
        "client.key": key_pem(client[1]),
    }.items():
        write_secret(folder / name, content)


def copy_pki(pki: Path, folder: Path, account: Account) -> dict[str, str]:
    """Give a server certificates of its own to read; the placeholders that name them."""
    shutil.copytree(pki, folder)
    for path in (folder, *folder.iterdir()):
        account.own(path)
    return {
        "ca": str(folder / "ca.crt"),
        "cert": str(folder / "server.crt"),
        "key": str(folder / "server.key"),
        "bundle": str(folder / "server.pem"),
        "pkcs12": str(folder / "server.p12"),
        "client_cert": str(folder / "client.crt"),
        "client_key": str(folder / "client.key"),
    }


# --- Accounts -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a server runs as; for anybody but root, that is who runs the lab."""

    user: str
    group: str
    uid: int
    gid: int

    def own(self, path: Path) -> None:
        """Give a file or folder to this account; only root can, and only root needs to."""
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.gid)


def account(user: str) -> Account:
    """The account of this name, or our own unless we are root. Raises CannotMeasure."""
    if os.geteuid() != 0:
        return account_of_ours()
    try:
        return _account(pwd.getpwnam(user))
    except KeyError:
        raise CannotMeasure(f"there is no account '{user}' to run it as") from None


def account_of_ours() -> Account:
    """Who runs the lab."""
    return _account(pwd.getpwuid(os.geteuid()))


def _account(entry: pwd.struct_passwd) -> Account:
    group = grp.getgrgid(entry.pw_gid).gr_name
    return Account(entry.pw_name, group, entry.pw_uid, entry.pw_gid)


# --- Ports ----------------------------------------------------------------------------------------

_given: set[int] = set()


def free_ports(count: int, host: str) -> list[int]:
    """Ports that nothing uses, below the range from which the kernel takes clients' ports.

    None is given twice, so that servers that start at the same time do not meet.
    """
    below = min(_first_client_port(), _SOCKETS_BELOW)
    candidates = (random.randint(_SOCKETS_FROM, below - 1) for _ in range(1000))
    ports: list[int] = []
    for port in candidates:
        if len(ports) == count:
            return ports
        if port not in _given and _is_free(host, port):
            _given.add(port)
            ports.append(port)
    raise CannotMeasure(f"no free ports between {_SOCKETS_FROM} and {below}")


def _first_client_port() -> int:
    try:
        text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii")
    except OSError:
        return _SOCKETS_BELOW
    return max(int(text.split()[0]), _SOCKETS_FROM + 2000)


def _is_free(host: str, port: int) -> bool:
    """Whether a server could listen; an address of another namespace has nothing to be in use."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, 0))
        except OSError:
            return True
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError:
            return False
    return True


# --- Placeholders ---------------------------------------------------------------------------------


def fill(text: str, names: Mapping[str, str]) -> str:
    """Put values in the place of the placeholders that are known; others are left as they are."""

    def value(match: re.Match[str]) -> str:
        return names.get(match[1], match[0])

    return LAB_PLACEHOLDER.sub(value, text)


def fill_all(texts: tuple[str, ...], names: Mapping[str, str]) -> list[str]:
    """The same for each word of a command."""
    return [fill(text, names) for text in texts]
