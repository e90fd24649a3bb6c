"""The lines of a live watch: each at first, then folded."""

from __future__ import annotations

from dataclasses import replace
from itertools import repeat

from tests.explain.talk import ACK, RST, flow_of, tls13
from tlsprobe.model.explanation import ExplainedFlow
from tlsprobe.report.live import LINES_A_SECOND, MOST_LINES, Pace, live_lines

S = 10**9
FLOW = flow_of(tls13().s(RST | ACK))


def at(flow: ExplainedFlow, seconds: float) -> ExplainedFlow:
    (told,) = flow.resets
    reset = replace(told.reset, time_ns=round(seconds * S))
    return replace(flow, resets=(replace(told, reset=reset),))


def printed(pace: Pace, flow: ExplainedFlow) -> list[str]:
    return list(pace.allow(flow, live_lines(flow)))


def test_within_a_second_a_few_are_printed_and_the_others_counted() -> None:
    pace = Pace()
    lines = [line for flow in repeat(at(FLOW, 1), 100) for line in printed(pace, flow)]
    assert len(lines) == LINES_A_SECOND
    more, line = printed(pace, at(FLOW, 2))
    assert more == f"... and {100 - LINES_A_SECOND} more within a second"
    assert "the server resets" in line


def test_after_many_lines_those_that_are_alike_are_folded() -> None:
    pace = Pace()
    for second in range(MOST_LINES):
        lines = printed(pace, at(FLOW, second))
    assert (
        lines[-1] == f"after {MOST_LINES} lines, resets that are alike are folded: a line a minute"
    )
    later = [printed(pace, at(FLOW, MOST_LINES + n / 10)) for n in range(601)]
    assert [len(lines) for lines in later] == [1, *repeat(0, 599), 1]
    assert later[-1][0].endswith("; 599 more like it since the last")
    other = replace(at(FLOW, MOST_LINES), server="192.0.2.9:443")
    assert len(printed(pace, other)) == 1
    assert printed(pace, other) == []
