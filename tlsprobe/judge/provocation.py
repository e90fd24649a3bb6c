"""What the bytes were that drew an RST, and whether the connection had been idle.

The same cause is another matter depending on it: data that reached a closed socket is a counter in
the metrics if it was a close_notify, and a lost request if it was one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tlsprobe.judge.causes.answers import read_to
from tlsprobe.judge.causes.trigger import round_trip_ns
from tlsprobe.judge.unheeded import is_asked_again, missed_syn, syn_again, unheeded_ends
from tlsprobe.judge.waiting import LONG_NS
from tlsprobe.model.causes import Cause
from tlsprobe.model.judgement import Provoked, Reset
from tlsprobe.model.trace import ALERTS, Record, RecordKind, Segment, Side, Trace

_KINDS = {
    RecordKind.DATA: Provoked.DATA,
    RecordKind.PLAIN: Provoked.DATA,
    RecordKind.GOODBYE: Provoked.GOODBYE,
    RecordKind.CLOSE_NOTIFY: Provoked.CLOSE_NOTIFY,
    RecordKind.ALERT: Provoked.ALERT,
    RecordKind.MALFORMED: Provoked.ALERT,
    RecordKind.HANDSHAKE: Provoked.HANDSHAKE,
    RecordKind.TICKET: Provoked.HANDSHAKE,
    RecordKind.KEY_UPDATE: Provoked.HANDSHAKE,
}
_WORST_FIRST = tuple(dict.fromkeys(_KINDS.values()))


def with_provocation(
    trace: Trace, resets: tuple[Reset, ...], *, is_asked_elsewhere: bool = False
) -> tuple[Reset, ...]:
    """The resets, each with what drew it.

    ``is_asked_elsewhere``: the client asks another address for this very connection.
    """
    if not resets:
        return resets
    by_number = {segment.number: segment for segment in trace.segments}
    own_ends = {r.side: r.packet for r in reversed(resets) if not r.odd}
    unheeded = unheeded_ends(trace)
    told = tuple(
        replace(
            reset,
            provoked=_provoked(trace, reset, by_number, own_ends.get(reset.side.peer)),
            after_idle=_after_idle(trace, reset),
            heeded=reset.packet not in unheeded or _may_have_ended(trace, by_number[reset.packet]),
        )
        for reset in resets
    )
    return tuple(map(_still_wanted, told)) if is_asked_elsewhere else told


def _still_wanted(reset: Reset) -> Reset:
    met_answer = reset.provoked is Provoked.SYN and reset.side is Side.CLIENT
    return replace(reset, provoked=Provoked.WANTED_SYN) if met_answer else reset


def _may_have_ended(trace: Trace, rst: Segment) -> bool:
    """Whether it met a SYN that need not heed it, and nothing shows that its sender went on."""
    prior = [s for s in trace.segments if s.number < rst.number]
    syn = missed_syn(rst, prior)
    return syn is not None and not is_asked_again(rst, syn, trace.segments)


_AT_ONCE_NS = 5_000_000
"""So long a program that waits for nothing needs at most to go on."""

_UNREAD = frozenset({Cause.UNREAD_AT_CLOSE, Cause.UNREAD_AFTER_FIN})


def _provoked(
    trace: Trace, reset: Reset, by_number: dict[int, Segment], peers_end: int | None
) -> Provoked | None:
    """What the triggering segment carried, or what was left unread: what is missed most of it.

    ``peers_end`` is the first RST that its receiver had sent itself, by all that is seen of it.
    """
    trigger = by_number.get(reset.trigger or 0)
    if peers_end is not None and reset.packet > peers_end and reset.cause is Cause.MIDDLEBOX:
        return Provoked.BEHIND_RESET
    if trigger is None:
        return Provoked.UNSEEN if reset.cause is Cause.DATA_AFTER_CLOSE else None
    if trigger.syn:
        later = (s for s in trace.segments if s.number > reset.packet)
        return Provoked.WANTED_SYN if syn_again(trigger, later) else Provoked.SYN
    if peers_end is not None and peers_end < trigger.number:
        return Provoked.BEHIND_RESET
    if not trigger.length:
        return Provoked.FIN if trigger.fin else Provoked.ACK
    return _by_records(trace, reset, trigger, by_number)


def _by_records(
    trace: Trace, reset: Reset, trigger: Segment, by_number: dict[int, Segment]
) -> Provoked:
    """What the worst of its bytes was."""
    since = trigger.start
    if reset.cause in _UNREAD:
        since = _read_to(trace, by_number[reset.packet])
    theirs = [r for r in trace.drive.records if r.side is trigger.side]
    inside = [r for r in theirs if r.end > since and r.start < trigger.end]
    found = {_KINDS[record.kind] for record in inside}
    worst = next((kind for kind in _WORST_FIRST if kind in found), Provoked.DATA)
    if _is_behind_end(worst, theirs, inside):
        return Provoked.BEHIND_END
    return _as_wanted(trace, reset, trigger, inside) if worst is Provoked.DATA else worst


def _as_wanted(trace: Trace, reset: Reset, trigger: Segment, inside: list[Record]) -> Provoked:
    """What data is that perhaps nobody misses."""
    if _answers_a_goodbye(trace, reset, trigger):
        return Provoked.GOODBYE
    is_late = _is_late(trace, reset, trigger) or _is_last_word(trace, reset, inside)
    return Provoked.LATE if is_late else Provoked.DATA


def _answers_a_goodbye(trace: Trace, reset: Reset, trigger: Segment) -> bool:
    """Whether a server said it to a client whose last word was a goodbye: that waits for nothing.

    In a capture, that is: of our own connections the diary knows what a response is.
    """
    if reset.side is not Side.CLIENT or trace.drive.events:
        return False
    own = [r for r in trace.drive.records if r.side is Side.CLIENT]
    return bool(own) and own[-1].kind is RecordKind.GOODBYE and own[-1].end <= (trigger.ack or 0)


def _is_late(trace: Trace, reset: Reset, trigger: Segment) -> bool:
    """Whether it is data for a client that had some of its answers and had ended TLS.

    In a capture, that is: of our own connections the diary knows what a response is.
    """
    of_client = reset.cause is Cause.DATA_AFTER_CLOSE and reset.side is Side.CLIENT
    own = [r for r in trace.drive.records if r.side is Side.CLIENT]
    if not of_client or trace.drive.events or not own:
        return False
    notice, asked = own[-1], [r for r in own if r.kind is RecordKind.DATA]
    if notice.kind is not RecordKind.CLOSE_NOTIFY or notice.end > (trigger.ack or 0) or not asked:
        return False
    said = [r for r in trace.drive.records if r.side is Side.SERVER and r.kind is RecordKind.DATA]
    return any(asked[-1].time_ns < r.time_ns <= notice.time_ns for r in said)


def _is_last_word(trace: Trace, reset: Reset, inside: list[Record]) -> bool:
    """Whether a client had ended TLS behind this data before anything could answer it.

    Who does so mostly waits for nothing: it said a farewell. In a capture, that is.
    """
    if reset.side is not Side.SERVER or trace.drive.events:
        return False
    own = [r for r in trace.drive.records if r.side is Side.CLIENT]
    notice = own[-1] if own else None
    if notice is None or notice.kind is not RecordKind.CLOSE_NOTIFY:
        return False
    data = [r for r in inside if r.kind is RecordKind.DATA]
    before = [r for r in own if r.end <= notice.start]
    if not data or len(data) > 1 or before[-1:] != data:
        return False
    bringing = (s for s in trace.segments if s.side is Side.CLIENT and s.length)
    sent = next((s for s in bringing if s.start < notice.end <= s.end), None)
    return sent is not None and _waited_for_nothing(trace.segments, data[0].start, sent)


def _waited_for_nothing(segments: Sequence[Segment], asked: int, sent: Segment) -> bool:
    """Whether nothing, or a mere acknowledgement, came between the two, and no time passed.

    A small segment waits until the one before it is acknowledged (Nagle, RFC 9293 section 3.7.4).
    """
    told = [s for s in segments if s.side is Side.SERVER and s.number < sent.number]
    heard = [s for s in told if (s.ack or 0) > asked]
    if any(s.length or s.ends for s in heard):
        return False
    within = _AT_ONCE_NS + round_trip_ns(segments)
    return not heard or sent.time_ns - heard[0].time_ns <= within


def _read_to(trace: Trace, rst: Segment) -> int:
    """Behind what its sender is known to have read of its peer."""
    own = [s for s in trace.segments if s.side is rst.side and s.number < rst.number]
    return read_to(trace, rst, own, [s for s in trace.segments if s.number > rst.number])


_SAYS_THE_END = {
    Provoked.DATA: frozenset({RecordKind.CLOSE_NOTIFY, RecordKind.GOODBYE}),
    Provoked.GOODBYE: frozenset({RecordKind.CLOSE_NOTIFY}),
    Provoked.CLOSE_NOTIFY: frozenset({RecordKind.CLOSE_NOTIFY}),
}
"""Behind which words of the same side nobody is to act on it: a goodbye may have a close_notify."""


def _is_behind_end(worst: Provoked, theirs: list[Record], inside: list[Record]) -> bool:
    """Whether all of this kind among these records came after their sender had told its end."""
    ends = _SAYS_THE_END.get(worst, frozenset())
    end = next((record.end for record in theirs if record.kind in ends), None)
    said = [record.start for record in inside if _KINDS[record.kind] is worst]
    return end is not None and bool(said) and all(start >= end for start in said)


def _after_idle(trace: Trace, reset: Reset) -> bool:
    """Whether it had been quiet when the sender began to end the connection.

    What it says first, as servers do that name their timeout in a last message, belongs to its end.
    """
    if reset.time_ns - trace.segments[0].time_ns < LONG_NS:
        return False
    records = trace.drive.records
    alert = min((r.start for r in records if r.side is reset.side and r.kind in ALERTS), default=-1)
    since, quiet = None, False
    for segment in trace.segments:
        own = segment.side is reset.side
        if since is not None and segment.time_ns - since >= LONG_NS:
            quiet = own
        elif segment.length and not own:
            quiet = False
        if own and (segment.ends or (0 <= alert < segment.end)):
            return quiet
        if segment.length and not segment.syn:
            since = segment.time_ns
    return False
