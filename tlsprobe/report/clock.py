"""Times of a capture as a reader wants them: the clock, and the day once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tlsprobe.model.explanation import InputFacts

_DAY_NS = 86_400 * 10**9
_CLOCK_NS = 10**9 * 60 * 60 * 24 * 365
_LAST_S = 250_000_000_000
"""Seconds that a date can still be made of."""


def clock(time_ns: int) -> str | None:
    """An absolute time in UTC, a time of day as it was printed, None where the input has none."""
    if time_ns >= _CLOCK_NS:
        return f"{_moment(time_ns):%Y-%m-%dT%H:%M:%S}.{time_ns % 10**9:09d}Z"
    if time_ns < 10**6:  # packets of an input without times are numbered in nanoseconds
        return None
    seconds, rest = divmod(time_ns % _DAY_NS, 10**9)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{rest // 1000:06d}"


def day_of(time_ns: int) -> str:
    """The day in UTC, empty where the input tells none."""
    return f"{_moment(time_ns):%Y-%m-%d} UTC" if time_ns >= _CLOCK_NS else ""


def clock_in(source: InputFacts, time_ns: int) -> str:
    """The time of day of a moment in a capture, with fractions in a short one.

    With its day if the capture lasts longer than one; empty where the input has no times.
    """
    first, last = source.first_ns, source.last_ns
    if first is None or last is None:
        return ""
    seconds, rest = divmod(time_ns % _DAY_NS, 10**9)
    told = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    if last - first < 10 * 10**9:
        told += f".{rest // 10**6:03d}"
    if last - first >= _DAY_NS and time_ns >= _CLOCK_NS:
        return f"{_moment(time_ns):%m-%d} {told}"
    return told


def _moment(time_ns: int) -> datetime:
    seconds = min(time_ns // 10**9, _LAST_S)
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
