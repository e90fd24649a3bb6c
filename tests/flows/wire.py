"""Connections as hosts make them, frame by frame, for whoever wants to see them captured.

A `Talk` is a connection between two endpoints: what it sends is a `Sent`, which knows its offsets
and can be put into a frame. Arrivals are what a sniffer hands on: time, length, bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

from tlsprobe.model.trace import Side
from tlsprobe.packets.packet import Endpoint

C, S = Side.CLIENT, Side.SERVER
FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10

HOST = bytes([127, 0, 0, 1])
CLIENT: Endpoint = (HOST, 40_000)
SERVER: Endpoint = (HOST, 443)
CLIENT_6: Endpoint = (bytes(15) + b"\x01", 40_000)
SERVER_6: Endpoint = (bytes(15) + b"\x02", 443)

TIMESTAMPS = b"\x01\x01\x08\x0a" + bytes(8)
SYN_OPTIONS = b"\x02\x04\x05\xb4\x04\x02\x08\x0a" + bytes(8) + b"\x01\x03\x03\x07"


class Sent(NamedTuple):
    """One segment: whose, its offsets, and where it goes on the wire."""

    side: Side
    flags: int
    start: int
    ack: int | None
    payload: bytes
    seq: int
    number: int
    ip_id: int
    source: Endpoint
    destination: Endpoint

    def tcp(self) -> bytes:
        options = SYN_OPTIONS if self.flags & SYN else TIMESTAMPS
        if self.flags & RST and not self.flags & ACK:
            options = b""
        offset = (20 + len(options)) // 4 << 12
        ports = self.source[1], self.destination[1]
        head = struct.pack(
            "!HHIIHHHH", *ports, self.seq, self.number, offset | self.flags, 512, 0, 0
        )
        return head + options + self.payload

    def packet(self) -> bytes:
        tcp = self.tcp()
        ends = self.source[0] + self.destination[0]
        if len(self.source[0]) == 16:
            return struct.pack("!IHBB", 6 << 28, len(tcp), 6, 64) + ends + tcp
        total = 20 + len(tcp)
        return struct.pack("!BBHHHBBH", 0x45, 0, total, self.ip_id, 0x4000, 64, 6, 0) + ends + tcp

    def frame(self, tag: bytes = b"") -> bytes:
        kind = b"\x08\x00" if len(self.source[0]) == 4 else b"\x86\xdd"
        return bytes(12) + tag + kind + self.packet()


@dataclass
class Talk:
    """One connection; each segment acknowledges all that its sender has been sent."""

    client_isn: int = 1000
    server_isn: int = 9000
    client: Endpoint = CLIENT
    server: Endpoint = SERVER
    sent: list[Sent] = field(default_factory=list)
    reached: dict[Side, int] = field(default_factory=lambda: {C: -1, S: -1})
    ip_id: dict[Side, int] = field(default_factory=lambda: {C: 100, S: 30_000})

    def isn(self, side: Side) -> int:
        return self.client_isn if side is C else self.server_isn

    def says(self, side: Side, flags: int = ACK, payload: bytes = b"") -> Sent:
        """The next segment of a side."""
        start = self.reached[side]
        if not flags & RST:
            self.reached[side] += len(payload) + bool(flags & SYN) + bool(flags & FIN)
        return self.at(side, flags, start, payload)

    def at(self, side: Side, flags: int, start: int, payload: bytes = b"") -> Sent:
        """A segment at any offset; what is sent again has an IP ID of its own."""
        ack = self.reached[side.peer] if flags & ACK else None
        number = 0 if ack is None else (self.isn(side.peer) + 1 + ack) % 2**32
        bare = bool(flags & RST) and not flags & ACK
        self.ip_id[side] += not bare
        ends = (self.client, self.server) if side is C else (self.server, self.client)
        sent = Sent(
            *(side, flags, start, ack, payload, (self.isn(side) + 1 + start) % 2**32, number),
            *(0 if bare else self.ip_id[side] % 2**16, *ends),
        )
        self.sent.append(sent)
        return sent

    def opens(self) -> Talk:
        self.says(C, SYN)
        self.says(S, SYN | ACK)
        self.says(C)
        return self

    def exchanges(self, times: int = 1, size: int = 100) -> Talk:
        """A request, its response, and what acknowledges it."""
        for _ in range(times):
            self.says(C, PSH | ACK, bytes(size))
            self.says(S, PSH | ACK, bytes(size))
            self.says(C)
        return self

    def closes(self) -> Talk:
        self.says(S, FIN | ACK)
        self.says(C, FIN | ACK)
        self.says(S)
        return self

    def again(self, client_isn: int, server_isn: int) -> Talk:
        """Another connection between the same ends."""
        return Talk(
            client_isn % 2**32, server_isn % 2**32, self.client, self.server, ip_id=self.ip_id
        )


Arrival = tuple[int, int, bytes]


def arrivals(*datas: bytes, since_ns: int = 1_000_000, step_ns: int = 1000) -> list[Arrival]:
    """Whole frames, one after the other."""
    return [(since_ns + n * step_ns, len(data), data) for n, data in enumerate(datas)]


def frames(*talks: Talk) -> list[bytes]:
    return [sent.frame() for talk in talks for sent in talk.sent]
