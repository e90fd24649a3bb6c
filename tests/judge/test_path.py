"""What our own path did is not the server's doing.

ARCHITECTURE.md, "What we may not conclude".
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.judge.playbook import (
    ALERT,
    FIRST,
    C,
    Line,
    S,
    Silence,
    due,
    gives_up,
    play,
    shaped,
    silence,
    step,
)
from tests.judge.scenarios import PASS, driven, result, with_event
from tlsprobe.judge.path import CutOff, as_delivered, cut_off
from tlsprobe.judge.remedies import remedy_of, situation_of
from tlsprobe.judge.verdict import judge
from tlsprobe.model.causes import Cause
from tlsprobe.model.judgement import Confidence, Outcome, Reader, Result
from tlsprobe.model.trace import Coverage, EventKind, PathDid, Side, Trace

OURS, THEIRS = Side.CLIENT, Side.SERVER
BAD = {Result.FAIL, Result.WARN, Result.ERROR}

HELD = (PathDid.HELD, OURS, 0, ALERT, 8)
RELEASED = (PathDid.RELEASED, OURS, 0, ALERT, 9)


def out_of_order(*behind: object) -> Trace:
    """Our FIN, then the close_notify that was written before it."""
    trace = play(C.notify(), C.fin(), *behind)  # type: ignore[arg-type]
    first, second = trace.segments[7:9]
    swapped = (
        second._replace(number=8, time_ns=first.time_ns),
        first._replace(number=9, time_ns=second.time_ns),
    )
    return replace(trace, segments=(*trace.segments[:7], *swapped, *trace.segments[9:]))


def bad(trace: Trace) -> list[str]:
    return [found.rule for found in judge(trace).results if found.result in BAD]


def test_a_trace_that_nothing_shaped_is_left_alone() -> None:
    trace = play(C.notify(), S.notify() + S.fin(), C.fin())
    assert as_delivered(trace) is trace
    assert cut_off(trace, trace) is None


def test_the_wire_is_told_as_it_was_and_judged_as_it_was_delivered() -> None:
    trace = shaped(out_of_order(S.notify() + S.fin()), HELD, RELEASED)
    judged = judge(trace)
    assert judged.signature == "F N nf"
    assert judged.outcome is Outcome.CLEAN
    found = {r.rule: r for r in judged.results}
    assert found["TLS13-NOTIFY"].result is PASS
    assert "TLS-TRUNCATION" not in found  # the alert came before the FIN, to whoever reads
    came = [s.number for s in as_delivered(trace).segments[7:]]
    assert came == [9, 8, 10]


def test_each_record_has_its_letter_where_it_passed() -> None:
    """A goodbye that comes behind the alert and the FIN that were written after it."""
    story = play(C.goodbye(), C.notify(), C.fin(), S.rst(active=True))
    goodbye, notify, fin = story.segments[7:10]
    moved = (
        notify._replace(number=8, time_ns=goodbye.time_ns),
        fin._replace(number=9, time_ns=notify.time_ns),
        goodbye._replace(number=10, time_ns=fin.time_ns),
    )
    segments = (*story.segments[:7], *moved, *story.segments[10:])
    trace = shaped(replace(story, segments=segments), (PathDid.HELD, OURS, 0, 100, 8))
    judged = judge(trace)
    assert judged.signature == "N F G r"
    assert [s.number for s in as_delivered(trace).segments[7:]] == [10, 8, 9, 11]


def test_a_step_is_not_late_that_the_path_held() -> None:
    trace = play(
        C.notify(), C.fin(), silence(0.3), step("release"), S.notify() + S.fin(), tls="1.2"
    )
    late = trace.segments[7]._replace(number=9, time_ns=trace.segments[8].time_ns + 290_000_000)
    early = trace.segments[8]._replace(number=8)
    moved = replace(trace, segments=(*trace.segments[:7], early, late, *trace.segments[9:]))
    judged = judge(shaped(moved, HELD, RELEASED))
    assert judged.doubt is None
    assert not judged.timing_us.get("spoiled_by")


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_bytes_that_never_came_oblige_nobody(tls: str) -> None:
    """A goodbye, a request and an alert that the path kept: nothing is owed for them."""
    story = play(C.goodbye(), C.request(), C.notify(), C.fin(), gives_up("drain"), tls=tls)
    kept = tuple(s for s in story.segments if s.number not in {8, 9, 10})
    trace = shaped(replace(story, segments=kept), (PathDid.HELD, OURS, 0, 224, 11))
    assert cut_off(trace, as_delivered(trace)) is CutOff.UNHEARD
    assert bad(trace) == []
    assert result("INTEROP-CUT-OFF", trace) is Result.INFO


def test_an_acknowledgement_behind_a_hole_fills_it_not() -> None:
    """Our alert was lost until the server's idle timer ended it: what we acknowledge is no byte."""
    story = play(C.notify(), silence(1), S.notify() + S.fin(), C.ack())
    kept = tuple(s for s in story.segments if s.number != 8)
    trace = shaped(replace(story, segments=kept), (PathDid.LOST, OURS, 0, ALERT, 7))
    assert cut_off(trace, as_delivered(trace)) is CutOff.UNHEARD
    assert bad(trace) == []


