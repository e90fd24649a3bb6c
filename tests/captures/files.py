"""Capture files made up byte by byte, and how to read them."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable

from tlsprobe.captures.pcapng_writer import Writer
from tlsprobe.captures.reader import open_capture_file
from tlsprobe.captures.reading import Reading
from tlsprobe.packets import frames
from tlsprobe.packets.packet import Packet, text

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
CLIENT, SERVER = bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2))
KEY_LOG = b"CLIENT_RANDOM 00 11\n"


def ip(  # noqa: PLR0917 - flags, seq and ack read well in a row
    there: bool = True,
    flags: int = ACK,
    seq: int = 1000,
    ack: int = 2000,
    payload: bytes = b"",
    port: int = 40000,
    ip_id: int = 7,
) -> bytes:
    """An IPv4 packet of a connection to port 443."""
    source, destination = (CLIENT, SERVER) if there else (SERVER, CLIENT)
    ports = (port, 443) if there else (443, port)
    total = 40 + len(payload)
    head = struct.pack("!BBHHHBBH", 0x45, 0, total, ip_id, 0x4000, 63, 6, 0) + source + destination
    return head + struct.pack("!HHIIBBHI", *ports, seq, ack, 0x50, flags, 512, 0) + payload


def pcap(
    datas: Iterable[bytes], *, order: str = "<", nano: bool = False, link: int = frames.RAW
) -> bytes:
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    head = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65535, link)
    records = (struct.pack(f"{order}IIII", 1, n, len(d), len(d)) + d for n, d in enumerate(datas))
    return head + b"".join(records)


def pcapng(*datas: bytes, link: int = frames.RAW, dropped: int | None = None) -> bytes:
    out = io.BytesIO()
    writer = Writer(out, link, "test0")
    writer.secrets(KEY_LOG)
    for n, data in enumerate(datas):
        writer.packet(10**9 + n, data, len(data))
    writer.finish(dropped)
    return out.getvalue()


CLOSED = [
    ip(True, SYN, 999, 0),
    ip(False, SYN | ACK, 1999, 1000),
    ip(True, PSH | ACK, 1000, 2000, b"hello"),
    ip(True, FIN | ACK, 1005, 2000),
    ip(False, RST, 2000, 0),
]


def read(data: bytes) -> tuple[Reading, list[Packet]]:
    with open_capture_file(io.BytesIO(data)) as reading:
        return reading, list(reading.packets())


def brief(found: list[Packet]) -> list[tuple[object, ...]]:
    return [(p.number, text(p.src), p.seq, p.ack, p.flags, p.payload) for p in found]


EXPECTED = [
    (1, "192.0.2.1:40000", 999, None, SYN, b""),
    (2, "192.0.2.2:443", 1999, 1000, SYN | ACK, b""),
    (3, "192.0.2.1:40000", 1000, 2000, PSH | ACK, b"hello"),
    (4, "192.0.2.1:40000", 1005, 2000, FIN | ACK, b""),
    (5, "192.0.2.2:443", 2000, None, RST, b""),
]
