"""The causes of an RST, one row each, in the order in which they are tried.

The first row that fits has the say. The same table serves both sides. What packets cannot tell
(whether bytes that arrived were also read) costs confidence and is named as an alternative.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise, takewhile

from tlsprobe.judge.causes import wording
from tlsprobe.judge.causes.context import ResetContext
from tlsprobe.judge.causes.signs import foreign_signs, goes_on_sending, idle_timer, inferred
from tlsprobe.judge.causes.trigger import is_probe
from tlsprobe.judge.unheeded import acknowledges_syn, missed_syn, syn_again
from tlsprobe.model.causes import Cause
from tlsprobe.model.judgement import Confidence
from tlsprobe.model.trace import EventKind, Segment

_INTERVAL_TOLERANCE = 0.25
_CLOCK_NS = 50_000_000
_WAITS_NS = 500_000_000
_MIDDLEBOX_SIGNS = 2
_TRIES = 3
_TRYING_NS = 1_000_000_000
_AT_ONCE_NS = 1_000_000


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A row's answer; ``trigger`` is the packet that drew it, where the row knows which."""

    cause: Cause
    confidence: Confidence
    evidence: tuple[str, ...]
    alternatives: tuple[Cause, ...] = ()
    trigger: int | None = None


def diagnose(context: ResetContext) -> Diagnosis:
    """The answer of the first row that fits; the last one fits everything."""
    return next(found for row in ROWS if (found := row(context)) is not None)


_REFUSAL_NS = 3_000_000_000
"""A kernel refuses at once, and no path takes so long there and back: a box may have given up."""


def _refused(context: ResetContext) -> Diagnosis | None:
    syn = context.syn
    if syn is None or not _answers(context, syn):
        return None
    said = wording.refused(context, syn)
    accepted = next((s for s in context.later if s.syn), None)
    if accepted is None and context.rst.time_ns - syn.time_ns > _REFUSAL_NS:
        return Diagnosis(Cause.REFUSED, Confidence.MEDIUM, (said,), (Cause.MIDDLEBOX,))
    if accepted is None:
        return Diagnosis(Cause.REFUSED, Confidence.HIGH, (said,))
    if accepted.side is syn.side:  # asked again, and perhaps taken then
        taken = any(s.syn for s in context.later if s.side is context.sender)
        surety = Confidence.MEDIUM if taken else Confidence.HIGH
        left = (Cause.MIDDLEBOX,) if taken else ()
        return Diagnosis(Cause.REFUSED, surety, (said,), left)
    goes_on = any(s.length for s in context.later if not s.rst and s.number > accepted.number)
    evidence = (wording.refused_and_accepted(context, syn, accepted), *foreign_signs(context))
    surety = Confidence.HIGH if goes_on else Confidence.MEDIUM
    return Diagnosis(Cause.MIDDLEBOX, surety, evidence, () if goes_on else (Cause.REFUSED,))


def _refused_elsewhere(context: ResetContext) -> Diagnosis | None:
    """The SYN had gone to another address: it is translated on the way."""
    if context.elsewhere is None or context.passive or any(not s.rst for s in context.prior):
        return None
    said = wording.refused_elsewhere(context, context.elsewhere)
    return Diagnosis(Cause.REFUSED, Confidence.HIGH, (said,))


def _answers(context: ResetContext, syn: Segment) -> bool:
    """Whether it is the first word to a SYN, and no SYN-ACK went before that the capture lacks."""
    if syn.ack is not None or not acknowledges_syn(context.rst, syn):
        return False
    since = (s for s in context.prior if s.side is syn.side and s.number > syn.number)
    taken = any(s.ack is not None and not s.rst for s in since)
    return not taken and all(s.rst for s in context.prior if s.side is context.sender)


def _half_open(context: ResetContext) -> Diagnosis | None:
    """A SYN-ACK for which there was no socket: a port scan, or a connect that was given up."""
    trigger = context.trigger
    if trigger is None or not trigger.syn or trigger.ack is None or not context.passive:
        return None
    again = syn_again(trigger, context.later)
    said = wording.half_open(context, trigger, again)
    evidence = wording.passive_rst(context), said
    wanted = again is not None or context.elsewhere is not None
    left = (Cause.MIDDLEBOX,) if wanted else (Cause.DELIBERATE,)
    return Diagnosis(Cause.NO_STATE, Confidence.MEDIUM, evidence, left)


