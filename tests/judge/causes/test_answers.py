"""What an answer proves to have been read, and what it does not.

ARCHITECTURE.md, "What we may not conclude": from the absence of an answer, that bytes were unread;
from an answer that was owed anyway, that later bytes were read.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.judge.causes.test_passive import bystander
from tests.judge.playbook import ALERT, MESSAGE, Act, C, Line, S, crossing, play
from tlsprobe.judge.causes import resets_of
from tlsprobe.model.causes import Cause
from tlsprobe.model.judgement import Confidence, Reset
from tlsprobe.model.trace import EventKind, Mark, Remark, RemarkKind, Side, Trace

MEDIUM = Confidence.MEDIUM
GIVE_UP = S.rst(active=True)


def why(trace: Trace) -> Reset:
    (reset,) = resets_of(trace)
    return reset


def left_unread(reset: Reset, size: int) -> bool:
    """Whether so many bytes are named as unread, with the other cause left open."""
    named = f"{size} bytes" in " ".join(reset.evidence)
    is_open = reset.alternatives[:1] == (Cause.DELIBERATE,)
    return (reset.cause, reset.confidence) == (Cause.UNREAD_AT_CLOSE, MEDIUM) and is_open and named


OWED = [
    pytest.param((C.request(), C.notify(), S.response(), S.notify()), id="response, then alert"),
    pytest.param((C.request() + C.notify(), S.response(), S.notify()), id="in one segment"),
    pytest.param((C.request(), C.notify(), S.response()), id="response alone"),
    pytest.param((C.goodbye(asks=True), C.notify(), S.partial()), id="a part of a response"),
    pytest.param((C.notify(), S.data(), S.notify()), id="a farewell of the protocol"),
]
"""What was owed, or would have been said anyway, goes out after our alert has arrived."""


@pytest.mark.parametrize("lines", OWED)
def test_what_goes_out_behind_an_alert_does_not_prove_that_it_was_read(
    lines: tuple[Line, ...],
) -> None:
    assert left_unread(why(play(*lines, GIVE_UP)), ALERT)


@pytest.mark.parametrize("lines", OWED)
def test_nor_does_it_in_somebody_elses_capture(lines: tuple[Line, ...]) -> None:
    assert left_unread(why(bystander(*lines, GIVE_UP)), ALERT)


@pytest.mark.parametrize("alert", [C.notify(), C.alert(42), C.data(ALERT)])
def test_what_a_bystander_saw_behind_what_may_be_an_alert_is_not_taken_for_a_goodbye(
    alert: Act,
) -> None:
    """In TLS 1.3 an alert shows by its size alone; behind one nobody reads on."""
    reset = why(bystander(C.request(), S.response(), alert, C.data(), S.notify(), GIVE_UP))
    assert left_unread(reset, MESSAGE)
    told = bystander(C.request(), S.response(), C.data(), alert, S.notify(), GIVE_UP)
    assert left_unread(why(told), ALERT)  # the message before it asked for the end


def test_a_response_in_part_answers_its_own_request_alone() -> None:
    lines = (C.goodbye(asks=True) + C.request(), S.partial(), GIVE_UP)
    assert left_unread(why(play(*lines)), MESSAGE)


def test_a_close_notify_that_the_server_had_announced_answers_nothing() -> None:
    """The idle timer's GOAWAY went before: its close_notify would have come without ours."""
    lines = (S.data(), C.notify(), S.notify(), GIVE_UP)
    assert left_unread(why(play(*lines)), ALERT)
    silent = play(C.notify(), S.notify(), GIVE_UP)
    assert why(silent).cause is Cause.DELIBERATE
    goaway = Remark(RemarkKind.GOAWAY, "goaway last=1 error=0", 1, 0)
    announced = replace(silent, drive=replace(silent.drive, remarks=(goaway,)))
    assert left_unread(why(announced), ALERT)


def test_a_close_notify_of_an_unfinished_handshake_answers_nothing() -> None:
    """GnuTLS says one when it gives up, whatever it has read."""
    trace = play(C.notify(), S.handshake(), S.notify(), GIVE_UP, asked=False)
    assert left_unread(why(_unshaken(trace)), ALERT)
    trace = play(C.notify(), S.notify(), GIVE_UP, asked=False)
    assert left_unread(why(_unshaken(trace)), ALERT)


def _unshaken(trace: Trace) -> Trace:
    events = (e for e in trace.drive.events if e.kind is not EventKind.HANDSHAKEN)
    return replace(trace, drive=replace(trace.drive, events=tuple(events)))


