"""What can lie between a client and a server: the paths of the lab, built from namespaces.

    with opened(PATHS["nat-lost-conntrack"], folder) as path:
        ...   # a server in path.server, a client in path.client

A path is data here, and one context manager that builds it. What it needs besides root (nftables,
conntrack-tools) is told by `missing`, so that a path that cannot be had says why.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tlsprobe.lab import namespaces
from tlsprobe.lab.distance import distance
from tlsprobe.lab.namespaces import Namespace, Three
from tlsprobe.lab.paths_capture import Watched, watching
from tlsprobe.lab.paths_forget import (
    Entry,
    Forget,
    add_and_remove_address,
    delete_entry,
    forgetting,
    renew_address,
)

CLIENT_SIDE, SERVER_SIDE = "client-side.pcapng", "server-side.pcapng"
"""The captures on both sides of a router, in a path's results folder."""

IDLE_S = 2
"""Seconds of silence after which the boxes of the lab forget a connection."""

AFTER_IDLING = (
    "request; sleep 4.5s; send; drain 3s",
    "request; sleep 4.5s; close_notify; fin; drain 3s",
)
"""What is run where idling matters: silence for longer than IDLE_S, then a request, or a close."""

SHORT_CLOSES = ("client-first", "unfinished", "goodbye")
"""What is run where distance matters: the chapters of closes that do not idle."""


@dataclass(frozen=True, slots=True)
class LabPath:
    """A path by its name. ``where`` ends a sentence that begins with the server's title.

    ``sequences`` are run by default, in names or steps; ``needs`` are commands, by the Debian
    package that brings each.
    """

    name: str
    where: str
    text: str
    sequences: tuple[str, ...]
    needs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OpenPath:
    """A path while it lies there.

    ``sides`` are the captures on the client's and on the server's side of the router, of paths
    that have one; they are complete once the path is closed. ``forgotten`` grows with every
    connection that the router was made to forget.
    """

    client: Namespace
    server: Namespace
    sides: tuple[Watched, Watched] | None = None
    forgotten: list[Entry] = field(default_factory=list)


_NFT = {"nft": "nftables"}
_NFT_CONNTRACK = {"nft": "nftables", "conntrack": "conntrack"}


def _far(rtt: str, delay: str, loss: str = "") -> LabPath:
    lossy = f", {loss} of all packets lost" if loss else ""
    return LabPath(
        "loss-1" if loss else f"rtt-{rtt.replace(' ', '')}",
        f"{rtt} away{lossy}",
        f"round-trip time {rtt}{lossy}: {delay}",
        SHORT_CLOSES,
    )


_DIRECT = LabPath(
    "direct",
    "next door",
    "three namespaces, client, router and server; the router only forwards",
    SHORT_CLOSES,
)
_CONNTRACK = LabPath(
    "nat-lost-conntrack",
    "behind NAT that loses its entry",
    "a router masquerades with random ports; while the connection idles its entry is deleted",
    AFTER_IDLING,
    _NFT_CONNTRACK,
)
_ADDRESS = LabPath(
    "nat-lost-address",
    "behind NAT whose address moves",
    "a router masquerades with random ports; while the connection idles an address is added to"
    " the outgoing interface and removed again",
    AFTER_IDLING,
    _NFT_CONNTRACK,
)
_RENEWED = LabPath(
    "nat-lost-renewed",
    "behind NAT whose own address is renewed",
    "a router masquerades with random ports; while the connection idles the address that it is"
    " masqueraded to is removed and put back",
    AFTER_IDLING,
    _NFT_CONNTRACK,
)
_DROPS = LabPath(
    "drops-idle",
    "behind a firewall that drops",
    f"a firewall forgets a connection after {IDLE_S} s of silence and drops what comes then",
    AFTER_IDLING,
    _NFT,
)
_RESETS = LabPath(
    "resets-idle",
    "behind a firewall that resets",
    f"a firewall forgets a connection after {IDLE_S} s of silence and answers with an RST",
    AFTER_IDLING,
    _NFT,
)
_RTT_MS = {"rtt-0.1ms": 0.0, "rtt-1ms": 0.95, "rtt-20ms": 20.0, "loss-1": 20.0}
"""The delay that is asked of the forwarder, which takes about 0.1 ms by itself."""