def _of_another_connection(context: ResetContext) -> Diagnosis | None:
    """A SYN met what the other side still holds of a connection with the same ports."""
    trigger = context.trigger
    if trigger is None or trigger.syn or trigger.ack is None or not _is_connecting(context):
        return None
    own = [s for s in context.prior if s.side is context.sender and not s.rst]
    if any(trigger.ack == s.end + 1 for s in own):
        return None
    evidence = tuple(wording.other_connection(context, own[-1], trigger))
    return Diagnosis(Cause.CLOSED_ALREADY, Confidence.HIGH, evidence)


def _middlebox(context: ResetContext) -> Diagnosis | None:
    signs = tuple(foreign_signs(context))
    if len(signs) < _MIDDLEBOX_SIGNS and not _is_disowned(context):
        return None
    confidence = Confidence.HIGH if len(signs) > _MIDDLEBOX_SIGNS else Confidence.MEDIUM
    return Diagnosis(Cause.MIDDLEBOX, confidence, signs, (Cause.DELIBERATE,))


def _is_disowned(context: ResetContext) -> bool:
    """Whether its sender goes on as if it had neither reset nor closed: no socket does that.

    Without a FIN, a bare RST may be that of another host to which a single packet strayed.
    """
    return goes_on_sending(context) and (not context.passive or context.fin is not None)


def _missed_syn(context: ResetContext) -> Diagnosis | None:
    """It came to a SYN and does not acknowledge it: no answer that a client takes, nor an abort."""
    syn = missed_syn(context.rst, context.prior)
    if syn is None:
        return None
    evidence = tuple(wording.missed_syn(context, syn))
    left = Cause.MIDDLEBOX, Cause.REFUSED
    return Diagnosis(Cause.UNKNOWN, Confidence.LOW, evidence, left, syn.number)


def _echo(context: ResetContext) -> Diagnosis | None:
    earlier = context.earlier
    if earlier is None or earlier.cause is Cause.MIDDLEBOX or not context.passive:
        return None
    trigger = context.trigger or (None if earlier.passive else _sent_again(context))
    if trigger is None:
        return None
    cause = Cause.DATA_AFTER_CLOSE if trigger.length else Cause.CLOSED_ALREADY
    if earlier.cause is Cause.NO_STATE:
        cause = Cause.NO_STATE
    said = (wording.echo(context, earlier.packet, trigger),)
    unsure = context.trigger is None or earlier.cause is Cause.UNKNOWN
    if unsure or Cause.MIDDLEBOX in earlier.alternatives:
        # It may not have been the sender's own: a box that reset both ends left it no socket.
        return Diagnosis(cause, Confidence.MEDIUM, said, (Cause.NO_STATE,))
    return Diagnosis(cause, Confidence.HIGH, said)


def _again(context: ResetContext) -> Diagnosis | None:
    """The same RST once more, in the same words: sent twice, or captured twice."""
    earlier = context.earlier
    first = next((s for s in context.prior if s.rst and s.side is context.sender), None)
    if earlier is None or first is None or not _is_copy(first, context.rst):
        return None
    trigger = context.trigger
    if trigger is not None and (trigger.length or trigger.fin or trigger.number > first.number):
        return None  # data and a FIN draw one each, and so does what came since
    evidence = (wording.again(context, first),)
    drawn_by = trigger.number if trigger is not None else earlier.trigger
    return Diagnosis(earlier.cause, earlier.confidence, evidence, earlier.alternatives, drawn_by)


def _sent_again(context: ResetContext) -> Segment | None:
    """What the peer had sent once more: the first copy was taken, the second found no socket."""
    fits = [s for s in context.prior if s.ack == context.rst.start and s.length and not s.rst]
    last = next((s for s in reversed(fits) if s.side is context.sender.peer), None)
    if last is None or not any(s.start == last.start for s in fits if s.number < last.number):
        return None
    return last if context.promptly(last, context.rst) else None


def _behind_our_forged_rst(context: ResetContext) -> Diagnosis | None:
    """Our path had ended the sender's connection in our name, and our kernel still answered.

    Whatever the sender had closed before, this it sends because we took its connection away.
    """
    ended, trigger = context.ended_by_path, context.trigger
    if ended is None or not context.passive or trigger is None or trigger.number < ended.number:
        return None
    evidence = (
        wording.passive_rst(context),
        wording.no_state(context, trigger),
        wording.peer_had_reset(context, ended),
    )
    return Diagnosis(Cause.NO_STATE, Confidence.HIGH, evidence)


