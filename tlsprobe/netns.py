"""Entering a network namespace, for as long as it takes to make a socket there.

Source: setns(2), ip-netns(8).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tlsprobe.errors import CannotMeasure

NAMED = Path("/run/netns")
"""Where namespaces are found by their names."""

_CLONE_NEWNET = 0x4000_0000


@contextmanager
def inside(name: str) -> Iterator[None]:
    """This thread's new sockets, for the time of the block, belong to that namespace.

    A socket stays where it was made; nothing is awaited in the block, or others would make theirs
    there too. Without a name the thread stays where it is. Raises CannotMeasure where the kernel
    forbids it.
    """
    if not name:
        yield
        return
    with Path("/proc/thread-self/ns/net").open("rb") as home, (NAMED / name).open("rb") as there:
        _enter(there.fileno())
        try:
            yield
        finally:
            _enter(home.fileno())


def command_inside(name: str) -> tuple[str, ...]:
    """The words before a command that make it run in that namespace; none without a name."""
    return ("ip", "netns", "exec", name) if name else ()


def _enter(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise CannotMeasure(f"cannot enter a network namespace: {reason}", "run it with sudo")
