"""Which responses a server owed when it ended a connection.

Owed is what it had received by then, and what its protocol says that it processes. A request that
crossed its end was never received. HTTP/2 streams above the last one that a GOAWAY names were not
processed (RFC 9113 section 6.8), nor is what was pipelined behind a response that closes
(RFC 9112 section 9.6).
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import NamedTuple

from tlsprobe.model.judgement import DataEnd
from tlsprobe.model.trace import (
    CLOSING_REMARKS,
    MESSAGES,
    Drive,
    Record,
    RecordKind,
    RemarkKind,
    Side,
    Trace,
)

MEET_WITHIN_NS = 5_000_000
"""How far from its planned distance a request may meet the expiry: timers have their own ticks."""


LONG_UNREAD_NS = 100_000_000
"""A response that lies unread so long may fill all buffers, and a timer of its server expire."""


class ServerEnd(NamedTuple):
    """Where a server began to end a connection: when, and up to where it had our stream.

    ``ack`` is None where nobody told: there was no capture, or the segment had no ACK flag.
    ``stuck`` is from when to when the end may have waited behind a response that our side did not
    read: it is on the wire as late as that, and decided nobody knows when.
    """

    time_ns: int
    ack: int | None
    stuck: tuple[int, int] | None = None

    def crossed(self, record: Record) -> bool:
        """Whether it had, or may have had, received nothing of a record of ours by then."""
        if self.stuck is not None and self.stuck[0] <= record.time_ns <= self.stuck[1]:
            return True
        if self.ack is not None:
            return self.ack <= record.start
        return record.time_ns >= self.time_ns


def stuck_behind(trace: Trace, end_ns: int) -> tuple[int, int] | None:
    """From when to when what the server decided waited behind data that our side left unread.

    From when that had lain for long, until the last of it was on the wire. None: it had no need to.
    """
    theirs = [s for s in trace.segments if s.side is Side.SERVER and s.time_ns < end_ns]
    reach = list(accumulate((s.end for s in theirs), max))
    lay = None
    for record in trace.drive.records:
        if record.side is not Side.SERVER or record.kind is not RecordKind.DATA:
            continue
        at = bisect_right(reach, record.start)
        if at < len(theirs) and record.time_ns - theirs[at].time_ns >= LONG_UNREAD_NS:
            lay = theirs[at].time_ns + LONG_UNREAD_NS
    if lay is None:
        return None
    return lay, max(s.time_ns for s in theirs if s.length)


def data_end(drive: Drive, end: ServerEnd | None) -> DataEnd:
    """Whether what the server owed arrived."""
    if not drive.owed or drive.ended_early:
        return DataEnd.NONE
    if _lost(drive, end):
        return DataEnd.TRUNCATED
    return DataEnd.COMPLETE if drive.answered else DataEnd.NONE


def _lost(drive: Drive, end: ServerEnd | None) -> int:
    """How many responses were owed and did not arrive whole."""
    left = drive.owed - drive.answered
    if left <= 0 or _waits_for_us(drive):
        return 0
    closes = any(remark.kind in CLOSING_REMARKS for remark in drive.remarks)
    if closes and (drive.answered or drive.cut_short):
        left = min(left, drive.cut_short)  # what was pipelined behind that response
    left -= _above_goaway(drive)
    return max(0, left if end is None else min(left, _received(drive, end, left)))


def _waits_for_us(drive: Drive) -> bool:
    """Whether the server is in a new handshake, of which our side leaves the rest undone."""
    if drive.mark is None:
        return False
    late = (r for r in drive.records if r.start >= drive.mark.server)
    return any(r.kind is RecordKind.HANDSHAKE and r.side is Side.SERVER for r in late)


def _above_goaway(drive: Drive) -> int:
    """Streams of ours above the last that a GOAWAY of the server's names; ours are 1, 3, 5, ..."""
    named = [r.last_stream for r in drive.remarks if r.kind is RemarkKind.GOAWAY]
    last = [stream for stream in named if stream is not None]
    return max(0, drive.owed - (min(last) + 1) // 2) if last else 0


def _received(drive: Drive, end: ServerEnd, left: int) -> int:
    """How many of the last requests, ``left`` of which have no response, the server had received.

    What we sent is not always a request: a goodbye may ask for nothing, and half a request, or an
    acknowledgement of the protocol's own, is none. The requests are the last ones then; but where
    a response was begun, one was received.
    """
    begun_at = drive.begun.client if drive.begun is not None else 0
    since = max(drive.answered_to, begun_at)
    behind = [r for r in drive.records if r.end > since and _asks(r)]
    data = [r for r in behind if r.kind is RecordKind.DATA]
    requests = (data if len(data) >= left else behind)[-left:] if left > 0 else []
    received = sum(not end.crossed(request) for request in requests)
    begun = drive.cut_short and any(not end.crossed(record) for record in behind)
    return max(received, int(begun))


def _asks(record: Record) -> bool:
    return record.side is Side.CLIENT and record.kind in MESSAGES
