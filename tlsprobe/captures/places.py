"""Where the packets of a file lie, so that a few of them can be read again without all others."""

from __future__ import annotations

import io
import os
import struct
from array import array
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from tlsprobe.captures.pcap import OFFSET, RECORD_HEAD, Batch

RUN = 1 << 16
"""Behind so many bytes no more packets are read at once."""

Placed = tuple[int, int, int, int, int, bytes]
"""A packet: its number, its interface's, its time, its link type, its length, what is there."""


class Places:
    """The places of all packets of a pcap file, eight bytes each. ``batch`` is its latest one.

    Of what is no plain file nothing is remembered, nor of pcapng, whose packets may be of any
    interface.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._fd: int | None = None
        # Other streams may have a descriptor, too, of what they unpack.
        if isinstance(file, io.BufferedReader) and isinstance(file.raw, io.FileIO):
            self._fd = file.fileno()
        self._size = 0 if self._fd is None else os.fstat(self._fd).st_size
        self._offsets = array(OFFSET)
        self._bases = array("Q")
        self._counts = array("Q")
        self._end = 0
        self.batch: Batch | None = None

    @property
    def expected(self) -> int:
        """About how many packets there are, if all are as large as those that were noted."""
        return len(self._offsets) * self._size // self._end if self._end else 0

    @property
    def parts(self) -> tuple[array[int], array[int], array[int], int]:
        """Where packets begin in their batch, where those begin, of how many each, and the end.

        To add them up for a million packets takes longer than to note them.
        """
        return self._offsets, self._bases, self._counts, self._end

    @property
    def link(self) -> int | None:
        """The link type of all packets; None where packets cannot be read again."""
        return self.batch.interface.link if self.batch is not None and self.known else None

    def read(self, start: int, size: int) -> bytes:
        """Bytes of the file: fewer than asked for where somebody has cut it."""
        return b"" if self._fd is None else os.pread(self._fd, size, start)

    @property
    def known(self) -> bool:
        """Whether packets can be read again."""
        return bool(self._offsets)

    def note(self, batch: Batch, base: int, end: int) -> None:
        """The packets of a batch whose buffer begins at ``base``; what follows, at ``end``."""
        if self._fd is not None:
            self._offsets.extend(batch.offsets)
            self._bases.append(base)
            self._counts.append(len(batch.offsets))
            self._end, self.batch = end, batch

    def forget(self) -> None:
        """There are too many."""
        self._fd = None
        for noted in (self._offsets, self._bases, self._counts):
            del noted[:]

    def _begins(self) -> array[int]:
        """Where each packet begins in the file."""
        begins, at = array("Q"), 0
        for base, count in zip(self._bases, self._counts, strict=True):
            begins.extend(map(base.__add__, self._offsets[at : at + count]))
            at += count
        return begins

    def frames(self, numbers: Sequence[int]) -> Iterator[Placed]:
        """The packets of these numbers, which count from 1 and rise.

        Those that follow each other in the file are read at once.
        """
        batch, fd = self.batch, self._fd
        if batch is None or fd is None:
            return
        begins = self._begins()
        read = struct.Struct(f"{batch.order}IIII").unpack_from
        high_ns, low_ns, link = batch.high_ns, batch.low_ns, batch.interface.link
        known, first, asked = len(begins), 0, len(numbers)
        while first < asked:
            number = numbers[first]
            start = begins[number - 1]
            end = begins[number] if number < known else self._end
            last = first + 1
            while last < asked and numbers[last] == number + 1 and end - start < RUN:
                number += 1
                last += 1
                end = begins[number] if number < known else self._end
            run = os.pread(fd, end - start, start)
            for number in numbers[first:last]:
                at = begins[number - 1] - start
                if len(run) - at < RECORD_HEAD:
                    return  # somebody has cut the file
                high, low, captured, length = read(run, at)
                at += RECORD_HEAD
                data = run[at : at + captured]
                yield number, 0, high * high_ns + low * low_ns, link, length, data
            first = last
