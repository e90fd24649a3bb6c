"""Facts files, read and written.

Whoever reads one may be given anything: a line has a greatest length and a file a greatest number
of lines, and what is decompressed at a time is bounded, so that no file takes more memory than the
facts that are kept of it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tlsprobe.errors import UsageError, cannot_write
from tlsprobe.facts.codec import (
    RUN_PREFIX,
    Damaged,
    decode_fact,
    decode_header,
    encode_fact,
    encode_header,
)
from tlsprobe.model.facts import FACTS_SCHEMA, Fact, FactsHeader, RunFact

FACTS_FILE = "facts.jsonl.gz"
"""The name of a facts file in a results folder."""

MOST_LINE = 16 * 2**20
"""Bytes of a line at most; a trial's is some kilobytes, and bounded by what is kept of it."""

MOST_FACTS = 2_000_000
"""Lines of a file at most."""

LEVEL = 3
"""Of zlib: from there on twice the time saves a seventh of the bytes."""

_SMALLEST = 9
_GZIP = 31  # wbits: a gzip header and trailer around the stream
_CHUNK = 64 * 1024
_MOST_AT_ONCE = 2**20


class FactsStore(Protocol):
    """Where the facts of a run go, and come from when it is judged again."""

    def append(self, fact: Fact) -> None:
        """Keep one more."""

    def read(self) -> Iterator[Fact]:
        """All of them from the first on, in the order in which they were kept."""


class FactsInMemory:
    """A store for a run that nobody keeps."""

    def __init__(self, facts: tuple[Fact, ...] = ()) -> None:
        self._facts = list(facts)

    def append(self, fact: Fact) -> None:
        """Keep one more."""
        self._facts.append(fact)

    def read(self) -> Iterator[Fact]:
        """All of them, in their order."""
        yield from tuple(self._facts)


class RecordedFacts:
    """The facts in a file, which is read anew each time. Raises UsageError if it holds none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header = _header(path)

    def read(self) -> Iterator[Fact]:
        """The facts from the first on, up to the last whole line.

        Raises UsageError where a line in between is damaged.
        """
        for number, line in enumerate(_whole_lines(self.path), 1):
            if number == 1:
                continue
            if number > MOST_FACTS:
                raise UsageError(f"{self.path}: more than {MOST_FACTS} facts", _HINT)
            try:
                fact = decode_fact(line)
            except Damaged as error:
                raise UsageError(f"{self.path}: line {number}: {error}", _HINT) from error
            yield fact

    def how_measured(self) -> RunFact | None:
        """What they say last of how they were measured, without reading what was seen.

        Raises UsageError where that is damaged.
        """
        found = [line for line in _whole_lines(self.path) if line.startswith(RUN_PREFIX)]
        if not found:
            return None
        try:
            fact = decode_fact(found[-1])
        except Damaged as error:
            raise UsageError(f"{self.path}: {error}", _HINT) from error
        return fact if isinstance(fact, RunFact) else None


class FactsFile(RecordedFacts):
    """A facts file that grows. Every fact is on disk when ``append`` returns.

    Raises UsageError where the file system refuses.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with _writing(path):
            self._file = path.open("ab", buffering=0)
        self._stream = zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP)

    @classmethod
    def create(cls, path: Path, header: FactsHeader) -> FactsFile:
        """A new file, in the place of one that may be there."""
        with _writing(path):
            _replace(path, iter([encode_header(header)]))
        return cls(path)

    @classmethod
    def resume(cls, path: Path) -> FactsFile:
        """Go on with a file whose writer may have been killed: its whole lines are kept."""
        RecordedFacts(path)
        with _writing(path):
            _replace(path, (line + b"\n" for line in _whole_lines(path)))
        return cls(path)

    def append(self, fact: Fact) -> None:
        """Write one more."""
        stream = self._stream
        data = stream.compress(encode_fact(fact)) + stream.flush(zlib.Z_SYNC_FLUSH)
        with _writing(self.path):
            self._file.write(data)

    def close(self) -> None:
        """End the stream, so that other programs read it without a complaint."""
        if not self._file.closed:
            with self._file, _writing(self.path):
                self._file.write(self._stream.flush())


def pack(source: Path, kept: Path) -> None:
    """Write a facts file that is finished once more, as small as gzip makes it: for keeping.

    The same facts give the same bytes. Raises UsageError.
    """
    stream = zlib.compressobj(_SMALLEST, zlib.DEFLATED, _GZIP)
    lines = _whole_lines(source)
    with _writing(kept):
        data = b"".join(stream.compress(line + b"\n") for line in lines)
        kept.write_bytes(data + stream.flush())


_HINT = "restore the file from where it was written, or measure again with `tlsprobe run`"


def _header(path: Path) -> FactsHeader:
    if not path.exists():
        hint = "it was measured before facts were kept, or is no results folder: measure again"
        raise UsageError(f"{path}: no such file", hint)
    first = next(_whole_lines(path), None)
    if first is None:
        raise UsageError(f"{path}: it holds no facts", _HINT)
    try:
        header = decode_header(first)
    except Damaged as error:
        raise UsageError(f"{path}: no facts file: {error}", _HINT) from error
    if header.schema != FACTS_SCHEMA:
        hint = f"read it with the tlsprobe that wrote it, {header.tool.version}"
        message = f"{path}: schema: {FACTS_SCHEMA} is wanted, the file says {header.schema!r}"
        raise UsageError(message, hint)
    return header


def _whole_lines(path: Path) -> Iterator[bytes]:
    """The lines of a gzip file, whose end may be missing, without their newlines."""
    rest = b""
    for part in _decompressed(path):
        *lines, rest = (rest + part).split(b"\n")
        yield from lines
        if len(rest) > MOST_LINE:
            raise UsageError(f"{path}: a line of more than {MOST_LINE >> 20} MiB", _HINT)


def _decompressed(path: Path) -> Iterator[bytes]:
    """What a file of gzip members holds, as far as it goes, in parts of bounded size."""
    try:
        with path.open("rb") as file:
            stream, part = zlib.decompressobj(_GZIP), b""
            data = file.read(_CHUNK)
            while data or part:  # output may be left when the input has been taken
                part = stream.decompress(data, _MOST_AT_ONCE)
                data = stream.unconsumed_tail
                if stream.eof:
                    data, stream = stream.unused_data, zlib.decompressobj(_GZIP)
                if part:
                    yield part
                data = data or file.read(_CHUNK)
    except zlib.error as error:
        raise UsageError(f"{path}: no gzip file, or a damaged one: {error}", _HINT) from error
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "check the file's permissions") from error


def _replace(path: Path, lines: Iterator[bytes]) -> None:
    """Write a gzip member of these lines in the place of the file: whole, or not at all."""
    unfinished = path.with_name(f"{path.name}.new")
    stream = zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP)
    with unfinished.open("wb") as file:
        for line in lines:
            file.write(stream.compress(line))
        file.write(stream.flush())
    unfinished.replace(path)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Tell what the file system refuses in our words."""
    try:
        yield
    except OSError as error:
        hint = "give a folder that can be written with --out DIR"
        raise cannot_write(error, f"cannot write {path}: {error.strerror}", hint) from error
