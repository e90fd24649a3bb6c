"""What lay in the path of a connection, and what of it reached the server.

Most of this is about a shaper of our own in it.

The capture is made between the shaper and the server. What it shows may come in another order than
it was written, twice, damaged, or never. A server's program knows nothing of that: its TCP hands
on the bytes in their order, when they have come. Rules are asked about what was handed on; what
went over the wire is told as it was.
"""

from __future__ import annotations

import math
from dataclasses import replace
from enum import StrEnum

from tlsprobe.model.trace import (
    Coverage,
    Drive,
    EventKind,
    PathDid,
    Record,
    Segment,
    Shaped,
    Side,
    Trace,
)


class CutOff(StrEnum):
    """How our path kept the two sides from each other until the end."""

    UNHEARD = "our path kept some of what we said from the server"
    URGENT = "our path marked bytes as urgent, which TCP may take out of the stream"
    NO_ROOM = "our path told the server that we had no room for what it had to say"
    UNSEEN = "our path held, lost or forged packets, and no capture tells what came of it"
    UNANSWERED = "what we sent last was never acknowledged"


def as_delivered(trace: Trace) -> Trace:
    """The trace as the server's TCP handed it on; the same where no shaper was in the path.

    What came too early stands where its turn came. What was damaged, what was forged out of its
    turn, and what never came to its turn is left out, and so are its records.
    """
    drive = trace.drive
    if not drive.shaped or not trace.segments:
        return trace
    kept: list[Segment] = []
    early: list[Segment] = []
    refused = _refused(drive)
    reach = 0
    for segment in trace.segments:
        if segment.side is Side.SERVER or segment.syn:
            kept.append(segment)
            continue
        if _is_refused(segment, refused):
            continue
        brings = (segment.length or segment.fin) and not segment.rst
        if brings and segment.start > reach:
            early.append(segment)
            continue
        kept.append(segment)
        if brings:
            reach = _come_due(early, kept, max(reach, _behind(segment)), segment.time_ns)
    records = tuple(r for r in drive.records if r.side is Side.SERVER or r.end <= reach)
    return replace(trace, segments=tuple(kept), drive=replace(drive, records=records))


def _come_due(early: list[Segment], kept: list[Segment], reach: int, time_ns: int) -> int:
    """Move what is no longer too early, and tell how far the stream is whole then."""
    for segment in sorted(early, key=lambda one: one.start):
        if segment.start > reach:
            break
        early.remove(segment)
        kept.append(segment._replace(time_ns=time_ns))
        reach = max(reach, _behind(segment))
    return reach


def _behind(segment: Segment) -> int:
    """The offset behind all that it brings."""
    return segment.end + segment.fin


def _refused(drive: Drive) -> list[Shaped]:
    """What the server's TCP does not take: damaged segments, and RSTs that stand ahead."""
    return [
        s
        for s in drive.shaped
        if s.did is PathDid.CORRUPTED or (s.did is PathDid.RESET and s.end > s.start)
    ]


def _is_refused(segment: Segment, refused: list[Shaped]) -> bool:
    """Whether it is the next of these; each is one packet."""
    for shaped in refused:
        is_rst = shaped.did is PathDid.RESET
        place = shaped.end if is_rst else shaped.start
        span = segment.length + segment.fin
        if segment.rst is is_rst and segment.start == place and (is_rst or span):
            refused.remove(shaped)
            return True
    return False


def cut_off(trace: Trace, delivered: Trace, end_ns: float = math.inf) -> CutOff | None:
    """How our path kept the two sides apart until ``end_ns``, when the server began to end it.

    ``delivered`` is what `as_delivered` made of the trace. None: it did not.
    """
    shaped = trace.drive.shaped
    if any(s.did is PathDid.MARKED_URGENT for s in shaped):
        return CutOff.URGENT
    if not shaped:
        return CutOff.UNANSWERED if end_ns == math.inf and unanswered(trace) else None
    if not trace.segments and any(s.did in _UNSEEN for s in shaped):
        return CutOff.UNSEEN
    windows = [
        s.did
        for s in shaped
        if s.did in {PathDid.WINDOW_SHUT, PathDid.WINDOW_OPENED} and s.time_ns <= end_ns
    ]
    if windows[-1:] == [PathDid.WINDOW_SHUT]:
        return CutOff.NO_ROOM
    lost = len(delivered.drive.records) < len(trace.drive.records)
    return CutOff.UNHEARD if lost or _lacks_our_fin(trace.drive, delivered) else None


_GONE = frozenset({EventKind.ABORTED, EventKind.CLOSED})

_DEAD_NS = 1_000_000_000
"""A host that is there acknowledges within 0.2 s, and what is sent again as often."""

_TRIES = 3


def unanswered(trace: Trace) -> tuple[Segment, ...]:
    """What we sent again and again at the end, and nobody acknowledged; empty: there is no such.

    A kernel acknowledges whatever its program does, or says that it has no room. So the path lost
    what we sent, or what was said to it, or the host is gone.
    """
    if trace.coverage is not Coverage.WHOLE or any(e.kind in _GONE for e in trace.drive.events):
        return ()
    theirs = [s for s in trace.segments if s.side is Side.SERVER and not s.rst]
    acked = max((s.ack or 0 for s in theirs), default=0)
    since = theirs[-1].number if theirs else 0
    tries = [s for s in trace.segments if s.number > since and _behind(s) > acked]
    tries = [s for s in tries if s.side is Side.CLIENT and not (s.rst or s.syn)]
    ended = trace.drive.events[-1].time_ns if trace.drive.events else 0
    is_dead = len(tries) >= _TRIES and ended - tries[0].time_ns >= _DEAD_NS
    return tuple(tries) if is_dead else ()


def _lacks_our_fin(drive: Drive, delivered: Trace) -> bool:
    sent = drive.did(EventKind.FIN_SENT) is not None
    came = any(s.fin and s.side is Side.CLIENT for s in delivered.segments)
    return sent and bool(delivered.segments) and not came


def is_treated(trace: Trace, record: Record | Segment) -> bool:
    """Whether our path changed when these bytes of ours, or this FIN, came to the server."""
    fin = isinstance(record, Segment) and record.fin
    return any(
        s.side is Side.CLIENT and s.start < record.end + fin and record.start < s.end
        for s in trace.drive.shaped
        if s.did in _DELAYING
    )


_DELAYING = frozenset(
    {
        PathDid.HELD,
        PathDid.RELEASED,
        PathDid.LOST,
        PathDid.CORRUPTED,
        PathDid.DOUBLED,
        PathDid.SPLIT,
    }
)


_UNSEEN = frozenset({PathDid.HELD, PathDid.LOST, PathDid.CORRUPTED, PathDid.RESET})
"""What may have kept the server from hearing us; only the wire tells whether it did."""


def forged(drive: Drive, rst: Segment) -> Shaped | None:
    """The action that made this RST of ours, if our path did."""
    if rst.side is not Side.CLIENT:
        return None
    made = (s for s in drive.shaped if s.did is PathDid.RESET and s.end == rst.start)
    return next(made, None)


def is_exact(drive: Drive, rst: Segment) -> bool:
    """Whether our path forged it at exactly the byte that the server expected: it obeys that."""
    made = forged(drive, rst)
    return made is not None and made.start == made.end