def test_a_damaged_segment_was_not_received_and_its_repetition_was() -> None:
    story = play(C.notify(), silence(0.2), C.again(8), S.notify() + S.fin(), C.fin())
    trace = shaped(story, (PathDid.CORRUPTED, OURS, 0, ALERT, 8))
    assert [s.number for s in as_delivered(trace).segments[7:]] == [9, 10, 11]
    assert bad(trace) == []


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_a_server_without_room_owes_no_alert(tls: str) -> None:
    story = play(C.notify(), S.rst(active=True), tls=tls)
    assert bad(story)
    trace = shaped(story, (PathDid.WINDOW_SHUT, OURS, 0, 0, 7))
    assert cut_off(trace, as_delivered(trace)) is CutOff.NO_ROOM
    assert bad(trace) == []
    opened = shaped(
        story, (PathDid.WINDOW_SHUT, OURS, 0, 0, 6), (PathDid.WINDOW_OPENED, OURS, 0, 0, 7)
    )
    assert bad(opened) == bad(story)  # it had room when it mattered


def test_a_window_that_opens_behind_the_end_is_of_no_use() -> None:
    story = play(C.notify(), S.rst(active=True), C.ack())
    trace = shaped(
        story, (PathDid.WINDOW_SHUT, OURS, 0, 0, 7), (PathDid.WINDOW_OPENED, OURS, 0, 0, 10)
    )
    assert bad(trace) == []


def test_urgent_bytes_may_be_read_without_one_of_them() -> None:
    story = play(C.notify(), S.fin())
    trace = shaped(story, (PathDid.MARKED_URGENT, OURS, 0, ALERT, 8))
    assert bad(story)
    assert bad(trace) == []


def test_an_rst_ahead_is_ours_and_ends_nothing() -> None:
    story = play(C.abort().but(start=500), S.ack(), C.notify(), S.notify() + S.fin(), C.fin())
    start = story.segments[7].start - (story.drive.mark.client if story.drive.mark else 0)
    trace = shaped(driven(story, events=own(story)), (PathDid.RESET, OURS, start - 100, start, 8))
    judged = judge(trace)
    assert judged.outcome is Outcome.CLEAN
    assert bad(trace) == []
    (reset,) = judged.resets
    assert (reset.side, reset.cause, reset.confidence) == (
        OURS,
        Cause.DELIBERATE,
        Confidence.HIGH,
    )
    assert "forged" in reset.evidence[0]


def own(story: Trace) -> tuple[object, ...]:
    """The diary of a driver that did not abort: the path did."""
    return tuple(e for e in story.drive.events if e.kind is not EventKind.ABORTED)


def test_behind_an_exact_rst_the_server_owes_nothing() -> None:
    story = play(C.abort(), C.request(), S.rst())
    trace = shaped(driven(story, events=own(story)), (PathDid.RESET, OURS, 0, 0, 8))
    assert bad(trace) == []
    assert judge(trace).outcome is Outcome.CLIENT_RESET
    assert result("TCP-CHALLENGE", trace) is PASS


