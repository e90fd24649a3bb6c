"""From what was confirmed, and what was not, to the entries of the report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from tlsprobe.fuzz.observation import Observation
from tlsprobe.fuzz.properties import PROPERTIES, Kind, Needs
from tlsprobe.fuzz.suspects import Suspect, Suspects, severity
from tlsprobe.judge.families import Family
from tlsprobe.judge.remedies import remedy_of, situation_of
from tlsprobe.judge.rules import RULES
from tlsprobe.model.fuzz import Excused, FuzzCause, FuzzFailure, Unrepeated
from tlsprobe.model.judgement import Reset


class Whose(NamedTuple):
    """What was seen of a target, and which one that is; the name is empty if there is but one.

    What helps against a reset depends on its ``protocol`` and ``family``.
    """

    suspects: Suspects
    name: str = ""
    protocol: str = ""
    family: Family | None = None


def failures_of(whose: Iterable[Whose]) -> tuple[FuzzFailure, ...]:
    """The failures of all targets, the gravest first."""
    every = [(suspect, one) for one in whose for suspect in one.suspects.every()]
    every.sort(key=lambda one: severity(one[0].kind))
    first = dict[tuple[Kind, str], int]()
    found = []
    for number, (suspect, one) in enumerate(every, 1):
        like = first.setdefault((suspect.kind.in_any_version, one.name), number)
        found.append(replace(_failure(one, suspect), like=like if like < number else 0))
    return tuple(found)


def unrepeated_of(whose: Iterable[Whose]) -> tuple[Unrepeated, ...]:
    """What was seen and is no failure: it did not show again, or there was no time to ask."""
    return tuple(one for each in whose for one in _unrepeated(each.suspects, each.name))


def excused_of(whose: Iterable[Whose]) -> tuple[Excused, ...]:
    """What was broken by connections in which we ourselves had left what a server must bear."""
    return tuple(one for each in whose for one in _excused(each.suspects, each.name))


def _excused(suspects: Suspects, target: str) -> Iterator[Excused]:
    for (why, _), examples in sorted(suspects.excused.items()):
        violation, seen, _ = next(iter(examples.values()))
        example, signature = seen.example, seen.judgement.signature
        what = violation.name, violation.rule, example.steps, example.tls, signature
        yield Excused(why, *what, violation.text, len(examples), target)


def _unrepeated(suspects: Suspects, target: str) -> Iterator[Unrepeated]:
    for (violation, seen, _), count, tried in suspects.left():
        example, signature = seen.example, seen.judgement.signature
        what = violation.name, violation.rule, example.steps, example.tls, signature
        yield Unrepeated(*what, violation.text, count, tried, target)


def _failure(whose: Whose, suspect: Suspect) -> FuzzFailure:
    violation, observed = suspect.violation, suspect.observed
    reset, beside = observed.reset, suspect.shortest.beside
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
        text=f"{violation.text}{_since(suspect)}",
        cause=_cause(reset, whose, observed) if reset is not None else None,
        also=tuple(dict.fromkeys(_also(suspect))),
        found=suspect.found.steps,
        examples=suspect.examples,
        seen=max(1, whose.suspects.seen(suspect)),
        shrunk=suspect.shrunk,
        ends=dict(suspect.ends.most_common()) if len(suspect.ends) > 1 else {},
        suspects=suspect.suspects,
        rate=suspect.rate,
        versions=tuple(suspect.versions),
        together=suspect.shortest.together,
        beside=beside.steps if beside is not None else "",
        beside_tls=beside.tls if beside is not None else "",
        provoked=observed.provoked,
        kind_of_reset=suspect.kind.cause,
        level=str(RULES[violation.rule].level) if violation.rule in RULES else "",
        ladder=observed.ladder,
        shaped=suspect.shortest.sequence.is_shaped,
        since=0 if suspect.well is None else max(0, suspect.sighting.seen.number - 1),
        other=suspect.other.ladder if suspect.other is not None else (),
        target="" if PROPERTIES[violation.name].needs is Needs.TARGETS else whose.name,
    )


def _since(suspect: Suspect) -> str:
    """That it was not so from the start: a server that was just started may not show it."""
    if suspect.well is None:
        return ""
    before = f"the same close ended well in connection {suspect.well.number} of this run"
    return f"; {before}: it may take what the server met since, which a replay need not drive"


def _also(suspect: Suspect) -> Iterator[str]:
    """Other properties that the same connections broke."""
    for kind in sorted(suspect.kinds):
        if kind[:2] != suspect.kind[:2]:
            yield f"{kind.name} ({kind.rule})"


def _cause(reset: Reset, whose: Whose, observed: Observation) -> FuzzCause:
    about = whose.protocol, whose.family, observed.judgement.axes.reader
    remedies = remedy_of(situation_of(reset, *about)).sentences
    return FuzzCause(str(reset.cause), reset.confidence, reset.evidence, remedies)
