"""A fuzz run as notices: a notice for each failure."""

from __future__ import annotations

from collections.abc import Iterator

from tlsprobe.judge.rules import RULES
from tlsprobe.model.fuzz import FuzzFailure, FuzzRun
from tlsprobe.model.judgement import Level
from tlsprobe.report.ci.notice import About, Notice, Place, Since, Weight
from tlsprobe.report.ci.of_run import UNMEASURED_ABOUT
from tlsprobe.report.ladder import aligned, rungs_of
from tlsprobe.report.pages.fuzz import describe_confirmation
from tlsprobe.report.rulebook import rule_url


def is_news(failure: FuzzFailure) -> bool:
    """Whether nobody knew of it, or accepts it."""
    return not failure.known and not failure.waived


def is_starved(run: FuzzRun) -> bool:
    """Whether too little was tried for a silence about new failures to mean anything."""
    return run.starved and not any(map(is_news, run.failures))


def counting(run: FuzzRun, fail_on: str) -> tuple[FuzzFailure, ...]:
    """The failures that count: not known before, not waived, as grave as ``--fail-on`` asks for."""
    new = filter(is_news, run.failures)
    if fail_on == "never":
        return ()
    return tuple(f for f in new if fail_on == "warn" or f.level == Level.MUST)


def notices_of_fuzz(run: FuzzRun, fail_on: str, place: Place | None = None) -> list[Notice]:
    """What there is to say of a fuzz run, the gravest first. ``fail_on`` as on the command line."""
    counts = counting(run, fail_on)
    found = [_failure(one, run, one in counts, place) for one in run.failures]
    if is_starved(run):
        target, why = run.target.name, f"too little was tried: {run.ended_by}"
        title = f"{target}: {UNMEASURED_ABOUT.title}"
        found.append(
            Notice("starved", UNMEASURED_ABOUT, Weight.ERROR, target, title, (why,), place)
        )
    return sorted(found, key=lambda notice: notice.weight.rank)


def describe_failure(failure: FuzzFailure) -> str:
    """A failure in a line: the close, what it breaks, how often, and the file that replays it."""
    versions = " and ".join(failure.versions or (failure.tls,))
    known = " (known)" if failure.known else ""
    known += f" (waived: {failure.waived})" if failure.waived else ""
    beside = f" beside {failure.beside} in TLS {failure.beside_tls}" if failure.beside else ""
    what = f"{failure.steps} in TLS {versions}{beside}: {failure.text}"
    return f"{what}; {describe_confirmation(failure)}; {failure.file}{known}"


def _failure(one: FuzzFailure, run: FuzzRun, counts: bool, place: Place | None) -> Notice:
    rule = RULES.get(one.rule)
    text = (f"{rule.id} ({rule.level}): {rule.text} ({rule.source})",) if rule else ()
    return Notice(
        id=f"fuzz/{one.property}/{one.rule}/{one.cluster}/{one.steps}",
        about=About(f"fuzz-{one.property}", f"breaks {one.property}", text, rule_url(one.rule)),
        weight=Weight.ERROR if counts else Weight.NOTE,
        target=run.target.name,
        title=f"{run.target.name}: {one.property} ({one.rule})",
        lines=(describe_failure(one), *_lines(one)),
        place=place,
        waived=one.waived,
        since=Since.SAME if one.known else Since.NOT_COMPARED,
    )


def _lines(one: FuzzFailure) -> Iterator[str]:
    if one.cause is not None:
        yield f"cause: {one.cause.cause} (confidence {one.cause.confidence})"
        yield from (f"- {sentence}" for sentence in one.cause.evidence)
        yield from (f"do: {sentence}" for sentence in one.cause.remedy)
    yield f"again: tlsprobe run --sequence {one.file}"
    yield from aligned(rungs_of(one.ladder))
