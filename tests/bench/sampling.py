"""Where this process spends its processor time, by sampling: a room of the house, or a library."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERVAL_S = 0.002
LIBRARIES = ("trio", "h11", "msgspec")


@contextmanager
def sampled() -> Iterator[Counter[str]]:
    """Counts samples by what was running, while the block runs."""
    counts: Counter[str] = Counter()

    def note(_: int, frame: FrameType | None) -> None:
        counts[_place(frame)] += 1

    before = signal.signal(signal.SIGPROF, note)
    signal.setitimer(signal.ITIMER_PROF, INTERVAL_S, INTERVAL_S)
    try:
        yield counts
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _place(frame: FrameType | None) -> str:
    """The innermost frame that belongs to a room or to a library that is looked at."""
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        top, _, rest = name.partition(".")
        if top == "tlsprobe":
            return rest.partition(".")[0]
        if top in LIBRARIES:
            return top
        frame = frame.f_back
    return "other"
