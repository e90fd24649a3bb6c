"""One trial, packet by packet: what a report shows as a ladder."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Container, Iterator, Sequence
from operator import itemgetter
from typing import TypeVar

from tlsprobe.judge.closing import LETTERS, Closing
from tlsprobe.model.judgement import LadderLine, Reset
from tlsprobe.model.trace import ALERTS, Record, RecordKind, Segment, Side, Trace

MAX_LINES = 40
"""Lines a ladder has at most; a long transfer in the middle is left out."""


def ladder_of(
    trace: Trace, closing: Closing, resets: tuple[Reset, ...], also: Container[int] = ()
) -> tuple[LadderLine, ...]:
    """Everything after the opening exchange that carries bytes or flags, with pure ACKs left out.

    Without a capture, the wire_events that our own side knows of. ``also`` holds numbers of packets
    that are to be told whatever they carry.
    """
    mark = trace.drive.mark
    if mark is None:
        return ()
    if trace.segments:
        return tuple(_wire(trace, closing, resets, also))
    return tuple(_ends_of(tuple(_told(trace, closing))))


_T = TypeVar("_T")


def _ends_of(lines: Sequence[_T]) -> Sequence[_T]:
    """As many as a ladder has, from both ends."""
    if len(lines) <= MAX_LINES:
        return lines
    return [*lines[: MAX_LINES // 2], *lines[-MAX_LINES // 2 :]]


def _wire(
    trace: Trace, closing: Closing, resets: tuple[Reset, ...], also: Container[int]
) -> Iterator[LadderLine]:
    mark = trace.drive.mark
    assert mark is not None
    floor = {Side.CLIENT: mark.client, Side.SERVER: mark.server}
    told = [
        at
        for at, s in enumerate(trace.segments)
        if s.number in also
        or (not s.syn and (s.rst or s.fin or (s.length and s.end > floor[s.side])))
    ]
    shown = frozenset(_ends_of(told))
    seen: dict[Side, list[tuple[int, int]]] = {side: [] for side in Side}
    letters: defaultdict[int | None, str] = defaultdict(str)
    for wire_event in closing.wire_events:
        letters[wire_event.packet] += wire_event.letter
    causes = {reset.packet: reset for reset in resets}
    for at, segment in enumerate(trace.segments):
        runs = seen[segment.side]
        if at in shown:
            letter = letters[segment.number]
            said = letter.upper() if segment.side is Side.CLIENT else letter
            text = _text(trace, segment, _fresh(runs, segment), causes.get(segment.number))
            time_us = (segment.time_ns - mark.time_ns) / 1000
            yield LadderLine(time_us, segment.side, said, text, segment.number)
        if segment.length and not segment.rst:
            _bring(runs, segment.start, segment.end)


def _bring(runs: list[tuple[int, int]], start: int, end: int) -> None:
    """Add offsets to those that were brought: runs in their order, with a gap between each two."""
    first = bisect_left(runs, start, key=itemgetter(1))
    behind = bisect_right(runs, end, key=itemgetter(0))
    if first < behind:
        start, end = min(start, runs[first][0]), max(end, runs[behind - 1][1])
    runs[first:behind] = [(start, end)]


def _fresh(runs: list[tuple[int, int]], segment: Segment) -> int:
    """The first offset of a segment that no packet before it brought; its end if all were there.

    Packets come out of order, too: what is behind others in the stream may be new all the same.
    """
    at = bisect_right(runs, segment.start, key=itemgetter(0)) - 1
    offset = max(segment.start, runs[at][1]) if at >= 0 else segment.start
    return min(offset, segment.end)


def _text(trace: Trace, segment: Segment, fresh: int, reset: Reset | None) -> str:
    if segment.rst:
        form = "RST, no ACK" if segment.ack is None else "RST with ACK"
        return f"{form}: {reset.cause}" if reset else form
    if segment.syn:
        return "SYN" if segment.ack is None else "SYN-ACK"
    if segment.length and fresh == segment.end:
        return f"retransmission, {_size(segment)}" + (", FIN" if segment.fin else "")
    names = [
        _name(record)
        for record in trace.drive.records
        if record.side is segment.side and record.end > fresh and record.start < segment.end
    ]
    parts = list(dict.fromkeys(names)) or ([_size(segment)] if segment.length else [])
    size = [_size(segment)] if names else []
    return ", ".join(parts + size + (["FIN"] if segment.fin else [])) or "ACK"


def _size(segment: Segment) -> str:
    return "1 byte" if segment.length == 1 else f"{segment.length} bytes"


def _name(record: Record) -> str:
    if record.kind is RecordKind.PLAIN:
        return "bytes outside TLS"
    inferred = record.kind in ALERTS and record.alert is None
    if inferred:  # nobody decrypted it
        return f"{record.kind}, probably"
    return str(record.kind)


def _told(trace: Trace, closing: Closing) -> Iterator[LadderLine]:
    mark = trace.drive.mark
    assert mark is not None
    names = {letter: str(kind) for kind, letter in LETTERS.items()} | {"d": "data"}
    names |= {"g": "goodbye", "f": "FIN", "r": "RST"}
    for wire_event in closing.wire_events:
        letter = wire_event.letter
        said = letter.upper() if wire_event.side is Side.CLIENT else letter
        time_us = (wire_event.time_ns - mark.time_ns) / 1000
        yield LadderLine(time_us, wire_event.side, said, f"{names[letter]} (by our socket)")
