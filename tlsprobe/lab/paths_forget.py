"""Makes a router forget connections that idle, in the ways in which routers do.

The kernel itself keeps the clock: an entry of its connection table shows how long it has left, and
any packet winds it up again to the full time. So an entry that has lost some of it has been idle
for as long.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tlsprobe.errors import CannotMeasure
from tlsprobe.lab.namespaces import Namespace

LIFETIME_S = 10_000
"""How long an established entry lives without a packet, in a router that is watched."""

_LOOKS_EVERY_S = 0.2
_PATIENCE_S = 10.0
_ENTRY = re.compile(
    r"^tcp\s+6\s+(?P<left>\d+)\s+ESTABLISHED\s+src=(?P<src>\S+)\s+dst=(?P<dst>\S+)"
    r"\s+sport=(?P<sport>\d+)\s+dport=(?P<dport>\d+)",
    re.MULTILINE,
)


class Entry(NamedTuple):
    """An established connection in a router's table, in the client's words."""

    idle_s: int
    src: str
    dst: str
    sport: str
    dport: str


Forget = Callable[[Namespace, Entry], None]
"""Does to a router what loses an entry."""


def entries(table: str) -> list[Entry]:
    """The established TCP connections in what ``conntrack -L`` prints."""
    return [
        Entry(LIFETIME_S - int(m["left"]), m["src"], m["dst"], m["sport"], m["dport"])
        for m in _ENTRY.finditer(table)
    ]


def delete_entry(router: Namespace, entry: Entry) -> None:
    """Delete the entry alone."""
    ends = ("-s", entry.src, "-d", entry.dst, "--sport", entry.sport, "--dport", entry.dport)
    family = "ipv6" if ":" in entry.src else "ipv4"
    router.run("conntrack", "-D", "-f", family, "-p", "tcp", *ends, check=False)


def add_and_remove_address(router: Namespace, entry: Entry) -> None:
    """Give the outgoing interface another address and take it away, as moving a VIP does."""
    address = "fd77:2::99/64" if ":" in entry.src else "10.77.2.99/24"
    router.run("ip", "address", "add", address, "dev", "to-server", check=False)
    router.run("ip", "address", "del", address, "dev", "to-server", check=False)


def renew_address(router: Namespace, entry: Entry) -> None:
    """Take the address away that connections are masqueraded to, and put it back."""
    address = "fd77:2::1/64" if ":" in entry.src else "10.77.2.1/24"
    router.run("ip", "address", "del", address, "dev", "to-server", check=False)
    router.run("ip", "address", "add", address, "dev", "to-server", check=False)


@contextmanager
def forgetting(router: Namespace, forget: Forget, idle_s: int) -> Iterator[list[Entry]]:
    """Do it to every connection once it has idled for so long; the list says to which it was done.

    Needs conntrack(8).
    """
    router.set("net/netfilter/nf_conntrack_tcp_timeout_established", str(LIFETIME_S))
    done: list[Entry] = []
    stop = threading.Event()
    thread = threading.Thread(target=_watch, args=(router, forget, idle_s, done, stop), daemon=True)
    thread.start()
    try:
        yield done
    finally:
        stop.set()
        thread.join(_PATIENCE_S)


def _watch(
    router: Namespace, forget: Forget, idle_s: int, done: list[Entry], stop: threading.Event
) -> None:
    while not stop.wait(_LOOKS_EVERY_S):
        for family in ("ipv4", "ipv6"):
            try:
                table = router.run("conntrack", "-L", "-f", family, "-p", "tcp", check=False)
            except CannotMeasure:
                return
            known = {entry[1:] for entry in done}
            for entry in entries(table):
                if entry.idle_s >= idle_s and entry[1:] not in known:
                    forget(router, entry)
                    done.append(entry)
