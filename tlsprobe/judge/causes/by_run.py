"""What the rest of a run says about two causes that look alike on the wire.

Closing with data unread and aborting on purpose are the same packet. A *control*, the same close
without the bytes in question, tells whether those bytes made the difference, and not by which way:
a server may also abort on purpose because of them. The other cells of the run tell that: how it
ends connections on which it has read everything, and what it does upon a close_notify alone.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import dropwhile, islice

from tlsprobe.judge.causes import wording
from tlsprobe.judge.causes.context import ResetContext
from tlsprobe.judge.causes.table import Diagnosis
from tlsprobe.model.causes import Cause
from tlsprobe.model.judgement import Confidence, Control
from tlsprobe.model.knowledge import CellEnds, Knowledge
from tlsprobe.model.trace import CLOSING_REMARKS, Coverage, EventKind, RecordKind, Side
from tlsprobe.model.verbs import WRITES, Verb

ENOUGH = 3
"""Trials that make an attribution surer."""

CHANCE = 0.05
"""So probable it may be that a fault as frequent as the cell's own did not show in its control."""

ALIKE = frozenset({Cause.UNREAD_AT_CLOSE, Cause.DELIBERATE})
"""The two causes that look alike on the wire."""

_NOTICE = frozenset({RecordKind.CLOSE_NOTIFY})
_CLAIMS = frozenset({RecordKind.CLOSE_NOTIFY, RecordKind.DATA})


_Told = tuple[Diagnosis, Control | None]
"""An answer, and the control that told it, if one did."""


def by_run(found: Diagnosis, context: ResetContext, knowledge: Knowledge) -> _Told | None:
    """The answer after the run had a say, with the control that told it; None if it has none."""
    if context.sender is not Side.SERVER:
        return None
    if found.cause is Cause.UNREAD_AFTER_FIN and knowledge.aborts_after:
        surety = found.confidence.at_most_medium
        evidence = (*found.evidence, wording.RESETS_BEHIND_FIN)
        return Diagnosis(found.cause, surety, evidence, (Cause.DELIBERATE,)), None
    if {found.cause, *found.alternatives} != ALIKE:
        return None
    cell_ends = own_version(knowledge)
    decided = knowledge.control is not None and knowledge.control.is_decided
    control = knowledge.control if decided else None
    anyway = _resets_anyway(context, control, cell_ends)
    if anyway is not None:
        enough = control is None or not control.resets or control.trials >= ENOUGH
        said = control if control is not None and control.resets else None
        return _aborts(found, context, anyway, enough), said
    if control is None or control.resets or found.cause is Cause.DELIBERATE:
        return None
    proven = _is_proven(context, control, cell_ends, knowledge.own)
    return _unread(found, control, proven=proven)


def _resets_anyway(
    context: ResetContext, control: Control | None, cell_ends: tuple[CellEnds, ...]
) -> str | None:
    """In which way this server is known to reset although it has read everything, if it is."""
    is_clean = control is not None and not control.resets
    if _always_resets(cell_ends) and not is_clean:
        return wording.always_resets(sum(p.aborts for p in cell_ends))
    if control is not None and control.resets and not _may_be_unread_alone(context):
        return wording.by_control(control)
    return _resets_upon_notice(cell_ends, context)


def _may_be_unread_alone(context: ResetContext) -> bool:
    """Whether the control sends our close_notify or goodbye, and may leave it unread as well.

    It does where more came behind that (`catalogue.control_of`). A server that ends by itself, for
    its response does, has no need to read what asks it to.
    """
    steps = (event for event in context.drive.events if event.kind is EventKind.STEP)
    verbs = [label.partition(" ")[0] for step in steps for label in step.labels]
    told = dropwhile(lambda verb: verb != Verb.CLOSE_NOTIFY, verbs)
    writes_on = any(verb in WRITES for verb in islice(told, 1, None))
    ends = any(remark.kind in CLOSING_REMARKS for remark in context.drive.remarks)
    unread = _unread_kinds(context)
    if Verb.TERMINATE in verbs:
        return ends and RecordKind.GOODBYE in unread
    return ends and writes_on and RecordKind.CLOSE_NOTIFY in unread


def _unread(found: Diagnosis, control: Control, *, proven: bool) -> _Told:
    """The answer where the same close without the unread bytes ends in a FIN."""
    evidence = (*found.evidence, wording.by_control(control))
    if proven:
        return Diagnosis(Cause.UNREAD_AT_CLOSE, Confidence.HIGH, evidence), control
    return replace(found, evidence=evidence), control


def own_version(knowledge: Knowledge) -> tuple[CellEnds, ...]:
    """Those of the trial's own TLS version."""
    own = knowledge.own
    return tuple(p for p in knowledge.cell_ends if own is None or p.tls == own.tls)


def _always_resets(cell_ends: tuple[CellEnds, ...]) -> bool:
    """Whether this server resets whenever it closes, also where it has read everything."""
    return sum(p.aborts for p in cell_ends) >= ENOUGH and not any(p.fins for p in cell_ends)


def _resets_upon_notice(cell_ends: tuple[CellEnds, ...], context: ResetContext) -> str | None:
    """That this server resets where it has read our close_notify, and here may have done so.

    It may where nothing but a close_notify is unread, or behind its own.
    """
    alerts = [p for p in cell_ends if 0 < p.trials == p.alone]
    aborts = sum(p.aborts for p in alerts)
    if aborts < ENOUGH or not (context.notified or _unread_kinds(context) <= _NOTICE):
        return None
    return wording.resets_upon_notice(aborts, sum(p.trials for p in alerts))


def _aborts(found: Diagnosis, context: ResetContext, said: str, enough: bool) -> Diagnosis:
    """The answer for a server that resets anyway; sure where a response answers all of ours."""
    evidence = (*found.evidence, said)
    if enough and context.is_quiet and context.coverage is Coverage.WHOLE:
        return Diagnosis(Cause.DELIBERATE, Confidence.HIGH, evidence)
    surety = found.confidence.at_most_medium
    return Diagnosis(Cause.DELIBERATE, surety, evidence, (Cause.UNREAD_AT_CLOSE,))


def _is_proven(
    context: ResetContext,
    control: Control,
    cell_ends: tuple[CellEnds, ...],
    own: CellEnds | None,
) -> bool:
    """Whether nothing but unread data explains it.

    What was left unread is of a kind that this server takes well by itself, and controls were
    tried often enough for a fault as frequent as the cell's own to have shown.
    """
    kinds = _unread_kinds(context)
    if own is None or not own.trials or context.coverage is not Coverage.WHOLE:
        return False
    if not kinds or not kinds <= _CLAIMS:
        return False
    rate = own.before_fin / own.trials
    if not _is_often_enough(control.trials, rate):
        return False
    if RecordKind.CLOSE_NOTIFY not in kinds:
        return context.is_behind_an_end
    alerts = [p for p in cell_ends if 0 < p.trials == p.alone]
    clean = not any(p.before_fin for p in alerts)
    return clean and _is_often_enough(sum(p.trials for p in alerts), rate)


def _is_often_enough(trials: int, rate: float) -> bool:
    return trials >= ENOUGH and (1 - rate) ** trials <= CHANCE


def _unread_kinds(context: ResetContext) -> frozenset[RecordKind]:
    """What the bytes are that the sender may not have read."""
    acked = context.rst.ack or 0
    peers = (r for r in context.records if r.side is context.sender.peer)
    return frozenset(r.kind for r in peers if r.end > context.answered_to and r.start < acked)
