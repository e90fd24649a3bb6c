"""The causes of an RST, one row each, in the order in which they are tried.

The first row that fits has the say. The same table serves both sides. What packets cannot tell
(whether bytes that arrived were also read) costs confidence and is named as an alternative.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tlsprobe.judge.causes import wording
from tlsprobe.judge.causes.context import ResetContext
from tlsprobe.judge.causes.signs import foreign_signs, inferred
from tlsprobe.model.causes import Cause
from tlsprobe.model.judgement import Confidence
from tlsprobe.model.trace import EventKind, Segment

_PROBES = 2
_MIDDLEBOX_SIGNS = 2


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A row's answer."""

    cause: Cause
    confidence: Confidence
    evidence: tuple[str, ...]
    alternatives: tuple[Cause, ...] = ()


def diagnose(context: ResetContext) -> Diagnosis:
    """The answer of the first row that fits; the last one fits everything."""
    return next(found for row in ROWS if (found := row(context)) is not None)


def _refused(context: ResetContext) -> Diagnosis | None:
    syn = context.syn
    answered = any(s.syn for s in context.prior if s.side is context.sender)
    if syn is None or answered or context.passive or context.rst.ack != syn.end + 1:
        return None
    return Diagnosis(Cause.REFUSED, Confidence.HIGH, (wording.refused(context, syn),))


def _middlebox(context: ResetContext) -> Diagnosis | None:
    signs = tuple(foreign_signs(context))
    if len(signs) < _MIDDLEBOX_SIGNS:
        return None
    confidence = Confidence.HIGH if len(signs) > _MIDDLEBOX_SIGNS else Confidence.MEDIUM
    return Diagnosis(Cause.MIDDLEBOX, confidence, signs, (Cause.DELIBERATE,))


def _echo(context: ResetContext) -> Diagnosis | None:
    if context.earlier is None or not context.passive or context.trigger is None:
        return None
    lost = context.earlier.cause is Cause.NO_STATE
    cause = Cause.NO_STATE if lost else Cause.DATA_AFTER_CLOSE
    said = wording.echo(context, context.earlier.packet, context.trigger)
    return Diagnosis(cause, Confidence.HIGH, (said,))


def _data_after_close(context: ResetContext) -> Diagnosis | None:
    trigger = context.trigger
    if context.fin is None or not context.passive or trigger is None or not trigger.length:
        return None
    evidence = (
        wording.had_closed(context, context.fin),
        wording.data_to_closed(trigger),
        wording.kernel_answer(context),
    )
    return Diagnosis(Cause.DATA_AFTER_CLOSE, Confidence.HIGH, evidence)


def _unread_after_fin(context: ResetContext) -> Diagnosis | None:
    if context.fin is None or context.passive or context.rst.start != context.fin.end + 1:
        return None
    if not context.unanswered:
        return None
    evidence = wording.shut_down(context, context.fin), wording.closed_with_unread(context)
    if context.driven:
        return Diagnosis(Cause.UNREAD_AFTER_FIN, Confidence.HIGH, evidence)
    return Diagnosis(Cause.UNREAD_AFTER_FIN, Confidence.MEDIUM, evidence, (Cause.DELIBERATE,))


def _abort_after_fin(context: ResetContext) -> Diagnosis | None:
    if context.fin is None or context.passive or context.rst.start != context.fin.end + 1:
        return None
    evidence = (wording.reset_after_fin(context, context.fin),)
    return Diagnosis(Cause.DELIBERATE, Confidence.MEDIUM, evidence, (Cause.UNREAD_AFTER_FIN,))


def _our_own(context: ResetContext) -> Diagnosis | None:
    if context.deed is not EventKind.ABORTED or context.passive:
        return None
    said = wording.our_own(context)
    if not context.unanswered:
        return Diagnosis(Cause.DELIBERATE, Confidence.HIGH, (said,))
    # The kernel looks for unread data first (tcp_close): that would have reset without our wish.
    evidence = said, wording.may_be_unread(context)
    return Diagnosis(Cause.DELIBERATE, Confidence.MEDIUM, evidence, (Cause.UNREAD_AT_CLOSE,))


def _unread_at_close(context: ResetContext) -> Diagnosis | None:
    if not context.gave_up_at_next_byte or not context.unanswered:
        return None
    evidence = (
        wording.in_place_of_fin(context),
        wording.never_answered(context),
        *inferred(context),
    )
    return Diagnosis(Cause.UNREAD_AT_CLOSE, Confidence.MEDIUM, evidence, (Cause.DELIBERATE,))


def _deliberate(context: ResetContext) -> Diagnosis | None:
    if not context.gave_up_at_next_byte:
        return None
    evidence = [wording.in_place_of_fin(context)]
    if not context.peer_unseen:
        evidence.append(wording.all_answered(context))
    if context.cut_short:
        evidence.append(wording.CUT_SHORT)
    if not context.notified:
        evidence.append(wording.not_notified(context))
    evidence += inferred(context)
    return Diagnosis(Cause.DELIBERATE, Confidence.MEDIUM, tuple(evidence), (Cause.UNREAD_AT_CLOSE,))


