"""How late our own steps were, by the capture, and which trials that spoils.

Each step behind a wait has a time that it was meant for: at once behind what it waited for, so long
after the step before it, or back to back with it. A probe on a busy machine is late. That matters
where something happened meanwhile that the step was to come before, or where the step drew a reset:
in time, it might have met a server that was still there. Everything else stands, late or not.

A wait in vain is no answer either, where the machine, or the server, was so slow just then that
what we waited for may have been on its way.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from tlsprobe.judge.closing import FIN, RST, Closing, WireEvent
from tlsprobe.judge.path import forged, is_treated
from tlsprobe.judge.waiting import LONG_NS
from tlsprobe.model.judgement import Reset
from tlsprobe.model.load import Load
from tlsprobe.model.trace import (
    Coverage,
    DriverEvent,
    EventKind,
    Record,
    RecordKind,
    Segment,
    Side,
    Trace,
)
from tlsprobe.model.verbs import PASSES_TIME, SHAPES, TAKES_TIME, Verb

BURST_WITHIN_NS = 1_000_000
"""How far apart segments may leave that are meant to leave back to back."""

WAIT_WITHIN_NS = 5_000_000
"""How late a step may be behind a wait: sixteen connections take turns in this time."""

TIMES_SLOWER = 4
"""A wait in vain counts if it was so many times as long as the slowest answer or delay then."""

STRAIN_NS = 50_000_000
"""Waiting for a processor that is never much, whatever the trial's length."""

_STARVED = 0.75
"""The share of a trial that we waited for a processor, from which on all of it is our doing."""

_PASSED_OVER = SHAPES | {Verb.SIGNAL}
"""Verbs that take no time, and of which nothing goes over the connection."""

_ENDS = frozenset({"n", "a", FIN, RST})
_OWN_ENDS = frozenset({EventKind.FIN_SENT, EventKind.CLOSED, EventKind.ABORTED})


class StepTime(NamedTuple):
    """When one of our packets was due, and when it was on the wire; ``packet`` is its number.

    ``within_ns`` is how late it may be. ``goes_on``: it brings more of what the packet before
    brought, such as an upload's data.
    """

    due_ns: int
    wire_ns: int
    packet: int | None
    within_ns: int
    goes_on: bool = False

    @property
    def late_ns(self) -> int:
        """How late it was."""
        return max(0, self.wire_ns - self.due_ns)

    @property
    def is_late(self) -> bool:
        """Whether that is more than it may be."""
        return self.late_ns > self.within_ns


def steps_of(trace: Trace, closing: Closing) -> tuple[StepTime, ...]:
    """Those of our packets in the judged part that had a time to keep.

    The first needs none, unless the sequence waits before it. Without a capture nothing is known.
    """
    if trace.coverage is not Coverage.WHOLE or trace.drive.mark is None:
        return ()
    ours = list(_packets(closing))
    if not ours or (len(ours) == 1 and ours[0].place == 0):
        return ()
    return tuple(_steps(trace, ours))


def late_step(
    trace: Trace, closing: Closing, steps: Iterable[StepTime], resets: Iterable[Reset]
) -> StepTime | None:
    """The first step that was late and may have met another server for it; None if none did."""
    drawn = {reset.trigger for reset in resets if reset.side is Side.SERVER}
    drew = [segment for segment in trace.segments if segment.number in drawn]
    late: StepTime | None = None
    for step in steps:
        if step.is_late:
            late = step
        elif not step.goes_on:
            late = None
        if step.is_late and _was_overtaken(closing, step):
            return step
        if late is not None and _is_among(drew, step, trace):
            return late
    return None


