"""Signs in the packets around an RST: what speaks for another sender, and notes."""

from __future__ import annotations

from collections.abc import Iterator

from tlsprobe.judge.causes import wording
from tlsprobe.judge.causes.context import ResetContext
from tlsprobe.judge.headers import id_jumps, soon_behind, stamps
from tlsprobe.model.causes import Cause
from tlsprobe.model.trace import Coverage, Flag, Record, Segment

KNOWN_TIMERS = {
    60: "AWS ALB's and many proxies' default",
    240: "Azure load balancer's default",
    350: "AWS NLB's and NAT gateway's timeout",
    432_000: "Linux conntrack's established timeout",
}
"""Idle timers of things in between, in seconds, by the documentation of each."""

_RST = Flag.RST
_TIMER_TOLERANCE = 0.03
_FAR_NS = 1_000_000
_LAST_WORDS = 64
"""Bytes that an alert and a FIN take at the most."""


def foreign_signs(context: ResetContext) -> Iterator[str]:
    """What speaks for an RST that the sender's own stack did not make."""
    rst = context.rst
    own = [s for s in context.prior if s.side is rst.side and not s.flags & _RST]
    others = [*own, *_soon(context)]
    ttls = {s.ttl for s in others if s.ttl is not None}
    if ttls and rst.ttl is not None and rst.ttl not in ttls:
        yield wording.other_ttl(rst, ttls)
    if own and not context.passive and id_jumps(own, _soon(context), rst):
        yield wording.other_id(rst, own[-1])
    elif others and rst.df is not None and all(s.df is (not rst.df) for s in others):
        yield wording.other_df(rst)
    if not context.passive and (other := _other_active(context)) is not None:
        yield wording.other_numbers(other)
    if goes_on_sending(context):
        yield wording.goes_on_sending(rst)
    if not _has_known_number(context):
        yield wording.NUMBER_OF_NOBODY if context.passive else wording.NOT_NEXT_BYTE
    if context.passive and rst.window:
        yield wording.live_window(rst)
    if not context.passive and not rst.timestamps and stamps(own):
        yield wording.no_timestamps(rst)
    if context.passive and context.trigger is not None and _too_soon(context, context.trigger):
        yield wording.too_soon(context.trigger)


def _has_known_number(context: ResetContext) -> bool:
    """Whether its number is one that a socket, or an answer, would have."""
    number = context.rst.start
    overtook = any(s.end + s.fin == number for s in _soon(context) if s.length or s.fin)
    known = number == context.next_byte or context.repeats_an_ack or context.went_back
    return known or overtook or _unseen_before(context)


def goes_on_sending(context: ResetContext) -> bool:
    """Whether the sender has more to say behind it, soon, than it had said before.

    Bytes below its number were sent before it, and it overtook them on the way. A socket that gave
    up takes nothing more either, and repeats nothing: packets are not overtaken by as much.
    """
    said = max(context.next_byte, context.rst.start)
    soon = [s for s in _soon(context) if not s.syn]
    if any((s.length and s.end > said) or (s.fin and s.end + 1 > said) for s in soon):
        return True
    return not context.passive and any(_is_alive(s, context.rst) for s in soon)


_OVERTAKEN_NS = 100_000_000
"""By so much an RST may overtake what its sender had sent before it."""


def _is_alive(later: Segment, rst: Segment) -> bool:
    """Whether its sender still had a socket when it sent this."""
    took = later.ack is not None and rst.ack is not None and later.ack > rst.ack
    return took or later.time_ns - rst.time_ns > _OVERTAKEN_NS


def _soon(context: ResetContext) -> list[Segment]:
    """What else its sender sends soon behind it."""
    return soon_behind(context.rst, context.later)


def notes(context: ResetContext, cause: Cause) -> Iterator[str]:
    """What is worth a word beside the cause: a timer that it came at, a single foreign sign."""
    yield from map(wording.note, idle_timer(context))
    if cause is not Cause.MIDDLEBOX:
        yield from map(wording.note, foreign_signs(context))


def carried(context: ResetContext) -> Iterator[str]:
    """The text in the RST, by which its sender may name itself."""
    if context.rst.length or context.rst.payload:
        yield wording.carries(context.rst)


def inferred(context: ResetContext) -> Iterator[str]:
    """Which segments are taken for a close_notify though nobody read them."""
    if context.driven:
        return
    for record in context.alerts:
        segment = next((s for s in context.prior if _brings_end(s, record)), None)
        if segment is not None:
            yield wording.alert_in(segment, record)


def _unseen_before(context: ResetContext) -> bool:
    """Whether packets that the capture lacks account for the RST's sequence number.

    An alert and a FIN may be lost at the very end of a connection without leaving another hole.
    """
    ahead = context.rst.start - context.next_byte
    holed = context.coverage is Coverage.HOLES and ahead > 0
    return holed or context.peer_unseen or 0 < ahead <= _LAST_WORDS


def _other_active(context: ResetContext) -> Segment | None:
    """A second RST with ACK that says something else: a socket gives up only once."""
    rst = context.rst
    resets = (s for s in (*context.prior, *context.later) if s.flags & _RST)
    active = (s for s in resets if s.side is rst.side)
    said = (rst.start, rst.ack)
    return next((s for s in active if s.ack is not None and (s.start, s.ack) != said), None)


def _too_soon(context: ResetContext, trigger: Segment) -> bool:
    """Sooner than half the handshake's round trip, where that is long enough to compare."""
    times = {(s.side, s.syn): s.time_ns for s in reversed(context.prior)}
    asked, answered = times.get((context.sender.peer, True)), times.get((context.sender, True))
    if asked is None or answered is None or answered - asked < _FAR_NS:
        return False
    return context.rst.time_ns - trigger.time_ns < (answered - asked) / 2


def idle_timer(context: ResetContext) -> Iterator[str]:
    """Silence before the trigger that comes close to a timer of something in between."""
    about = context.trigger if context.passive and context.trigger else context.rst
    before = [s.time_ns for s in context.prior if s.time_ns < about.time_ns]
    if not before:
        return
    silence = (about.time_ns - before[-1]) / 1e9
    for seconds, whose in KNOWN_TIMERS.items():
        if abs(silence - seconds) <= seconds * _TIMER_TOLERANCE:
            yield wording.known_timer(silence, seconds, whose)


def _brings_end(segment: Segment, record: Record) -> bool:
    return segment.side is record.side and segment.start < record.end <= segment.end
