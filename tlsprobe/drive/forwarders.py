"""Whether a program on this machine takes our connections and passes their bytes on.

A connection that never leaves the machine may end at a forwarder all the same: socat, a load
balancer in TCP mode, ``kubectl port-forward``, an SSH tunnel. It is the forwarder then that sends
each FIN and RST, and what the server did cannot be seen.

Who ends TLS itself gets fewer bytes from whatever it asks than it sends us: the handshake is its
own. Who passes on gets all of them first. So the process that holds the other end of our connection
is looked for, and whether any other connection of it has brought as many bytes meanwhile.

It is not told of a server that has all of its responses from elsewhere, in more bytes than it
sends: that one may pass on, and is asked once more what no forwarder answers by itself. Nor of a
tunnel that packs what it carries, unless its name is known.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tlsprobe.drive.sockets import Endpoint, TcpSocket, is_own, tcp_sockets
from tlsprobe.drive.translation import Translated
from tlsprobe.model.target import endpoint
from tlsprobe.netns import inside

_PROC = Path("/proc")

STACKS = frozenset(
    {
        *(
            "pasta",
            "pasta.avx2",
            "passt",
            "passt.avx2",
            "slirp4netns",
            "rootlesskit",
            "rootlessport",
        ),
        *("docker-proxy", "gvproxy", "vpnkit", "ssh", "kubectl", "wslrelay", "tailscaled"),
    }
)
"""Programs that do nothing but pass on, some of them into another namespace, where we see nothing.

Their names as the kernel has them, at most 15 bytes. Source: proc(5), ``/proc/pid/comm``.
"""

TLS_ENDERS = frozenset(
    {
        *("haproxy", "traefik", "caddy", "nghttpx", "varnishd", "squid", "pound"),
        *("stunnel", "stunnel3", "stunnel4", "stunnel5", "hitch", "ghostunnel"),
    }
)
"""Programs that end TLS, and pass on what the server behind them calls itself.

Names as in `STACKS`. Those that put a name of their own there (nginx, Envoy) need no entry.
"""

ENDED = "whether a program on this machine passes the connections on could not be seen"
"""Said where the other end had no process any more when it was looked for."""


@dataclass(frozen=True, slots=True)
class Process:
    """Who holds sockets: number, name, and whose it is."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid})"


@dataclass(frozen=True, slots=True)
class Seen:
    """The sockets of a namespace at some time; ``holders`` are their processes, by inode."""

    sockets: tuple[TcpSocket, ...]
    holders: Mapping[int, frozenset[Process]]


def sockets_at(server: Endpoint, namespace: str = "") -> Seen:
    """The sockets as they are, and who holds them, as far as we may know. Nothing is raised.

    Where nobody here has connections to the server, nobody is looked for; and nobody is asked for
    anything where the server is on another machine. A machine may have sockets by the ten thousand.
    """
    try:
        with inside(namespace):
            sockets = tcp_sockets() if is_own(server[0]) else ()
    except OSError:
        return Seen((), {})
    taken = any(server in {one.local, one.remote} and one.remote[1] for one in sockets)
    return Seen(sockets, _holders({one.inode for one in sockets} - {0}) if taken else {})


def forwarder(
    before: Seen,
    after: Seen,
    client: Endpoint,
    server: Endpoint,
    led: Translated | None = None,
) -> str:
    """Which program passes our connection on, and to where, in words; empty if none is known to.

    ``before`` was seen before the connection was opened, ``after`` when it had been answered.
    ``led`` are the ends that the kernel's NAT gave it in place of ours.
    """
    ours = _between(after.sockets, client, server)
    client, server = (led.client, led.server) if led else (client, server)
    theirs = _between(after.sockets, server, client)
    if ours is None:
        return ""
    if theirs is None and not any(_listens(one, server) for one in after.sockets):
        return ""  # the kernel itself takes it elsewhere
    if theirs is None or not theirs.inode:
        return ENDED
    takers = after.holders.get(theirs.inode, frozenset())
    if any(taker.pid == os.getpid() for taker in takers):
        return ""  # our own
    there = _upstream(before, after, ours, theirs)
    if there is not None:
        name = str(min(takers, key=_pid)) if takers else "a program of another user's"
        return f"{name} passes the connections on to {endpoint(*there.remote)}"
    stack = next(
        (f"{taker} passes the connections on" for taker in takers if taker.name in STACKS), ""
    )
    return stack or ("" if ours.open and theirs.open else ENDED)


def tls_ender(
    after: Seen, client: Endpoint, server: Endpoint, led: Translated | None = None
) -> str:
    """The name of the program that has our connection, if it is one of `TLS_ENDERS`; else empty.

    Each FIN, RST and alert is that program's, whatever names itself in the responses.
    """
    client, server = (led.client, led.server) if led else (client, server)
    theirs = _between(after.sockets, server, client)
    takers = after.holders.get(theirs.inode, frozenset()) if theirs and theirs.inode else ()
    return min((taker.name for taker in takers if taker.name in TLS_ENDERS), default="")


def _upstream(before: Seen, after: Seen, ours: TcpSocket, theirs: TcpSocket) -> TcpSocket | None:
    """Where whoever has the other end of our connection had its bytes from, if from anywhere."""
    had = {(one.local, one.remote): one.received for one in before.sockets}
    for other in after.sockets:
        gained = other.received - had.get((other.local, other.remote), 0)
        if not other.inode or gained < ours.received or theirs.local in {other.local, other.remote}:
            continue
        if _is_held_alike(other, theirs, after.holders):
            return other
    return None


def _pid(process: Process) -> int:
    return process.pid


def _between(sockets: Iterable[TcpSocket], local: Endpoint, remote: Endpoint) -> TcpSocket | None:
    return next((one for one in sockets if (one.local, one.remote) == (local, remote)), None)


def _listens(one: TcpSocket, server: Endpoint) -> bool:
    return one.remote[1] == 0 and one.local[1] == server[1]


def _is_held_alike(
    other: TcpSocket, theirs: TcpSocket, holders: Mapping[int, frozenset[Process]]
) -> bool:
    """Whether a process holds both; where we may not know, whether they are the same user's."""
    takers = holders.get(theirs.inode, frozenset())
    if takers:
        return not holders.get(other.inode, frozenset()).isdisjoint(takers)
    return other.inode not in holders and other.uid == theirs.uid


def _holders(inodes: Collection[int]) -> dict[int, frozenset[Process]]:
    found: dict[int, set[Process]] = {}
    for process, inode in _held():
        if inode in inodes:
            found.setdefault(inode, set()).add(process)
    return {inode: frozenset(processes) for inode, processes in found.items()}


def _held() -> Iterator[tuple[Process, int]]:
    """Each process that we may look at, with each socket that it holds."""
    for folder in _PROC.glob("[0-9]*"):
        if sockets := list(_sockets_of(folder)):
            with suppress(OSError):  # it has ended
                name = (folder / "comm").read_text(encoding="utf-8", errors="replace").strip()
                yield from ((Process(int(folder.name), name), inode) for inode in sockets)


def _sockets_of(folder: Path) -> Iterator[int]:
    with suppress(OSError):  # it has ended, or is not ours to look at
        for open_file in (folder / "fd").iterdir():
            with suppress(OSError):
                link = str(open_file.readlink())
                if link.startswith("socket:["):
                    yield int(link[8:-1])
