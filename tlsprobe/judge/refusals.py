"""Connections that came to nothing: an alert that refuses, and two ends of which one speaks TLS.

An alert of TLS 1.3 is sealed from the server's hello on. Without keys its size tells it, and its
place that it refuses: a client whose first sealed record it is has not even finished its handshake,
and a server may say no more than that to what a client finished with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tlsprobe.model.alerts import alert_name, is_error
from tlsprobe.model.explanation import Trouble, TroubleKind
from tlsprobe.model.trace import Coverage, Record, RecordKind, Segment, Side, Trace

TLS_PORTS = frozenset({443, 465, 563, 636, 853, 989, 990, 992, 993, 994, 995})
"""Ports at which TLS is spoken from the first byte on, as registered."""

_SPOKEN = frozenset({RecordKind.DATA, RecordKind.TICKET})


def refused(trace: Trace, segments: Sequence[Segment]) -> Iterator[Trouble]:
    """The first alert of each side that can be read, and says what is wrong; or a sealed one."""
    tls, kind = trace.drive.tls, TroubleKind.FATAL_ALERT
    for side in Side:
        own = [r for r in trace.drive.records if r.side is side]
        errors = (r for r in own if r.alert is not None and is_error(r.alert, tls))
        read = next((r for r in errors if completing(r, segments) is not None), None)
        record = read or _sealed_alert(own, tls)
        segment = completing(record, segments) if record is not None else None
        if record is not None and segment is not None:
            what = f"sealed-{side}" if record.alert is None else alert_name(record.alert)
            sure = record.alert is not None
            yield Trouble(kind, side, (segment.number,), segment.time_ns, what=what, sure=sure)


def _sealed_alert(own: Sequence[Record], tls: str | None) -> Record | None:
    """What is an alert by its size, where its sender said nothing but its handshake before."""
    if tls != "1.3" or not own or any(r.kind in _SPOKEN for r in own):
        return None
    last = own[-1]
    return last if last.kind is RecordKind.ALERT and last.alert is None else None


def other_language(
    trace: Trace, segments: Sequence[Segment], tls: frozenset[Side], plain: frozenset[Side]
) -> Iterator[Trouble]:
    """A client that speaks TLS to who does not, or the other way round.

    ``tls`` and ``plain`` are the sides of which either was seen. Who ended without a word may have
    had another reason.
    """
    loaded = [s for s in segments if s.length and not s.syn]
    words = [next((s for s in loaded if s.side is side), None) for side in Side]
    asked, answer = words
    if trace.coverage is not Coverage.WHOLE or asked is None:
        return
    shown = answer or _silent_end(segments)
    if shown is None:
        return
    kind, sure, number = TroubleKind.NO_TLS, answer is not None, (shown.number,)
    told = "answer" if sure else "silence"
    if Side.CLIENT in tls and _begins_with_tls(trace):
        if Side.SERVER in plain or not sure:
            yield Trouble(kind, Side.SERVER, number, shown.time_ns, what=f"plain-{told}", sure=sure)
    elif Side.CLIENT in plain:
        alerts = (r for r in trace.drive.records if r.side is Side.SERVER)
        first = next(alerts, None)
        is_alert = first is not None and first.kind is RecordKind.ALERT and first.start == 0
        if is_alert if sure else trace.drive.server[1] in TLS_PORTS:
            yield Trouble(kind, Side.CLIENT, number, shown.time_ns, what=f"tls-{told}", sure=sure)


def _begins_with_tls(trace: Trace) -> bool:
    own = next((r for r in trace.drive.records if r.side is Side.CLIENT), None)
    return own is not None and own.kind is RecordKind.HANDSHAKE and own.start == 0


def _silent_end(segments: Sequence[Segment]) -> Segment | None:
    """The FIN of a server that had the client's words, and was the first to end."""
    fin = next((s for s in segments if s.fin), None)
    if fin is None or fin.side is not Side.SERVER:
        return None
    behind = max((s.end for s in segments if s.side is Side.CLIENT and s.length), default=0)
    return fin if (fin.ack or 0) >= behind else None


def completing(record: Record, segments: Sequence[Segment]) -> Segment | None:
    """The segment that brought the last byte of a record."""
    own = (s for s in segments if s.side is record.side)
    return next((s for s in own if s.start < record.end <= s.end), None)
