"""Idle timers and races as numbers: where their marks go, in per cent of the width.

A renderer puts them into SVG as wide as its page, so that words keep their size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import log10
from typing import TypeAlias

from tlsprobe.report.blocks import Meeting, Meetings, Timer, Timers
from tlsprobe.report.glyphs import seconds

_Place: TypeAlias = Callable[[float], float]

LEFT, RIGHT = 2.0, 98.0
"""Marks stay so far within the picture, in per cent."""

NARROWEST = 0.8
"""An interval is at least as wide, in per cent: a timer that never varies is seen as well."""

_TICKS_S = (
    *((0.01, "10 ms"), (0.1, "100 ms"), (1, "1 s"), (10, "10 s"), (60, "1 min")),
    *((600, "10 min"), (3600, "1 h"), (36_000, "10 h")),
)
_STEPS_MS = tuple(digit * 10.0**power for power in range(-3, 6) for digit in (1, 2, 5))
_MOST_TICKS = 6

OUTCOMES = ("answered", "refused", "lost")
"""What may become of a request that meets the expiry: the lanes of a race, the best first."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis and what stands there."""

    x: float
    label: str


@dataclass(frozen=True, slots=True)
class DrawnTimer:
    """A timer: its interval, or None if it did not fire, and the same in words."""

    label: str
    span: tuple[float, float] | None
    words: str


@dataclass(frozen=True, slots=True)
class DrawnTimers:
    """Timers below each other on one axis; ``safe`` is how far a client may go."""

    rows: tuple[DrawnTimer, ...]
    ticks: tuple[Tick, ...]
    safe: float | None
    safe_words: str


def draw_timers(timers: Timers) -> DrawnTimers:
    """The timers on a logarithmic axis, since they go from a second to hours."""
    fired = [t for t in timers.timers if t.least is not None and t.most is not None]
    ends = [max(s, 0.001) for t in fired for s in (t.least or 0.0, t.most or 0.0)]
    ends += [timers.safe] if timers.safe else []
    low, high = log10(min(ends, default=1.0) / 4), log10(max(ends, default=1.0) * 4)

    def place(value: float) -> float:
        return _between((log10(max(value, 0.001)) - low) / (high - low))

    ticks = tuple(
        Tick(place(value), label) for value, label in _TICKS_S if low <= log10(value) <= high
    )
    rows = tuple(_timer(timer, place) for timer in timers.timers)
    safe = place(timers.safe) if timers.safe else None
    words = f"safe for a client: up to {seconds(timers.safe)}" if timers.safe else ""
    return DrawnTimers(rows, ticks, safe, words)


def _timer(timer: Timer, place: _Place) -> DrawnTimer:
    if timer.least is None or timer.most is None:
        return DrawnTimer(timer.label, None, "not ended while we waited")
    first, last = place(timer.least), place(timer.most)
    least, most = seconds(timer.least), seconds(timer.most)
    words = least if least == most else f"{least} to {most}"
    span = first, max(NARROWEST, round(last - first, 2))
    return DrawnTimer(timer.label, span, f"{words}, {timer.how}" if timer.how else words)


@dataclass(frozen=True, slots=True)
class DrawnMeeting:
    """What became of some requests: where, in which lane, and how many."""

    x: float
    outcome: str
    count: int
    words: str


@dataclass(frozen=True, slots=True)
class DrawnMeetings:
    """A race: its marks, where the server began to end, and how long it was exposed."""

    label: str
    marks: tuple[DrawnMeeting, ...]
    ticks: tuple[Tick, ...]
    start: float
    window: float | None
    told: str


def draw_meetings(race: Meetings) -> DrawnMeetings:
    """The race over the milliseconds around the server's first word of its end."""
    offsets = [meeting.offset_us / 1000 for meeting in race.meetings]
    window = None if race.window_us is None else race.window_us / 1000
    ends = [*offsets, 0.0, *([] if window is None else [window])]
    low, high = min(ends), max(ends)
    margin = max(0.05, (high - low) * 0.05)
    low, high = low - margin, high + margin

    def place(value: float) -> float:
        return _between((value - low) / (high - low))

    marks = tuple(mark for meeting in race.meetings for mark in _marks(meeting, place))
    lost, met = (sum(m.lost for m in race.meetings), sum(map(_met, race.meetings)))
    ticks = tuple(Tick(place(value), f"{value:g} ms") for value in _steps(low, high))
    width = None if window is None else round(place(window) - place(0.0), 2)
    return DrawnMeetings(race.label, marks, ticks, place(0.0), width, f"lost {lost} of {met}")


def _met(meeting: Meeting) -> int:
    return meeting.answered + meeting.refused + meeting.lost


def _marks(meeting: Meeting, place: _Place) -> Iterator[DrawnMeeting]:
    at = meeting.offset_us / 1000
    for outcome in OUTCOMES:
        count = getattr(meeting, outcome)
        if count:
            yield DrawnMeeting(place(at), outcome, count, f"{count} {outcome} at {at:.2f} ms")


def _steps(low: float, high: float) -> Iterator[float]:
    """Round values between the two, a handful."""
    step = next(size for size in _STEPS_MS if (high - low) / size <= _MOST_TICKS)
    first = int(low / step)
    yield from (n * step for n in range(first, int(high / step) + 1) if low <= n * step <= high)


def _between(share: float) -> float:
    return round(LEFT + (RIGHT - LEFT) * min(1.0, max(0.0, share)), 2)
