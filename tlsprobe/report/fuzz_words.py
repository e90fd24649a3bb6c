"""A fuzz run in words: each failure with its close, packets, cause and file, then the coverage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tlsprobe.model.fuzz import FuzzCoverage, FuzzFailure, FuzzRun
from tlsprobe.report.glyphs import UNICODE, Glyphs
from tlsprobe.report.ladder import aligned, rungs_of

MOST_SHOWN = 8
"""Verbs, pairs and signatures that a report names; fuzz.json has them all."""


class Line(NamedTuple):
    """A line of the report and how it is drawn where there is colour."""

    text: str
    style: str = ""


def fuzz_lines(run: FuzzRun, glyphs: Glyphs = UNICODE) -> Iterator[Line]:
    """The report of a fuzz run."""
    yield Line(f"{run.target.name} ({run.target.profile}): {headline(run)}", "bold")
    for number, failure in enumerate(run.failures, 1):
        yield Line("")
        yield from _failure_lines(number, failure, glyphs)
    yield Line("")
    yield from _coverage_lines(run.coverage)
    yield from _fact_lines(run)


def counted(count: int, noun: str) -> str:
    """``1 failure``, ``2 failures``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def headline(run: FuzzRun) -> str:
    """What came out, in one line."""
    found = counted(len(run.failures), "failure") if run.failures else "no failure"
    against = f" against {run.against.name}" if run.against else ""
    examples, connections = counted(run.examples, "example"), counted(run.connections, "connection")
    tried = f"{examples}{against}, {connections}"
    return f"{found} in {tried}, seed {run.seed}" + (", interrupted" if run.interrupted else "")


def confirmed_words(failure: FuzzFailure) -> str:
    """How often it happened again: ``5/5``, ``2/5: a race``."""
    broke, runs = map(int, failure.confirmed.split("/"))
    if not runs:
        return "seen, and not run again"
    if broke == 0:
        return f"{failure.confirmed}: seen, and not again"
    return failure.confirmed if broke == runs else f"{failure.confirmed}: a race"


def _failure_lines(number: int, failure: FuzzFailure, glyphs: Glyphs) -> Iterator[Line]:
    yield Line(f"{number}. {failure.property} ({failure.rule}), TLS {failure.tls}", "bold yellow")
    yield Line(f"   {failure.steps}", "cyan")
    yield Line(f"   {failure.text}")
    for label, words in _told(failure):
        yield Line(f"   {label:10} {words}")
    yield from (Line(f"   {rung}") for rung in aligned(rungs_of(failure.ladder, glyphs)))


def _told(failure: FuzzFailure) -> Iterator[tuple[str, str]]:
    yield "confirmed", confirmed_words(failure)
    yield "signature", failure.signature or "nothing more was sent"
    if failure.ends:
        ended = "; ".join(f"{count} x {end}" for end, count in failure.ends.items())
        yield "ended", ended
    if failure.cause is not None:
        yield "cause", f"{failure.cause.cause} (confidence {failure.cause.confidence})"
        yield from (("", sentence) for sentence in failure.cause.evidence)
        yield from (("remedy", sentence) for sentence in failure.cause.remedy)
    if failure.also:
        yield "also", ", ".join(failure.also)
    shrunk = "" if failure.shrunk else "; there was no time to look for a shorter one"
    yield "found", f"after {failure.examples} examples, as: {failure.found}{shrunk}"
    yield "seen", f"{failure.seen} times; cluster '{failure.cluster}'"
    if failure.suspects:
        yield "suspects", f"the last {len(failure.suspects)} sequences before, newest first"
        yield from (("", suspect) for suspect in failure.suspects[:MOST_SHOWN])
    if failure.file:
        yield "file", failure.file


def _coverage_lines(coverage: FuzzCoverage) -> Iterator[Line]:
    yield Line("seen", "bold")
    parts = {
        "verbs": coverage.verbs,
        "pairs": coverage.pairs,
        "signatures": coverage.signatures,
    }
    for name, counts in parts.items():
        first = list(counts.items())[:MOST_SHOWN]
        more = f"; {len(counts) - len(first)} more" if len(counts) > len(first) else ""
        words = ", ".join(f"{what or '(nothing)'} ({count})" for what, count in first)
        yield Line(f"   {name:10} {len(counts)}: {words}{more}" if counts else f"   {name:10} 0")


def _fact_lines(run: FuzzRun) -> Iterator[Line]:
    yield Line(f"   {'asked':10} {', '.join(run.properties)}")
    if run.unmeasured:
        yield Line(f"   {'unmeasured':10} {run.unmeasured} examples of which nothing can be said")
    for note in run.notes:
        yield Line(f"   {'note':10} {note}")
