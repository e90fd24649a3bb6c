"""One trial judged: everything that the report says of it, in one value, made once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from tlsprobe.judge.causes import resets_of
from tlsprobe.judge.closing import (
    Closing,
    axes_of,
    closing_of,
    outcome_of,
    timing_of,
    words_of,
)
from tlsprobe.judge.early import ended_before_start, ending_words
from tlsprobe.judge.ladder import ladder_of
from tlsprobe.judge.lateness import (
    TIMES_SLOWER,
    gave_up_reading,
    is_starved,
    is_strained,
    late_step,
    slowest_ns,
    steps_of,
    vain_ns,
    within_patience,
)
from tlsprobe.judge.maker import unknown_maker
from tlsprobe.judge.path import CutOff, as_delivered, cut_off
from tlsprobe.judge.provocation import with_provocation
from tlsprobe.judge.race import attempt_of
from tlsprobe.judge.rules import (
    IDLE_RACE,
    RULES,
    RuleInput,
    apply_rules,
    expiry_outcome,
    rule_input,
)
from tlsprobe.judge.waiting import doubt_of, expiry_in, silence_of, waited_of
from tlsprobe.model.judgement import (
    Doubt,
    Judgement,
    LadderLine,
    Outcome,
    Reset,
    Result,
    RuleResult,
)
from tlsprobe.model.knowledge import NOTHING_KNOWN, Knowledge
from tlsprobe.model.trace import Coverage, Gap, RemarkKind, Trace


def judge(trace: Trace, knowledge: Knowledge = NOTHING_KNOWN) -> Judgement:
    """Axes, outcome, signature, the cause of every RST, and what each rule says.

    What the server did when its idle timer fired, long after our last word, is no answer to it: to
    the axes, the outcome and the rules such a connection was left open.
    """
    trace = _judged_trace(trace)
    seen = closing_of(trace)
    came = as_delivered(trace)
    whole = seen if came is trace else closing_of(came)
    closing = _answer_in(came, whole, knowledge)
    axes = axes_of(came, closing)
    outcome = outcome_of(came, closing, axes)
    resets = with_provocation(trace, resets_of(trace, knowledge))
    expired = closing is not whole
    given = rule_input(
        *(came, closing, axes, outcome, () if expired else resets),
        knowledge=knowledge,
        seen=seen,
        cut_off=_cut_off(trace, came, closing),
    )
    vain = None if knowledge.waits_idle else _vain_ns(came, whole, expired=expired)
    timed = _timed(trace, seen, resets, knowledge, vain)
    results = apply_rules(given)
    doubt = _unread(trace, whole) or _doubt(came, closing, knowledge)
    doubt = doubt or timed.doubt or _strain(came, closing, results, knowledge)
    results = _that_stand(results, doubt)
    return Judgement(
        outcome=outcome,
        axes=axes,
        words=words_of(seen),
        resets=resets,
        results=results,
        doubt=doubt,
        timing_us=timing_of(came, closing) | _waited(came, closing) | timed.timing_us,
        notes=(*_notes(given), *([_AT_ITS_TIMER] if expired else ())),
        met=expiry_outcome(given) if any(r.rule == IDLE_RACE for r in results) else None,
        unsettled=unknown_maker(results, given.maker),
    )


def _cut_off(trace: Trace, came: Trace, closing: Closing) -> CutOff | None:
    """How our path kept the two sides apart until the server began to end the connection."""
    began = closing.server_began
    return cut_off(trace, came, math.inf if began is None else began.time_ns)


def _judged_trace(trace: Trace) -> Trace:
    """What of a trace is judged: not what came behind our patience, and no step behind its end."""
    trace = within_patience(trace)
    return ended_before_start(trace) or trace


_AT_ITS_TIMER = (
    "the server ended the connection when its idle timer fired: no answer to our sequence"
)


class _Timed(NamedTuple):
    """Whether our side was in time, and the machine quick enough."""

    timing_us: dict[str, float]
    doubt: Doubt | None = None


def _vain_ns(trace: Trace, whole: Closing, *, expired: bool) -> int | None:
    """How long we waited for an answer in vain, be it until an idle timer fired."""
    quiet = silence_of(trace, whole) if expired else None
    return vain_ns(trace, whole) if quiet is None else quiet.shortest


def _timed(
    trace: Trace,
    closing: Closing,
    resets: tuple[Reset, ...],
    knowledge: Knowledge,
    vain: int | None,
) -> _Timed:
    """How late our steps were, and whether that, or a slow machine, takes the answer away."""
    if trace.drive.failure is not None or trace.drive.ended_early:
        return _Timed({})
    attempt = attempt_of(trace, closing)
    if attempt is not None:
        return _Timed(attempt.timing, None if attempt.is_in_time else Doubt.LATE)
    steps = steps_of(trace, closing)
    timing = {"step_late": max(step.late_ns for step in steps) / 1000} if steps else {}
    late = late_step(trace, closing, steps, resets)
    if late is not None:
        return _Timed(timing | {"spoiled_by": late.late_ns / 1000}, Doubt.LATE)
    slowest = slowest_ns(trace, knowledge.load, knowledge.took_ns)
    if vain is not None and slowest * TIMES_SLOWER > vain:
        return _Timed(timing | {"slowest": slowest / 1000}, Doubt.BUSY)
    return _Timed(timing)


def _unread(trace: Trace, closing: Closing) -> Doubt | None:
    """A doubt where the server ended it with words that we had not read when we left.

    It comes before all others: what they leave standing might be disproved by those words.
    """
    if trace.drive.failure is not None or trace.drive.ended_early:
        return None
    unread = trace.coverage is Coverage.WHOLE and closing.server_end is not None
    return Doubt.BUSY if unread and gave_up_reading(trace) else None


def _strain(
    trace: Trace, closing: Closing, results: tuple[RuleResult, ...], knowledge: Knowledge
) -> Doubt | None:
    """A doubt where the server seems slow, or seems to owe something, and the machine was busy."""
    slow = any(RULES[r.rule].fails_if_slow and r.result in _BAD for r in results)
    return Doubt.BUSY if slow and is_strained(trace, closing, knowledge.load) else None


_BAD = frozenset({Result.FAIL, Result.WARN})


_TELLS_NOTHING = frozenset(
    {Doubt.BUSY, Doubt.CROWDED, Doubt.SERVER_GONE, Doubt.SHUT_OUT, Doubt.FELL}
)


def _that_stand(results: tuple[RuleResult, ...], doubt: Doubt | None) -> tuple[RuleResult, ...]:
    """The results that do not depend on what is in doubt."""
    if doubt in _TELLS_NOTHING:
        return ()
    if doubt is Doubt.LATE:
        return tuple(result for result in results if not RULES[result.rule].timed)
    return results


def _answer_in(trace: Trace, closing: Closing, knowledge: Knowledge) -> Closing:
    """What answers our sequence: nothing from where an idle timer of the server's fired."""
    if not knowledge.timers or knowledge.waits_idle:
        return closing
    expired = expiry_in(closing, silence_of(trace, closing), knowledge.timers)
    return closing if expired is None else closing.until(expired)


