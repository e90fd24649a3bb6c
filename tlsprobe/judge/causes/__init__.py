"""Why each RST was sent, told from packets, and from what is known beside them.

How to read an RST (Linux, and every stack that follows RFC 9293 section 3.5.2):

* No ACK flag, window 0, no options: *passive*. No socket knew the segment that provoked it, and
  its sequence number repeats that segment's acknowledgement.
* ACK flag, live window, sequence number at the sender's own next byte: *active*. The sender's
  application or kernel decided to give the connection up.

From there `table` has a row for each cause. Two of them look alike on the wire; a control, the same
close with nothing left unread, tells them apart where there was one. And where both sides of a box
on the way were watched, they prove what packets on one side only suggest.

The trace may come from our own driver or from somebody else's capture. The second knows less: which
records were alerts is inferred, nobody says which requests were answered, and so what rests on
"unread" is at most ``medium``.
"""

from __future__ import annotations

from dataclasses import replace

from tlsprobe.judge.causes import wording
from tlsprobe.judge.causes.by_kernel import by_kernel
from tlsprobe.judge.causes.by_run import ALIKE, by_run
from tlsprobe.judge.causes.context import ResetContext, context_of
from tlsprobe.judge.causes.signs import carried, foreign_signs, notes
from tlsprobe.judge.causes.table import Diagnosis, diagnose
from tlsprobe.judge.causes.witnesses import is_vouched
from tlsprobe.judge.waiting import LONG_NS
from tlsprobe.model.causes import Cause
from tlsprobe.model.far_side import FarFact, ResetNumbers
from tlsprobe.model.judgement import Confidence, Reset
from tlsprobe.model.knowledge import NOTHING_KNOWN, Knowledge
from tlsprobe.model.trace import Coverage, Side, Trace


def resets_of(trace: Trace, knowledge: Knowledge = NOTHING_KNOWN) -> tuple[Reset, ...]:
    """Every RST of the capture, in order, each with side, cause and evidence."""
    resets: list[Reset] = []
    for index, segment in enumerate(trace.segments):
        if segment.rst:
            context = context_of(trace, index, resets, knowledge)
            resets.append(_reset(context, knowledge))
    return tuple(resets)


def is_open(reset: Reset) -> bool:
    """Whether it is a server's RST whose cause a control would tell, and none has."""
    could_be = {reset.cause, *reset.alternatives} - {Cause.MIDDLEBOX}
    return (
        not reset.odd and reset.side is Side.SERVER and could_be == ALIKE and reset.control is None
    )


def is_doubtful(reset: Reset) -> bool:
    """Whether it is a server's RST for unread data that may have been meant all the same."""
    unread = reset.cause is Cause.UNREAD_AT_CLOSE and Cause.DELIBERATE in reset.alternatives
    return unread and reset.side is Side.SERVER


def looks_foreign(reset: Reset) -> bool:
    """Whether a server's decision bears a sign of another machine, though it proves nothing."""
    if reset.side is not Side.SERVER or reset.passive or reset.cause is Cause.REFUSED:
        return False
    return reset.odd


def _reset(context: ResetContext, knowledge: Knowledge) -> Reset:
    found = _as_it_says(diagnose(context), context)
    found = _with_holes(found, context, near=knowledge.near)
    proved = _by_far_side(found, context, knowledge.far)
    told, control = (None if proved else by_run(found, context, knowledge)) or (found, None)
    vouched = is_vouched(told, context, knowledge)
    if not vouched:
        told = _unvouched(told, context, knowledge.odd)
    last = proved or _beside_a_box(told, context, knowledge.foreign)
    kernel = knowledge.kernel.get(context.rst.number)
    if kernel is not None:
        last = by_kernel(last, context, kernel)
    return Reset(
        side=context.sender,
        packet=context.rst.number,
        time_ns=context.rst.time_ns,
        before_fin=context.fin is None,
        cause=last.cause,
        confidence=last.confidence,
        evidence=last.evidence,
        alternatives=last.alternatives,
        passive=context.passive,
        trigger=last.trigger if last.trigger is not None else _trigger(context, last.cause),
        control=control,
        text=wording.text_of(context.rst),
        vouched=vouched,
        odd=found.cause is Cause.MIDDLEBOX or Cause.MIDDLEBOX in found.alternatives,
    )


def _as_it_says(found: Diagnosis, context: ResetContext) -> Diagnosis:
    """The answer where a text tells beside an RST why its machine sent it: load balancers do that.

    It has connections on either side, and its reasons are not those of a kernel.
    """
    if context.rst.length or not context.rst.payload or found.cause not in ALIKE:
        return found
    left = dict.fromkeys((found.cause, *found.alternatives))
    left.pop(Cause.MIDDLEBOX, None)
    return replace(
        found, cause=Cause.MIDDLEBOX, confidence=Confidence.MEDIUM, alternatives=tuple(left)
    )


def _with_holes(found: Diagnosis, context: ResetContext, *, near: bool) -> Diagnosis:
    """The answer of the table with its notes, less sure where packets are missing."""
    evidence = (*found.evidence, *carried(context), *notes(context, found.cause))
    if _looks_foreign(found, context):
        found = replace(_or_middlebox(found), confidence=found.confidence.at_most_medium)
    if not near and _may_be_foreign(found, context):
        found = _or_middlebox(found)
        evidence = (*evidence, wording.NO_HOP_LIMIT)
    renamed = context.rewritten is not None and found.cause is Cause.NO_STATE
    if context.coverage is not Coverage.HOLES or renamed:
        return replace(found, evidence=evidence)
    if found.cause is Cause.NO_STATE and context.fin is None and context.trigger is not None:
        # The sender's FIN may be among what is missing.
        ended = Cause.DATA_AFTER_CLOSE if context.trigger.length else Cause.CLOSED_ALREADY
        found = replace(found, alternatives=(*found.alternatives, ended))
    evidence = (*evidence, wording.missing(context))
    return replace(found, confidence=found.confidence.lowered, evidence=evidence)


