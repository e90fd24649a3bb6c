"""An input from its start, unpacked if it is compressed, in pieces of bounded size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

from tlsprobe.captures.packing import Damaged, Packing, unpacked

CHUNK = 1 << 18
"""What fits into a processor's cache, and what the C library takes from memory it has at hand."""

LARGE_CHUNK = 1 << 22
"""The same where something is done for each piece, however long, that takes a while."""

Watch = Callable[[int], None]
"""Told now and then how many bytes of the input, as it is, were taken in this pass."""

FREE, RATIO = 256 << 20, 300
"""Beyond so many bytes, data that unpack to so many times their size are taken for a bomb."""


class Pieces:
    """The input from its start, unpacked, in pieces of bounded size.

    ``broken`` is a sentence if it could not be read to its end: all before that was handed out.
    ``is_bomb`` says that there is more than anybody would want.
    """

    def __init__(
        self,
        file: BinaryIO,
        *,
        packing: Packing | None,
        size: int = CHUNK,
        watch: Watch | None = None,
    ) -> None:
        self._file = file
        self._packing = packing
        self._size = size
        self._taken = 0
        self._watch = watch
        self.broken: str | None = None
        self.is_bomb = False

    def __iter__(self) -> Iterator[bytes]:
        self.broken = None
        try:
            self._file.seek(0)
            yield from self._plain() if self._packing is None else self._unpacked(self._packing)
        except Damaged as error:
            self.broken = str(error)
        except OSError as error:
            self.broken = f"it cannot be read on: {error.strerror or error}"

    def into(self, room: Callable[[int], memoryview]) -> Iterator[int]:
        """The same pieces, each put where ``room`` says for its size: how large they are.

        What is not compressed is read to there, which spares a copy and its memory.
        """
        read_into = getattr(self._file, "readinto", None)
        if self._packing is not None or read_into is None:
            for piece in self:
                room(len(piece))[:] = piece
                yield len(piece)
            return
        self.broken = None
        try:
            self._file.seek(0)
            self._taken = 0
            while count := read_into(room(self._size)):
                self._taken += count
                if self._watch is not None:
                    self._watch(self._taken)
                yield count
        except OSError as error:
            self.broken = f"it cannot be read on: {error.strerror or error}"

    def _plain(self) -> Iterator[bytes]:
        self._taken = 0
        while data := self._file.read(self._size):
            self._taken += len(data)
            if self._watch is not None:
                self._watch(self._taken)
            yield data

    def _unpacked(self, packing: Packing) -> Iterator[bytes]:
        given = 0
        for piece in unpacked(packing, self._plain(), self._size):
            given += len(piece)
            if given > FREE and given > RATIO * self._taken:
                self.is_bomb = True
                self.broken = (
                    f"its {packing.name} data unpack to more than {RATIO} times their size; it"
                    f" was read up to {given >> 20} MiB: unpack it first if that is right"
                )
                return
            yield piece
