"""What a kernel may have held back when its application closed, and thrown away with the RST.

Nagle's algorithm (RFC 9293 section 3.7.4) keeps a small segment, such as an alert, while bytes sent
before are not acknowledged. A `close()` that resets, for data unread or for a linger of zero, drops
what had not been sent: an application may have said its close_notify, and nobody ever sees it.
"""

from __future__ import annotations

from tlsprobe.judge.closing import RST, WireEvent
from tlsprobe.model.trace import Side, Trace


def may_have_dropped(trace: Trace, end: WireEvent | None) -> bool:
    """Whether the server's kernel may have dropped words with the RST that ended its side.

    That is where bytes of the server's had not been acknowledged when it decided to reset.
    """
    if end is None or end.letter != RST or end.packet is None:
        return False
    rst = trace.segment(end.packet)
    if rst is None or rst.ack is None:
        return False
    before = [s for s in trace.segments if s.number < rst.number]
    sent = max((s.end for s in before if s.side is Side.SERVER and s.length), default=0)
    acks = (s.ack for s in before if s.side is Side.CLIENT and s.ack is not None)
    return sent > max(acks, default=0)