PATHS = {
    path.name: path
    for path in (
        _DIRECT,
        _far("0.1 ms", "as near as the forwarder comes"),
        _far("1 ms", "a neighbouring data centre"),
        _far("20 ms", "another city"),
        _far("20 ms", "another city by a bad line", loss="1 %"),
        _CONNTRACK,
        _ADDRESS,
        _RENEWED,
        _DROPS,
        _RESETS,
    )
}
"""Every path, by name, the nearest first."""


def missing(path: LabPath) -> str | None:
    """Why this path cannot be had here, as a sentence; None if it can."""
    reason = namespaces.available()
    if reason is not None:
        return reason
    lacking = {package: name for name, package in path.needs.items() if not _installed(name)}
    if not lacking:
        return None
    names = " and ".join(f"'{name}'" for name in lacking.values())
    return f"there is no {names} (apt-get install {' '.join(lacking)})"


@contextmanager
def opened(path: LabPath, folder: Path, seed: int = 1) -> Iterator[OpenPath]:
    """Build a path, for the time of the block; captures of a router are written to ``folder``.

    Raises CannotMeasure where the kernel or a program refuses.
    """
    with _BUILDERS[path.name](path, folder, seed) as built:
        yield built


@contextmanager
def _distant(path: LabPath, folder: Path, seed: int) -> Iterator[OpenPath]:
    loss = 0.01 if path.name == "loss-1" else 0.0
    with (
        namespaces.two() as net,
        distance(net, rtt_ms=_RTT_MS[path.name], loss=loss, seed=seed),
    ):
        yield OpenPath(net.client, net.server)


@contextmanager
def _direct(path: LabPath, folder: Path, seed: int) -> Iterator[OpenPath]:
    with namespaces.three() as net:
        yield OpenPath(net.client, net.server)


def _translating(forget: Forget) -> Builder:
    @contextmanager
    def build(path: LabPath, folder: Path, seed: int) -> Iterator[OpenPath]:
        with ExitStack() as stack:
            net, sides = stack.enter_context(_routed(folder, _MASQUERADE))
            forgotten = stack.enter_context(forgetting(net.router, forget, IDLE_S))
            yield OpenPath(net.client, net.server, sides, forgotten)

    return build


def _guarding(farewell: str) -> Builder:
    @contextmanager
    def build(path: LabPath, folder: Path, seed: int) -> Iterator[OpenPath]:
        with _routed(folder, _FIREWALL.format(farewell=farewell)) as (net, sides):
            # what the firewall has forgotten it must not take up again in the middle
            net.router.set("net/netfilter/nf_conntrack_tcp_loose", "0")
            net.router.set("net/netfilter/nf_conntrack_tcp_timeout_established", str(IDLE_S))
            yield OpenPath(net.client, net.server, sides)

    return build


@contextmanager
def _routed(folder: Path, rules: str) -> Iterator[tuple[Three, tuple[Watched, Watched]]]:
    """Three namespaces, the router with these rules, watched on both sides."""
    with ExitStack() as stack:
        net = stack.enter_context(namespaces.three())
        net.router.run("nft", rules)
        near = watching(net.router, "to-client", folder / CLIENT_SIDE)
        far = watching(net.router, "to-server", folder / SERVER_SIDE)
        yield net, (stack.enter_context(near), stack.enter_context(far))


_MASQUERADE = """
table inet tlsprobe {
  chain leaving {
    type nat hook postrouting priority 100;
    oifname "to-server" masquerade fully-random
  }
}
"""

_FIREWALL = """
table inet tlsprobe {{
  chain passing {{
    type filter hook forward priority 0;
    ct state established,related accept
    ct state new tcp flags & (syn | ack) == syn accept
    meta l4proto tcp {farewell}
  }}
}}
"""

Builder = Callable[[LabPath, Path, int], AbstractContextManager[OpenPath]]
_BUILDERS: dict[str, Builder] = {
    "direct": _direct,
    **dict.fromkeys(_RTT_MS, _distant),
    "nat-lost-conntrack": _translating(delete_entry),
    "nat-lost-address": _translating(add_and_remove_address),
    "nat-lost-renewed": _translating(renew_address),
    "drops-idle": _guarding("drop"),
    "resets-idle": _guarding("reject with tcp reset"),
}


def _installed(name: str) -> bool:
    return shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin") is not None
