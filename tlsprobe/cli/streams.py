"""Standard output and error, made fit for whatever is at their other end.

A reader may leave, a disk be full, a stream be closed before we start; and in GitHub Actions the
runner takes lines of ours for commands (``::error::``, ``##[add-mask]``), also where a server or a
file has put them.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tlsprobe.errors import cannot_write

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

IN_ACTIONS = "GITHUB_ACTIONS"
"""What GitHub Actions sets to ``true``: the runner reads each line that we print."""

_NAMES = ("stdin", "stdout", "stderr")
_COMMAND = re.compile(r"^(\s*):(?=:)|#(?=#\[)", re.MULTILINE)


def in_actions() -> bool:
    """Whether GitHub Actions reads what we print."""
    return os.environ.get(IN_ACTIONS) == "true"


def settle_streams() -> None:
    """Have the streams stand whatever becomes of their other end.

    A pipe that is closed early (``tlsprobe run ... | head``) does not change the exit code; a full
    disk behind standard output is an error like any other; one of the three that was closed leads
    nowhere, and its number goes to no file of ours.
    """
    for number, name in enumerate(_NAMES):
        stream = getattr(sys, name)
        if stream is None:
            _fill(number)
            setattr(sys, name, _nowhere(name))
        elif name != "stdin" and isinstance(stream, io.TextIOWrapper) and _is_file(stream):
            stream.flush()
            setattr(sys, name, _like(stream, _Outlet(stream.fileno(), name)))


def write_commands(lines: Iterable[str]) -> None:
    """Lines on standard error that the runner of GitHub Actions is to obey."""
    sys.stderr.flush()
    for line in lines:
        sys.stderr.buffer.write(f"{line}\n".encode("utf-8", "backslashreplace"))
    sys.stderr.flush()


def disarmed(text: str) -> str:
    """Lines of which none is a command to the runner: the sign that makes it one is spelled out."""
    return _COMMAND.sub(lambda found: f"{found[1] or ''}\\x{ord(found[0][-1]):02x}", text)


class _Outlet(io.FileIO):
    """Standard output or error: where it cannot be written to, the rest goes nowhere.

    That nobody reads it (any more) is no error, nor that what is only told beside is lost.
    """

    def __init__(self, number: int, stream: str) -> None:
        super().__init__(number, "wb", closefd=False)
        self.stream = stream

    def write(self, data: ReadableBuffer, /) -> int:
        """Write, or throw away what nobody takes. Raises UsageError: the disk is full, say."""
        try:
            return super().write(data)
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            if self.stream == "stderr" or isinstance(error, BrokenPipeError):
                return super().write(data)
            hint = "make room, or print elsewhere; what went into files is there"
            said = f"cannot write to standard output: {error.strerror}"
            raise cannot_write(error, said, hint) from error


class _Guarded(io.TextIOWrapper):
    """A stream on which no line is a command, whoever wrote its words."""

    is_begun = False

    def write(self, text: str, /) -> int:
        """Write what the runner takes for text."""
        head, newline, tail = text.partition("\n") if self.is_begun else ("", "", text)
        super().write(disarmed(f"x{head}")[1:] + newline + disarmed(tail))
        last = text.rpartition("\n")[2]
        self.is_begun = bool(last.strip()) or ("\n" not in text and self.is_begun)
        return len(text)


def _like(stream: io.TextIOWrapper, outlet: _Outlet) -> io.TextIOWrapper:
    made = _Guarded if in_actions() else io.TextIOWrapper
    return made(
        io.BufferedWriter(outlet),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _is_file(stream: io.TextIOWrapper) -> bool:
    try:
        return stream.fileno() >= 0
    except OSError:  # what a test captures
        return False


def _fill(number: int) -> None:
    """Take the number of a stream that is closed, or the next file of ours would have it."""
    try:
        os.fstat(number)
    except OSError:
        nowhere = os.open(os.devnull, os.O_RDWR)
        if nowhere != number:
            os.dup2(nowhere, number)
            os.close(nowhere)


def _nowhere(name: str) -> io.TextIOWrapper:
    end = io.FileIO(os.devnull, "rb" if name == "stdin" else "wb")
    held = io.BufferedReader(end) if name == "stdin" else io.BufferedWriter(end)
    return io.TextIOWrapper(held, encoding="utf-8")
