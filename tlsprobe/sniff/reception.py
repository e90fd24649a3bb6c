"""Receives packets many at a time: recvmmsg(2), which Python's sockets do not offer.

With recvmsg(2) each packet costs a call from Python, and in it a second system call: Python asks
for the name of the interface that the packet came in by.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import struct

AT_ONCE = 32
"""Packets that one call takes at most."""

LARGEST_FRAME = 256 * 1024
"""Larger than any: the kernel may pass on 64 KiB of coalesced segments as one frame."""

_HEADER = struct.Struct("@PIPNPNi0PI0P")
"""``struct mmsghdr``: name, parts and ancillary data with their sizes, flags; the length."""
_LENGTH_AT = struct.calcsize("@PIPNPNi0P")
_PART = struct.Struct("@PN")
_NAME = struct.Struct("@2xHiHBB8s")
"""``struct sockaddr_ll`` (packet(7)) behind its family; the protocol is in network order."""
_TIMESPEC = struct.Struct("@ll")
_ANCILLARY = socket.CMSG_SPACE(_TIMESPEC.size)

Arrived = list[tuple[int, int, int]]
"""Of each packet its length on the wire, and its time in seconds and nanoseconds."""

Source = tuple[int, int, int, int, bytes]
"""Where a packet came from: protocol, interface, hardware type, direction, address."""


class Reception:
    """The packets that one call took from a packet socket, each in a slot of its own.

    The socket has to pass on timestamps, and no other ancillary data.
    """

    def __init__(self, packets: socket.socket) -> None:
        self._packets = packets
        self._call = ctypes.CDLL(None, use_errno=True).recvmmsg
        self._frames = mmap.mmap(-1, AT_ONCE * LARGEST_FRAME)  # no memory until it is written to
        self.frames = memoryview(self._frames)
        """`AT_ONCE` slots of `LARGEST_FRAME` bytes."""
        self._names = bytearray(AT_ONCE * _NAME.size)
        self._ancillary = bytearray(AT_ONCE * _ANCILLARY)
        self._parts = bytearray(AT_ONCE * _PART.size)
        self._headers = bytearray(AT_ONCE * _HEADER.size)
        buffers: tuple[bytearray | mmap.mmap, ...] = (self._frames, self._names)
        frames, names, ancillary, parts = map(_address, (*buffers, self._ancillary, self._parts))
        for slot in range(AT_ONCE):
            name, told = names + slot * _NAME.size, ancillary + slot * _ANCILLARY
            part = slot * _PART.size
            _PART.pack_into(self._parts, part, frames + slot * LARGEST_FRAME, LARGEST_FRAME)
            header = (name, _NAME.size, parts + part, 1, told, _ANCILLARY, 0, 0)
            _HEADER.pack_into(self._headers, slot * _HEADER.size, *header)
        self._fresh = bytes(self._headers)
        self._at = _address(self._headers)
        self._lengths = memoryview(self._headers).cast("I")
        self._lengths = self._lengths[_LENGTH_AT // 4 :: _HEADER.size // 4]
        longs, each = memoryview(self._ancillary).cast("l"), _ANCILLARY // struct.calcsize("l")
        self._seconds, self._nanoseconds = longs[each - 2 :: each], longs[each - 1 :: each]

    def receive(self) -> Arrived:
        """What has arrived, slot by slot.

        Less than `AT_ONCE` means that nothing was left. Raises OSError.
        """
        self._headers[:] = self._fresh  # the kernel writes its own sizes over ours
        flags = socket.MSG_DONTWAIT | socket.MSG_TRUNC
        count = self._call(self._packets.fileno(), ctypes.c_void_p(self._at), AT_ONCE, flags, None)
        if count < 0:
            number = ctypes.get_errno()
            if number == errno.EAGAIN:
                return []
            raise OSError(number, os.strerror(number))
        told = (self._lengths, self._seconds, self._nanoseconds)
        return list(zip(*(numbers[:count].tolist() for numbers in told), strict=True))

    def source(self, slot: int) -> Source:
        """Where the packet in a slot came from."""
        found = _NAME.unpack_from(self._names, slot * _NAME.size)
        protocol, index, hardware, direction, size, address = found
        return socket.ntohs(protocol), index, hardware, direction, address[:size]


def _address(buffer: bytearray | mmap.mmap) -> int:
    """Where in memory it is; it must neither move nor go while the kernel writes there."""
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))
