"""The page of a fuzz run: each failure with its close, packets, cause and file, then coverage."""

from __future__ import annotations

from collections.abc import Iterator

from tlsprobe.model.fuzz import (
    MOST_AT_ONCE,
    NEVER_RUN_AGAIN,
    Excused,
    FuzzFailure,
    FuzzRun,
    Unrepeated,
)
from tlsprobe.report.blocks import (
    Block,
    Code,
    CodeBlock,
    Field,
    Fields,
    Heading,
    Ladder,
    Names,
    Page,
    Text,
)
from tlsprobe.report.plurals import counted

FEW = 8
"""So many verbs, pairs and signatures are named where there is little room; fuzz.json has all."""

_DIFFERS = "The other, which it differs from"

SUSPECTS = 8
"""So many of the sequences before a failure are shown."""


def fuzz_page(run: FuzzRun) -> Page:
    """The whole page."""
    return (
        Heading(1, f"{run.target.name} ({run.target.profile}): {headline(run)}"),
        *(
            block
            for number, failure in enumerate(run.failures, 1)
            for block in _failure(number, failure)
        ),
        *_unrepeated(run),
        *_excused(run),
        Heading(2, "Seen"),
        Fields(tuple(_seen(run))),
    )


def headline(run: FuzzRun) -> str:
    """What came out, in one line."""
    found = counted(len(run.failures), "failure") if run.failures else "no failure"
    kinds = sum(not failure.like for failure in run.failures)
    found += f" of {counted(kinds, 'kind')}" if kinds < len(run.failures) else ""
    known = sum(failure.known for failure in run.failures)
    found += f" ({known} known)" if known else ""
    against = f" against {run.against.name}" if run.against else ""
    examples, connections = counted(run.examples, "example"), counted(run.connections, "connection")
    tried = f"{examples}{against}, {connections}"
    ended = ", interrupted" if run.interrupted else ""
    if run.starved and not run.failures:
        return f"too little was tried to say anything: {tried}, ended by {run.ended_by}"
    ended += "; too little was tried to say more" if run.starved else ""
    return f"{found} in {tried}, seed {run.seed}{ended}"


def describe_confirmation(failure: FuzzFailure) -> str:
    """How often it happened again: ``5/5``, or the rate of a race."""
    if failure.confirmed == NEVER_RUN_AGAIN:
        return "it cannot be run again"
    if failure.rate is None:
        return failure.confirmed
    broke, runs, least, most = failure.rate
    share, between = f"{100 * broke / runs:.0f} %", f"{100 * least:.1f} % to {100 * most:.1f} %"
    return f"a race: {broke} of {runs} runs, {share} ({between})"


def _unrepeated(run: FuzzRun) -> Iterator[Block]:
    """What was seen and is no failure: each thing once, with the closes that showed it."""
    closes: dict[tuple[str, str], list[str]] = {}
    for one in run.unrepeated:
        closes.setdefault((one.property, _unrepeated_words(one)), []).append(one.steps)
    if closes:
        yield Heading(2, "Seen, not repeated")
        yield Fields(tuple(Field(name, what, tuple(how)) for (name, what), how in closes.items()))


def _excused(run: FuzzRun) -> Iterator[Block]:
    """What was broken behind nonsense of ours, in a line each."""
    if run.excused:
        yield Heading(2, "Not held against the server")
        yield Fields(tuple(map(_excused_field, run.excused)))


def _excused_field(one: Excused) -> Field:
    at = f"at {one.target}, " if one.target else ""
    what = f"{at}{one.rule or one.property}, TLS {one.tls}: {one.text}"
    how_often = counted(one.seen, "example")
    return Field(one.property, f"in {how_often}: {one.why}", (what, one.steps))


