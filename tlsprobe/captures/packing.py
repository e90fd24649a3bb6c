"""What an input is compressed with, and how it is unpacked: piece by piece, with bounded memory.

Python's own modules, whose decompressors all work alike; what zlib's does otherwise is evened out
here. Several streams in a row are one input, as all these formats have it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

_MOST_MEMORY = 192 << 20
"""Bytes that unpacking xz may take; its strongest setting takes a third."""


class Damaged(ValueError):  # noqa: N818 - it says what the data are
    """The data cannot be unpacked; says why."""


class Unpacker(Protocol):
    """One compressed stream: what bz2, lzma and zstd call a decompressor."""

    @property
    def eof(self) -> bool:
        """Whether the stream has ended."""
        ...

    @property
    def needs_input(self) -> bool:
        """Whether nothing more comes of what was given."""
        ...

    @property
    def unused_data(self) -> bytes:
        """What was given behind the end."""
        ...

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """The next bytes, no more than ``max_length``; more may be waiting."""
        ...


class _Gzip:
    """zlib's decompressor, which hands back what it has not looked at, as the others are."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._filled = False

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def needs_input(self) -> bool:
        return not (self._stream.eof or self._filled)

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        found = self._stream.decompress(self._stream.unconsumed_tail + data, max_length)
        self._filled = len(found) == max_length
        return found


def _bzip2() -> Unpacker:
    from bz2 import BZ2Decompressor  # noqa: PLC0415 - few inputs are

    return BZ2Decompressor()


def _xz() -> Unpacker:
    from lzma import LZMADecompressor  # noqa: PLC0415

    return LZMADecompressor(memlimit=_MOST_MEMORY)


def _zstd() -> Unpacker:
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415
    except ImportError:  # before Python 3.14
        from backports import zstd  # noqa: PLC0415
    return zstd.ZstdDecompressor()  # type: ignore[no-any-return,unused-ignore]


@dataclass(frozen=True)
class Packing:
    """A way to compress, how its streams begin, and what unpacks one."""

    name: str
    begins: tuple[bytes, ...]
    unpacker: Callable[[], Unpacker]


_SKIPPABLE = tuple(bytes((0x50 + n, 0x2A, 0x4D, 0x18)) for n in range(16))
"""Frames of zstd that hold no data; parallel compressors begin with one."""

PACKINGS = (
    Packing("gzip", (b"\x1f\x8b",), _Gzip),
    Packing("zstd", (b"\x28\xb5\x2f\xfd", *_SKIPPABLE), _zstd),
    Packing("xz", (b"\xfd7zXZ\0",), _xz),
    Packing("bzip2", (b"BZh",), _bzip2),
)


_BEGINS = max(len(begins) for packing in PACKINGS for begins in packing.begins)


def packing_of(head: bytes) -> Packing | None:
    """What an input that begins like this is compressed with."""
    return next((packing for packing in PACKINGS if head.startswith(packing.begins)), None)


def unpacked(packing: Packing, packed: Iterator[bytes], size: int) -> Iterator[bytes]:
    """The data of all streams, in pieces of at most ``size``. Raises Damaged."""
    unpacker: Unpacker | None = None
    rest = b""
    for piece in packed:
        rest += piece
        while True:
            if unpacker is None or unpacker.eof:
                # Another stream may follow; zeros and whatever else does are padding.
                rest = rest if unpacker is None else rest.lstrip(b"\0")
                if len(rest) < _BEGINS:
                    break
                if unpacker is not None and not rest.startswith(packing.begins):
                    return
                unpacker = packing.unpacker()
            found = _step(packing, unpacker, rest, size)
            rest = unpacker.unused_data if unpacker.eof else b""
            if found:
                yield found
            if unpacker.needs_input and not unpacker.eof:
                break
    if unpacker is None or not unpacker.eof:
        raise Damaged(f"its {packing.name} data end in the middle")


def _step(packing: Packing, unpacker: Unpacker, data: bytes, size: int) -> bytes:
    try:
        return unpacker.decompress(data, size)
    except MemoryError:
        raise Damaged(f"its {packing.name} data need too much memory") from None
    except (zlib.error, OSError, EOFError, ValueError) as error:
        raise Damaged(f"its {packing.name} data are damaged ({error})") from None
    except Exception as error:
        # LZMAError and ZstdError, of modules that are imported where they are needed alone.
        if type(error).__name__ not in {"LZMAError", "ZstdError"}:
            raise
        raise Damaged(f"its {packing.name} data are damaged ({error})") from None
