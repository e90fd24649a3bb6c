"""An input from its start, unpacked if it is gzipped, in pieces of bounded size."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import BinaryIO

CHUNK = 1 << 20
GZIP = b"\x1f\x8b"


class Pieces:
    """The input from its start, unpacked, in pieces of bounded size.

    ``broken`` is a sentence if it could not be read to its end: all before that was handed out.
    """

    def __init__(self, file: BinaryIO, *, zipped: bool, size: int = CHUNK) -> None:
        self._file = file
        self._zipped = zipped
        self._size = size
        self.broken: str | None = None

    def __iter__(self) -> Iterator[bytes]:
        self.broken = None
        try:
            self._file.seek(0)
            yield from self._unzipped() if self._zipped else self._plain()
        except OSError as error:
            self.broken = f"it cannot be read on: {error.strerror or error}"
        except zlib.error as error:
            self.broken = f"its gzip data are damaged ({error})"

    def _plain(self) -> Iterator[bytes]:
        while data := self._file.read(self._size):
            yield data

    def _unzipped(self) -> Iterator[bytes]:
        unpack = zlib.decompressobj(zlib.MAX_WBITS | 16)
        fresh = False
        for packed in self._plain():
            data = packed
            while data:
                if unpack.eof:
                    # Another member may follow; zeros and whatever else does are padding.
                    if not data.startswith(GZIP):
                        return
                    unpack = zlib.decompressobj(zlib.MAX_WBITS | 16)
                piece = unpack.decompress(data, self._size)
                fresh = not unpack.eof
                data = unpack.unused_data if unpack.eof else unpack.unconsumed_tail
                if piece:
                    yield piece
        while fresh and (piece := unpack.decompress(b"", self._size)):
            yield piece
        if fresh and not unpack.eof:
            self.broken = "its gzip data end in the middle"