def _data_after_close(context: ResetContext) -> Diagnosis | None:
    trigger = context.trigger
    if context.fin is None or not context.passive or trigger is None or not trigger.length:
        return None
    if _is_repeated(context, trigger):
        return None
    evidence = (
        wording.had_closed(context, context.fin),
        wording.data_to_closed(trigger, context.fin),
        wording.kernel_answer(context),
    )
    return Diagnosis(Cause.DATA_AFTER_CLOSE, Confidence.HIGH, evidence)


def _is_repeated(context: ResetContext, segment: Segment) -> bool:
    """Whether it brings a byte at most, and one that had been acknowledged: a keepalive probe."""
    if segment.length > 1:
        return False
    acked = max((s.ack or 0 for s in context.prior if s.side is context.sender), default=0)
    return segment.end <= acked and not segment.fin


def _unread_after_fin(context: ResetContext) -> Diagnosis | None:
    fin = context.fin
    if fin is None or not context.gave_up_behind_its_fin or not context.unanswered:
        return None
    evidence = wording.shut_down(context, fin), wording.closed_with_unread(context)
    begun = context.drive.begun
    refused = begun is not None and context.answered_to < begun.client  # how far it read is unknown
    if context.driven and not refused:
        return Diagnosis(Cause.UNREAD_AFTER_FIN, Confidence.HIGH, evidence)
    if _may_be_an_answer(context, fin):
        left = (Cause.DATA_AFTER_CLOSE, Cause.DELIBERATE)
        return Diagnosis(Cause.UNREAD_AFTER_FIN, Confidence.MEDIUM, evidence, left)
    return Diagnosis(Cause.UNREAD_AFTER_FIN, Confidence.MEDIUM, evidence, (Cause.DELIBERATE,))


def _may_be_an_answer(context: ResetContext, fin: Segment) -> bool:
    """Whether it looks as what Windows answers to data for a closed socket: no window is left."""
    late = context.unanswered_segments[-1:]
    return not context.rst.window and bool(late) and late[0] > fin.number


def _abort_after_fin(context: ResetContext) -> Diagnosis | None:
    if context.fin is None or not context.gave_up_behind_its_fin:
        return None
    evidence = (wording.reset_after_fin(context, context.fin),)
    return Diagnosis(Cause.DELIBERATE, Confidence.MEDIUM, evidence, (Cause.UNREAD_AFTER_FIN,))


def _our_own(context: ResetContext) -> Diagnosis | None:
    """Our program told what it did, and what it had read by then.

    The kernel looks for unread data first (tcp_close): that resets without our wish. A part of a
    record may have been read and left no record, which is why an abort is less sure.
    """
    if context.own_end is None or context.passive:
        return None
    aborted = context.own_end is EventKind.ABORTED
    unread = Cause.UNREAD_AT_CLOSE if context.fin is None else Cause.UNREAD_AFTER_FIN
    if not context.unanswered:
        said = (wording.our_own(context),)
        return Diagnosis(Cause.DELIBERATE, Confidence.HIGH, said) if aborted else None
    evidence = wording.our_own(context), wording.not_read_by_us(context)
    surety = Confidence.MEDIUM if aborted else Confidence.HIGH
    return Diagnosis(unread, surety, evidence, (Cause.DELIBERATE,) if aborted else ())


def _forged(context: ResetContext) -> Diagnosis | None:
    """Our own path made it."""
    if not context.forged:
        return None
    return Diagnosis(Cause.DELIBERATE, Confidence.HIGH, (wording.forged(context),))


def _not_our_own(context: ResetContext) -> Diagnosis | None:
    """Our program knows what it did, and that it did not do this."""
    if not context.unasked:
        return None
    said = (wording.not_our_own(context), *foreign_signs(context))
    return Diagnosis(Cause.MIDDLEBOX, Confidence.MEDIUM, said, (Cause.DELIBERATE,))


def _unread_at_close(context: ResetContext) -> Diagnosis | None:
    if not context.gave_up_at_next_byte or not context.unanswered:
        return None
    evidence = (
        wording.in_place_of_fin(context),
        wording.never_answered(context),
        *inferred(context),
    )
    return Diagnosis(Cause.UNREAD_AT_CLOSE, Confidence.MEDIUM, evidence, (Cause.DELIBERATE,))


