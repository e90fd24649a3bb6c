"""An explanation as lines for a terminal: for each kind of reset its story, and the packets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tlsprobe.judge.remedies import CAUSES
from tlsprobe.model.explanation import ExplainedFlow, ExplainedReset, Explanation, InputFacts
from tlsprobe.report.escape import printable
from tlsprobe.report.explain import READERS, Group, groups_of, quiet_of
from tlsprobe.report.glyphs import Glyphs, fold, glyphs_for
from tlsprobe.report.ladder import aligned, rungs_of

_LABEL = 12


class Line(NamedTuple):
    """A line without its end, and a style of rich's."""

    text: str
    style: str = ""


def explanation_lines(explanation: Explanation, width: int, encoding: str) -> Iterator[Line]:
    """The whole page. Everything unseen is spelled out."""
    glyphs = glyphs_for(encoding)
    for line in _page(explanation, width, glyphs):
        yield Line(printable(line.text, encoding), line.style)


def _page(explanation: Explanation, width: int, glyphs: Glyphs) -> Iterator[Line]:
    yield from (Line(text) for text in source_words(explanation.source))
    yield Line(count_words(explanation), "bold")
    for group in groups_of(explanation):
        yield Line("")
        yield from _group(group, width, glyphs)
    for group in quiet_of(explanation):
        yield Line("")
        yield from _title(group, glyphs)


def source_words(source: InputFacts) -> Iterator[str]:
    """What was read, and what was not, a sentence each."""
    other = f", {source.other} of them not TCP" if source.other else ""
    yield f"{source.name}: {source.kind}, {_many(source.packets, 'packet')}{other}"
    if source.skipped:
        where = f": {source.first_skipped}" if source.first_skipped else ""
        yield f"{_many(source.skipped, 'place')} could not be read; the first{where}"
    if source.truncated:
        yield source.truncated
    yield from source.notes


def count_words(explanation: Explanation) -> str:
    """How many connections were reset, and how many were not."""
    loud = sum(bool(flow.resets) for flow in explanation.flows)
    quiet = explanation.quiet + len(explanation.flows) - loud
    said = f"{_many(loud + explanation.untold, 'connection')} with a reset"
    if not loud and not explanation.untold:
        said = "no reset"
    untold = f" ({explanation.untold} more than are told here)" if explanation.untold else ""
    return f"{said}{untold}, {_many(quiet, 'connection')} without one"


def _group(group: Group, width: int, glyphs: Glyphs) -> Iterator[Line]:
    flow = group.example
    yield from _title(group, glyphs)
    for told in _worth_telling(flow):
        yield from _reset(told, width)
    yield from _row("reader", READERS[flow.reader], width)
    yield from _advice(flow, width)
    for note in flow.notes:
        yield from _row("note", note, width)
    if group.count > 1:
        more = ", ".join(group.others) + (" ..." if group.count > len(group.others) + 1 else "")
        yield from _row("alike", f"{group.count} connections; besides this one {more}", width)
    yield Line("")
    for text in aligned(rungs_of(flow.ladder, glyphs)):
        yield Line(text, "bold red" if text.startswith(">") else "")


def _title(group: Group, glyphs: Glyphs) -> Iterator[Line]:
    flow = group.example
    tls = f"  TLS {flow.tls}" if flow.tls else ""
    part = "" if flow.complete else "  (captured in part)"
    times = f"  {group.count} times" if group.count > 1 else ""
    yield Line(f"{flow.client} {glyphs.to_server} {flow.server}{tls}{part}{times}", "bold")
    if flow.signature:
        yield Line(f"  {'ended':<{_LABEL}}{flow.signature}")


def _worth_telling(flow: ExplainedFlow) -> list[ExplainedReset]:
    """The first reset of each side and cause: echoes of it say nothing new."""
    first: dict[object, ExplainedReset] = {}
    for told in flow.resets:
        first.setdefault((told.reset.side, told.reset.cause), told)
    return list(first.values())


def _reset(told: ExplainedReset, width: int) -> Iterator[Line]:
    reset = told.reset
    when = "before any FIN of its own" if reset.before_fin else "after its FIN"
    headline = (
        f"packet {reset.packet}: the {reset.side} resets, {when}: {reset.cause}"
        f" ({reset.confidence} confidence)"
    )
    for index, part in enumerate(fold(headline, max(width - 4, 24))):
        indent = "    " if index else "  "
        yield Line(f"{indent}{part}", "bold red" if reset.before_fin else "yellow")
    if told.trigger is not None:
        yield from _row("provoked by", f"packet {told.trigger}", width)
    for index, sentence in enumerate(reset.evidence):
        yield from _row("" if index else "because", sentence, width)
    if reset.alternatives:
        yield from _row("or", ", ".join(reset.alternatives), width)
    if told.experiment:
        yield Line(f"    {'settle it':<{_LABEL}}{told.experiment}")


def _advice(flow: ExplainedFlow, width: int) -> Iterator[Line]:
    for cause in dict.fromkeys(told.reset.cause for told in _worth_telling(flow)):
        remedy = CAUSES[cause]
        yield from _row("hurts", remedy.hurts, width)
        for sentence in remedy.remedies:
            yield from _row("remedy", sentence, width)


def _row(label: str, text: str, width: int) -> Iterator[Line]:
    for index, part in enumerate(fold(text, max(width - _LABEL - 4, 24))):
        yield Line(f"    {'' if index else label:<{_LABEL}}{part}")


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
