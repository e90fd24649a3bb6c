"""What waiting shows of a server, and what it does not.

A timer that did not fire while we waited was not reached. An end that comes with the response, as
HTTP/1.0 and ``Connection: close`` have it, is no timer's. One that comes before our sequence did
anything answers nothing of it; and one that comes when the server's idle timer fires, long after
our last word, would have come without that word.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from tlsprobe.judge.closing import Closing, WireEvent
from tlsprobe.model.judgement import Doubt
from tlsprobe.model.knowledge import Knowledge, Silence, Timer
from tlsprobe.model.trace import (
    CLOSING_REMARKS,
    Coverage,
    EventKind,
    Mark,
    RemarkKind,
    Side,
    Trace,
)
from tlsprobe.model.verbs import Verb

_MOMENT_NS = 50_000_000
"""An end that follows so soon belongs to what came before it: no server has a shorter timer."""

LONG_NS = 300_000_000
"""A silence that may be a timer's. Whatever answers us is quicker."""

_FAREWELL = 2
"""Records of data in which a server says why it ends an idle connection, if it says so."""

_WIDE = 0.25
"""How far apart, as a part of the whole, a timer may fire to be known again."""

_SLACK_NS, _SLACK = 50_000_000, 0.02
"""How far an end may lie from where the same timer was seen to fire: scheduling, and ticks."""


def doubt_of(trace: Trace, closing: Closing, knowledge: Knowledge) -> Doubt | None:
    """Why the end of a connection, or that none came, answers nothing of its sequence."""
    if not trace.drive.events:
        return None
    if not knowledge.waits_idle:
        return _doubt_of_acting(trace, closing)
    if _asked_on_idle(trace):
        return None
    if _is_in_time(trace):
        return Doubt.WITH_RESPONSE if met_no_timer(trace, closing) else None
    if _is_not_reached(trace, closing):
        return Doubt.NOT_REACHED
    return Doubt.WITH_RESPONSE if ends_with_response(trace, closing) else None


def _doubt_of_acting(trace: Trace, closing: Closing) -> Doubt | None:
    """The same of a sequence that is to end the connection itself."""
    if not _is_overtaken(trace, closing):
        return Doubt.NO_LIMIT if _met_no_limit(trace) else None
    brought = _is_said_to_end(trace) or ends_with_response(trace, closing)
    return Doubt.WITH_RESPONSE if brought else Doubt.OVERTAKEN


def _met_no_limit(trace: Trace) -> bool:
    """Whether a sequence that looks for a limit of the server's has met none.

    One of the time that a response may wait to be read was met where it did not come whole.
    """
    drive = trace.drive
    verbs = {event.verb for event in drive.events if event.kind is EventKind.STEP}
    gave_up = {event.verb for event in drive.events if event.kind is EventKind.GAVE_UP}
    whole = Verb.STALL in verbs and drive.answered >= drive.owed
    return whole or Verb.EXHAUST in gave_up


def waited_of(trace: Trace, closing: Closing) -> dict[str, float]:
    """How long it was quiet before a server that was the first to end something, in microseconds.

    ``idle_to_end`` counts from the last payload before we began to wait: a response, a greeting,
    half a request. What the server says into the silence (heartbeats, GOAWAY, a word of farewell)
    is no part of any exchange, and restarts nothing. Where nobody told when we began to wait, any
    payload counts. ``accept_to_end`` counts from the server's SYN-ACK. ``waited`` is how long we
    waited for an end that did not come.
    """
    end, mark = closing.server_began, trace.drive.mark
    if end is None:
        waited = _waited(trace)
        return {} if waited is None else {"waited": waited / 1000}
    if mark is None or _acted_before(closing, end):
        return {}
    quiet = _silence(trace, mark, closing, end)
    if _is_with_response(trace, quiet) or _is_with_first_word(closing, end, quiet):
        return {}
    found = {"idle_to_end": quiet.since_exchange / 1000}
    if quiet.since_accept is not None:
        found["accept_to_end"] = quiet.since_accept / 1000
    return found


def silence_of(trace: Trace, closing: Closing) -> Silence | None:
    """The silence before the server's end, where it was long enough for a timer; else None."""
    end, mark = closing.server_began, trace.drive.mark
    if end is None or mark is None or trace.coverage is Coverage.HOLES:
        return None
    quiet = _since_response(trace, closing, end, _silence(trace, mark, closing, end))
    return quiet if quiet.shortest >= LONG_NS else None


