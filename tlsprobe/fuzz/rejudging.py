"""The connections of a fuzz run, judged again from its facts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from tlsprobe.campaign.results import replace_file
from tlsprobe.facts.file import FACTS_FILE, RecordedFacts
from tlsprobe.fuzz.folder import AGAINST
from tlsprobe.fuzz.observation import Observation
from tlsprobe.fuzz.properties import PROPERTIES, Property, broken_by
from tlsprobe.fuzz.trying import observation_of
from tlsprobe.language import parse
from tlsprobe.model.facts import Fact, TrialFact
from tlsprobe.model.fuzz import Example, ExampleLine
from tlsprobe.model.rejudged import CellChange, Difference, Rejudged
from tlsprobe.report.fuzz_document import EXAMPLES_FILE, encode_example, read_fuzz

_SAID = ("outcome", "signature", "causes", "broke", "failure")


def example_line(seen: Observation, why: str, broke: tuple[str, ...]) -> ExampleLine:
    """What ``examples.jsonl`` keeps of a connection; ``why`` it was made."""
    judgement, example = seen.judgement, seen.example
    return ExampleLine(
        example.steps,
        example.tls,
        why,
        str(judgement.outcome),
        judgement.signature,
        tuple(dict.fromkeys(str(reset.cause) for reset in judgement.resets)),
        broke,
        seen.failure,
        seen.number,
        example.together,
    )


def fuzzed_again(folder: Path, facts: RecordedFacts, *, write: bool) -> Rejudged:
    """A fuzz run's connections; its failures were found by what was said of them then, and stay.

    ``write`` replaces the lines that have changed. Raises UsageError.
    """
    run, lines = read_fuzz(folder)
    asked = [PROPERTIES[name] for name in run.properties if name in PROPERTIES]
    second = folder / AGAINST / FACTS_FILE
    stores = [facts, *([RecordedFacts(second)] if second.exists() else [])]
    again = lines_again(chain.from_iterable(s.read() for s in stores), lines, asked)
    changes = line_changes(lines, again)
    written = bool(changes) and write
    if written:
        replace_file(folder / EXAMPLES_FILE, b"".join(map(encode_example, again)))
    return Rejudged(str(folder), run.target.name, len(lines), changes, written)


def lines_again(
    facts: Iterable[Fact], lines: Sequence[ExampleLine], asked: Sequence[Property]
) -> tuple[ExampleLine, ...]:
    """The same lines by today's rules; those whose facts are missing stay as they are."""
    by_number = {line.number: line for line in lines}
    again = dict(_judged(facts, by_number, asked))
    return tuple(again.get(line.number, line) for line in lines)


def _judged(
    facts: Iterable[Fact], by_number: Mapping[int, ExampleLine], asked: Sequence[Property]
) -> Iterator[tuple[int, ExampleLine]]:
    for fact in facts:
        if isinstance(fact, TrialFact) and (line := by_number.get(fact.trial.index)) is not None:
            example = Example(parse(line.steps), line.tls, line.together)
            seen = observation_of(example, fact, patient=False)
            yield line.number, example_line(seen, line.why, broken_by(seen, asked))


def line_changes(
    before: Iterable[ExampleLine], now: Iterable[ExampleLine]
) -> tuple[CellChange, ...]:
    """The closes of which something else is said; those that changed alike are listed once."""
    changes = (
        CellChange(was.steps, was.tls, tuple(_differences(was, is_now)))
        for was, is_now in zip(before, now, strict=True)
    )
    return tuple(dict.fromkeys(change for change in changes if change.differences))


def _differences(was: ExampleLine, now: ExampleLine) -> Iterator[Difference]:
    for name in _SAID:
        values = getattr(was, name), getattr(now, name)
        if values[0] != values[1]:
            yield Difference(name, *map(_text, values))


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(value)
    return "" if value is None else str(value)