# --- clients --------------------------------------------------------------------------------------


def test_a_client_need_not_answer_a_response() -> None:
    reset = why(bystander(C.request(), S.response(), C.rst(active=True)))
    assert (reset.side, reset.cause, reset.confidence) == (Side.CLIENT, Cause.DELIBERATE, MEDIUM)
    assert reset.alternatives == (Cause.UNREAD_AT_CLOSE, Cause.MIDDLEBOX)


@pytest.mark.parametrize(
    ("lines", "size"),
    [
        pytest.param((C.request(), S.response(), S.notify()), ALERT, id="an alert"),
        pytest.param((C.request(), S.response(), S.notify(), C.notify()), ALERT, id="answered"),
        pytest.param((C.request(), S.response(), S.ticket()), 255, id="a ticket"),
    ],
)
def test_a_client_that_closes_with_more_than_its_response(
    lines: tuple[Line, ...], size: int
) -> None:
    """Whoever closes sends a close_notify of its own, whether it has read the server's or not."""
    assert left_unread(why(bystander(*lines, C.rst(active=True))), size)


def test_a_client_that_closes_while_more_of_the_response_comes() -> None:
    lines = (C.request(), S.data(), crossing(C.rst(active=True), S.data()))
    assert left_unread(why(bystander(*lines)), MESSAGE)


@pytest.mark.parametrize(
    ("ended", "cause"),
    [
        ((S.notify() + S.fin(),), Cause.UNREAD_AFTER_FIN),
        ((S.fin(),), Cause.UNREAD_AFTER_FIN),
        ((S.notify(),), Cause.UNREAD_AT_CLOSE),
    ],
)
def test_a_goodbye_to_who_had_ended_already_is_not_its_reason(
    ended: tuple[Act, ...], cause: Cause
) -> None:
    """An idle timer fired: nginx was said to have read our GOAWAY, and to reset for no reason."""
    late = why(play(*ended, C.goodbye(), S.rst(active=True)))
    assert late.cause is cause
    assert f"{MESSAGE} bytes" in " ".join(late.evidence)
    in_time = play(crossing(*ended, C.goodbye()), S.rst(active=True))
    assert why(in_time).cause is cause, "it crossed the end"
    before = play(C.goodbye(), *ended, S.rst(active=True))
    assert why(before).cause is Cause.DELIBERATE


def test_a_goodbye_that_crosses_an_announced_end_is_not_its_reason() -> None:
    """The response before said that it ends the connection: nobody need have read what followed."""
    asked = play(C.goodbye(), S.notify(), S.rst(active=True), protocol="http1")
    assert why(asked).cause is Cause.DELIBERATE
    ends = (Remark(RemarkKind.CLOSE_ANNOUNCED, "Connection: close"),)
    crossed = replace(asked, drive=replace(asked.drive, remarks=ends))
    assert left_unread(why(crossed), MESSAGE)
    answers = replace(crossed.drive, answered_to=crossed.drive.records[-2].end)
    assert why(replace(crossed, drive=answers)).cause is Cause.DELIBERATE


# --- a handshake that the server refuses when we are done with it --------------------------------

REFUSED = 116
"""certificate_required (RFC 8446, section 6)."""


def flight(*lines: Line) -> Trace:
    """Our flight, and what comes of it: the playbook's ends with the server's."""
    trace = play(C.handshake(110), *lines, asked=False)
    mark = Mark(0, 410, 300)  # our side is done with the handshake, and begins
    return replace(trace, drive=replace(trace.drive, begun=mark, mark=mark))


def test_a_server_that_refuses_our_flight_has_not_read_all_of_it() -> None:
    """radsecproxy wants a certificate: 38 resets were called deliberate, against its kernel."""
    refused = why(flight(S.alert(REFUSED), S.fin(), GIVE_UP))
    assert (refused.cause, refused.confidence) == (Cause.UNREAD_AFTER_FIN, MEDIUM)
    assert refused.alternatives[0] is Cause.DELIBERATE


@pytest.mark.parametrize(
    "lines",
    [
        (S.ticket(), S.alert(REFUSED)),  # it had taken our flight
        (S.notify(),),  # it ends, and refuses nothing
        (C.unknown(), C.data(), S.alert(10)),  # it refuses what came later
    ],
)
def test_what_else_a_server_says_refuses_no_flight(lines: tuple[Line, ...]) -> None:
    found = why(flight(*lines, S.fin(), GIVE_UP))
    assert "410 bytes" not in " ".join(found.evidence)
    assert "110 bytes" not in " ".join(found.evidence)