def _since_response(trace: Trace, closing: Closing, end: WireEvent, quiet: Silence) -> Silence:
    """The same counted from the response that our sequence asked for, where that came later.

    Our request may leave with what begins to end the connection, and a large response, or a slow
    one, is no silence. A few words right before the end are the server's farewell.
    """
    mark, drive = trace.drive.mark, trace.drive
    begun = mark is not None and (drive.answered_to > mark.client or drive.cut_short)
    if quiet.since_ours is None or not begun:
        return quiet
    bursts = _bursts(closing.wire_events[: end.place])
    if len(bursts) > 1 and len(bursts[-1]) <= _FAREWELL:
        bursts.pop()
    if not bursts:
        return quiet
    since = end.time_ns - bursts[-1][-1]
    exchange, ours = min(quiet.since_exchange, since), min(quiet.since_ours, since)
    return quiet._replace(since_exchange=exchange, since_ours=ours)


def _bursts(events: tuple[WireEvent, ...]) -> list[list[int]]:
    """When the server's data behind a request of ours came, parted where it was silent for long."""
    ours = (e.place for e in events if e.side is Side.CLIENT and e.letter in "dg")
    asked = next(ours, len(events))
    bursts: list[list[int]] = []
    for time in (e.time_ns for e in events[asked:] if e.side is Side.SERVER and e.letter == "d"):
        if not bursts or time - bursts[-1][-1] >= LONG_NS:
            bursts.append([])
        bursts[-1].append(time)
    return bursts


def expiry_in(closing: Closing, quiet: Silence | None, timers: Iterable[Timer]) -> WireEvent | None:
    """Where an idle timer of the server ended what we had begun to end; None if none did."""
    end = closing.server_began
    if quiet is None or quiet.server_first or end is None:
        return None
    return end if any(_fires(timer, quiet) for timer in timers) else None


def ends_with_response(trace: Trace, closing: Closing) -> bool:
    """Whether the server ended it as a part of its last response, or right behind it."""
    end, mark = closing.server_began, trace.drive.mark
    if end is None or mark is None or _acted_before(closing, end):
        return False
    quiet = _silence(trace, mark, closing, end)
    return _is_with_response(trace, quiet) or _is_with_first_word(closing, end, quiet)


def met_no_timer(trace: Trace, closing: Closing) -> bool:
    """Whether the end came so soon behind the last exchange, or by its rules, that no timer fired.

    What a server announces when its timer does fire is no such rule. Where a request of ours was
    under way, nobody knows which timer it met.
    """
    end, mark = closing.server_began, trace.drive.mark
    if end is None or mark is None:
        return False
    if any(event.side is Side.CLIENT for event in closing.wire_events[: end.place]):
        return False
    implied = any(remark.kind is RemarkKind.CLOSE_IMPLIED for remark in trace.drive.remarks)
    return implied or _silence(trace, mark, closing, end).since_exchange < _MOMENT_NS


def _is_with_response(trace: Trace, quiet: Silence) -> bool:
    return _is_said_to_end(trace) or quiet.since_exchange < _MOMENT_NS


def _is_with_first_word(closing: Closing, end: WireEvent, quiet: Silence) -> bool:
    """Whether a server that nobody had asked said something and ended it, both at once.

    It may take its time for that; no timer that says farewell is as short.
    """
    told = closing.wire_events[: end.place]
    spoke = bool(told) and all(e.side is Side.SERVER and e.letter == "d" for e in told)
    return spoke and quiet.since_exchange < LONG_NS


def _is_said_to_end(trace: Trace) -> bool:
    """Whether a response ends the connection by what it says, or by the rules of its protocol."""
    return any(remark.kind in CLOSING_REMARKS for remark in trace.drive.remarks)


