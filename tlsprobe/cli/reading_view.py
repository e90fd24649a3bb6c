"""How far the reading of a long capture is, on a terminal's standard error."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TextIO

LONG = 64 << 20
"""Of fewer bytes nobody waits long."""

_CLEAR = "\r\x1b[K"


class ReadingView:
    """Shows how much of the file has been read; it is read twice, first quickly.

    Nothing is shown of a short file, nor where standard error is no terminal.
    """

    def __init__(self, file: str, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._size = _size_of(file)
        self._is_seen = self._size >= LONG and self._stream.isatty()
        self._taken = 0
        self._pass = 1
        self._shown = ""

    def watch(self, taken: int) -> None:
        """So many bytes were taken in this pass."""
        if not self._is_seen:
            return
        if taken < self._taken:
            self._pass += 1
        self._taken = taken
        text = f"reading, pass {self._pass} of 2: {min(100, 100 * taken // self._size)} %"
        if self._pass > 2 or text == self._shown:
            return
        self._shown = text
        self._write(_CLEAR + text)

    def clear(self) -> None:
        """Takes it off the screen."""
        if self._shown:
            self._write(_CLEAR)
            self._shown = ""

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _size_of(file: str) -> int:
    try:
        return Path(file).stat().st_size
    except (OSError, ValueError):
        return 0