def _with_shut_window(context: ResetContext) -> Diagnosis | None:
    """Its window was shut, so that its buffer was full of what it had not read."""
    if not context.gave_up_at_next_byte:
        return None
    own = [s for s in context.prior if s.side is context.sender and not s.rst]
    if not own or own[-1].window or own[-1].syn:
        return None
    evidence = wording.in_place_of_fin(context), wording.window_was_shut(context, own[-1])
    return Diagnosis(Cause.UNREAD_AT_CLOSE, Confidence.MEDIUM, evidence, (Cause.DELIBERATE,))


def _deliberate(context: ResetContext) -> Diagnosis | None:
    if not context.gave_up_at_next_byte:
        return None
    evidence = [wording.in_place_of_fin(context)]
    if not context.peer_unseen:
        evidence.append(wording.all_answered(context))
    if context.cut_short:
        evidence.append(wording.CUT_SHORT)
    if not context.notified and context.may_notify:
        evidence.append(wording.not_notified(context))
    evidence += inferred(context)
    left: tuple[Cause, ...] = (Cause.UNREAD_AT_CLOSE,)
    if context.peer_unseen and not context.rst.window and not context.next_byte:
        left = (*left, Cause.REFUSED)  # the SYN that it answers was not captured, perhaps
    probes = _answered_probes(context)
    if probes:
        evidence.append(wording.answers_may_be_lost(context, probes))
        left = (*left, Cause.KEEPALIVE)
    return Diagnosis(Cause.DELIBERATE, Confidence.MEDIUM, tuple(evidence), left)


def _keepalive(context: ResetContext) -> Diagnosis | None:
    """The kernel gave up: its keepalive probes, each one byte behind the next, stayed alone.

    It does so when it would probe the next time (tcp_keepalive_timer): sooner or later somebody
    else decided.
    """
    if not (context.gave_up_at_next_byte or context.gave_up_behind_its_fin):
        return None
    probes = _lonely_probes(context)
    waited = context.rst.time_ns - probes[-1].time_ns if probes else 0
    if not probes or (len(probes) == 1 and waited < _WAITS_NS):
        return None
    evidence = tuple(wording.probes_unanswered(context, [s.number for s in probes]))
    interval = probes[-1].time_ns - probes[-2].time_ns if len(probes) > 1 else 0
    in_time = abs(waited - interval) <= max(interval * _INTERVAL_TOLERANCE, _CLOCK_NS)
    if interval >= _WAITS_NS and in_time and not context.peer_unseen:
        return Diagnosis(Cause.KEEPALIVE, Confidence.HIGH, evidence)
    return Diagnosis(Cause.KEEPALIVE, Confidence.MEDIUM, evidence, (Cause.DELIBERATE,))


def _perhaps_keepalive(context: ResetContext) -> Diagnosis | None:
    """The same in a text, which leaves out the number of a segment without data.

    What tells a probe from an acknowledgement is missing; that they come evenly, and that the reset
    does so when the next was due, is not.
    """
    decided = context.gave_up_at_next_byte or context.gave_up_behind_its_fin
    in_print = context.rst.ttl is None and not context.driven
    if not decided or not in_print or context.peer_unseen:
        return None
    alone = list(takewhile(lambda s: _is_bare_ack(s, context), reversed(context.prior)))[::-1]
    times = [*(s.time_ns for s in alone), context.rst.time_ns]
    waits = [late - early for early, late in pairwise(times)][-_TRIES:]
    if len(waits) < _TRIES or min(waits) < _WAITS_NS:
        return None
    if max(waits) - min(waits) > max(min(waits) * _INTERVAL_TOLERANCE, _CLOCK_NS):
        return None
    probes = [s.number for s in alone[-_TRIES:]]
    evidence = tuple(wording.perhaps_probes(context, probes))
    return Diagnosis(Cause.KEEPALIVE, Confidence.MEDIUM, evidence, (Cause.DELIBERATE,))


def _is_bare_ack(segment: Segment, context: ResetContext) -> bool:
    """Whether the sender said nothing with it."""
    bare = not (segment.length or segment.ends or segment.syn)
    return bare and segment.side is context.sender and segment.ack == context.rst.ack


