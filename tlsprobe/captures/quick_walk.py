"""Where the records of a large pcap file begin, found from many places at once.

Each record tells only where the next one begins, so a walk is one step after the other. But the
records of some minutes begin with the same bytes. So in each stretch of the buffer a beginning is
guessed, and numpy takes a step from all of them at a time. If each walk comes upon the place where
the next one began, they are together the one walk from the first record on; if not, nothing is
known. It takes a third of the time.
"""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlsprobe.captures.pcap import OFFSET, RECORD_HEAD

STRETCH = 1 << 15
"""In so many bytes one beginning is guessed."""

_ALIKE = 3
"""So many bytes of the seconds stay the same for minutes."""
_SIZE_AT, _WORD = 8, 4
_STEPS = 16
"""Steps between looks whether all walks are through."""


def records(buffer: bytearray, at: int, end: int, order: str) -> tuple[array[int], int] | None:
    """Where whole records begin, and where the one behind them would; None if it cannot be told.

    There are zeros behind ``end``, see `SLACK`.
    """
    starts = _starts(buffer, at, end, order)
    bounds = np.append(starts[1:], end - RECORD_HEAD + 1)
    walks = _walks(buffer, starts, bounds, end, order)
    is_over = walks >= bounds
    met = walks[is_over.argmax(0), np.arange(len(starts))]
    if not is_over[-1].all() or not np.array_equal(met[:-1], starts[1:]):
        return None
    found, behind = array(OFFSET, walks.T[~is_over.T].tobytes()), int(met[-1])
    return found, behind if behind <= end else found.pop()


def _walks(
    buffer: bytearray, starts: NDArray[np.int64], bounds: NDArray[np.int64], end: int, order: str
) -> NDArray[np.int64]:
    """Row by row the steps from these places, until all are over their bounds, or some never."""
    sizes: NDArray[Any] = np.ndarray(
        (len(buffer) - _SIZE_AT - _WORD + 1,), f"{order}u4", buffer, _SIZE_AT, (1,)
    )
    rows, here, behind = [starts], starts, end + RECORD_HEAD
    most = 0
    while not most or len(rows) < most:
        for _ in range(_STEPS):
            here = here + sizes[here]
            here += RECORD_HEAD
            np.minimum(here, behind, out=here)
            rows.append(here)
        through = np.count_nonzero(here >= bounds)
        if through == len(starts):
            break
        if not most and 2 * through > len(starts):
            most = 3 * len(rows)
    return np.array(rows)


def _starts(buffer: bytearray, at: int, end: int, order: str) -> NDArray[np.int64]:
    """The first record, and in each stretch behind it what looks like one."""
    skipped = _WORD - _ALIKE if order == "<" else 0
    alike = bytes(buffer[at + skipped : at + skipped + _ALIKE])
    starts = [at]
    for stretch in range(at + STRETCH, end - STRETCH, STRETCH):
        place = buffer.find(alike, stretch, stretch + STRETCH) - skipped
        if place > starts[-1]:
            starts.append(place)
    return np.array(starts, np.int64)