def _keepalive(context: ResetContext) -> Diagnosis | None:
    """The kernel gave up: its keepalive probes, each one byte behind the next, stayed alone."""
    if not context.gave_up_at_next_byte:
        return None
    heard = max((s.number for s in context.prior if s.side is context.sender.peer), default=0)
    probes = [s.number for s in context.prior if _is_probe(context, s) and s.number > heard]
    if len(probes) < _PROBES:
        return None
    evidence = tuple(wording.probes_unanswered(context, probes))
    return Diagnosis(Cause.DELIBERATE, Confidence.MEDIUM, evidence, (Cause.UNREAD_AT_CLOSE,))


def _is_probe(context: ResetContext, segment: Segment) -> bool:
    small = segment.length <= 1 and not (segment.fin or segment.syn or segment.rst)
    return segment.side is context.sender and small and segment.start == context.next_byte - 1


def _linger2(context: ResetContext) -> Diagnosis | None:
    """The very acknowledgement of the FIN is answered with a reset."""
    fin, trigger = context.fin, context.trigger
    if fin is None or not context.passive or trigger is None or trigger.length:
        return None
    behind = fin.end + 1
    acked = [s for s in context.prior if s.side is context.sender.peer and (s.ack or 0) >= behind]
    if trigger.ack != behind or not acked or acked[0] is not trigger:
        return None
    evidence = tuple(wording.fin_acknowledged(context, fin, trigger))
    return Diagnosis(Cause.DELIBERATE, Confidence.MEDIUM, evidence, (Cause.NO_STATE,))


def _closed_while_sending(context: ResetContext) -> Diagnosis | None:
    """Closed with its own bytes still under way: the FIN stands in line behind them.

    Until they are acknowledged, or while the peer's window is all but shut, no FIN is seen, and the
    peer's data already meets a socket that takes none.
    """
    trigger = context.trigger
    if context.fin is not None or not context.passive or trigger is None or not trigger.length:
        return None
    under_way = context.next_byte - context.rst.start
    theirs = [s.window for s in context.prior if s.side is trigger.side and not s.syn]
    widest = max(theirs, default=0)
    if under_way <= 0 and trigger.window * 2 > widest:
        return None
    said = wording.fin_in_line(context, trigger, under_way, widest)
    evidence = wording.passive_rst(context), said
    return Diagnosis(Cause.DATA_AFTER_CLOSE, Confidence.MEDIUM, evidence, (Cause.NO_STATE,))


def _no_state(context: ResetContext) -> Diagnosis | None:
    if not context.passive or context.trigger is None:
        return None
    evidence = wording.passive_rst(context), wording.no_state(context, context.trigger)
    if context.rewritten is not None:
        said = wording.rewritten(context.rewritten)
        return Diagnosis(Cause.NO_STATE, Confidence.HIGH, (*evidence, said))
    if _only_shook_hands(context):
        said = wording.only_shook_hands(context)
        left = (Cause.DELIBERATE,)
        return Diagnosis(Cause.NO_STATE, Confidence.MEDIUM, (*evidence, said), left)
    return Diagnosis(Cause.NO_STATE, Confidence.HIGH, evidence)


def _only_shook_hands(context: ResetContext) -> bool:
    own: list[Segment] = [s for s in context.prior if s.side is context.sender]
    return bool(own) and all(s.syn for s in own)


def _half_seen(context: ResetContext) -> Diagnosis | None:
    """Without the peer's direction, the form and the FIN are all there is."""
    if not context.passive or not context.peer_unseen:
        return None
    form = wording.passive_rst(context)
    if context.fin is None:
        left = (Cause.DATA_AFTER_CLOSE,)
        return Diagnosis(Cause.NO_STATE, Confidence.MEDIUM, (form,), left)
    evidence = form, wording.had_closed(context, context.fin)
    return Diagnosis(Cause.DATA_AFTER_CLOSE, Confidence.MEDIUM, evidence, (Cause.NO_STATE,))


def _unknown(context: ResetContext) -> Diagnosis:
    form = wording.passive_form(context) if context.passive else wording.active_form(context)
    left = (Cause.MIDDLEBOX, Cause.DELIBERATE)
    return Diagnosis(Cause.UNKNOWN, Confidence.LOW, (wording.no_row(context), form), left)


ROWS: tuple[Callable[[ResetContext], Diagnosis | None], ...] = (
    _our_own,
    _refused,
    _middlebox,
    _echo,
    _data_after_close,
    _unread_after_fin,
    _abort_after_fin,
    _keepalive,
    _unread_at_close,
    _deliberate,
    _linger2,
    _closed_while_sending,
    _no_state,
    _half_seen,
    _unknown,
)
"""All rows; the first that answers is the cause."""
