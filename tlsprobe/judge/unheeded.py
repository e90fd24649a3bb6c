"""Ends that ended nothing: a FIN or an RST in the midst of a connection that went on.

Somebody on the way may send one in the name of an end. Where its numbers do not fit, its receiver
drops it and goes on (RFC 9293 sections 3.5.3 and 3.10.7.4), which its later acknowledgements prove,
or of our own side what it goes on to send: who was reset has no socket to send from. Linux's SYN
proxy makes such RSTs of a server's: it leaves their numbers as they were.

Who still waits for a SYN-ACK takes no RST but one that acknowledges its SYN (section 3.10.7.3), and
drops any other whatever comes later.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tlsprobe.model.trace import EventKind, Flag, Segment, Side, Trace

_SYN, _ENDS = Flag.SYN, Flag.FIN | Flag.RST


def unheeded_ends(trace: Trace) -> frozenset[int]:
    """The numbers of the packets whose FIN or RST ended nothing."""
    segments = trace.segments
    opened = {segment.side: at for at, segment in enumerate(segments) if segment.flags & _SYN}
    ends = [(at, segment) for at, segment in enumerate(segments) if segment.flags & _ENDS]
    return frozenset(
        [
            segment.number
            for at, segment in ends
            if (
                _went_on(segment, segments[:at], segments[at + 1 :])
                or missed_syn(segment, segments[:at]) is not None
                or _is_ignored_by_us(segment, trace, at)
                if segment.rst
                else at < opened.get(segment.side, at)  # who asks for it afterwards, or takes it
            )
        ]
    )


def missed_syn(rst: Segment, prior: Sequence[Segment]) -> Segment | None:
    """The SYN that waited for an answer while an RST came that does not acknowledge it."""
    if any(s.syn and s.side is rst.side for s in prior):
        return None
    asked = [s for s in prior if s.side is rst.side.peer and not s.rst]
    if not asked or not all(s.syn and s.ack is None for s in asked):
        return None
    syn = asked[-1]
    return None if acknowledges_syn(rst, syn) else syn


def acknowledges_syn(rst: Segment, syn: Segment) -> bool:
    """Whether it acknowledges the SYN, with or without the data that this may bring."""
    return rst.ack is not None and syn.start < rst.ack <= syn.behind


def is_asked_again(rst: Segment, syn: Segment, later: Iterable[Segment]) -> bool:
    """Whether who had sent the SYN sent it once more behind the RST, or had its connection."""
    return any(s.side is syn.side and not s.rst and s.number > rst.number for s in later)


def syn_again(answer: Segment, later: Iterable[Segment]) -> Segment | None:
    """The SYN that a SYN-ACK answers, once more: its sender still connects, whatever it reset."""
    own = (s for s in later if s.syn and s.ack is None and s.side is answer.side.peer)
    return next((s for s in own if s.behind == answer.ack), None)


def _went_on(rst: Segment, prior: tuple[Segment, ...], later: tuple[Segment, ...]) -> bool:
    """Whether its receiver acknowledged something new that came of its sender afterwards."""
    if not later:
        return False
    own = (s for s in prior if s.side is rst.side and not s.rst)
    known = max((segment.behind for segment in own), default=-1)
    sent = None
    for segment in later:
        if segment.rst:
            continue
        if segment.side is rst.side:
            if sent is None and segment.behind > known:
                sent = segment.behind
        elif sent is not None and segment.ack is not None and segment.ack >= sent:
            return True
    return False


_TOLD = frozenset({EventKind.RESET, EventKind.BROKEN_PIPE})

_CROSSED_NS = 100_000_000
"""So long packets that crossed an RST may take from our socket to where they are captured."""


def _is_ignored_by_us(rst: Segment, trace: Trace, at: int) -> bool:
    """Whether its number is not the one that our socket waited for, which went on regardless.

    It sent more, or was read from in vain and never told that it was reset.
    """
    events = trace.drive.events
    if rst.side is not Side.SERVER or not events:
        return False
    acks = (s.ack for s in trace.segments[:at] if s.side is Side.CLIENT and s.ack is not None)
    if rst.start == max(acks, default=0):
        return False
    later = trace.segments[at + 1 :]
    times = [s.time_ns for s in later if s.side is Side.CLIENT and not s.rst]
    if not any(event.kind in _TOLD for event in events):
        times += [e.time_ns for e in events if e.kind is EventKind.GAVE_UP]
    return any(time - rst.time_ns > _CROSSED_NS for time in times)
