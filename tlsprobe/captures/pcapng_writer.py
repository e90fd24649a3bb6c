"""Writes pcapng, a block at a time, as frames arrive.

Wireshark, tshark and capinfos read the result; times are nanoseconds. The last block tells how
many packets the kernel dropped, so that the file alone says whether it can be trusted.

Source: the pcapng specification, draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path
from typing import BinaryIO

SECTION, INTERFACE, PACKET, STATISTICS, SECRETS = 0x0A0D0D0A, 1, 6, 5, 10
BYTE_ORDER = 0x1A2B3C4D
TLS_KEY_LOG = 0x544C534B

END_OF_OPTIONS, COMMENT = 0, 1
APPLICATION = 4
INTERFACE_NAME, INTERFACE_RESOLUTION, INTERFACE_FILTER, INTERFACE_OFFSET = 2, 9, 11, 14
RECEIVED, DROPPED = 4, 5
NANOSECONDS = 9

SNAP_LENGTH = 0x40000
_FLUSH_AT = 1 << 20

_FRAME_HEAD = struct.Struct("<IIIIIII")
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")


class Writer:
    """A capture file of one interface. ``out`` stays the caller's to close.

    Blocks gather in memory until `flush`, or until there is a megabyte of them.
    """

    def __init__(
        self,
        out: BinaryIO,
        link: int,
        interface: str,
        *,
        application: str = "tlsprobe",
        capture_filter: str = "",
    ) -> None:
        self._out = out
        self._pieces: list[bytes] = []
        self._size = 0
        self._packets = 0
        self._last_ns = 0
        # The length of a section that is still growing is unknown: -1.
        section = struct.pack("<IHHq", BYTE_ORDER, 1, 0, -1)
        self._add(block(SECTION, section + options((APPLICATION, application.encode()))))
        described = [(INTERFACE_NAME, interface.encode())]
        if capture_filter:
            described.append((INTERFACE_FILTER, b"\0" + capture_filter.encode()))
        described.append((INTERFACE_RESOLUTION, bytes([NANOSECONDS])))
        self._add(block(INTERFACE, struct.pack("<HHI", link, 0, SNAP_LENGTH) + options(*described)))
        self.flush()

    def packet(self, time_ns: int, data: bytes, length: int, comment: str = "") -> None:
        """One frame: its real time, the bytes captured, and its length on the wire."""
        self._packets += 1
        self._last_ns = time_ns
        captured = len(data)
        tail = _PADDING[captured & 3]
        if comment:
            tail += options((COMMENT, comment.encode()))
        total = 32 + captured + len(tail)
        head = _FRAME_HEAD.pack(
            PACKET, total, 0, time_ns >> 32, time_ns & 0xFFFFFFFF, captured, length
        )
        self._pieces += head, data, tail + head[4:8]
        self._size += total
        if self._size > _FLUSH_AT:
            self.flush()

    def secrets(self, key_log: bytes) -> None:
        """TLS secrets in the key log format: what lets Wireshark decrypt the packets after it."""
        self._add(_secrets(key_log))

    def finish(self, dropped: int | None) -> None:
        """The interface's statistics and whatever was not written yet. None: not known."""
        head = struct.pack("<III", 0, self._last_ns >> 32, self._last_ns & 0xFFFFFFFF)
        counts = [(RECEIVED, struct.pack("<Q", self._packets))]
        if dropped is not None:
            counts.append((DROPPED, struct.pack("<Q", dropped)))
        self._add(block(STATISTICS, head + options(*counts)))
        self.flush()

    def flush(self) -> None:
        """Hands everything so far to the file."""
        if self._pieces:
            self._out.write(b"".join(self._pieces))
            self._out.flush()
            self._pieces.clear()
            self._size = 0

    def _add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._size += len(piece)


def put_secrets_first(path: Path, key_log: bytes) -> None:
    """Rewrites a finished file with TLS secrets before its packets, for its owner's eyes only.

    Wireshark looks for a session's secrets at its hello: behind it they open nothing.
    """
    new = path.with_name(f"{path.name}.new")
    try:
        with path.open("rb") as old, new.open("wb") as out:
            os.fchmod(out.fileno(), 0o600)
            section = old.read(8)
            section += old.read(struct.unpack_from("<I", section, 4)[0] - 8)
            out.write(section + _secrets(key_log))
            shutil.copyfileobj(old, out)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def block(kind: int, body: bytes) -> bytes:
    """A block of this type; the body must be padded to four bytes already."""
    total = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + total + body + total


def options(*pairs: tuple[int, bytes]) -> bytes:
    """An option list with its end mark."""
    listed = (struct.pack("<HH", code, len(value)) + _padded(value) for code, value in pairs)
    return b"".join(listed) + bytes(4)


def _secrets(key_log: bytes) -> bytes:
    return block(SECRETS, struct.pack("<II", TLS_KEY_LOG, len(key_log)) + _padded(key_log))


def _padded(value: bytes) -> bytes:
    return value + bytes(-len(value) % 4)