def _answered_probes(context: ResetContext) -> list[int]:
    """The sender's last even probes, all answered here, if it reset when the next was due.

    The answers may have been lost on the rest of their way.
    """
    last = reversed(context.prior)
    quiet = takewhile(lambda s: not (s.length > 1 or s.ends or s.syn), last)
    own = [s for s in quiet if s.side is context.sender]
    probes = list(takewhile(lambda s: is_probe(s, context.next_byte), own))[::-1]
    times = [*(s.time_ns for s in probes), context.rst.time_ns]
    waits = [late - early for early, late in pairwise(times)][-2:]
    if len(waits) < 2 or min(waits) < _WAITS_NS:
        return []
    even = max(waits) - min(waits) <= max(min(waits) * _INTERVAL_TOLERANCE, _CLOCK_NS)
    return [s.number for s in probes] if even else []


def _lonely_probes(context: ResetContext) -> list[Segment]:
    """The sender's probes since its peer was last heard of."""
    probes: list[Segment] = []
    for at in range(len(context.prior) - 1, -1, -1):
        segment = context.prior[at]
        if segment.side is not context.sender or not is_probe(segment, context.next_byte):
            break
        if segment.length and not any(_reaches(s, segment) for s in context.prior[:at]):
            break  # it brings that byte for the first time
        probes.append(segment)
    return probes[::-1]


def _reaches(earlier: Segment, segment: Segment) -> bool:
    """Whether its sender had sent as much before."""
    return earlier.side is segment.side and not earlier.rst and earlier.end >= segment.end


def _given_up(context: ResetContext) -> Diagnosis | None:
    """What it sent again and again was not acknowledged: its stack, or its patience, had enough.

    Linux leaves without a word then; Windows and others send an RST.
    """
    known = context.rst.start == context.next_byte or context.repeats_an_ack or context.went_back
    tries = _lonely_tries(context)
    if not known or context.trigger is not None or len(tries) < _TRIES or context.peer_unseen:
        return None
    if context.rst.time_ns - tries[0].time_ns < _TRYING_NS:
        return None
    evidence = tuple(wording.tries_unanswered(context, tries))
    return Diagnosis(Cause.KEEPALIVE, Confidence.MEDIUM, evidence, (Cause.DELIBERATE,))


def _lonely_tries(context: ResetContext) -> list[Segment]:
    """The sender's segments with the first byte that is not acknowledged, since it heard a word."""
    prior, sender = context.prior, context.sender
    acked = max((s.ack for s in prior if s.side is not sender and s.ack is not None), default=0)
    if context.next_byte <= acked:
        return []
    since = list(takewhile(lambda s: s.side is sender, reversed(prior)))[::-1]
    return [s for s in since if s.length and not s.rst and s.start <= acked < s.end]


def _linger2(context: ResetContext) -> Diagnosis | None:
    """The very acknowledgement of the FIN is answered with a reset."""
    fin, trigger = context.fin, context.trigger
    if fin is None or not context.passive or trigger is None or trigger.length:
        return None
    behind = fin.end + 1
    acked = [s for s in context.prior if s.side is context.sender.peer and (s.ack or 0) >= behind]
    if trigger.ack != behind or not acked or not _is_copy(acked[0], trigger):
        return None
    fins = [s for s in context.prior if s.fin and s.side is context.sender]
    if len(acked) > 1 and not all(_is_copy(fin, s) for s in fins):
        return None  # it was sent again, and each has its acknowledgement: the first was taken
    theirs = (s.number for s in context.prior if s.side is context.sender)
    if any(acked[0].number < number < trigger.number for number in theirs):
        return None  # nor is it a copy where it answers what came late: the first was taken
    if not context.promptly(fin, trigger):
        return None
    evidence = tuple(wording.fin_acknowledged(context, fin, trigger))
    left = (Cause.CLOSED_ALREADY,) if context.driven else _OVER
    return Diagnosis(Cause.DELIBERATE, Confidence.MEDIUM, evidence, left)


_OVER = Cause.CLOSED_ALREADY, Cause.DATA_AFTER_CLOSE
"""What else it may be where a capture may lack the packet that provoked it."""


def _is_copy(one: Segment, other: Segment) -> bool:
    """Whether a moment is all that tells them apart: sent twice, or captured twice."""
    brings_the_same = one.start == other.start and one.end == other.end
    says_the_same = one.ack == other.ack and one.flags == other.flags
    is_at_once = abs(one.time_ns - other.time_ns) <= _AT_ONCE_NS
    return brings_the_same and says_the_same and is_at_once


