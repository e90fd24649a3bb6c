"""How much of one connection is kept: the opening and the end of what was too long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from tlsprobe.model.trace import DriverEvent, Trace

OPENING, ENDING = 500, 1500
"""Segments, records or events of a connection that are kept: the first, and the last of them.

Closes are judged by their end; what is left out lies in the middle of a transfer, or of a flood.
"""

MOST_DETAIL = 200
"""Characters of an event's detail."""

MOST_WORDS = 2000
"""Characters of a failure and of its hint."""

_T = TypeVar("_T")


def bounded(trace: Trace) -> Trace:
    """The trace as it is kept and judged; nearly always it is the trace as it was seen."""
    drive = trace.drive
    parts = trace.segments, drive.records, drive.events
    if all(len(part) <= OPENING + ENDING for part in parts) and not _talks_long(trace):
        return trace
    events = tuple(map(_short, _ends(drive.events)))
    kept = replace(
        drive,
        records=_ends(drive.records),
        events=events,
        failure=_cut(drive.failure),
        hint=_cut(drive.hint),
    )
    left_out = sum(max(0, len(part) - OPENING - ENDING) for part in parts)
    return replace(
        trace, drive=kept, segments=_ends(trace.segments), left_out=trace.left_out + left_out
    )


def _talks_long(trace: Trace) -> bool:
    drive = trace.drive
    words = any(len(said or "") > MOST_WORDS for said in (drive.failure, drive.hint))
    return words or any(len(event.detail) > MOST_DETAIL for event in drive.events)


def _ends(part: Sequence[_T]) -> tuple[_T, ...]:
    if len(part) <= OPENING + ENDING:
        return tuple(part)
    return (*part[:OPENING], *part[-ENDING:])


def _short(event: DriverEvent) -> DriverEvent:
    return event._replace(detail=_shortened(event.detail, MOST_DETAIL))


def _cut(words: str | None) -> str | None:
    return None if words is None else _shortened(words, MOST_WORDS)


def _shortened(words: str, most: int) -> str:
    return words if len(words) <= most else f"{words[: most - 1]}…"
