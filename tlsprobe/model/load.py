"""What else this machine did while a trial was driven."""

from __future__ import annotations

from typing import NamedTuple


class Load(NamedTuple):
    """What else went on while a trial was driven.

    ``at_start`` and ``at_end`` are the connections of ours that the server had open then.
    ``lag_ns`` is the longest time by which our event loop was late meanwhile, ``stalled_ns`` for
    how long our process was ready to run and had no processor (proc(5), schedstat).
    """

    at_start: int
    at_end: int
    lag_ns: int = 0
    stalled_ns: int = 0
