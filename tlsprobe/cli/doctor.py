"""``tlsprobe doctor``: what this machine allows, and how to get the rest."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import typer
from rich.padding import Padding
from rich.text import Text

from tlsprobe.cli.console import out, version_line
from tlsprobe.lab import kernel_truth, own_namespace

_RMEM = Path("/proc/sys/net/core/rmem_max")
_WANTED_RMEM = 8 * 2**20
_SUDO = "run tlsprobe with sudo: it gives root up as soon as the socket is open"


class Check(NamedTuple):
    """One thing that tlsprobe can use: there or not, what for, and how to get it."""

    name: str
    there: bool
    said: str
    mend: str = ""


def doctor() -> None:
    """Say what this machine lets tlsprobe do, and how to get the rest."""
    console = out()
    console.print(Text(version_line(), "bold"))
    for check in checks():
        word, style = ("yes", "green") if check.there else ("no ", "yellow")
        line = Text.assemble("  ", (word, style), "  ", (f"{check.name}: ", "bold"), check.said)
        console.print(line, soft_wrap=True)
        if check.mend and not check.there:
            console.print(Padding(Text(check.mend, "cyan"), (0, 0, 0, 7)))
    sight = any(c.there for c in checks() if c.name in {"packet socket", "dumpcap", "tcpdump"})
    if not sight:
        console.print(
            Text("\nWithout a capture, run still tells EOF from ECONNRESET, by its own socket.")
        )
    raise typer.Exit(0)


def checks() -> Iterator[Check]:
    """Every check, in the order of its weight."""
    yield _packet_socket()
    yield from (_capture_tool(name, package) for name, package in _TOOLS)
    yield _receive_buffer()
    yield _namespace()
    yield _kernel_truth()
    yield _ipv6()
    yield from (_other(name, what, package) for name, what, package in _OTHERS)


_TOOLS = (("dumpcap", "wireshark-common"), ("tcpdump", "tcpdump"))
_OTHERS = (
    ("tshark", "second opinions on a capture", "tshark"),
    ("nginx", "the tests against a real nginx", "nginx-light"),
    ("psql", "the tests against a real PostgreSQL", "postgresql"),
    ("openssl", "the benchmark's yardstick, openssl s_time", "openssl"),
)


def _packet_socket() -> Check:
    if own_namespace.can_sniff():
        return Check("packet socket", True, "every RST on the wire is seen, with its cause")
    return Check("packet socket", False, "needs root or CAP_NET_RAW", _SUDO)


def _capture_tool(name: str, package: str) -> Check:
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if path is None:
        return Check(name, False, "a fallback for the packet socket", f"apt-get install {package}")
    if os.geteuid() != 0 and name == "tcpdump":
        return Check(name, False, f"{path} is here, and needs root", _SUDO)
    if not os.access(path, os.X_OK):
        mend = "dpkg-reconfigure wireshark-common, then: adduser $USER wireshark"
        return Check(name, False, f"{path} is here, and this user may not run it", mend)
    return Check(name, True, f"{path}, a fallback for the packet socket")


def _receive_buffer() -> Check:
    try:
        size = int(_RMEM.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return Check("receive buffer", False, f"{_RMEM} cannot be read")
    there = size >= _WANTED_RMEM or os.geteuid() == 0
    mend = f"sysctl -w net.core.rmem_max={_WANTED_RMEM}"
    return Check("receive buffer", there, f"net.core.rmem_max is {size} bytes", mend)


def _namespace() -> Check:
    why_not = own_namespace.available()
    said = why_not or "'tlsprobe demo' can sniff without privileges"
    mend = "sysctl -w kernel.unprivileged_userns_clone=1"
    return Check("own network namespace", why_not is None, said, mend)


def _kernel_truth() -> Check:
    why_not = kernel_truth.available()
    said = why_not or "the kernel's own reason for each RST can be read (tests, lab)"
    return Check("tcp_send_reset tracepoint", why_not is None, said)


def _ipv6() -> Check:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as handle:
            handle.bind(("::1", 0))
    except OSError as error:
        return Check("IPv6", False, f"no ::1 here ({error.strerror})")
    return Check("IPv6", True, "on loopback")


def _other(name: str, what: str, package: str) -> Check:
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    said = f"{path}, for {what}" if path else f"not here; for {what}"
    return Check(name, path is not None, said, f"apt-get install {package}")
