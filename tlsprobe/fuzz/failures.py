"""From what was confirmed, and what was not, to the entries of the report."""

from __future__ import annotations

from collections.abc import Iterator

from tlsprobe.fuzz.suspects import Suspect, Suspects
from tlsprobe.judge.remedies import remedy_of, situation_of
from tlsprobe.judge.rules import RULES
from tlsprobe.model.fuzz import FuzzCause, FuzzFailure, Unrepeated
from tlsprobe.model.judgement import Reset


def failures_of(suspects: Suspects) -> tuple[FuzzFailure, ...]:
    """The failures, the gravest first."""
    return tuple(_failure(suspects, suspect) for suspect in suspects.every())


def unrepeated_of(suspects: Suspects) -> tuple[Unrepeated, ...]:
    """What was seen and is no failure: it did not show again, or there was no time to ask."""
    return tuple(_unrepeated(suspects))


def _unrepeated(suspects: Suspects) -> Iterator[Unrepeated]:
    for (violation, seen, _), count, tried in suspects.left():
        example, signature = seen.example, seen.judgement.signature
        what = violation.name, violation.rule, example.steps, example.tls, signature
        yield Unrepeated(*what, violation.text, count, tried)


def _failure(suspects: Suspects, suspect: Suspect) -> FuzzFailure:
    violation, observed = suspect.violation, suspect.observed
    reset = observed.reset
    what = str(reset.cause) if reset is not None else violation.name
    return FuzzFailure(
        property=violation.name,
        rule=violation.rule,
        steps=suspect.shortest.steps,
        tls=suspect.shortest.tls,
        signature=observed.judgement.signature,
        confirmed=f"{suspect.broke}/{suspect.runs}",
        file="",
        cluster=f"{what}: {observed.judgement.signature}",
        text=violation.text,
        cause=_cause(reset) if reset is not None else None,
        also=tuple(dict.fromkeys(_also(suspect))),
        found=suspect.found.steps,
        examples=suspect.examples,
        seen=max(1, suspects.seen(suspect)),
        shrunk=suspect.shrunk,
        ends=dict(suspect.ends.most_common()) if len(suspect.ends) > 1 else {},
        suspects=suspect.suspects,
        rate=suspect.rate,
        versions=tuple(suspect.versions),
        together=suspect.shortest.together,
        provoked=observed.provoked,
        kind_of_reset=suspect.kind.cause,
        level=str(RULES[violation.rule].level) if violation.rule in RULES else "",
        ladder=observed.ladder,
        other=suspect.other.ladder if suspect.other is not None else (),
    )


def _also(suspect: Suspect) -> Iterator[str]:
    """Other properties that the same connections broke."""
    for kind in sorted(suspect.kinds):
        if kind[:2] != suspect.kind[:2]:
            yield f"{kind.name} ({kind.rule})"


def _cause(reset: Reset) -> FuzzCause:
    remedies = remedy_of(situation_of(reset)).sentences
    return FuzzCause(str(reset.cause), reset.confidence, reset.evidence, remedies)
