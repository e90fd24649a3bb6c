"""Opens whatever holds packets: pcap, pcapng, either compressed, or what tcpdump printed.

    with open_capture_file(path) as reading:        # or an open binary stream, or "-"
        facts = reading.summary()                   # one quick pass: light facts of every flow
        for packet in reading.packets(wanted): ...  # a second pass: the segments of some flows

Each call of `summary` or `packets` reads from the start, and the counts of what was read are those
of the latest. A stream that cannot go back is copied to a temporary file first. Memory is bounded
by constants, whatever the input: a megabyte or two of it, and what `Summary` holds.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from tlsprobe.captures.archive import ARCHIVE, begins_archive, members
from tlsprobe.captures.foreign import FOREIGN
from tlsprobe.captures.frame_reading import FrameReading
from tlsprobe.captures.own_files import facts_in, own_file, own_hint
from tlsprobe.captures.packing import Packing, packing_of
from tlsprobe.captures.pcap import PCAP_MAGICS
from tlsprobe.captures.pieces import CHUNK, Pieces, Watch
from tlsprobe.captures.reading import HINT, CaptureUnreadable, Kind, Reading
from tlsprobe.captures.text_kind import is_text

SPOOL_LIMIT = 8 << 30
"""Of a stream that cannot go back this many bytes are copied to a temporary file."""

_HEAD = 1 << 16
_SECTION = b"\x0a\x0d\x0d\x0a"


def open_capture_file(source: str | Path | BinaryIO) -> Reading:
    """Recognises the input. "-" is standard input. Raises CaptureUnreadable."""
    name, file, cut = _opened(source)
    try:
        return _recognised(name, file, cut)
    except BaseException:
        file.close()
        raise


class Captures:
    """All captures in an input: the input itself, or each file of a tar archive.

    Each is a reading of its own, whose name says which it is; close it before the next one.
    ``passed_over`` says of files of an archive why they are no captures. ``watch`` is told how far
    the pass over a capture file is.
    """

    def __init__(self, source: str | Path | BinaryIO, watch: Watch | None = None) -> None:
        self._source = source
        self._watch = watch
        self.is_archive = False
        self.passed_over: list[CaptureUnreadable] = []

    def __iter__(self) -> Iterator[Reading]:
        """Raises CaptureUnreadable where there is not one."""
        name, file, cut = _opened(self._source)
        try:
            head, packing = _head(name, file)
            self.is_archive = begins_archive(head)
            if self.is_archive:
                yield from self._members(name, file, packing)
            else:
                yield _recognised(name, file, cut, self._watch)
        finally:
            file.close()

    def _members(self, name: str, file: BinaryIO, packing: Packing | None) -> Iterator[Reading]:
        found = 0
        for member, opened in members(name, file, packing):
            try:
                reading = _recognised(f"{name}: {member}", opened, None)
            except CaptureUnreadable as error:
                self.passed_over.append(error)
                continue
            found += 1
            yield reading
        if not found:
            raise CaptureUnreadable(f"{name}: no file of this archive is a capture", HINT)


def _head(name: str, file: BinaryIO) -> tuple[bytes, Packing | None]:
    """How the input begins, unpacked, and what it is compressed with. Raises CaptureUnreadable."""
    head = next(iter(Pieces(file, packing=None, size=_HEAD)), b"")
    if not head:
        raise CaptureUnreadable(f"{name}: it is empty", HINT)
    packing = packing_of(head)
    if packing is not None:
        pieces = Pieces(file, packing=packing, size=_HEAD)
        head = next(iter(pieces), b"")
        if not head:
            raise CaptureUnreadable(f"{name}: {pieces.broken or 'it is empty'}", HINT)
    return head, packing


def _recognised(name: str, file: BinaryIO, cut: str | None, watch: Watch | None = None) -> Reading:
    head, packing = _head(name, file)
    if head[:4] in PCAP_MAGICS or head.startswith(_SECTION):
        kind: Kind = "pcapng" if head.startswith(_SECTION) else "pcap"
        capture = FrameReading(name, file, kind, packing=packing, cut=cut)
        capture.watch = watch
        return capture
    if begins_archive(head):
        raise CaptureUnreadable(f"{name}: this is an archive of files", ARCHIVE)
    for magic, hint in FOREIGN.items():
        if head.startswith(magic):
            raise CaptureUnreadable(f"{name}: this is neither pcap, pcapng nor text", hint)
    if ours := own_file(head):
        raise CaptureUnreadable(f"{name}: {ours}", own_hint(Path(name)))
    if not is_text(head):
        raise CaptureUnreadable(f"{name}: this is neither pcap, pcapng nor text", HINT)
    from tlsprobe.captures.mail import is_mail, read_mail  # noqa: PLC0415 - brings email
    from tlsprobe.captures.text_reading import TextReading  # noqa: PLC0415 - brings many patterns

    mail = read_mail(Pieces(file, packing=packing)) if is_mail(head) else None
    if mail is None:
        reading = TextReading(name, file, packing=packing, cut=cut)
    else:
        reading = TextReading(name, io.BytesIO(mail.text), packing=None, cut=cut)
        reading.told = mail.notes
        file.close()
    reading.learn()
    return reading


def _opened(source: str | Path | BinaryIO) -> tuple[str, BinaryIO, str | None]:
    """The input's name, a file that can go back, and a sentence if not all of it is there."""
    if isinstance(source, str | Path) and str(source) != "-":
        try:
            file = Path(source).open("rb")  # noqa: SIM115 - the reading closes it
        except OSError as error:
            told = f"{source}: {error.strerror or error}"
            raise CaptureUnreadable(told, _captures_in(Path(source))) from None
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


def _captures_in(folder: Path) -> str | None:
    """What to name instead of a folder: a capture in it."""
    try:
        found = sorted(one for one in folder.iterdir() if one.suffix in {".pcap", ".pcapng"})
    except OSError:
        return None
    if found:
        return f"name a capture in it: {found[0]}"
    return own_hint(facts) if (facts := facts_in(folder)) else "name a file"


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
