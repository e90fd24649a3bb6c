"""Where the packets of a file lie, so that a few of them can be read again without all others."""

from __future__ import annotations

import io
import os
import struct
from array import array
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from tlsprobe.captures.pcap import RECORD_HEAD, Batch, CapturedFrame


class Places:
    """The places of all packets of a pcap file, eight bytes each.

    Of what is no plain file nothing is remembered, nor of pcapng, whose packets may be of any
    interface.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._fd: int | None = None
        # Other streams may have a descriptor, too, of what they unpack.
        if isinstance(file, io.BufferedReader) and isinstance(file.raw, io.FileIO):
            self._fd = file.fileno()
        self._begins = array("Q")
        self._end = 0
        self._batch: Batch | None = None

    @property
    def known(self) -> bool:
        """Whether packets can be read again."""
        return bool(self._begins)

    def note(self, batch: Batch, base: int, end: int) -> None:
        """The packets of a batch whose buffer begins at ``base``; what follows, at ``end``."""
        if self._fd is not None:
            self._begins.extend(map(base.__add__, batch.offsets))
            self._end, self._batch = end, batch

    def forget(self) -> None:
        """There are too many."""
        self._fd = None
        del self._begins[:]

    def frames(self, numbers: Sequence[int]) -> Iterator[tuple[int, CapturedFrame]]:
        """The packets of these numbers, which count from 1."""
        batch, begins, fd = self._batch, self._begins, self._fd
        if batch is None or fd is None:
            return
        read, high_ns, low_ns = struct.Struct(f"{batch.order}IIII"), batch.high_ns, batch.low_ns
        link = batch.interface.link
        for number in numbers:
            at = begins[number - 1]
            end = begins[number] if number < len(begins) else self._end
            record = os.pread(fd, end - at, at)
            if len(record) < RECORD_HEAD:
                return  # somebody has cut the file
            high, low, captured, length = read.unpack_from(record)
            data = record[RECORD_HEAD : RECORD_HEAD + captured]
            yield number, CapturedFrame(high * high_ns + low * low_ns, link, length, data)
