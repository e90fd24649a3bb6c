"""Idle timers and races as numbers: everything is inside the picture, in order, and in words."""

from __future__ import annotations

import pytest

from tlsprobe.report.blocks import Meeting, Meetings, Timer, Timers
from tlsprobe.report.charts import draw_meetings, draw_timers

TIMERS = Timers(
    (
        Timer("after a request", 1.89, 1.99, "close_notify, fin"),
        Timer("before the first request", 60.0, 60.0, "fin"),
        Timer("before the handshake", None, None, "silence"),
    ),
    1.7,
)


def test_timers_stand_in_order_on_one_axis() -> None:
    drawn = draw_timers(TIMERS)
    first, second, third = drawn.rows
    assert first.span is not None
    assert second.span is not None
    assert drawn.safe is not None
    assert 0 < drawn.safe < first.span[0] < first.span[0] + first.span[1] < second.span[0] < 100
    assert (third.span, third.words) == (None, "not ended while we waited")
    assert first.words == "1.89 s to 1.99 s, close_notify, fin"
    assert second.words == "60 s, fin"
    assert [tick.label for tick in drawn.ticks] == ["1 s", "10 s", "1 min"]
    assert drawn.safe_words == "safe for a client: up to 1.7 s"


@pytest.mark.parametrize("timers", [Timers(()), Timers((Timer("idle", None, None, ""),), None)])
def test_nothing_fired(timers: Timers) -> None:
    drawn = draw_timers(timers)
    assert [row.span for row in drawn.rows] == [None] * len(timers.timers)
    assert (drawn.safe, drawn.safe_words) == (None, "")


def test_a_race_says_how_many_were_lost() -> None:
    race = Meetings("meet", (Meeting(-5000.0, 3, 1, 0), Meeting(1200.0, 0, 0, 2)), 3000.0)
    drawn = draw_meetings(race)
    assert drawn.told == "lost 2 of 6"
    assert [(mark.outcome, mark.count) for mark in drawn.marks] == [
        ("answered", 3),
        ("refused", 1),
        ("lost", 2),
    ]
    before, _, after = (mark.x for mark in drawn.marks)
    assert drawn.window is not None
    assert before < drawn.start < after < drawn.start + drawn.window < 100
    assert 2 <= len(drawn.ticks) <= 7
    assert drawn.marks[2].words == "2 lost at 1.20 ms"


def test_requests_at_one_moment_are_a_picture_too() -> None:
    drawn = draw_meetings(Meetings("meet", (Meeting(0.0, 1, 0, 0),)))
    assert (drawn.window, drawn.told) == (None, "lost 0 of 1")
    assert drawn.marks[0].x == drawn.start
