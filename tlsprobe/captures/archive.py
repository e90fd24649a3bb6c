"""A tar archive of captures, compressed or not: its files one after the other.

Each is a capture of its own. Which of them belong together, such as the files of a ring buffer or
both ends of one path, no archive says, and clocks of two machines differ: who wants one diagnosis
of several joins them first (`mergecap`).
"""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, cast

from tlsprobe.captures.packing import Packing
from tlsprobe.captures.pieces import Pieces
from tlsprobe.captures.reading import CaptureUnreadable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

UNPACKED_LIMIT = 8 << 30
"""Bytes that a compressed archive may take in a temporary file."""

MEMBER_LIMIT = 1000
"""Files of one archive; no collection of captures comes near."""

READ_LIMIT = 16 << 20
"""No header of an archive is longer, whatever it says of itself."""

ARCHIVE = "take the capture out of it (`tar xf`)"
_MAGIC_AT, _MAGIC = 257, b"ustar"


def members(name: str, file: BinaryIO, packing: Packing | None) -> Iterator[tuple[str, BinaryIO]]:
    """The name and the contents of each file of an archive. Raises CaptureUnreadable."""
    if packing is None:
        yield from _members(name, file)
        return
    with tempfile.TemporaryFile() as spool:
        pieces = Pieces(file, packing=packing)
        for piece in pieces:
            spool.write(piece)
            if spool.tell() > UNPACKED_LIMIT:
                limit = f"more than {UNPACKED_LIMIT >> 20} MiB"
                raise CaptureUnreadable(f"{name}: it unpacks to {limit}", ARCHIVE)
        if pieces.is_bomb:
            raise CaptureUnreadable(f"{name}: {pieces.broken}", ARCHIVE)
        yield from _members(name, cast(BinaryIO, spool))


def begins_archive(head: bytes) -> bool:
    """Whether an input that begins like this is a tar archive."""
    return head[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] == _MAGIC


def _members(name: str, file: BinaryIO) -> Iterator[tuple[str, BinaryIO]]:
    count = 0
    bounded = cast(BinaryIO, _Bounded(file))
    bounded.seek(0)
    try:
        with tarfile.open(fileobj=bounded, mode="r:") as archive:
            for member in archive:
                if not member.isreg() or member.issparse():
                    continue
                count += 1
                if count > MEMBER_LIMIT:
                    many = f"more than {MEMBER_LIMIT} files in the archive"
                    raise CaptureUnreadable(f"{name}: {many}", ARCHIVE)
                yield member.name, cast(BinaryIO, _Member(file, member.offset_data, member.size))
    except (tarfile.TarError, OSError, ValueError, OverflowError) as error:
        if not count:
            raise CaptureUnreadable(f"{name}: the archive is damaged ({error})", ARCHIVE) from None


class _Bounded(io.RawIOBase):
    """The file, of which nobody reads much at once: a header that asks for more is damaged."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= READ_LIMIT:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


class _Member(io.RawIOBase):
    """One file of the archive; it ends early where the archive does."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        super().__init__()
        self._file = file
        self._start = start
        self._size = size
        self._at = 0

    def readinto(self, buffer: WriteableBuffer) -> int:
        room = memoryview(buffer).cast("B")
        left = max(0, self._size - self._at)
        self._file.seek(self._start + self._at)
        data = self._file.read(min(len(room), left))
        room[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset if whence == io.SEEK_SET else self._at + offset
        return self._at

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True