def _closed_already(context: ResetContext) -> Diagnosis | None:
    """Behind its FIN, an acknowledgement, a probe or a FIN met nothing: the connection was over."""
    fin, trigger = context.fin, context.trigger
    if fin is None or not context.passive or trigger is None:
        return None
    form, left = wording.passive_rst(context), (Cause.DATA_AFTER_CLOSE, Cause.NO_STATE)
    if trigger.number < fin.number:  # what it answers was captured late, or not at all
        evidence: tuple[str, ...] = form, wording.had_closed(context, fin)
        return Diagnosis(Cause.CLOSED_ALREADY, Confidence.MEDIUM, evidence, left)
    evidence = form, wording.over(context, fin, trigger)
    crossing = None if context.driven else _crossing(context, trigger)
    if crossing is not None:
        evidence = (*evidence, wording.crossing(crossing))
        return Diagnosis(Cause.CLOSED_ALREADY, Confidence.MEDIUM, evidence, left)
    return Diagnosis(Cause.CLOSED_ALREADY, Confidence.HIGH, evidence)


def _crossing(context: ResetContext, trigger: Segment) -> Segment | None:
    """Data that would draw the same RST, and stands so close behind it that it may have come first.

    Packets of two directions are not always written down in the order in which they passed.
    """
    soon = takewhile(lambda s: s.time_ns - context.rst.time_ns <= _AT_ONCE_NS, context.later)
    fits = (s for s in soon if s.side is trigger.side and s.length and s.ack == trigger.ack)
    return next(fits, None)


def _closed_while_sending(context: ResetContext) -> Diagnosis | None:
    """Closed with its own bytes still under way: the FIN stands in line behind them.

    Until they are acknowledged, or while the peer's window is all but shut, no FIN is seen, and the
    peer's data already meets a socket that takes none.
    """
    trigger = context.trigger
    if context.fin is not None or not context.passive or trigger is None or not trigger.length:
        return None
    if _peer_reset(context, trigger) is not None:
        return None  # what it had under way was thrown away with its connection
    under_way = context.next_byte - context.rst.start
    theirs = [s.window for s in context.prior if s.side is trigger.side and not s.syn]
    widest = max(theirs, default=0)
    if under_way <= 0 and trigger.window * 2 > widest:
        return None
    said = wording.fin_in_line(context, trigger, under_way, widest)
    evidence = wording.passive_rst(context), said
    return Diagnosis(Cause.DATA_AFTER_CLOSE, Confidence.MEDIUM, evidence, (Cause.NO_STATE,))


def _begun_anew(context: ResetContext) -> Diagnosis | None:
    """Its sender had begun another connection on these ports, and met what was left of this one."""
    trigger, syn = context.trigger, context.begun_anew
    if not context.passive or trigger is None or syn is None or trigger.number < syn:
        return None
    evidence = wording.passive_rst(context), wording.begun_anew(context, syn, trigger)
    return Diagnosis(Cause.CLOSED_ALREADY, Confidence.HIGH, evidence)


def _perhaps_no_state(context: ResetContext) -> Diagnosis | None:
    """The same form where the sender may have had its state, or not yet."""
    trigger = context.trigger
    if not context.passive or trigger is None or context.rewritten is not None:
        return None
    doubt = None
    left: tuple[Cause, ...] = (Cause.DELIBERATE, Cause.MIDDLEBOX)
    if _is_connecting(context):
        doubt = wording.still_connecting(context)
    elif _peer_reset(context, trigger) is not None:
        return None
    elif _only_shook_hands(context):
        doubt, left = wording.only_shook_hands(context), (Cause.DELIBERATE,)
    elif _was_just_heard(context, trigger):
        doubt = wording.just_heard(context, trigger)
    if doubt is None:
        return None
    evidence = wording.passive_rst(context), wording.no_state(context, trigger), doubt
    return Diagnosis(Cause.NO_STATE, Confidence.MEDIUM, evidence, left)