def _unvouched(found: Diagnosis, context: ResetContext, odd: int) -> Diagnosis:
    """The answer where the RST's own header is all that says who made it.

    It may as well be a forgery: boxes reset at a request that they dislike, or at an alert, and
    that is unanswered then. Behind a FIN, what is unread at least explains a reset in somebody's
    capture.
    """
    if found.cause is Cause.MIDDLEBOX:
        return found
    if context.passive and found.confidence is Confidence.HIGH and _is_behind_anybodys_fin(context):
        return replace(_or_middlebox(found), confidence=Confidence.MEDIUM)
    if context.passive or found.cause not in {*ALIKE, Cause.UNREAD_AFTER_FIN}:
        return found
    if context.fin is not None and context.sender is Side.CLIENT:
        return found
    is_bare = context.fin is None and (found.cause is Cause.DELIBERATE or not context.driven)
    is_ours = context.driven and context.sender is Side.SERVER
    if is_ours:
        found = replace(found, evidence=(*found.evidence, wording.UNVOUCHED))
    if is_ours or is_bare or found.confidence is Confidence.HIGH:
        found = _or_middlebox(found)
    elif not odd:
        return found
    return replace(found, confidence=found.confidence.at_most_medium)


def _is_behind_anybodys_fin(context: ResetContext) -> bool:
    """Whether it answers what came behind a FIN that ended a silence of the server's, and no alert.

    A box that ends idle connections in the names of both ends answers so what comes later.
    """
    fin = context.fin
    if fin is None or context.sender is not Side.SERVER or not context.driven:
        return False
    said = (s.time_ns for s in context.prior if s.number < fin.number and (s.length or s.ends))
    is_late = fin.time_ns - max(said, default=fin.time_ns) >= LONG_NS
    return is_late and not any(r.side is Side.SERVER for r in context.alerts)


def _beside_a_box(found: Diagnosis, context: ResetContext, foreign: int) -> Diagnosis:
    """The answer where other RSTs of the run, in the same place, were not the server's own.

    A forgery may be perfect where nothing of the server's follows that would give it away.
    """
    if not foreign or context.sender is not Side.SERVER or found.cause not in ALIKE:
        return found
    left = dict.fromkeys((found.cause, *found.alternatives))
    left.pop(Cause.MIDDLEBOX, None)
    evidence = (*found.evidence, wording.beside_a_box(foreign))
    return Diagnosis(Cause.MIDDLEBOX, Confidence.MEDIUM, evidence, tuple(left))


def _or_middlebox(found: Diagnosis) -> Diagnosis:
    left = dict.fromkeys((*found.alternatives, Cause.MIDDLEBOX))
    return replace(found, alternatives=tuple(left))


def _looks_foreign(found: Diagnosis, context: ResetContext) -> bool:
    """Whether something about it speaks for another machine, and not enough to be sure.

    A kernel writes no texts. What our own program, or our path, says that it did, it did.
    """
    if context.forged:
        return False
    if found.cause is Cause.MIDDLEBOX or (context.own_end is not None and not context.passive):
        return False
    return bool(context.rst.payload or context.rst.length) or any(foreign_signs(context))


def _may_be_foreign(found: Diagnosis, context: ResetContext) -> bool:
    """Whether a decision may be another machine's, since the input tells no hop limit.

    One that leaves unread data behind is its sender's, unless its acknowledgement is odd too.
    """
    if context.rst.ttl is not None or context.passive:
        return False
    unread = found.cause in {Cause.UNREAD_AT_CLOSE, Cause.UNREAD_AFTER_FIN}
    return found.cause is Cause.DELIBERATE or (unread and context.has_odd_ack)


def _by_far_side(found: Diagnosis, context: ResetContext, far: FarFact | None) -> Diagnosis | None:
    """What captures on both sides of a router prove, whatever one of them looks like.

    An RST that came out of it and never went in was made there; one that answers a packet of a
    client under a new name tells that the state of its connection was lost.
    """
    if far is None or context.sender is not Side.SERVER:
        return None
    numbers = ResetNumbers(context.rst.start, context.rst.ack)
    if numbers in far.made and numbers not in far.sent:
        evidence = (wording.MADE_ON_THE_WAY, *found.evidence)
        return Diagnosis(Cause.MIDDLEBOX, Confidence.HIGH, evidence)
    if far.renaming is not None and context.passive and context.fin is None:
        evidence = (wording.renamed(far.client, far.renaming), *found.evidence)
        return Diagnosis(Cause.NO_STATE, Confidence.HIGH, evidence)
    return None


def _trigger(context: ResetContext, cause: Cause) -> int | None:
    """The packet that provoked it: what it answers, or the last bytes that it left unread."""
    if cause is Cause.REFUSED:
        return context.syn.number if context.syn else None
    if context.passive:
        return context.trigger.number if context.trigger else None
    if cause in {Cause.UNREAD_AT_CLOSE, Cause.UNREAD_AFTER_FIN}:
        return next(iter(context.unanswered_segments[-1:]), None)
    return None
