"""What is amiss at the end of a connection that nobody reset, in one sentence each."""

from __future__ import annotations

from tlsprobe.model.explanation import ExplainedFlow, Explanation, Trouble, TroubleKind
from tlsprobe.report.explain import server_of
from tlsprobe.report.glyphs import seconds  # noqa: F401
from tlsprobe.report.plurals import counted

_ORDER = tuple(TroubleKind)


def trouble_sentences(explanation: Explanation) -> list[str]:
    """Those of a kind at one server together, the worst kind first, then the most frequent."""
    found: dict[object, list[tuple[ExplainedFlow, Trouble]]] = {}
    for flow in explanation.flows:
        for trouble in flow.troubles:
            key = trouble.kind, trouble.side, trouble.what, server_of(flow)
            found.setdefault(key, []).append((flow, trouble))
    ranked = sorted(found.values(), key=lambda of: (_ORDER.index(of[0][1].kind), -len(of)))
    return [_of_all(of) for of in ranked]


def _of_all(of: list[tuple[ExplainedFlow, Trouble]]) -> str:
    flow, trouble = max(of, key=lambda one: one[1].seconds or 0)
    said = f"{flow.client} to {server_of(flow)}: {trouble_sentence(flow, trouble)}"
    if len(of) == 1:
        return said
    return f"{said}; {counted(len(of) - 1, 'more connection')} to this server likewise"


def trouble_sentence(flow: ExplainedFlow, trouble: Trouble) -> str:
    """What is amiss, with the packets that show it."""
    return ""
