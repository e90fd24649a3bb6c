"""Ends that ended nothing: a FIN or an RST in the midst of a connection that went on.

Somebody on the way may send one in the name of an end. Where its numbers do not fit, its receiver
drops it and goes on (RFC 9293 sections 3.5.3 and 3.10.7.3), which its later acknowledgements prove.
"""

from __future__ import annotations

from tlsprobe.model.trace import Segment, Trace


def unheeded_ends(trace: Trace) -> frozenset[int]:
    """The numbers of the packets whose FIN or RST ended nothing."""
    segments = trace.segments
    ends = ((at, segment) for at, segment in enumerate(segments) if segment.ends)
    return frozenset(
        segment.number
        for at, segment in ends
        if (segment.rst and _went_on(segment, segments[:at], segments[at + 1 :]))
        or (not segment.rst and _was_opened(segment, segments[at + 1 :]))
    )


def _went_on(rst: Segment, prior: tuple[Segment, ...], later: tuple[Segment, ...]) -> bool:
    """Whether its receiver acknowledged something new that came of its sender afterwards."""
    own = (s for s in prior if s.side is rst.side and not s.rst)
    known = max((_behind(segment) for segment in own), default=-1)
    sent = None
    for segment in later:
        if segment.rst:
            continue
        if segment.side is rst.side:
            if sent is None and _behind(segment) > known:
                sent = _behind(segment)
        elif sent is not None and segment.ack is not None and segment.ack >= sent:
            return True
    return False


def _behind(segment: Segment) -> int:
    """The offset behind all that it brings, SYN and FIN included."""
    return segment.end + segment.syn + segment.fin


def _was_opened(fin: Segment, later: tuple[Segment, ...]) -> bool:
    """Whether its sender asked for the connection, or took it, afterwards."""
    return any(segment.syn and segment.side is fin.side for segment in later)
