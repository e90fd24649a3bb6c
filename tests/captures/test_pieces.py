"""Pieces of an input: handed out, or read to where they are wanted."""

from __future__ import annotations

import gzip
import io
import random
from typing import BinaryIO, cast

import pytest

from tlsprobe.captures.packing import packing_of
from tlsprobe.captures.pieces import Pieces

DATA = random.Random(5).randbytes(2500)


class Put:
    """Keeps what was put into the room that it gave."""

    def __init__(self) -> None:
        self._room = bytearray()
        self.whole = b""

    def room(self, size: int) -> memoryview:
        self._room = bytearray(size)
        return memoryview(self._room)

    def take(self, size: int) -> None:
        self.whole += self._room[:size]


class Slow:
    """A stream that can be read and set back, and nothing else."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)
        self.seek, self.read = self._file.seek, self._file.read


class Breaking(io.BytesIO):
    def readinto(self, buffer: object) -> int:
        if self.tell() > 1500:
            raise OSError(5, "Input/output error")
        return super().readinto(cast(memoryview, buffer))


@pytest.mark.parametrize(
    "file", [io.BytesIO(DATA), Slow(DATA), io.BytesIO(gzip.compress(DATA))], ids=type
)
def test_both_ways_give_the_same(file: BinaryIO) -> None:
    packing = packing_of(file.read(10))
    told: list[int] = []
    pieces = Pieces(file, packing=packing, size=1000, watch=told.append)
    for _ in range(2):
        put = Put()
        for size in pieces.into(put.room):
            put.take(size)
        assert (put.whole, b"".join(pieces), pieces.broken) == (DATA, DATA, None)
    assert told == sorted(told[: len(told) // 4]) * 4


def test_what_came_before_an_error_was_handed_out() -> None:
    put = Put()
    pieces = Pieces(Breaking(DATA), packing=None, size=1000)
    for size in pieces.into(put.room):
        put.take(size)
    assert (put.whole, pieces.broken) == (DATA[:2000], "it cannot be read on: Input/output error")
