"""An explained capture as notices: a notice for each kind of reset, and for each trouble."""

from __future__ import annotations

from collections.abc import Iterator

from tlsprobe.model.explanation import (
    ExplainedFlow,
    ExplainedReset,
    Explanation,
    Harm,
    TroubleKind,
)
from tlsprobe.report.ci.notice import About, Notice, Place, Weight
from tlsprobe.report.explain import first_of_each, server_of
from tlsprobe.report.ladder import aligned, rungs_of
from tlsprobe.report.plurals import counted
from tlsprobe.report.troubles import trouble_sentence

STDIN = "-"
"""The name of a capture that is no file."""

EXAMPLES = 3
"""So many connections of a trouble are named."""

_WEIGHTS = {Harm.LOST: Weight.ERROR, Harm.ERROR: Weight.ERROR, Harm.UNCLEAR: Weight.WARNING}


def notices_of_explanation(explanation: Explanation) -> list[Notice]:
    """What is amiss in a capture, the gravest first: what hurts somebody is an error."""
    name = explanation.source.name
    place = None if name == STDIN else Place(name)
    found = [*_resets(explanation, place), *_troubles(explanation, place)]
    return sorted(found, key=lambda notice: notice.weight.rank)


def _resets(explanation: Explanation, place: Place | None) -> Iterator[Notice]:
    """A notice for each server, side, cause and harm; the first connection is the example."""
    kinds: dict[tuple[str, ...], list[tuple[ExplainedFlow, ExplainedReset]]] = {}
    for flow in explanation.flows:
        for one in first_of_each(flow):
            key = server_of(flow), str(one.reset.side), str(one.reset.cause), str(one.harm)
            kinds.setdefault(key, []).append((flow, one))
    for kind, seen in kinds.items():
        flow, one = min(seen, key=lambda pair: not pair[0].ladder)
        server, cause = server_of(flow), one.reset.cause
        how = "in place of a FIN" if one.reset.before_fin else "after its FIN"
        title = f"{server}: the {one.reset.side} sent an RST {how}: {cause}"
        yield Notice(
            id="/".join(("reset", *kind)),
            about=About(f"reset-{cause}", f"RST: {cause.row.meaning}"),
            weight=_WEIGHTS.get(one.harm, Weight.NOTE),
            target=server,
            title=f"{title} ({counted(len(seen), 'connection')})",
            lines=tuple(_lines(flow, one)),
            place=place,
        )


def _lines(flow: ExplainedFlow, one: ExplainedReset) -> Iterator[str]:
    yield f"hurts: {one.harm}: {one.helps.hurts}"
    yield f"example: {flow.client} to {flow.server}, packet {one.reset.packet}"
    yield from (f"- {sentence}" for sentence in one.reset.evidence)
    yield from (f"do: {sentence}" for sentence in one.helps.sentences)
    yield from aligned(rungs_of(flow.ladder))


def _troubles(explanation: Explanation, place: Place | None) -> Iterator[Notice]:
    """A notice for each server and kind of trouble; the first connection is the example."""
    kinds: dict[tuple[str, TroubleKind], list[str]] = {}
    for flow in explanation.flows:
        for trouble in flow.troubles:
            said = f"{flow.client} to {server_of(flow)}: {trouble_sentence(trouble)}"
            kinds.setdefault((server_of(flow), trouble.kind), []).append(said)
    for (server, kind), sentences in kinds.items():
        yield Notice(
            id=f"trouble/{server}/{kind}",
            about=About(f"trouble-{kind}", f"no reset, and yet amiss: {kind}"),
            weight=Weight.WARNING,
            target=server,
            title=f"{server}: {kind} ({counted(len(sentences), 'connection')})",
            lines=tuple(sentences[:EXAMPLES]),
            place=place,
        )
