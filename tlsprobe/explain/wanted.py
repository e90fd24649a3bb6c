"""Which connections, and which resets, somebody asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tlsprobe.model.causes import Cause
from tlsprobe.model.judgement import Reset
from tlsprobe.model.trace import Side
from tlsprobe.packets.packet import Endpoint, host_text, text

_DAY_NS = 86_400 * 10**9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CLOCK = re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d(?:\.\d+)?))?")


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time as somebody types it.

    Nanoseconds since 1970, of a day that is the capture's, or since its first packet.
    """

    ns: int
    since_midnight: bool = False
    since_first: bool = False

    def at(self, first_ns: int) -> int:
        """On the clock of a capture that begins at ``first_ns``."""
        if self.since_first:
            return first_ns + self.ns
        if not self.since_midnight:
            return self.ns
        midnight = first_ns - first_ns % _DAY_NS
        return midnight + self.ns


def read_moment(typed: str) -> Moment | None:
    """``2026-11-26T12:00:00Z``, ``12:00:03.5``, or ``7.5``: seconds since the first packet.

    Times are UTC where no zone is named. None for anything else.
    """
    words = typed.strip()
    if re.fullmatch(r"\d+(\.\d+)?", words):
        return Moment(round(float(words) * 1e9), since_first=True)
    if clock := _CLOCK.fullmatch(words):
        hours, minutes, seconds = int(clock[1]), int(clock[2]), float(clock[3] or 0)
        whole = round((hours * 3600 + minutes * 60 + seconds) * 1e9)
        return Moment(whole, since_midnight=True)
    try:
        read = datetime.fromisoformat(words)
    except ValueError:
        return None
    since = (read if read.tzinfo else read.replace(tzinfo=UTC)) - _EPOCH
    return Moment(since // timedelta(microseconds=1) * 1000)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which connections to explain. ``quiet`` asks for those with nothing amiss too.

    ``flow`` is a printed endpoint of either side, ``packet`` the number of any packet of the one
    that is meant. ``cause``, ``side``, ``since`` and ``until`` are about resets: a connection
    without one that fits is left out.
    """

    host: str | None = None
    port: int | None = None
    quiet: bool = False
    flow: str | None = None
    packet: int | None = None
    cause: Cause | None = None
    side: Side | None = None
    since: Moment | None = None
    until: Moment | None = None

    def takes(self, ends: tuple[Endpoint, Endpoint]) -> bool:
        """Whether a connection between these endpoints is asked for."""
        return (
            (self.host is None or any(host_text(a) == self.host for a, _ in ends))
            and (self.port is None or any(p == self.port for _, p in ends))
            and (self.flow is None or any(text(end) == self.flow for end in ends))
        )

    @property
    def is_about_ends(self) -> bool:
        """Whether it tells connections apart by their endpoints."""
        return self.host is not None or self.port is not None or self.flow is not None

    @property
    def lists_quiet(self) -> bool:
        """Whether connections with nothing amiss are to be shown."""
        return (self.quiet or self.is_about_one) and not self.is_about_resets

    @property
    def is_about_resets(self) -> bool:
        """Whether resets alone are asked for."""
        return self.cause is not None or self.side is not None

    @property
    def is_about_one(self) -> bool:
        """Whether a single connection is meant: then it is shown, whatever is the matter."""
        return self.flow is not None or self.packet is not None


@dataclass(frozen=True, slots=True)
class Window:
    """The filter's times on the clock of the capture."""

    since_ns: int | None = None
    until_ns: int | None = None

    @classmethod
    def of(cls, wanted: Filter, first_ns: int | None) -> Window:
        """None of a capture without times."""
        if first_ns is None:
            return cls()
        return cls(
            None if wanted.since is None else wanted.since.at(first_ns),
            None if wanted.until is None else wanted.until.at(first_ns),
        )

    def holds(self, time_ns: int) -> bool:
        """Whether a moment lies in it."""
        return self.meets(time_ns, time_ns)

    def meets(self, first_ns: int, last_ns: int) -> bool:
        """Whether any of the time from the one to the other lies in it."""
        late = self.since_ns is None or last_ns >= self.since_ns
        return late and (self.until_ns is None or first_ns <= self.until_ns)

    @property
    def is_open(self) -> bool:
        """Whether it is all of the time."""
        return self.since_ns is None and self.until_ns is None


def takes_reset(wanted: Filter, window: Window, reset: Reset) -> bool:
    """Whether an RST is asked for."""
    return (
        wanted.cause in {None, reset.cause}
        and wanted.side in {None, reset.side}
        and window.holds(reset.time_ns)
    )
