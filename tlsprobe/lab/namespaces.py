"""Network namespaces: a client, a router and a server, each with a network stack of its own.

    with three() as net:                 # client ── router ── server, routed
    with two() as net:                   # client and server; nothing lies between them yet

Namespaces are named ``tlsprobe-<pid>-<n>`` and go with the block, whatever ends it. Those of a
process that was killed are found by the pid in their names, and go when the next are made.

Needs root. Source: ip-netns(8), veth(4).
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tlsprobe.errors import CannotMeasure
from tlsprobe.netns import NAMED, command_inside

PREFIX = "tlsprobe-"
"""What the name of every namespace of ours begins with."""

_TELLING_S = 10.0
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace, and the addresses by which its neighbours reach it."""

    name: str
    ipv4: str = ""
    ipv6: str = ""

    @property
    def prefix(self) -> tuple[str, ...]:
        """The words before a command that make it run inside."""
        return command_inside(self.name)

    def run(self, *command: str, check: bool = True) -> str:
        """Run a short command inside; its output. Raises CannotMeasure if it fails."""
        return run(*self.prefix, *command, check=check)

    def set(self, option: str, value: str) -> None:
        """Set a kernel parameter (``net/ipv4/ip_forward``), which is this namespace's alone."""
        self.run("sh", "-c", f"echo {value} > /proc/sys/{option}")


@dataclass(frozen=True, slots=True)
class Three:
    """Client, router and server; the router forwards, and translates nothing.

    The router's interfaces are ``to-client`` and ``to-server``; those of the others ``eth0``.
    """

    client: Namespace
    router: Namespace
    server: Namespace


@dataclass(frozen=True, slots=True)
class Two:
    """Client and server, not connected: whoever joins them is the path."""

    client: Namespace
    server: Namespace


def available() -> str | None:
    """Why there can be no namespaces, as a sentence; None if there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "there is no 'ip' (package iproute2)"
    tried = subprocess.run(("ip", "netns", "list"), capture_output=True, text=True, check=False)
    return tried.stderr.strip() or "'ip netns list' failed" if tried.returncode else None


@contextmanager
def three() -> Iterator[Three]:
    """Client and server in networks of their own, with a router between them, IPv4 and IPv6."""
    with _fresh(3) as (client, router, server):
        net = Three(
            Namespace(client, "10.77.1.2", "fd77:1::2"),
            Namespace(router),
            Namespace(server, "10.77.2.2", "fd77:2::2"),
        )
        for number, end, port in ((1, net.client, "to-client"), (2, net.server, "to-server")):
            _cable((end.name, "eth0"), (router, port))
            _address(end.name, "eth0", f"{end.ipv4}/24", f"{end.ipv6}/64")
            _address(router, port, f"10.77.{number}.1/24", f"fd77:{number}::1/64")
            _route(end.name, "default", f"10.77.{number}.1", f"fd77:{number}::1")
        net.router.set("net/ipv4/ip_forward", "1")
        net.router.set("net/ipv6/conf/all/forwarding", "1")
        yield net


@contextmanager
def two() -> Iterator[Two]:
    """Two namespaces for a path that brings its own interfaces; the addresses share a network."""
    with _fresh(2) as (client, server):
        yield Two(
            Namespace(client, "10.77.3.1", "fd77:3::1"),
            Namespace(server, "10.77.3.2", "fd77:3::2"),
        )


def left_over() -> list[str]:
    """Namespaces of ours whose process is gone."""
    names = [path.name for path in NAMED.glob(f"{PREFIX}*")] if NAMED.is_dir() else []
    return [name for name in names if not _alive(name.removeprefix(PREFIX).partition("-")[0])]


def run(*command: str, check: bool = True) -> str:
    """Run a short command; its output. Raises CannotMeasure, with what it said, if it fails."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=_TELLING_S * 3
    )
    if check and done.returncode:
        said = done.stderr.strip().splitlines()
        why = said[-1] if said else f"exit status {done.returncode}"
        raise CannotMeasure(f"'{' '.join(command)}' failed: {why}")
    return done.stdout


@contextmanager
def _fresh(count: int) -> Iterator[tuple[str, ...]]:
    """New namespaces, their loopback interfaces up, without IPv6's pauses for thought."""
    reason = available()
    if reason is not None:
        raise CannotMeasure(reason, "run tlsprobe with sudo, where iproute2 is installed")
    for name in left_over():
        _remove(name)
    names = tuple(f"{PREFIX}{os.getpid()}-{next(_numbers)}" for _ in range(count))
    with ExitStack() as until_the_end:
        for name in names:
            until_the_end.callback(_remove, name)
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
            for whose in ("all", "default"):  # nobody else is here to hold our addresses
                Namespace(name).set(f"net/ipv6/conf/{whose}/accept_dad", "0")
        yield names


def _remove(name: str) -> None:
    """Remove a namespace and end whatever still runs in it: it would keep the network alive."""
    for pid in run("ip", "netns", "pids", name, check=False).split():
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            continue
    run("ip", "netns", "delete", name, check=False)


def _cable(one: tuple[str, str], other: tuple[str, str]) -> None:
    ends = ("netns", one[0], "type", "veth", "peer", "name", other[1], "netns", other[0])
    run("ip", "link", "add", one[1], *ends)


def _address(namespace: str, interface: str, ipv4: str, ipv6: str) -> None:
    command = ("ip", "-n", namespace)
    run(*command, "address", "add", ipv4, "dev", interface)
    run(*command, "address", "add", ipv6, "dev", interface, "nodad")
    run(*command, "link", "set", interface, "up")


def _route(namespace: str, where: str, ipv4: str, ipv6: str) -> None:
    for via in (ipv4, ipv6):
        family = "-6" if ":" in via else "-4"
        run("ip", "-n", namespace, family, "route", "add", where, "via", via)


def _alive(pid: str) -> bool:
    return Path("/proc", pid).exists()
