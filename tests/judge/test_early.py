"""Connections that the server ended before our sequence began: they are no answer to it.

ARCHITECTURE.md, "What we may not conclude": from such an end, how the server takes the sequence.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.judge.playbook import FIRST, C, Line, S, crossing, play
from tlsprobe.judge.verdict import judge, ladder_for
from tlsprobe.model.judgement import DataEnd, Outcome, TcpEnd, TlsEnd
from tlsprobe.model.trace import Coverage, DriverEvent, EventKind, Mark, RecordKind, Side, Trace

BOTH = pytest.mark.parametrize("tls", ["1.2", "1.3"])
BEGUN = FIRST - 2
"""The packet number of a story's first line where nothing was requested."""


def starting_at(packet: int, trace: Trace, *, waits: bool = False) -> Trace:
    """The same connection, its sequence due right before a packet, with a step or with a wait."""
    past = [s for s in trace.segments if s.number < packet]
    ends = {side: max(s.end for s in past if s.side is side) for side in Side}
    mark = Mark(past[-1].time_ns + 1, ends[Side.CLIENT], ends[Side.SERVER])
    step = DriverEvent(mark.time_ns if waits else trace.segments[-1].time_ns, EventKind.STEP)
    events = tuple(sorted([*trace.drive.events, step]))
    return replace(trace, drive=replace(trace.drive, begun=mark, mark=mark, events=events))


@BOTH
@pytest.mark.parametrize(
    ("ends", "signature", "words"),
    [
        ((S.notify(), S.fin()), "n f", "close_notify, FIN"),
        ((S.notify() + S.fin(),), "nf", "close_notify, FIN"),
        ((S.notify(),), "n", "close_notify"),
        ((S.fin(),), "f", "FIN"),
        ((S.alert(80), S.fin()), "a f", "alert, FIN"),
        ((S.rst(active=True),), "r", "RST"),
    ],
)
def test_what_came_before_the_first_step_is_the_story(
    tls: str, ends: tuple[Line, ...], signature: str, words: str
) -> None:
    trace = play(*ends, C.notify(), C.fin(), asked=False, tls=tls)
    judged = judge(starting_at(BEGUN + len(ends), trace))
    assert judged.outcome is Outcome.ENDED_BEFORE_START
    assert judged.signature == f"{signature} N F"
    assert not judged.results
    assert not judged.conclusive
    assert judged.notes == (f"the server ended the connection before the sequence began: {words}",)


def test_the_alert_before_the_first_step_counts() -> None:
    trace = play(S.notify(), S.fin(), C.notify(), C.fin(), asked=False)
    axes = judge(starting_at(BEGUN + 2, trace)).axes
    assert (axes.tls, axes.tcp, axes.data) == (TlsEnd.NOTIFIED, TcpEnd.FIN, DataEnd.NONE)


@BOTH
def test_an_end_that_crosses_our_first_step_knows_nothing_of_it(tls: str) -> None:
    crossed = crossing(C.notify() + C.fin(), S.notify() + S.fin())
    trace = starting_at(BEGUN, play(crossed, asked=False, tls=tls))
    assert judge(trace).outcome is Outcome.ENDED_BEFORE_START


@BOTH
def test_an_end_that_acknowledges_our_first_step_answers_it(tls: str) -> None:
    trace = play(C.notify() + C.fin(), S.notify() + S.fin(), asked=False, tls=tls)
    assert judge(starting_at(BEGUN, trace)).outcome is Outcome.CLEAN


def test_a_step_that_broke_off_had_begun_with_its_first_packet() -> None:
    """An upload that is reset has no record of ours, and its step is said behind the reset."""
    lines = (C.unknown(60_000), S.data(), S.rst(active=True))
    judged = judge(starting_at(BEGUN, play(*lines, asked=False)))
    assert judged.outcome is not Outcome.ENDED_BEFORE_START
    assert (judged.signature, judged.resets[0].cause) == ("D d r", "unread-data-at-close")


@pytest.mark.parametrize("waits", [True, False])
def test_a_wait_has_begun_when_nothing_was_sent(waits: bool) -> None:
    """An idle expiry acknowledges nothing of ours, and is what the sequence waits for."""
    trace = play(S.notify(), S.fin(), C.notify(), asked=False)
    judged = judge(starting_at(BEGUN, trace, waits=waits))
    assert judged.outcome is (Outcome.CLEAN if waits else Outcome.ENDED_BEFORE_START)


def test_without_a_capture_our_socket_tells() -> None:
    trace = play(S.notify(), S.fin(), C.notify(), asked=False)
    early = replace(starting_at(BEGUN + 2, trace), segments=(), coverage=Coverage.NONE)
    judged = judge(early)
    assert judged.outcome is Outcome.ENDED_BEFORE_START
    assert judged.signature == "n f N"


def test_a_warning_that_ends_nothing_is_no_end() -> None:
    """TLS 1.2 servers warn of a name that they do not know, and go on (RFC 6066 section 3)."""
    trace = play(S.alert(112, level=1), C.notify(), S.notify(), S.fin(), asked=False, tls="1.2")
    assert judge(starting_at(BEGUN + 1, trace)).outcome is Outcome.CLEAN


def test_the_driver_that_waited_in_vain_for_a_response_says_so() -> None:
    trace = play(C.request(), S.notify(), S.fin(), asked=False, ended_early=True)
    judged = judge(starting_at(BEGUN, trace))
    assert judged.outcome is Outcome.ENDED_BEFORE_START
    assert judged.axes.data is DataEnd.NONE
    assert not judged.results


def test_a_greeting_that_never_came() -> None:
    failed = play(S.notify(), S.fin(), asked=False, failure="no greeting", ended_early=True)
    judged = judge(replace(failed, drive=replace(failed.drive, mark=None)))
    assert (judged.outcome, judged.signature) == (Outcome.ENDED_BEFORE_START, "n f")


def test_the_story_of_an_early_end_is_drawn_from_the_alert_on() -> None:
    trace = play(S.notify(), S.fin(), C.notify(), asked=False)
    early = starting_at(BEGUN + 2, trace)
    first = ladder_for(early, judge(early))[0]
    assert (first.side, first.letters) == (Side.SERVER, "n")
    assert trace.drive.records[-2].kind is RecordKind.CLOSE_NOTIFY
