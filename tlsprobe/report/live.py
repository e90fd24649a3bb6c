"""Resets as they are understood, a line each, for who watches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tlsprobe.model.explanation import ExplainedFlow, ExplainedReset
from tlsprobe.report.clock import clock
from tlsprobe.report.escape import printable
from tlsprobe.report.explain import HURTS_SHORT, first_of_each, server_of

LINES_A_SECOND = 20
"""More lines nobody reads: they are counted."""

MOST_LINES, MOST_KINDS = 1_000, 1_000
"""After so many lines those that are alike are folded; so many kinds are told apart then."""

FOLDED_NS = 60 * 10**9
"""So often a line of a folded kind is printed."""

_SECOND_NS = 10**9


def live_lines(flow: ExplainedFlow) -> Iterator[str]:
    """The first reset of each kind of a connection."""
    version = f", TLS {flow.tls}" if flow.tls else ""
    partly = "" if flow.complete else ", seen in part"
    ends = printable(f"{flow.client} to {server_of(flow)}{version}{partly}")
    for told in first_of_each(flow):
        yield f"{_time(told)}  {ends}: {_said(told)}"


def _time(told: ExplainedReset) -> str:
    """The time of day; the day is today."""
    moment = clock(told.reset.time_ns) or ""
    return moment.partition("T")[2][: len("12:00:00.000000")]


def _said(told: ExplainedReset) -> str:
    reset = told.reset
    when = "before any FIN of its own" if reset.before_fin else "after its FIN"
    left = f", or {', '.join(reset.alternatives)}" if reset.alternatives else ""
    kernel = f"; its kernel says {told.kernel.reason}" if told.kernel else ""
    return (
        f"the {reset.side} resets {when}: {reset.cause} ({reset.confidence} confidence{left})"
        f"; {HURTS_SHORT[told.harm]}{kernel}"
    )


@dataclass(slots=True)
class _Kind:
    """When a line of this kind was printed last, and how many were not since."""

    printed_ns: int
    left_out: int = 0


class Pace:
    """Keeps a flood of resets from flooding the screen.

    At first each is printed, of those within a second a few. When there have been many, those that
    are alike (`Reset.kind`, at one server) are folded: a line a minute, with their number.
    """

    def __init__(self) -> None:
        self._second = 0
        self._lines = 0
        self._left_out = 0
        self._printed = 0
        self._kinds: dict[object, _Kind] = {}

    def allow(self, flow: ExplainedFlow, lines: Iterator[str]) -> Iterator[str]:
        """The lines that may be printed, by the time of the resets, and how many were not."""
        if self._printed >= MOST_LINES:
            yield from self._folded(flow, lines)
            return
        for line in self._within_a_second(flow, lines):
            self._printed += 1
            yield line
        if self._printed >= MOST_LINES:
            yield f"after {MOST_LINES} lines, resets that are alike are folded: a line a minute"

    def _folded(self, flow: ExplainedFlow, lines: Iterator[str]) -> Iterator[str]:
        for told, line in zip(first_of_each(flow), lines, strict=True):
            at, key = told.reset.time_ns, (told.reset.kind, told.harm, server_of(flow))
            kind = self._kinds.get(key)
            if kind is not None and at - kind.printed_ns < FOLDED_NS:
                kind.left_out += 1
                continue
            more = (
                f"; {kind.left_out} more like it since the last" if kind and kind.left_out else ""
            )
            if kind is not None or len(self._kinds) < MOST_KINDS:
                self._kinds[key] = _Kind(at)
                yield f"{line}{more}"

    def _within_a_second(self, flow: ExplainedFlow, lines: Iterator[str]) -> Iterator[str]:
        second = max(told.reset.time_ns for told in flow.resets) // _SECOND_NS
        if second > self._second:
            if self._left_out:
                yield f"... and {self._left_out} more within a second"
            self._second, self._lines, self._left_out = second, 0, 0
        for line in lines:
            if self._lines < LINES_A_SECOND:
                self._lines += 1
                yield line
            else:
                self._left_out += 1
