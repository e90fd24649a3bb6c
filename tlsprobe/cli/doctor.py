"""``tlsprobe doctor``: tries each thing that a probe can use, and says how to get what is missing.

A capture program counts only if it opens the loopback interface when asked to: that the file may
be run says nothing about the right to capture, and both programs list interfaces without it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import typer
from rich.padding import Padding
from rich.text import Text

from tlsprobe.cli.console import out, version_line
from tlsprobe.lab import kernel_reasons, own_namespace
from tlsprobe.report.escape import printable
from tlsprobe.report.render_terminal import Trimmed
from tlsprobe.shaper import link
from tlsprobe.sniff.backends import reason_of

_RMEM = Path("/proc/sys/net/core/rmem_max")
_WANTED_RMEM = 8 * 2**20
_TRIAL_S = 3.0
"""How long a capture program may take to open an interface."""

_SUDO = "run tlsprobe with sudo; its sniffer process drops root before it reads packets"
_SUDO_AND_TUN = "run tlsprobe with sudo, where /dev/net/tun is"
_LET_USERS_CAPTURE = "dpkg-reconfigure wireshark-common, then: adduser $USER wireshark"


class Check(NamedTuple):
    """One thing that tlsprobe can use: there or not, what for, and how to get it."""

    name: str
    there: bool
    said: str
    hint: str = ""


def doctor() -> None:
    """Check what tlsprobe can use on this machine, and how to get what is missing.

    Exit codes: 0 packets can be captured; 1 they cannot, in any way.
    """
    console = out()
    console.print(Text(version_line(), "bold"))
    found = tuple(checks())
    for check in found:
        word, style = ("yes", "green") if check.there else ("no ", "yellow")
        line = Text.assemble("  ", (word, style), "  ", (f"{check.name}: ", "bold"), check.said)
        console.print(line, soft_wrap=True)
        if check.hint and not check.there:
            console.print(Trimmed(Padding(Text(check.hint, "cyan"), (0, 0, 0, 7))))
    can_capture = any(c.there for c in found if c.name in {"packet socket", "dumpcap", "tcpdump"})
    if not can_capture:
        console.print(
            Text("\nWithout a capture, 'run' still tells EOF from ECONNRESET on its own socket.")
        )
    raise typer.Exit(0 if can_capture else 1)


def checks() -> Iterator[Check]:
    """Every check, in the order of its weight."""
    yield _packet_socket()
    yield from (capture_tool(*tool) for tool in _TOOLS)
    yield _receive_buffer()
    yield _shaper()
    yield _namespace()
    yield _kernel_truth()
    yield _ipv6()
    yield from (_other(name, what, package) for name, what, package in _OTHERS)


_TOOLS = (("dumpcap", "wireshark-common", _LET_USERS_CAPTURE), ("tcpdump", "tcpdump", _SUDO))
_OTHERS = (
    ("tshark", "second opinions on a capture", "tshark"),
    ("nginx", "the tests against a real nginx", "nginx-light"),
    ("psql", "the tests against a real PostgreSQL", "postgresql"),
    ("openssl", "the benchmark's yardstick, openssl s_time", "openssl"),
)


def _packet_socket() -> Check:
    if own_namespace.can_sniff():
        return Check("packet socket", there=True, said="sees every RST on the wire")
    return Check("packet socket", there=False, said="needs root or CAP_NET_RAW", hint=_SUDO)


def capture_tool(name: str, package: str, hint: str) -> Check:
    """Whether this program may capture here; ``hint`` is for one that may not."""
    path = _where_is(name)
    if path is None:
        return Check(
            name,
            there=False,
            said="a fallback for the packet socket",
            hint=f"apt-get install {package}",
        )
    if (why_not := _refusal(path)) is not None:
        return Check(
            name, there=False, said=f"{path} is installed but cannot capture: {why_not}", hint=hint
        )
    return Check(name, there=True, said=f"{path}, a fallback for the packet socket")


def _refusal(path: str) -> str | None:
    """Why this program cannot capture, in its own words; None if it can.

    ``-L`` asks for an interface's link types, for which libpcap opens it as for a capture.
    """
    try:
        tried = subprocess.run(
            [path, "-i", "lo", "-L"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TRIAL_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {_TRIAL_S:g} s"
    except OSError as error:
        return f"it cannot be started ({error.strerror})"
    if not tried.returncode:
        return None
    said = reason_of(tried.stderr.splitlines()).removeprefix(f"{Path(path).name}: ")
    return printable(said) or f"exit code {tried.returncode}"


def _where_is(name: str) -> str | None:
    """The program's path, also if this user may not run it."""
    return shutil.which(name, os.F_OK) or shutil.which(name, os.F_OK, path="/usr/sbin:/sbin")


def _receive_buffer() -> Check:
    try:
        size = int(_RMEM.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return Check("receive buffer", there=False, said=f"{_RMEM} cannot be read")
    there = size >= _WANTED_RMEM or os.geteuid() == 0
    hint = f"sysctl -w net.core.rmem_max={_WANTED_RMEM}"
    return Check("receive buffer", there, f"net.core.rmem_max is {size} bytes", hint)


def _namespace() -> Check:
    why_not = own_namespace.available()
    said = why_not or "'tlsprobe demo' can sniff without privileges"
    hint = "sysctl -w kernel.unprivileged_userns_clone=1"
    return Check("own network namespace", why_not is None, said, hint)


def _shaper() -> Check:
    why_not = link.why_not()
    said = why_not or "lets sequences hold, lose and forge packets (the chapter 'wire')"
    return Check("shaper in the path", why_not is None, said, _SUDO_AND_TUN)


def _kernel_truth() -> Check:
    why_not = kernel_reasons.available()
    said = why_not or "gives the kernel's own reason for each RST (tests, lab)"
    return Check("tcp_send_reset tracepoint", why_not is None, said)


def _ipv6() -> Check:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as handle:
            handle.bind(("::1", 0))
    except OSError as error:
        return Check("IPv6", there=False, said=f"no ::1 on this machine ({error.strerror})")
    return Check("IPv6", there=True, said="on loopback")


def _other(name: str, what: str, package: str) -> Check:
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    said = f"{path}, for {what}" if path else f"not installed; for {what}"
    return Check(name, path is not None, said, hint=f"apt-get install {package}")
