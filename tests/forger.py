"""A box on the way that resets other people's connections, in the name of either end.

The way is the loopback, between two addresses that are none of the loopback's: whoever speaks from
one with the other cannot know that nothing lies in between.
It sees each packet as a router would, and forges as well as one can: the next number, the next IP
ID, the TTL, window and timestamps of the end in whose name it speaks. Needs root.
"""

from __future__ import annotations

import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum

_ALL = 0x0003
_OUTGOING = 4
_FIN, _SYN, _RST, _ACK = 1, 2, 4, 16
_POLL_S = 0.05
HOST, CLIENT = "192.0.2.77", "192.0.2.78"
"""Addresses of the test's own, of the server and of who speaks with it (RFC 5737)."""

Flow = tuple[int, int]
"""Port of the sender, and of its peer."""


class Shape(Enum):
    """What a forged RST looks like: an application's decision, or a kernel's answer."""

    DECISION = "decision"
    ANSWER = "answer"


@dataclass(slots=True)
class Last:
    """The last packet of one end, and what it is about to send."""

    ip_id: int = 0
    ttl: int = 64
    window: int = 0
    next_byte: int = 0
    ack: int = 0
    options: bytes = b""


@dataclass(slots=True)
class Forger:
    """Resets connections to ``port`` when they have been quiet for ``quiet_s``, each once.

    ``of_server``: in the server's name. ``both``: the other end is reset as well, so that nobody
    is left to contradict it. ``made`` counts the RSTs.
    """

    port: int
    quiet_s: float
    of_server: bool = True
    both: bool = False
    shape: Shape = Shape.DECISION
    made: int = 0
    seen: dict[Flow, Last] = field(default_factory=dict)
    heard: dict[int, float] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    over: threading.Event = field(default_factory=threading.Event)

    def work(self, tap: socket.socket, out: socket.socket) -> None:
        """Watch, and reset who is quiet, until it is over."""
        while not self.over.is_set():
            with suppress(TimeoutError):
                frame, address = tap.recvfrom(65535)
                if address[2] == _OUTGOING:
                    self.see(frame[14:])
            for client, since in tuple(self.heard.items()):
                if client not in self.done and time.monotonic() - since >= self.quiet_s:
                    self.done.add(client)
                    self.reset(client, out)

    def see(self, packet: bytes) -> None:
        """Learn from a packet of one of the connections."""
        if len(packet) < 40 or packet[0] >> 4 != 4 or packet[9] != socket.IPPROTO_TCP:
            return
        tcp = packet[(packet[0] & 15) * 4 : struct.unpack("!H", packet[2:4])[0]]
        source, target, number, ack, shape, flags, window = struct.unpack("!HHIIBBH", tcp[:16])
        if self.port not in {source, target}:
            return
        client = target if source == self.port else source
        head = (shape >> 4) * 4
        if flags & (_RST | _FIN):
            self.done.add(client)  # it ends by itself
        length = len(tcp) - head + bool(flags & _SYN)
        ip_id = struct.unpack("!H", packet[4:6])[0]
        self.seen[source, target] = Last(
            ip_id, packet[8], window, number + length & 0xFFFFFFFF, ack, tcp[20:head]
        )
        if length and not flags & _SYN:
            self.heard[client] = time.monotonic()

    def reset(self, client: int, out: socket.socket) -> None:
        """Reset one connection."""
        names = [(self.port, client), (client, self.port)]
        if not self.of_server:
            names.reverse()
        for flow in names[: 2 if self.both else 1]:
            last = self.seen.get(flow)
            if last is not None:
                is_server = flow[0] == self.port
                ends = (HOST, CLIENT) if is_server else (CLIENT, HOST)
                out.sendto(_packet(ends, flow, last, self.shape), (ends[1], 0))
                self.made += 1


def _packet(ends: tuple[str, str], flow: Flow, last: Last, shape: Shape) -> bytes:
    options = b""
    if shape is Shape.DECISION:
        flags, ack, window, ip_id = _RST | _ACK, last.ack, last.window, last.ip_id + 1
        options = last.options
    else:
        flags, ack, window, ip_id = _RST, 0, 0, 0
    head = (20 + len(options)) // 4 << 4
    tcp = struct.pack("!HHIIBBHHH", *flow, last.next_byte, ack, head, flags, window, 0, 0) + options
    addresses = b"".join(map(socket.inet_aton, ends))
    pseudo = addresses + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(tcp))
    tcp = tcp[:16] + struct.pack("!H", _sum(pseudo + tcp)) + tcp[18:]
    ip_head = struct.pack(
        "!BBHHHBBH", 0x45, 0, 20 + len(tcp), ip_id & 0xFFFF, 0x4000, last.ttl, 6, 0
    )
    return ip_head + addresses + tcp


def _sum(data: bytes) -> int:
    words: tuple[int, ...] = struct.unpack(f"!{len(data) // 2}H", data)
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@contextmanager
def an_address() -> Iterator[None]:
    """``HOST`` is an address of this machine, and who connects to it does so from ``CLIENT``."""
    route = ["local", f"{HOST}/32", "dev", "lo", "table", "local"]
    try:
        for address in (HOST, CLIENT):
            _ip("address", "replace", f"{address}/32", "dev", "lo")
        _ip("route", "replace", *route, "proto", "kernel", "scope", "host", "src", CLIENT)
        yield
    finally:
        _ip("route", "delete", *route)
        for address in (HOST, CLIENT):
            _ip("address", "delete", f"{address}/32", "dev", "lo")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@contextmanager
def forging(forger: Forger) -> Iterator[Forger]:
    """The box at work."""
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL)) as tap,
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as out,
    ):
        tap.bind(("lo", 0))
        tap.settimeout(_POLL_S)
        thread = threading.Thread(target=forger.work, args=(tap, out))
        thread.start()
        try:
            yield forger
        finally:
            forger.over.set()
            thread.join()
