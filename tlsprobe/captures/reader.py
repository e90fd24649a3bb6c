"""Opens whatever holds packets: pcap, pcapng, either gzipped, or what tcpdump printed.

    with open_capture_file(path) as reading:        # or an open binary stream, or "-"
        facts = reading.summary()                   # one quick pass: light facts of every flow
        for packet in reading.packets(wanted): ...  # a second pass: the segments of some flows

Each call of `summary` or `packets` reads from the start, and the counts of what was read are those
of the latest. A stream that cannot go back is copied to a temporary file first. Memory is bounded
by constants, whatever the input: a megabyte or two of it, and what `Summary` holds.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import BinaryIO, cast

from tlsprobe.captures.frame_reading import FrameReading
from tlsprobe.captures.pasted_text import is_text
from tlsprobe.captures.pcap import PCAP_MAGICS
from tlsprobe.captures.pieces import CHUNK, GZIP, Pieces
from tlsprobe.captures.reading import HINT, CaptureUnreadable, Kind, Reading
from tlsprobe.captures.text_reading import TextReading

SPOOL_LIMIT = 8 << 30
"""Of a stream that cannot go back this many bytes are copied to a temporary file."""

_HEAD = 1 << 16
_SECTION = b"\x0a\x0d\x0d\x0a"
_FOREIGN = {
    b"(\xb5/\xfd": "it is compressed with zstd: unpack it first (`unzstd`)",
    b"\xfd7zX": "it is compressed with xz: unpack it first (`unxz`)",
    b"BZh": "it is compressed with bzip2: unpack it first (`bunzip2`)",
    b"PK\x03\x04": "it is a zip archive: unpack it first (`unzip`)",
    b"\xa1\xb2\xcd\x34": "it is a modified pcap: `tshark -r FILE -F pcapng -w NEW` rewrites it",
    b"\x34\xcd\xb2\xa1": "it is a modified pcap: `tshark -r FILE -F pcapng -w NEW` rewrites it",
    b"snoop\0": "it is a snoop file: `tshark -r FILE -F pcapng -w NEW` rewrites it",
}


def open_capture_file(source: str | Path | BinaryIO) -> Reading:
    """Recognises the input. "-" is standard input. Raises CaptureUnreadable."""
    name, file, cut = _opened(source)
    try:
        return _recognised(name, file, cut)
    except BaseException:
        file.close()
        raise


def _recognised(name: str, file: BinaryIO, cut: str | None) -> Reading:
    head = next(iter(Pieces(file, zipped=False, size=_HEAD)), b"")
    if not head:
        raise CaptureUnreadable(f"{name}: it is empty", HINT)
    zipped = head.startswith(GZIP)
    if zipped:
        pieces = Pieces(file, zipped=True, size=_HEAD)
        head = next(iter(pieces), b"")
        if not head:
            raise CaptureUnreadable(f"{name}: {pieces.broken or 'it is empty'}", HINT)
    if head[:4] in PCAP_MAGICS or head.startswith(_SECTION):
        kind: Kind = "pcapng" if head.startswith(_SECTION) else "pcap"
        return FrameReading(name, file, kind, zipped=zipped, cut=cut)
    for magic, hint in _FOREIGN.items():
        if head.startswith(magic):
            raise CaptureUnreadable(f"{name}: this is neither pcap, pcapng nor text", hint)
    if not is_text(head):
        raise CaptureUnreadable(f"{name}: this is neither pcap, pcapng nor text", HINT)
    reading = TextReading(name, file, zipped=zipped, cut=cut)
    reading.learn()
    return reading


def _opened(source: str | Path | BinaryIO) -> tuple[str, BinaryIO, str | None]:
    """The input's name, a file that can go back, and a sentence if not all of it is there."""
    if isinstance(source, str | Path) and str(source) != "-":
        try:
            file = Path(source).open("rb")  # noqa: SIM115 - the reading closes it
        except OSError as error:
            raise CaptureUnreadable(f"{source}: {error.strerror or error}", None) from None
        except ValueError as error:
            raise CaptureUnreadable(f"{str(source)!r}: {error}", None) from None
        ready = None
        try:
            ready = _able_to_go_back(file, str(source))
        finally:
            if ready is None or ready[0] is not file:
                file.close()
        return str(source), *ready
    stream = sys.stdin.buffer if isinstance(source, str | Path) else source
    name = "standard input" if stream is sys.stdin.buffer else _name_of(stream)
    return name, *_able_to_go_back(stream, name)


def _name_of(stream: BinaryIO) -> str:
    name = getattr(stream, "name", None)
    return name if isinstance(name, str) else "the input"


def _able_to_go_back(stream: BinaryIO, name: str) -> tuple[BinaryIO, str | None]:
    try:
        if stream.seekable():
            stream.seek(0)
            return stream, None
        return _spooled(stream)
    except OSError as error:
        raise CaptureUnreadable(f"{name}: {error.strerror or error}", None) from None


def _spooled(stream: BinaryIO) -> tuple[BinaryIO, str | None]:
    spool = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - the reading closes it
    try:
        left = SPOOL_LIMIT
        while left and (data := stream.read(min(CHUNK, left))):
            spool.write(data)
            left -= len(data)
        spool.seek(0)
    except BaseException:
        spool.close()
        raise
    if left or not stream.read(1):
        return spool, None
    return spool, f"only the first {SPOOL_LIMIT >> 20} MiB of the stream were read"
