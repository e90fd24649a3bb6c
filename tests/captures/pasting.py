"""Pasted text: what tcpdump printed of a connection's end, and how to read it."""

from __future__ import annotations

import io

from tlsprobe.captures.reader import open_capture_file
from tlsprobe.captures.reading import Reading
from tlsprobe.packets.packet import Packet, text

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16

A, B = "192.0.2.1.40000", "192.0.2.2.5432"
OPTIONS = "options [nop,nop,TS val 2518407611 ecr 2518407610]"

TAIL = f"win 512, {OPTIONS}, length"

PLAIN = [
    f"00:01:28.330748 IP {A} > {B}: Flags [P.], seq 1866:1903, ack 2595, {TAIL} 37",
    f"00:01:28.330750 IP {B} > {A}: Flags [.], ack 1903, {TAIL} 0",
    f"00:01:28.331087 IP {B} > {A}: Flags [P.], seq 2595:2683, ack 1903, {TAIL} 88",
    f"00:01:28.333718 IP {B} > {A}: Flags [R.], seq 2683, ack 1903, {TAIL} 0",
]


def read(content: str | bytes) -> tuple[Reading, list[Packet]]:
    data = content.encode() if isinstance(content, str) else content
    with open_capture_file(io.BytesIO(data)) as reading:
        found = list(reading.packets())
    return reading, found


def facts(packets: list[Packet]) -> list[tuple[object, ...]]:
    return [
        (text(p.src), text(p.dst), p.flags, p.seq, p.ack, p.window, p.length, p.time_ns)
        for p in packets
    ]


EXPECTED = facts(read("\n".join(PLAIN))[1])


def line(ends: str, what: str, time: str = "10:00:00.000001 ") -> str:
    return f"{time}IP {ends}: {what}, length 0"
