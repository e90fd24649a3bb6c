"""Where the fields of a plain packet lie in a record of a capture file, by link type."""

from __future__ import annotations

import struct
from functools import lru_cache

from tlsprobe.captures.pcap import RECORD_HEAD
from tlsprobe.packets import frames


class Layout:
    """A record with a plain IPv4 packet in it, as one structure.

    Plain is: no VLAN tag, no IP options, not a fragment, TCP. One unpack then tells whether it is
    one, and yields the flow key. Numbers of the packet are in network order whatever the file's:
    those that matter are taken as bytes, and the mask is turned to fit.

    ``kind`` are the bytes at ``kind_at`` of the record that say that IPv4 begins at ``ip``; nothing
    has them where the header of the link type has no fixed size, which ``is_fixed`` tells.
    """

    def __init__(self, order: str, link: int) -> None:
        place, size, self.kind = _BEFORE_IP.get(link, _NO_LAYOUT)
        self.is_fixed = link in _BEFORE_IP
        length = min(len(self.kind), size)
        gap = f"{place}x{length}s{size - place - length}x"
        self.kind_at = RECORD_HEAD + place
        self.ip = RECORD_HEAD + size
        self.least = size + 40
        self.fragment_mask = 0x3FFF if order == ">" else 0xFF3F
        self.read = struct.Struct(f"{order}III4x{gap}B5xHxB2x12s8sBB").unpack_from
        self.brief = struct.Struct(f"{order}IIII{gap}B5xHxB2x12s").unpack_from


_BEFORE_IP = {
    frames.ETHERNET: (12, 14, b"\x08\x00"),
    frames.LINUX_COOKED: (14, 16, b"\x08\x00"),
    frames.LINUX_COOKED_2: (0, 20, b"\x08\x00"),
    frames.NULL: (0, 4, b""),
    frames.LOOP: (0, 4, b""),
    **dict.fromkeys((frames.PPP, frames.PPP_SERIAL), (0, 4, b"\xff\x03\x00\x21")),
    **dict.fromkeys(frames.BARE, (0, 0, b"")),
}
_NO_LAYOUT = 0, 0, b"none"


@lru_cache
def layout_of(order: str, link: int) -> Layout:
    """The layout in files of a byte order."""
    return Layout(order, link)
