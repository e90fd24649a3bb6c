"""A user and network namespace of our own, so that a sniffer works without privileges.

Inside, this process is root over a network that nobody else shares and that has only a loopback
interface: enough to start servers on, and to open a packet socket (user_namespaces(7)).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from typing import NoReturn

_INSIDE = "TLSPROBE_IN_NAMESPACE"
_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914
_IFF_UP = 0x1
_UNSHARE = ("unshare", "--user", "--map-root-user", "--net", "--")


def is_inside() -> bool:
    """Whether this process was re-started in a namespace of its own."""
    return _INSIDE in os.environ


def can_sniff() -> bool:
    """Whether this process may open a packet socket (CAP_NET_RAW)."""
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except OSError:
        return False
    return True


def available() -> str | None:
    """Why there can be no namespace, as a sentence; None if there can."""
    if shutil.which(_UNSHARE[0]) is None:
        return "there is no 'unshare' (package util-linux)"
    tried = subprocess.run([*_UNSHARE, "true"], capture_output=True, text=True, check=False)
    return tried.stderr.strip().splitlines()[-1] if tried.returncode else None


def restart_inside(arguments: Sequence[str]) -> NoReturn:
    """Replace this process by ``tlsprobe`` with these arguments in a namespace of its own."""
    os.environ[_INSIDE] = "1"
    command = [*_UNSHARE, sys.executable, "-m", "tlsprobe", *arguments]
    os.execvp(command[0], command)


def raise_loopback() -> None:
    """A fresh network namespace's loopback interface is down; bring it up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(handle, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(handle, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))