def _silence(trace: Trace, mark: Mark, closing: Closing, end: WireEvent) -> Silence:
    ours = [e.time_ns for e in closing.wire_events[: end.place] if e.side is Side.CLIENT]
    acted = next((e for e in closing.wire_events[: end.place] if _is_own_act(e)), None)
    steps = [e.time_ns for e in trace.drive.events if e.kind is EventKind.STEP]
    until = end.time_ns if acted is None else acted.time_ns
    began = max((time for time in steps if time < until), default=until)
    opening = [s.time_ns for s in trace.segments if s.length and s.time_ns < began]
    told = [e.time_ns for e in closing.wire_events if e.time_ns < began]
    since = max([*opening[-1:], *told[-1:]], default=mark.time_ns)
    accepted = next((s.time_ns for s in trace.segments if s.syn and s.side is Side.SERVER), None)
    return Silence(
        since_exchange=end.time_ns - since,
        since_ours=end.time_ns - ours[-1] if acted is not None else None,
        since_accept=None if accepted is None else end.time_ns - accepted,
    )


def _is_own_act(event: WireEvent) -> bool:
    """Whether our side began to end something with it."""
    return event.side is Side.CLIENT and event.letter not in "dh"


def _acted_before(closing: Closing, end: WireEvent) -> bool:
    return any(map(_is_own_act, closing.wire_events[: end.place]))


def _is_overtaken(trace: Trace, closing: Closing) -> bool:
    """Whether the server ended it before it could know of anything that our sequence did."""
    end, mark = closing.server_began, trace.drive.mark
    if end is None or mark is None:
        return False
    acted = next((e for e in closing.wire_events if e.side is Side.CLIENT), None)
    if acted is None or not _is_unaware(trace, acted, end):
        return False
    told = trace.drive.did(EventKind.SIGNALLED)
    if told is not None and told.time_ns < end.time_ns:
        return False  # it ended what we had told it to end
    steps = [e for e in trace.drive.events if e.kind is EventKind.STEP]
    waits = (e.verb == Verb.AWAIT and e.time_ns < end.time_ns for e in steps)
    return bool(steps) and not any(waits)  # who is awaited has the first word


def _is_unaware(trace: Trace, acted: WireEvent, end: WireEvent) -> bool:
    """Whether what ended it acknowledges nothing of what our sequence sent, be it half a record.

    Where there is no acknowledgement the order of the events tells.
    """
    mark = trace.drive.mark
    last = trace.segment(end.packet)
    if last is not None and last.ack is not None:
        return mark is not None and last.ack <= mark.client
    return end.place < acted.place


def _is_in_time(trace: Trace) -> bool:
    """Whether a racer met the expiry, which is an answer whatever came of it."""
    return any(e.kind in {EventKind.RACED, EventKind.MEETS} for e in trace.drive.events)


def _asked_on_idle(trace: Trace) -> bool:
    """Whether we were idle as long as we meant to, and then asked: that has its own answer."""
    events = trace.drive.events
    steps = [e for e in events if e.kind in {EventKind.STEP, EventKind.DUE}]
    return any(
        waits.verb == Verb.AWAIT and over.kind is EventKind.DUE for waits, over in pairwise(steps)
    )


def _is_not_reached(trace: Trace, closing: Closing) -> bool:
    end, gave_up = closing.server_began, _gave_up(trace)
    return end is None or (gave_up is not None and gave_up < end.time_ns)


def _gave_up(trace: Trace) -> int | None:
    """When we stopped to wait for the server to end it."""
    events = trace.drive.events
    waits = (e for e in events if e.kind is EventKind.GAVE_UP and e.verb == Verb.AWAIT)
    return next((e.time_ns for e in waits), None)


def _waited(trace: Trace) -> int | None:
    until = _gave_up(trace)
    steps = [e.time_ns for e in trace.drive.events if e.kind is EventKind.STEP]
    began = max((time for time in steps if until is not None and time <= until), default=None)
    return None if until is None or began is None else until - began


def _fires(timer: Timer, quiet: Silence) -> bool:
    """Whether this silence is as long as those at whose end the timer was seen to fire."""
    exchange = (quiet.since_exchange, quiet.since_ours)
    if any(_lies(span, timer.since_exchange) for span in exchange if span is not None):
        return True
    is_per_connection = timer.since_accept is not None and quiet.since_accept is not None
    return is_per_connection and _lies(quiet.since_accept or 0, timer.since_accept or (0, 0))


def _lies(span: int, seen: tuple[int, int]) -> bool:
    shortest, longest = seen
    if longest - shortest > max(_SLACK_NS, shortest * _WIDE):
        return False  # it fires at any time in a while, and an answer may come in that, too
    slack = max(_SLACK_NS, longest * _SLACK)
    return shortest - slack <= span <= longest + slack
