"""An explanation as Markdown that pastes into a ticket, with a small sequence diagram."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tlsprobe.judge.remedies import CAUSES
from tlsprobe.model.explanation import ExplainedFlow, ExplainedReset, Explanation
from tlsprobe.model.judgement import LadderLine
from tlsprobe.model.trace import Side
from tlsprobe.report.escape import markdown_code, markdown_text, printable
from tlsprobe.report.explain import READERS, Group, groups_of, quiet_of
from tlsprobe.report.explain_terminal import count_words, source_words

STEPS = 10
"""Arrows in a diagram: more is not looked at in a ticket."""

MOST_GROUPS = 20
"""So many kinds of reset are told; a ticket is about one or two."""


def explanation_markdown(explanation: Explanation) -> str:
    """The whole page."""
    return "\n".join(_page(explanation)) + "\n"


def _page(explanation: Explanation) -> Iterator[str]:
    yield "## Why these connections were reset"
    yield ""
    for text in (*source_words(explanation.source), count_words(explanation)):
        yield f"- {markdown_text(text)}"
    groups = groups_of(explanation)
    for group in groups[:MOST_GROUPS]:
        yield from _group(group)
    if len(groups) > MOST_GROUPS:
        yield f"\n{len(groups) - MOST_GROUPS} more kinds of reset are left out."
    for group in quiet_of(explanation)[:MOST_GROUPS]:
        yield f"\n{_ends(group.example)}: no reset, {group.count} times"


def _ends(flow: ExplainedFlow) -> str:
    return f"{markdown_code(flow.client)} to {markdown_code(flow.server)}"


def _group(group: Group) -> Iterator[str]:
    flow = group.example
    yield ""
    times = f", and {group.count - 1} more like it" if group.count > 1 else ""
    yield f"### {_ends(flow)}{times}"
    yield ""
    for told in flow.resets:
        yield from _reset(told)
    yield f"- A reader in between saw {markdown_text(READERS[flow.reader])}."
    for note in flow.notes:
        yield f"- {markdown_text(note)}"
    for cause in dict.fromkeys(told.reset.cause for told in flow.resets):
        yield f"- **Hurts:** {markdown_text(CAUSES[cause].hurts)}"
        for sentence in CAUSES[cause].remedies:
            yield f"  - {markdown_text(sentence)}"
    yield from _diagram(flow)


def _reset(told: ExplainedReset) -> Iterator[str]:
    reset = told.reset
    when = "before any FIN of its own" if reset.before_fin else "after its FIN"
    trigger = f", provoked by packet {told.trigger}" if told.trigger is not None else ""
    yield (
        f"- Packet {reset.packet}: the {reset.side} resets {when}{trigger}: **{reset.cause}**"
        f" ({reset.confidence} confidence)"
    )
    for sentence in reset.evidence:
        yield f"  - {markdown_text(sentence)}"
    if reset.alternatives:
        yield f"  - or: {', '.join(reset.alternatives)}"
    if told.experiment:
        yield f"  - to settle it: {markdown_code(told.experiment)}"


def _diagram(flow: ExplainedFlow) -> Iterator[str]:
    if not flow.ladder:
        return
    yield ""
    yield "```mermaid"
    yield "sequenceDiagram"
    yield f"    participant C as {_plain(flow.client)}"
    yield f"    participant S as {_plain(flow.server)}"
    for line in _last(flow.ladder):
        arrow = "-x" if "r" in line.letters.lower() else "->>"
        ends = f"C{arrow}S" if line.side is Side.CLIENT else f"S{arrow}C"
        number = "" if line.packet is None else f"{line.packet}. "
        yield f"    {ends}: {number}{_plain(line.text)}"
    yield "```"


def _last(ladder: tuple[LadderLine, ...]) -> tuple[LadderLine, ...]:
    """The lines around the first RST."""
    resets = [i for i, line in enumerate(ladder) if "r" in line.letters.lower()]
    end = min(len(ladder), (resets[0] if resets else len(ladder)) + 3)
    return ladder[max(0, end - STEPS) : end]


def _plain(text: str) -> str:
    """Words that mermaid takes as they are: no line ends, comments or markup."""
    said = re.sub(r"#(?=\d)", "packet ", printable(text))
    return re.sub(r"[^\w .,:()\[\]/-]", "?", said).replace("--", "- -")