def _unrepeated_words(one: Unrepeated) -> str:
    tried = f"tried again {counted(one.tried, 'time')}" if one.tried else "no time to try it again"
    how_often = "once" if one.seen == 1 else f"in {one.seen} examples"
    at = f"at {one.target}, " if one.target else ""
    what = f"{at}{one.rule or one.property}, TLS {one.tls}: {one.text}"
    return f"{what} (seen {how_often}, {tried})"


def _failure(number: int, failure: FuzzFailure) -> Iterator[Block]:
    versions = " and ".join(failure.versions or (failure.tls,))
    yield Heading(2, f"{number}. {failure.property} ({failure.rule}), TLS {versions}")
    yield CodeBlock((failure.steps,))
    yield Fields(tuple(_facts(failure)))
    if failure.ladder:
        yield Ladder(failure.ladder, in_order=not failure.shaped)
    if failure.other:
        whose = "The other, whose close harms it" if failure.beside else _DIFFERS
        yield Heading(3, whose)
        yield Ladder(failure.other, in_order=not failure.shaped)


def _facts(failure: FuzzFailure) -> Iterator[Field]:
    if failure.target:
        yield Field("target", failure.target)
    yield Field("broken", failure.text)
    yield Field("confirmed", describe_confirmation(failure))
    if failure.like:
        yield Field("alike", f"as failure {failure.like}: the same is broken, by another close")
    if failure.known:
        yield Field("known", "the baseline has it (--expect), so it does not count")
    if failure.waived:
        yield Field("waived", failure.waived)
    if failure.together > 1:
        yield Field("together", _together(failure))
    if failure.beside:
        other = (Code(failure.beside), f" in TLS {failure.beside_tls}, and not without it")
        yield Field("beside", ("only beside another connection that does ", *other))
    signature: Text = (Code(failure.signature),) if failure.signature else "nothing more was sent"
    yield Field("signature", signature)
    if failure.ends:
        yield Field("ended", "; ".join(f"{count} x {end}" for end, count in failure.ends.items()))
    if failure.cause is not None:
        cause = f"{failure.cause.cause} (confidence {failure.cause.confidence})"
        yield Field("cause", cause, failure.cause.evidence)
        if failure.cause.remedy:
            yield Field("remedy", items=failure.cause.remedy)
    if failure.also:
        yield Field("also", ", ".join(failure.also))
    shrunk = "" if failure.shrunk else "; there was no time to look for a shorter one"
    yield Field(
        "found", f"after {counted(failure.examples, 'example')}, as: {failure.found}{shrunk}"
    )
    yield Field("seen", f"{counted(failure.seen, 'time')}; cluster '{failure.cluster}'")
    if failure.suspects:
        which = f"the last {len(failure.suspects)} sequences before, newest first"
        yield Field("suspects", which, failure.suspects[:SUSPECTS])
    if failure.file:
        yield Field("file", failure.file)


def _together(failure: FuzzFailure) -> str:
    """How many connections it takes, or how many came before it, where nobody could ask."""
    if failure.confirmed == NEVER_RUN_AGAIN:
        return f"{failure.together} such connections came before"
    if failure.together > MOST_AT_ONCE:
        return f"only behind {failure.together} such connections"
    return f"only with {failure.together} connections at the same time"


def _seen(run: FuzzRun) -> Iterator[Field]:
    coverage = run.coverage
    yield _counts("verbs", coverage.verbs)
    yield _counts("pairs", coverage.pairs)
    yield _counts("signatures", coverage.signatures)
    yield Field("asked", ", ".join(run.properties))
    yield Field("ended by", run.ended_by)
    if run.unmeasured:
        yield Field("unmeasured", f"{counted(run.unmeasured, 'example')} without a result")
    yield from (Field("note", note) for note in run.notes)


def _counts(label: str, counts: dict[str, int]) -> Field:
    names = tuple(f"{what or '(nothing)'} ({count})" for what, count in counts.items())
    return Field(label, (f"{len(counts)}: ", Names(names, FEW)) if counts else "0")