def _no_state(context: ResetContext) -> Diagnosis | None:
    """Sure only where something shows that state was lost: anybody can send such an RST.

    That is another name for the same connection, the peer's own RST, or silence for as long as
    things in between are known to remember.
    """
    trigger = context.trigger
    if not context.passive or trigger is None:
        return None
    evidence = [wording.passive_rst(context), wording.no_state(context, trigger)]
    ended = _peer_reset(context, trigger)
    if context.rewritten is not None:
        evidence.append(wording.rewritten(context.rewritten))
    elif ended is not None:
        evidence.append(wording.peer_had_reset(context, ended))
    elif not any(idle_timer(context)):
        left = Cause.MIDDLEBOX, Cause.DELIBERATE
        return Diagnosis(Cause.NO_STATE, Confidence.MEDIUM, tuple(evidence), left)
    return Diagnosis(Cause.NO_STATE, Confidence.HIGH, tuple(evidence))


def _peer_reset(context: ResetContext, trigger: Segment) -> Segment | None:
    """The peer's own RST before: it had ended the connection."""
    return next((s for s in context.prior if s.rst and s.side is trigger.side), None)


def _was_just_heard(context: ResetContext, trigger: Segment) -> bool:
    """Whether a mere acknowledgement answers what the sender had said just before.

    It had its state then, and such an acknowledgement asks for nothing.
    """
    if trigger.length or trigger.fin or trigger.syn:
        return False
    own = [s for s in context.prior if s.side is context.sender and s.number < trigger.number]
    return bool(own) and context.promptly(own[-1], trigger)


def _is_connecting(context: ResetContext) -> bool:
    """Whether the sender had asked for a connection and was not told that it had one."""
    own = [s for s in context.prior if s.side is context.sender and not s.rst]
    answered = any(s.syn for s in context.prior if s.side is not context.sender)
    return bool(own) and not answered and all(s.syn and s.ack is None for s in own)


def _only_shook_hands(context: ResetContext) -> bool:
    own: list[Segment] = [s for s in context.prior if s.side is context.sender]
    return bool(own) and all(s.syn for s in own)


def _gave_up_bare(context: ResetContext) -> Diagnosis | None:
    """Nothing asked for an answer: it gave up by itself, in the form that other stacks use."""
    plausible = context.repeats_an_ack or context.rst.start == context.next_byte
    if not context.passive or context.trigger is not None or not plausible:
        return None
    evidence = wording.passive_rst(context), wording.nothing_provoked(context)
    left = (Cause.MIDDLEBOX, Cause.NO_STATE)
    return Diagnosis(Cause.DELIBERATE, Confidence.MEDIUM, evidence, left)


def _half_seen(context: ResetContext) -> Diagnosis | None:
    """Without the peer's direction, the form and the FIN are all there is.

    So it is where the last of the peer's packets is missing, and the RST is right behind the FIN.
    """
    if not context.passive:
        return None
    form, fin = wording.passive_rst(context), context.fin
    fits = fin is not None and context.rst.start == fin.end + 1 and context.trigger is None
    if not context.peer_unseen and not (fits and context.lacks_of_peer):
        return None
    if fin is None:
        open_to = (Cause.DATA_AFTER_CLOSE,)
        return Diagnosis(Cause.NO_STATE, Confidence.MEDIUM, (form,), open_to)
    evidence = form, wording.had_closed(context, fin), wording.provoked_unseen(context)
    left = Cause.CLOSED_ALREADY, Cause.NO_STATE
    return Diagnosis(Cause.DATA_AFTER_CLOSE, Confidence.MEDIUM, evidence, left)


def _unknown(context: ResetContext) -> Diagnosis:
    form = wording.passive_form(context) if context.passive else wording.active_form(context)
    left = (Cause.MIDDLEBOX, Cause.DELIBERATE)
    return Diagnosis(Cause.UNKNOWN, Confidence.LOW, (wording.no_row(context), form), left)


ROWS: tuple[Callable[[ResetContext], Diagnosis | None], ...] = (
    _forged,
    _our_own,
    _of_another_connection,
    _not_our_own,
    _refused_elsewhere,
    _refused,
    _half_open,
    _middlebox,
    _missed_syn,
    _again,
    _behind_our_forged_rst,
    _echo,
    _data_after_close,
    _keepalive,
    _perhaps_keepalive,
    _given_up,
    _unread_after_fin,
    _abort_after_fin,
    _unread_at_close,
    _with_shut_window,
    _deliberate,
    _linger2,
    _closed_already,
    _closed_while_sending,
    _begun_anew,
    _perhaps_no_state,
    _no_state,
    _half_seen,
    _gave_up_bare,
    _unknown,
)
"""All rows; the first that answers is the cause."""
