"""Resets of connections that had been ended before: by both sides, or by the server.

The former hurt nobody, whatever the cause; of the latter few are left to hear.
"""

from __future__ import annotations

from tlsprobe.model.causes import Cause, Remedy
from tlsprobe.model.judgement import Provoked, Reset
from tlsprobe.model.trace import Flag, Segment, Side, Trace

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


def met_a_closed_server(trace: Trace, reset: Reset) -> bool:
    """Whether a client gave up behind the server's FIN: most servers read no more then."""
    decided = reset.cause in {Cause.UNREAD_AT_CLOSE, Cause.DELIBERATE}
    before = [s for s in trace.segments if s.number < reset.packet]
    return decided and reset.side is Side.CLIENT and _fin(before, reset, own=False) is not None


def behind_the_servers_fin(reset: Reset, told: Remedy) -> Remedy:
    """Whom that hurts; what helps is the same."""
    hurts = (
        "Who reads in between, and the server if it reads on behind its FIN: ECONNRESET where EOF"
        " belongs. A server that had closed hears nothing of it."
    )
    if reset.provoked is Provoked.DATA:
        hurts += " What the client left unread is lost to it."
    return Remedy(hurts, told.advice)


def _fin(before: list[Segment], reset: Reset, *, own: bool) -> Segment | None:
    fins = (s for s in before if s.flags & _FIN)
    return next((s for s in fins if (s.side is reset.side) is own), None)
