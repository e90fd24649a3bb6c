"""Resets of connections that both sides had ended before: whatever the cause, they hurt nobody."""

from __future__ import annotations

from tlsprobe.model.causes import Remedy
from tlsprobe.model.judgement import Reset
from tlsprobe.model.trace import Flag, Segment, Trace

_FIN = Flag.FIN

OVER = Remedy("Nobody: both sides had ended the connection before, and read to its end.", ())
"""Whom such a reset hurts, and what helps."""


def is_over(trace: Trace, reset: Reset) -> bool:
    """Whether it came behind a FIN of each side, its sender's acknowledged by the receiver."""
    before = [s for s in trace.segments if s.number < reset.packet]
    own, peers = (_fin(before, reset, own=own) for own in (True, False))
    if own is None or peers is None:
        return False
    return any(s.side is not reset.side and (s.ack or 0) > own.end for s in before)


def _fin(before: list[Segment], reset: Reset, *, own: bool) -> Segment | None:
    fins = (s for s in before if s.flags & _FIN)
    return next((s for s in fins if (s.side is reset.side) is own), None)
