"""One trial judged: everything that the report says of it, in one value, made once."""

from __future__ import annotations

from collections.abc import Iterator

from tlsprobe.judge.causes import resets_of
from tlsprobe.judge.closing import axes_of, closing_of, outcome_of, timing_of, words_of
from tlsprobe.judge.early import ended_before_start, ending_words
from tlsprobe.judge.ladder import ladder_of
from tlsprobe.judge.rules import RuleInput, apply_rules, rule_input
from tlsprobe.model.judgement import Doubt, Judgement, LadderLine, Outcome
from tlsprobe.model.knowledge import NOTHING_KNOWN, Knowledge
from tlsprobe.model.trace import Coverage, Gap, Trace


def judge(trace: Trace, knowledge: Knowledge = NOTHING_KNOWN) -> Judgement:
    """Axes, outcome, signature, the cause of every RST, and what each rule says."""
    trace = ended_before_start(trace) or trace
    closing = closing_of(trace)
    axes = axes_of(trace, closing)
    outcome = outcome_of(trace, closing, axes)
    resets = resets_of(trace, knowledge)
    given = rule_input(trace, closing, axes, outcome, resets)
    return Judgement(
        outcome=outcome,
        axes=axes,
        words=words_of(closing),
        resets=resets,
        results=apply_rules(given),
        doubt=_doubt(trace),
        timing_us=timing_of(trace, closing),
        notes=tuple(_notes(given)),
    )


def ladder_for(trace: Trace, judgement: Judgement) -> tuple[LadderLine, ...]:
    """A judged trace, packet by packet: what a report shows of it."""
    trace = ended_before_start(trace) or trace
    return ladder_of(trace, closing_of(trace), judgement.resets)


def _doubt(trace: Trace) -> Doubt | None:
    if trace.coverage is Coverage.HOLES:
        return _GAPS[trace.gap]
    return Doubt.ENDED_EARLY if trace.drive.ended_early else None


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
    if given.trace.left_out:
        yield f"{given.trace.left_out} segments, records or events in the middle were not kept"
