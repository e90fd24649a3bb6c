"""The page of an explained capture: for each kind of reset its cause, what helps, the packets."""

from __future__ import annotations

from collections.abc import Iterator

from tlsprobe.model.explanation import ExplainedFlow, ExplainedReset, Explanation, InputFacts
from tlsprobe.model.judgement import Verdict
from tlsprobe.report.blocks import (
    Block,
    BulletList,
    Code,
    CodeBlock,
    Field,
    Fields,
    Heading,
    Inline,
    Ladder,
    Note,
    Page,
    Paragraph,
    Strong,
    Text,
)
from tlsprobe.report.explain import Group, groups_of, quiet_of, reader_of
from tlsprobe.report.plurals import counted


def explain_page(explanation: Explanation, most: int | None = None) -> Page:
    """The whole page; of no more than ``most`` kinds of reset, where a reader wants one or two."""
    return tuple(_blocks(explanation, most))


def _blocks(explanation: Explanation, most: int | None) -> Iterator[Block]:
    yield Heading(1, "Why these connections were reset")
    yield BulletList(tuple(_source(explanation.source)))
    yield Paragraph((Strong(_summary(explanation)),))
    groups = groups_of(explanation)
    for group in groups[:most]:
        yield from _group(group)
    if most is not None and len(groups) > most:
        yield Note(f"{len(groups) - most} more kinds of reset are left out.")
    quiet = quiet_of(explanation)[:most]
    if quiet:
        yield Heading(2, "Without a reset")
        yield BulletList(tuple(map(_quiet, quiet)))


def _source(source: InputFacts) -> Iterator[str]:
    """What was read, and what was not, a sentence each."""
    other = f", {source.other} of them not TCP" if source.other else ""
    yield f"{source.name}: {source.kind}, {counted(source.packets, 'packet')}{other}"
    if source.skipped:
        where = f": {source.first_skipped}" if source.first_skipped else ""
        yield f"{counted(source.skipped, 'place')} could not be read; the first{where}"
    if source.truncated:
        yield source.truncated
    yield from source.notes


def _summary(explanation: Explanation) -> str:
    """How many connections were reset, and how many were not."""
    shown = sum(bool(flow.resets) for flow in explanation.flows)
    quiet = explanation.quiet + len(explanation.flows) - shown
    loud = shown + explanation.not_shown
    said = f"{counted(loud, 'connection')} with a reset" if loud else "no reset"
    hidden = f" ({explanation.not_shown} of them not shown)" if explanation.not_shown else ""
    return f"{said}{hidden}, {counted(quiet, 'connection')} without one"


def _group(group: Group) -> Iterator[Block]:
    flow = group.example
    yield Heading(2, _title(group))
    resets = _first_of_each(flow)
    fields = [Field("ended", (Code(flow.signature),))] if flow.signature else []
    for explained in resets:
        fields += _reset(explained)
    fields.append(Field("reader", reader_of(flow)))
    for remedy in dict.fromkeys(e.helps for e in resets):
        fields.append(Field("hurts", remedy.hurts))
        fields.append(Field("remedy", items=remedy.sentences))
    fields += [Field("note", note) for note in flow.notes]
    if group.count > 1:
        fields.append(Field("alike", _others(group)))
    yield Fields(tuple(fields))
    experiments = dict.fromkeys(e.experiment for e in resets if e.experiment)
    if experiments:
        yield Paragraph("What would settle it:")
        yield CodeBlock(tuple(experiments))
    if flow.ladder:
        yield Ladder(flow.ladder, client=flow.client, server=flow.server)


def _title(group: Group) -> tuple[Inline, ...]:
    flow = group.example
    more = [f"TLS {flow.tls}"] if flow.tls else []
    more += [] if flow.complete else ["captured in part"]
    more += [f"{group.count} times"] if group.count > 1 else []
    ends = (Code(flow.client), " to ", Code(flow.server))
    return (*ends, "".join(f", {words}" for words in more))


def _first_of_each(flow: ExplainedFlow) -> list[ExplainedReset]:
    """The first reset of each side and cause: echoes of it say nothing new."""
    first: dict[object, ExplainedReset] = {}
    for explained in flow.resets:
        first.setdefault((explained.reset.side, explained.reset.cause), explained)
    return list(first.values())


def _reset(explained: ExplainedReset) -> Iterator[Field]:
    reset = explained.reset
    when = "before any FIN of its own" if reset.before_fin else "after its FIN"
    yield Field(
        "reset",
        (
            f"packet {reset.packet}: the {reset.side} resets, {when}: ",
            Strong(reset.cause),
            f" ({reset.confidence} confidence)",
        ),
        verdict=Verdict.FAIL if reset.before_fin else Verdict.WARN,
    )
    if explained.trigger is not None:
        yield Field("provoked by", f"packet {explained.trigger}")
    if reset.evidence:
        yield Field("because", items=reset.evidence)
    if reset.alternatives:
        yield Field("or", ", ".join(reset.alternatives))


def _others(group: Group) -> str:
    more = ", ..." if group.count > len(group.others) + 1 else ""
    return f"{group.count} connections; besides this one {', '.join(group.others)}{more}"


def _quiet(group: Group) -> Text:
    signature = group.example.signature
    return (*_title(group), ": ", Code(signature)) if signature else _title(group)
