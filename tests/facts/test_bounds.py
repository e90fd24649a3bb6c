"""What is kept of a connection that was too long."""

from __future__ import annotations

from dataclasses import replace

from tests.judge.playbook import C, S, play
from tlsprobe.facts.bounds import ENDING, MOST_DETAIL, MOST_WORDS, OPENING, bounded
from tlsprobe.judge.verdict import judge

END = (C.notify(), S.notify() + S.fin(), C.fin())
FLOOD = play(*[S.data() for _ in range(OPENING + ENDING)], *END)


def test_what_is_short_is_kept_as_it_is() -> None:
    trace = play(*END)
    assert bounded(trace) is trace


def test_the_opening_and_the_end_of_a_flood_are_kept() -> None:
    kept = bounded(FLOOD)
    assert len(kept.segments) == OPENING + ENDING
    assert kept.segments[:OPENING] == FLOOD.segments[:OPENING]
    assert kept.segments[-ENDING:] == FLOOD.segments[-ENDING:]
    assert kept.drive.records[-ENDING:] == FLOOD.drive.records[-ENDING:]


def test_what_was_left_out_is_counted() -> None:
    parts = FLOOD.segments, FLOOD.drive.records, FLOOD.drive.events
    left_out = sum(max(0, len(part) - OPENING - ENDING) for part in parts)
    assert bounded(FLOOD).left_out == left_out > 0


def test_bounding_twice_changes_nothing_more() -> None:
    kept = bounded(FLOOD)
    assert bounded(kept) == kept


def test_a_flood_is_judged_by_its_end() -> None:
    whole, kept = judge(FLOOD), judge(bounded(FLOOD))
    assert (whole.signature, whole.outcome, whole.axes) == (
        kept.signature,
        kept.outcome,
        kept.axes,
    )
    assert whole.results == kept.results


def test_long_words_are_cut() -> None:
    drive = replace(play(*END).drive, failure="x" * 10_000, hint="y" * 10_000)
    kept = bounded(replace(play(*END), drive=drive)).drive
    for said in (kept.failure, kept.hint):
        assert said is not None
        assert len(said) == MOST_WORDS and said.endswith("…")


def test_long_details_are_cut() -> None:
    trace = play(*END)
    events = tuple(event._replace(detail="y" * 5000) for event in trace.drive.events)
    kept = bounded(replace(trace, drive=replace(trace.drive, events=events)))
    assert {len(event.detail) for event in kept.drive.events} == {MOST_DETAIL}
