"""One trace judged: everything that the report says of a trial, in one value."""

from __future__ import annotations

from collections.abc import Container, Iterator

from tlsprobe.judge.cause import resets_of
from tlsprobe.judge.closing import axes_of, closing_of, outcome_of, signature_of, timing_of
from tlsprobe.judge.early import ended_before_start, ending_words
from tlsprobe.judge.ladder import ladder_of
from tlsprobe.judge.rules import RuleInput, apply_rules
from tlsprobe.model.judgement import Judgement, Outcome, Result
from tlsprobe.model.trace import Coverage, Trace


def judge(trace: Trace, told: Container[str] = ()) -> Judgement:
    """Axes, outcome, signature, the cause of every RST, and what each rule says.

    ``told`` holds signatures whose ladder is known already and need not be drawn again.
    """
    trace = ended_before_start(trace) or trace
    closing = closing_of(trace)
    signature = signature_of(closing)
    axes = axes_of(trace, closing)
    outcome = outcome_of(trace, closing, axes)
    resets = resets_of(trace)
    given = RuleInput(trace, closing, axes, outcome, resets)
    results = apply_rules(given)
    return Judgement(
        outcome=outcome,
        axes=axes,
        signature=signature,
        resets=resets,
        results=tuple(r for r in results if r.result is not Result.NOT_APPLICABLE),
        conclusive=trace.coverage is not Coverage.HOLES and not trace.drive.ended_early,
        timing_us=timing_of(trace, closing),
        ladder=ladder_of(trace, closing, resets) if signature not in told else (),
        notes=tuple(_notes(given)),
    )


def _notes(given: RuleInput) -> Iterator[str]:
    if given.outcome is Outcome.ENDED_BEFORE_START:
        how = ending_words(signature_of(given.closing))
        yield f"the server ended the connection before the sequence began: {how}"
    if given.trace.coverage is Coverage.NONE:
        yield "no capture: told by our own socket, which cannot see a reset behind an EOF"
    if given.outside_tls:
        yield f"{given.outside_tls} bytes that are no TLS came after TLS had begun"