def test_what_an_exact_rst_draws_behind_the_servers_fin_is_not_the_servers() -> None:
    """Our kernel knows nothing of it and acknowledges the FIN, which meets no connection."""
    story = play(C.notify(), S.notify() + S.fin(), C.abort(), C.ack(), S.rst())
    start = story.segments[-3].start
    offset = start - (story.drive.mark.client if story.drive.mark else 0)
    blamed = judge(driven(story, events=own(story)))
    assert blamed.resets[-1].cause is not Cause.NO_STATE
    trace = shaped(driven(story, events=own(story)), (PathDid.RESET, OURS, offset, offset, 8))
    judged = judge(trace)
    assert (judged.resets[-1].cause, judged.resets[-1].side) == (Cause.NO_STATE, THEIRS)
    (text,) = [r.text for r in judged.results if r.rule == "INTEROP-RESET-AFTER-FIN"]
    assert text.startswith("a reset that the server did not make")
    assert bad(trace) == []


@pytest.mark.parametrize("did", [PathDid.HELD, PathDid.LOST, PathDid.RESET])
def test_without_a_capture_nobody_knows_what_the_server_heard(did: PathDid) -> None:
    story = play(C.goodbye(), C.fin(), gives_up("drain"))
    assert bad(story) == ["INTEROP-LEAK"]
    trace = replace(shaped(story, (did, OURS, 0, 0, 8)), segments=(), coverage=Coverage.NONE)
    assert bad(trace) == []
    assert cut_off(trace, as_delivered(trace)) is CutOff.UNSEEN


def test_a_step_behind_an_exact_rst_is_never_late() -> None:
    story = play(C.abort(), step("sleep"), due(), silence(0.3), C.request(), S.rst())
    trace = shaped(driven(story, events=own(story)), (PathDid.RESET, OURS, 0, 0, 8))
    assert judge(trace).doubt is None


def test_the_reader_got_what_came_first_through_the_path() -> None:
    """The server's FIN was held, and the RST that our answer drew came before it."""
    story = play(S.notify() + S.fin(), C.notify(), S.rst())
    events = tuple(e for e in story.drive.events if e.kind is not EventKind.EOF)
    story = with_event(driven(story, events=events), EventKind.RESET)
    trace = shaped(story, (PathDid.FIN_HELD, THEIRS, ALERT, ALERT + 1, 8))
    judged = judge(trace)
    assert judged.axes.reader is Reader.RESET
    assert judged.outcome is Outcome.RESET_AFTER_FIN
    assert bad(trace) == []
    (reset,) = judged.resets
    told = remedy_of(situation_of(reset, reader=judged.axes.reader)).hurts
    assert "the reader got ECONNRESET" in told
    assert "EOF came first" in remedy_of(situation_of(reset, reader=Reader.EOF)).hurts


def in_vain(*before: Line, tls: str = "1.2", again: tuple[Line, ...] = ()) -> Trace:
    """Our alert and our FIN, sent again and again until we give up."""
    alert = FIRST + sum(not isinstance(line, Silence) for line in before)
    tries = [line for wait in (0.2, 0.4, 0.8) for line in (silence(wait), C.again(alert))]
    return play(*before, C.notify(), C.fin(), *tries, *again, silence(1), gives_up(), tls=tls)


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_what_nobody_acknowledged_was_never_heard(tls: str) -> None:
    """A path that swallows all: the server was said to keep a connection that it knew as open."""
    judgement = judge(in_vain(tls=tls))
    assert [found.rule for found in judgement.results if found.result in BAD] == []
    assert any("never acknowledged" in note for note in judgement.notes)
    assert "INTEROP-LEAK" in bad(in_vain(tls=tls, again=(S.ack(),)))


def test_a_close_that_meets_nothing_on_an_idle_connection_tells_of_the_path() -> None:
    assert bad(in_vain(silence(2))) == ["INTEROP-IDLE-SILENT"]


def test_a_server_without_room_was_reached() -> None:
    full = S.ack().but(window=0)
    assert bad(in_vain(again=(full, C.again(FIRST), full)))
