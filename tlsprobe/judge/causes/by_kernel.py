"""What the kernel that sent an RST says of it, where it could be asked.

Its reason goes before what packets suggest. It may leave several causes open: of those the packets
choose.
"""

from __future__ import annotations

from dataclasses import replace

from tlsprobe.judge.causes import wording
from tlsprobe.judge.causes.context import ResetContext
from tlsprobe.judge.causes.table import Diagnosis
from tlsprobe.model.causes import Cause
from tlsprobe.model.judgement import Confidence
from tlsprobe.model.kernel import KernelReset, causes_of


def by_kernel(found: Diagnosis, context: ResetContext, told: KernelReset) -> Diagnosis:
    """The answer with the kernel's word, which settles it or contradicts it."""
    allowed = causes_of(told.reason, told.state)
    evidence = (wording.by_kernel(context, told), *found.evidence)
    if Cause.UNKNOWN in allowed:
        return replace(found, evidence=evidence)
    left = [cause for cause in (found.cause, *found.alternatives) if cause in allowed]
    if left:
        confidence = Confidence.HIGH if len(left) == 1 else found.confidence
        return Diagnosis(left[0], confidence, evidence, tuple(left[1:]))
    others = [cause for cause in Cause if cause in allowed and _fits(cause, context)]
    evidence = (*evidence, wording.against_kernel(found.cause))
    if len(others) == 1:
        return Diagnosis(others[0], Confidence.MEDIUM, evidence, (found.cause,))
    return replace(found, confidence=Confidence.LOW, evidence=evidence, alternatives=tuple(others))


def _fits(cause: Cause, context: ResetContext) -> bool:
    """Whether it can come where this RST came: before its sender's FIN, or behind it."""
    return cause.row.before_fin in {None, context.fin is None}