def _waited(trace: Trace, closing: Closing) -> dict[str, float]:
    return {} if trace.drive.ended_early else waited_of(trace, closing)


def ladder_for(trace: Trace, judgement: Judgement) -> tuple[LadderLine, ...]:
    """A judged trace, packet by packet: what a report shows of it."""
    trace = _judged_trace(trace)
    return ladder_of(trace, closing_of(trace), judgement.resets)


def _doubt(trace: Trace, closing: Closing, knowledge: Knowledge) -> Doubt | None:
    if trace.coverage is Coverage.HOLES:
        return _GAPS[trace.gap]
    if (unserved := _unserved(trace, closing, knowledge)) is not None:
        return unserved
    if trace.drive.ended_early:
        return Doubt.ENDED_EARLY
    if trace.drive.failure is not None:
        return Doubt.BUSY if is_starved(trace, knowledge.load) else None
    return doubt_of(trace, closing, knowledge)


def _unserved(trace: Trace, closing: Closing, knowledge: Knowledge) -> Doubt | None:
    """A doubt where the server did not serve all of our connections just then."""
    if knowledge.room is not None:
        return Doubt.CROWDED
    if knowledge.gone_ns is not None and _may_have_died(trace, closing, knowledge.gone_ns):
        return Doubt.SERVER_GONE
    if knowledge.fell or trace.drive.told(RemarkKind.RECOVERING):
        return Doubt.FELL
    return Doubt.SHUT_OUT if knowledge.shut_out else None


def _may_have_died(trace: Trace, closing: Closing, since_ns: int) -> bool:
    """Whether the server's death may be what ended the connection, or kept it from beginning."""
    end = closing.server_end
    return trace.drive.failure is not None or (end is not None and end.time_ns >= since_ns)


_GAPS = {
    Gap.ENDED: Doubt.CAPTURE_ENDED,
    Gap.DROPPED: Doubt.PACKETS_DROPPED,
    Gap.MISSING: Doubt.PACKETS_MISSING,
    None: Doubt.PACKETS_MISSING,
}


def _notes(given: RuleInput) -> Iterator[str]:
    if given.outcome is Outcome.ENDED_BEFORE_START:
        how = ending_words(words_of(given.closing))
        yield f"the server ended the connection before the sequence began: {how}"
    if given.trace.coverage is Coverage.NONE:
        yield "no capture: known from our own socket, which cannot see a reset after an EOF"
    if given.outside_tls:
        yield f"{given.outside_tls} bytes that are no TLS came after TLS had begun"
    if given.foreign_fin:
        yield f"the FIN in the server's name is another machine's: {'; '.join(given.foreign_fin)}"
    if given.cut_off is not None:
        yield f"{given.cut_off}: of its duties nothing is said"
    if given.trace.left_out:
        yield f"{given.trace.left_out} segments, records or events in the middle were not kept"