def _is_among(drew: list[Segment], step: StepTime, trace: Trace) -> bool:
    """Whether a step drew a reset: its packet, another with part of its bytes, or a repetition."""
    own = trace.segment(step.packet) if drew else None
    if own is None:
        return False
    ours = (r for r in trace.drive.records if r.side is own.side and own.start < r.end <= own.end)
    start = min((record.start for record in ours), default=own.start)
    return any(
        s.number == own.number
        or (s.fin and own.fin)
        or (s.length > 0 and s.start < own.end and start < s.end)
        for s in drew
    )


def slowest_ns(trace: Trace, load: Load | None, took_ns: int = 0) -> int:
    """How long things took that take no time on a machine with nothing else to do.

    The response to the opening request, by the server; our own reading of what had arrived, and our
    waiting for a processor. And ``took_ns``, the server's longest answer to the same sequence.
    """
    ours = max(load.lag_ns, load.stalled_ns) if load is not None else 0
    return max(_response_ns(trace), _read_ns(trace), ours, took_ns)


def is_strained(trace: Trace, closing: Closing, load: Load | None) -> bool:
    """Whether we waited for a processor for a good part of the trial, and that may excuse it.

    A server on the same machine did so, too: that it took long, or had not come to what was owed
    when its idle timer fired, is then no habit of its own. Where the packets show that it ended the
    connection while things still went on, no timer did, and nobody's slowness.
    """
    events = trace.drive.events
    if load is None or not events or _ended_in_passing(trace, closing):
        return False
    span = events[-1].time_ns - events[0].time_ns
    return load.stalled_ns > max(STRAIN_NS, span // TIMES_SLOWER)


def is_starved(trace: Trace, load: Load | None) -> bool:
    """Whether we ran out of patience before the sequence, and had hardly a processor meanwhile.

    The server may have been ready in a moment: it was we who did not come to our part of the
    handshake, or to reading what it had said. That it ends the connection when we leave is no news.
    """
    events = trace.drive.events
    ran_out = trace.drive.failure is not None and trace.drive.did(EventKind.GAVE_UP) is not None
    if load is None or not ran_out:
        return False
    return load.stalled_ns >= _STARVED * (events[-1].time_ns - events[0].time_ns)


def _ended_in_passing(trace: Trace, closing: Closing) -> bool:
    """Whether the server's FIN or RST cut a response short, too soon for any timer.

    One that was not begun proves nothing: the server may have decided to end before it had the
    request, and come to it late.
    """
    end = closing.server_end
    if end is None or not trace.drive.cut_short or trace.coverage is not Coverage.WHOLE:
        return False
    moved = [s.time_ns for s in trace.segments if s.length or s.ends]
    last = max((time for time in moved if time < end.time_ns), default=None)
    return last is not None and end.time_ns - last < LONG_NS


def within_patience(trace: Trace) -> Trace:
    """The trace up to where our patience was over, if more of the server's came when it was.

    We stay a moment longer and read no more: what the rest says nobody knows (it may be the
    close_notify before a FIN), and it came too late to be waited for.
    """
    unread, gave_up = _first_unread(trace), _last_wait(trace)
    if unread is None or gave_up is None or unread.time_ns <= gave_up.time_ns:
        return trace
    kept = tuple(s for s in trace.segments if s.time_ns < unread.time_ns)
    ours = (s for s in trace.segments[len(kept) :] if s.side is Side.CLIENT)
    if any(s.length or s.ends for s in ours):
        return trace  # what we still did must not be lost
    return replace(trace, segments=kept)


def gave_up_reading(trace: Trace) -> bool:
    """Whether more of the server's had arrived than we had read when our patience was over.

    What the rest says nobody knows: a close_notify may have been in it.
    """
    return _first_unread(trace) is not None


def _last_wait(trace: Trace) -> DriverEvent | None:
    """Where we gave up to wait for the server; None if the last wait was not in vain."""
    for event in reversed(trace.drive.events):
        if event.kind is EventKind.GAVE_UP:
            return event
        if event.kind is EventKind.EOF:
            return None
    return None


def _first_unread(trace: Trace) -> Segment | None:
    """The first of the server's segments with bytes that we had not read when we gave up."""
    if _last_wait(trace) is None:
        return None
    read = max((r.end for r in trace.drive.records if r.side is Side.SERVER), default=0)
    theirs = (s for s in trace.segments if s.side is Side.SERVER and s.length)
    return next((s for s in theirs if s.end > read), None)


def vain_ns(trace: Trace, closing: Closing) -> int | None:
    """How long we waited for an end that did not come; None if it came, or nobody waited."""
    if closing.server_end is not None or trace.drive.mark is None:
        return None
    gave_up = [e.time_ns for e in trace.drive.events if e.kind is EventKind.GAVE_UP]
    if not gave_up:
        return None
    begun = (e.time_ns for e in trace.drive.events if e.kind is EventKind.STEP)
    since = trace.drive.mark.time_ns  # a step that writes is noted when it has, if it ever has
    return gave_up[-1] - max((time for time in begun if time <= gave_up[-1]), default=since)


def _packets(closing: Closing) -> Iterator[WireEvent]:
    """The first event of each of our packets."""
    last: int | None = None
    for event in closing.wire_events:
        if event.side is Side.CLIENT and (event.packet is None or event.packet != last):
            last = event.packet
            yield event


def _steps(trace: Trace, ours: list[WireEvent]) -> Iterator[StepTime]:
    written = _written(trace)
    treated = _treated(trace)
    before_ns, before = trace.drive.mark.time_ns if trace.drive.mark else 0, None
    for event in ours:
        at = _last_by(written, event.time_ns, before_ns)
        waits = [e for e in trace.drive.events if before_ns <= e.time_ns <= at]
        verbs = [e.verb for e in waits if _is_step_of_ours(e)]
        known = any(e.kind is EventKind.DUE for e in waits)
        if event.packet in treated:
            pass  # our path had it come when it did
        elif verbs[-1:] == [Verb.AWAIT] and known:
            pass  # an idle wait that was to end some time, and not at a moment
        elif verbs[-1:] and verbs[-1] in PASSES_TIME and not known:
            pass  # facts of an earlier version, which do not tell when the wait was to end
        elif TAKES_TIME.intersection(verbs):
            due = _due(trace, waits, before_ns, at) or (before.time_ns if before else None)
            if due is not None:
                yield StepTime(due, event.time_ns, event.packet, WAIT_WITHIN_NS)
        elif before is not None:
            due = _let_go_ns(trace, event, before.time_ns)
            goes_on = before.letter == event.letter
            yield StepTime(due, event.time_ns, event.packet, BURST_WITHIN_NS, goes_on)
        before_ns, before = at, event


def _let_go_ns(trace: Trace, event: WireEvent, before_ns: int) -> int:
    """When a packet could leave that was to follow another: at once, or when a window let it go.

    A large upload goes on with each acknowledgement of what is on its way. A packet that follows
    one closely is as late as that was: TCP paces it, and not this machine.
    """
    own = trace.segment(event.packet)
    until_ns = own.time_ns if own is not None and own.length else 0
    theirs = [s for s in trace.segments if s.side is Side.SERVER and s.time_ns <= until_ns]
    if own is None or not theirs:
        return before_ns
    *earlier, last = theirs
    known = max((s.ack or 0 for s in earlier), default=0)
    let_go = not last.ends and known < (last.ack or 0) <= own.start
    closely = own.time_ns - last.time_ns <= BURST_WITHIN_NS
    return max(before_ns, last.time_ns) if let_go and closely else before_ns


def _treated(trace: Trace) -> frozenset[int]:
    """The numbers of our packets whose time was our path's to say.

    RSTs that it made are among them, and all behind one that ended the connection: they meet none,
    whenever they come.
    """
    if not trace.drive.shaped:
        return frozenset()
    ours = [s for s in trace.segments if s.side is Side.CLIENT]
    made = {s.number: forged(trace.drive, s) for s in ours if s.rst}
    fatal = (number for number, found in made.items() if found and found.start == found.end)
    over = next(fatal, math.inf)
    return frozenset(
        s.number for s in ours if s.number > over or made.get(s.number) or is_treated(trace, s)
    )


def _written(trace: Trace) -> list[int]:
    """When we handed each of our packets down, in order."""
    records = [r.time_ns for r in trace.drive.records if r.side is Side.CLIENT]
    ends = [e.time_ns for e in trace.drive.events if e.kind in _OWN_ENDS]
    return sorted((*records, *ends))


def _last_by(written: list[int], wire_ns: int, after_ns: int) -> int:
    """When a packet was handed down that was on the wire at ``wire_ns``.

    A FIN is written down behind the call that sent it, so a little later than its packet.
    """
    found = [time for time in written if after_ns < time <= wire_ns]
    later = next((time for time in written if time > wire_ns), wire_ns)
    return found[-1] if found else later


def _is_step_of_ours(event: DriverEvent) -> bool:
    """Whether a step began that waits, or of which something goes over the connection."""
    return event.kind is EventKind.STEP and event.verb not in _PASSED_OVER


def _due(trace: Trace, waits: list[DriverEvent], since_ns: int, until_ns: int) -> int | None:
    """When the wait before a step was over: by our clock, or by the arrival that ended it."""
    steps = [index for index, e in enumerate(waits) if _is_step_of_ours(e)]
    own = {EventKind.DUE, EventKind.GAVE_UP}
    told = next((e for e in waits[steps[-1] :] if e.kind in own), None)
    if told is not None:
        return told.time_ns
    read = [
        record
        for record in trace.drive.records
        if record.side is Side.SERVER and since_ns < record.time_ns <= until_ns
    ]
    ended = any(e.kind is EventKind.EOF for e in waits)
    return _arrival_ns(trace, read[-1] if read else None, ended)


def _arrival_ns(trace: Trace, record: Record | None, ended: bool) -> int | None:
    """When the last byte of a record, or the server's FIN, was on the wire."""
    for segment in trace.segments:
        if segment.side is not Side.SERVER:
            continue
        if segment.fin if ended else record is not None and segment.end >= record.end > 0:
            return segment.time_ns
    return None


def _was_overtaken(closing: Closing, step: StepTime) -> bool:
    """Whether the server ended something that the step, in time, would have come before."""
    latest = step.due_ns + step.within_ns
    return any(
        event.side is Side.SERVER and event.letter in _ENDS and latest < event.time_ns
        for event in closing.wire_events
        if event.time_ns <= step.wire_ns
    )


def _response_ns(trace: Trace) -> int:
    """How long the server took for the opening response, by the wire."""
    drive = trace.drive
    if drive.begun is None or drive.mark is None or drive.mark.client <= drive.begun.client:
        return 0
    asked = answered = 0
    for segment in trace.segments:
        if segment.side is Side.CLIENT and drive.begun.client < segment.end <= drive.mark.client:
            asked = segment.time_ns
        elif segment.side is Side.SERVER and segment.end >= drive.mark.server and asked:
            answered = segment.time_ns
            break
    return max(0, answered - asked)


def _read_ns(trace: Trace) -> int:
    """How long the longest-lying record of the opening had arrived when we read it."""
    theirs = [s for s in trace.segments if s.side is Side.SERVER and s.length]
    place = longest = 0
    for record in trace.drive.records:
        if record.side is not Side.SERVER or record.kind is RecordKind.PLAIN:
            continue
        if trace.drive.mark is None or record.time_ns > trace.drive.mark.time_ns:
            break  # steps that leave things unread do so on purpose
        while place < len(theirs) and theirs[place].end < record.end:
            place += 1
        if place < len(theirs):
            longest = max(longest, record.time_ns - theirs[place].time_ns)
    return longest
