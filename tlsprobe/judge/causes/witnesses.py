"""Who vouches for an RST: a forgery may copy all that its header shows.

TTL, IP ID, window, timestamps and numbers are there for a box on the way to read. Where it makes
an RST of them, and nothing of the server's follows that gives it away, the packets of one
connection look as if the server had given up. So a decision is taken for the server's own only
where something else says so: its kernel, a capture on its side of the path, or the run. Over
the loopback nothing is on the way.
"""

from __future__ import annotations

from itertools import pairwise

from tlsprobe.judge.causes.by_run import ENOUGH, own_version
from tlsprobe.judge.causes.context import ResetContext
from tlsprobe.judge.causes.table import Diagnosis
from tlsprobe.judge.causes.visible import visible
from tlsprobe.judge.waiting import LONG_NS
from tlsprobe.model.causes import Cause
from tlsprobe.model.far_side import FarFact, ResetNumbers
from tlsprobe.model.judgement import Confidence
from tlsprobe.model.knowledge import Knowledge
from tlsprobe.model.trace import Side


def is_vouched(found: Diagnosis, context: ResetContext, knowledge: Knowledge) -> bool:
    """Whether its sender's machine made it, by more than its own header."""
    if not found.cause.row.by_sender or found.cause is Cause.UNKNOWN:
        return False
    if context.own_end is not None or context.forged:
        return True
    if knowledge.near and not knowledge.odd and Cause.MIDDLEBOX not in found.alternatives:
        return True
    if context.rst.number in knowledge.kernel or left_the_server(context, knowledge.far):
        return True
    if context.sender is not Side.SERVER or context.passive:
        return False
    return knowledge.gave_up or _is_told_by_run(found, context, knowledge)


def left_the_server(context: ResetContext, far: FarFact | None) -> bool:
    """Whether it was captured on the server's side of a router too."""
    if far is None or context.sender is not Side.SERVER:
        return False
    return ResetNumbers(context.rst.start, context.rst.ack) in far.sent


def _is_told_by_run(found: Diagnosis, context: ResetContext, knowledge: Knowledge) -> bool:
    """Whether the resets depend on what was said inside TLS, where no box can look.

    All trials of this close are reset, or a control proves that bytes were left unread. And those
    of another close are not, though there a box saw all that it could have acted upon here: our
    alert, our FIN, whatever shows. Where an RST of the run bore a sign of another machine, or a
    timer had time to run out, that proves nothing.
    """
    own = knowledge.own
    if own is None or knowledge.odd or _was_silent(context):
        return False
    proven = found.cause is Cause.UNREAD_AT_CLOSE and found.confidence is Confidence.HIGH
    if not proven and (own.trials < ENOUGH or own.before_fin < own.trials):
        return False
    seen = visible(context.drive, context.prior)
    others = (c for c in own_version(knowledge) if c.sequence != own.sequence)
    return any(c.trials >= ENOUGH and c.fins == c.trials and seen <= c.visible for c in others)


def _was_silent(context: ResetContext) -> bool:
    """Whether it had once been quiet for so long that a timer may have run out: anybody's.

    A box that forgot a connection may reset it only when it is used again.
    """
    times = [s.time_ns for s in (*context.prior, context.rst)]
    return any(after - before >= LONG_NS for before, after in pairwise(times))
