"""What can go wrong on *our* side of a probe.

A peer that misbehaves is an observation and ends up in a trace; only a mistake of the person who
asked, or of the machine that tlsprobe runs on, is an exception. Each carries a hint.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager


class TlsprobeError(Exception):
    """A sentence for the user, and a hint what to do about it.

    ``hint`` is printed on a line of its own; ``exit_code`` is the process's.
    """

    exit_code = 2

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(TlsprobeError):
    """The command line, a profile, a sequence or an input file is wrong (exit 2)."""


class NoRoom(UsageError):  # noqa: N818 - it reads as the sentence that it is
    """A disk is full, or the user's part of it (exit 2)."""


class SequenceError(UsageError):
    """A sequence that does not parse; ``column`` counts from 1 in ``text``."""

    def __init__(self, message: str, text: str, column: int, hint: str | None = None) -> None:
        pointer = f"{text}\n{' ' * (column - 1)}^"
        super().__init__(f"{message} (column {column})\n{pointer}", hint)
        self.text = text
        self.column = column


class Interrupted(TlsprobeError):  # noqa: N818 - it reads as the sentence that it is
    """Ctrl-C came before there was anything to keep (exit 130)."""

    exit_code = 130


class CannotMeasure(TlsprobeError):  # noqa: N818 - it reads as the sentence that it is
    """Nothing could be measured: unreachable, handshake refused, no capture (exit 3)."""

    exit_code = 3


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def cannot_write(error: OSError, message: str, hint: str | None = None) -> UsageError:
    """What the user is told where the file system refused something."""
    return (NoRoom if error.errno in _FULL else UsageError)(message, hint)


def no_room_in(error: BaseException) -> str:
    """Which disk is full, in words, if an error comes of that; also one in a nursery's group."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(no_room_in, error.exceptions)), "")
    if isinstance(error, NoRoom):
        return error.message
    if isinstance(error, OSError) and error.errno in _FULL:
        return f"cannot write {error.filename or 'the results'}: {error.strerror}"
    return ""


@contextmanager
def plain_errors() -> Iterator[None]:
    """Take our errors, Ctrl-C and files that this user may not read out of nurseries' groups."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise _first_ours(group) or group from None


def _first_ours(group: BaseExceptionGroup) -> BaseException | None:
    ours = group.subgroup((TlsprobeError, KeyboardInterrupt, PermissionError))
    found: BaseException | None = ours
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
