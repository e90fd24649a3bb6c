"""Connections that the server ended before our sequence began: they answer nothing of it.

A connection begins with its first packet. A server that is full, shuts down or idles
out early may end the connection behind the handshake, or over our first request; what our side did
after that met a connection that was over, and says nothing about how the server takes it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

from tlsprobe.judge.owed import ServerEnd
from tlsprobe.model.judgement import Word
from tlsprobe.model.trace import (
    Coverage,
    Drive,
    EventKind,
    Mark,
    Record,
    RecordKind,
    Side,
    Trace,
)

_FATAL, _USER_CANCELED = 2, 90
_TOLD_ENDS = (EventKind.EOF, EventKind.RESET)
_OWN_ENDS = (EventKind.FIN_SENT, EventKind.ABORTED, EventKind.CLOSED)
_NAMES = {"n": "close_notify", "a": "alert", "f": "FIN", "r": "RST"}


def ended_before_start(trace: Trace) -> Trace | None:
    """The trace, its judged part moved back to where the server ended it; None if it did not.

    The packets decide: the server ended before our first step left, or acknowledged none of it and
    so cannot have known of it. Where there are none, our own socket does, which learns of an end
    when it reads it.
    """
    drive = trace.drive
    end = _server_end(trace)
    if end is None or not (drive.ended_early or _is_early(trace, end)):
        return None
    return replace(trace, drive=replace(drive, mark=_mark_of(drive, end.time_ns), ended_early=True))


def ending_words(words: Iterable[Word]) -> str:
    """What the server did to end it, in words, from what such a connection brought."""
    letters = (letter for word in words if word.side is Side.SERVER for letter in word.letters)
    done = (_NAMES[letter] for letter in letters if letter in _NAMES)
    return ", ".join(dict.fromkeys(done))


def _server_end(trace: Trace) -> ServerEnd | None:
    """Where the server began to end TLS or TCP; None if it never did."""
    alert = _first_alert(trace.drive)
    if trace.coverage is Coverage.WHOLE:
        behind = alert.end if alert is not None else math.inf
        for segment in trace.segments:
            if segment.side is Side.SERVER and (segment.ends or segment.end >= behind):
                return ServerEnd(segment.time_ns, segment.ack)
        return None
    told = [e.time_ns for e in trace.drive.events if e.kind in _TOLD_ENDS]
    first = min([*told, *([alert.time_ns] if alert is not None else [])], default=None)
    return None if first is None else ServerEnd(first, None)


def _is_early(trace: Trace, end: ServerEnd) -> bool:
    """Whether our sequence began only after the server's end, or crossed it."""
    drive = trace.drive
    begun = drive.begun
    if begun is None:
        return False
    stepped = acted = math.inf
    for event in drive.events:
        if event.kind is EventKind.STEP:
            stepped = min(stepped, event.time_ns)
        elif event.kind in _OWN_ENDS:
            acted = min(acted, event.time_ns)
    for record in drive.records:
        if record.end > begun.client and record.side is Side.CLIENT:
            acted = min(acted, record.time_ns)
            break
    sent = acted if trace.coverage is not Coverage.WHOLE else _first_packet(trace, begun.client)
    if acted > stepped and sent > stepped:  # the first step is a wait: it began when it was said
        return end.time_ns < stepped
    return end.time_ns < sent or (end.ack is not None and end.ack <= begun.client)


def _first_packet(trace: Trace, behind: int) -> float:
    """When the first packet of our sequence left; infinite if none could any more."""
    for segment in trace.segments:
        if segment.side is Side.CLIENT and (
            segment.ends or (segment.length and segment.end > behind)
        ):
            return segment.time_ns
    return math.inf


def _ours(drive: Drive) -> Iterator[Record]:
    return (record for record in drive.records if record.side is Side.CLIENT)


def _first_alert(drive: Drive) -> Record | None:
    for record in drive.records:
        alerts = record.alert is not None or record.kind is RecordKind.CLOSE_NOTIFY
        if alerts and record.side is Side.SERVER and _is_ending(record, drive.tls):
            return record
    return None


def _is_ending(record: Record, tls: str | None) -> bool:
    """Whether it ends TLS: close_notify or an error (RFC 8446 section 6, RFC 5246 section 7.2)."""
    if record.kind is RecordKind.CLOSE_NOTIFY or record.alert is None:
        return record.kind is RecordKind.CLOSE_NOTIFY
    level, description = record.alert
    return level == _FATAL or (tls == "1.3" and description != _USER_CANCELED)


def _mark_of(drive: Drive, time_ns: int) -> Mark:
    """Where both streams stood then: ours before the first step, the server's before its alert."""
    begun = drive.begun
    alert = _first_alert(drive)
    heard = max((r.end for r in drive.records if r.side is Side.SERVER), default=0)
    sent = max((r.end for r in _ours(drive)), default=0)
    return Mark(time_ns, begun.client if begun else sent, alert.start if alert else heard)
