"""The page of an explained capture: an overview, other trouble, then each kind of reset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tlsprobe.model.explanation import (
    LIVE,
    ExplainedFlow,
    ExplainedReset,
    Explanation,
    Harm,
    InputFacts,
)
from tlsprobe.model.judgement import Provoked, Verdict
from tlsprobe.report.blocks import (
    Block,
    BulletList,
    Code,
    CodeBlock,
    Column,
    Field,
    Fields,
    Heading,
    Inline,
    Ladder,
    Note,
    Page,
    Paragraph,
    Strong,
    Table,
    Text,
    Timeline,
)
from tlsprobe.report.clock import clock_in, day_of
from tlsprobe.report.explain import (
    HURTS_SHORT,
    Group,
    Row,
    Scan,
    first_of_each,
    groups_of,
    list_of,
    over_time,
    overview_of,
    quiet_of,
    reader_of,
    without_scans,
)
from tlsprobe.report.plurals import counted
from tlsprobe.report.troubles import trouble_sentences

MOST_ROWS = 6
"""Rows of the overview and of the lists, unless more are asked for."""

_HURTS = {
    Harm.LOST: "data is lost",
    Harm.ERROR: "a read or connect fails",
    Harm.UNCLEAR: "unclear",
    Harm.NOBODY: "nobody",
}
_BYTES = {
    Provoked.DATA: "data",
    Provoked.BEHIND_END: "data behind the end",
    Provoked.GOODBYE: "a goodbye",
    Provoked.CLOSE_NOTIFY: "a close_notify",
    Provoked.ALERT: "an alert",
    Provoked.HANDSHAKE: "handshake messages",
    Provoked.FIN: "a FIN",
    Provoked.SYN: "a SYN",
    Provoked.LATE: "a little data behind the end",
    Provoked.WANTED_SYN: "the answer to a SYN that is sent again",
    Provoked.UNSEEN: "something that was not captured",
    Provoked.BEHIND_RESET: "what followed its peer's RST",
}
_VERDICTS = {
    Harm.LOST: Verdict.FAIL,
    Harm.ERROR: Verdict.FAIL,
    Harm.UNCLEAR: Verdict.WARN,
    Harm.NOBODY: Verdict.INFO,
}


def explain_page(explanation: Explanation, most: int | None = None) -> Page:
    """The whole page; of no more than ``most`` kinds of reset and rows, if that is given."""
    return tuple(_blocks(explanation, most))


def explain_pages(explanations: Sequence[Explanation], most: int | None = None) -> Page:
    """The pages of several captures, as of an archive, below a table of them."""
    if len(explanations) == 1:
        return explain_page(explanations[0], most)
    heads = "capture", "reset connections", "other trouble", "nothing amiss"
    table = Table(tuple(map(Column, heads)), tuple(map(_counts, explanations)))
    pages = (block for one in explanations for block in _blocks(one, most, of_several=True))
    return Heading(1, f"{len(explanations)} captures"), table, *pages


def _counts(explanation: Explanation) -> tuple[Text, ...]:
    loud, troubled, quiet = _tally(explanation)
    return explanation.source.name, *(str(count or "") for count in (loud, troubled, quiet))


def _blocks(
    explanation: Explanation, most: int | None, *, of_several: bool = False
) -> Iterator[Block]:
    loud = [flow for flow in explanation.flows if flow.resets]
    scans, told = without_scans(loud)
    groups = groups_of(told)
    whose = f": {explanation.source.name}" if of_several else ""
    yield Heading(1, f"{_headline(explanation, bool(loud))}{whose}")
    yield BulletList(tuple(_source(explanation.source)))
    yield Paragraph((Strong(_summary(explanation)),))
    if len(loud) > 1:
        yield from _overview(explanation, told, most)
    if scans:
        yield BulletList(tuple(_scan(scan, explanation.source) for scan in scans[:most]))
    yield from _troubles(explanation, most)
    for group in groups[:most]:
        yield from _group(group)
    if most is not None and len(groups) > most:
        yield from _more(groups[most:], explanation.source)
    quiet = quiet_of(explanation)
    if quiet:
        yield Heading(2, "Nothing amiss")
        yield BulletList(tuple(map(_quiet, quiet[:most])))
        for group in quiet[:most]:
            if group.example.ladder:
                yield _ladder(group.example)


def _headline(explanation: Explanation, is_reset: bool) -> str:
    if is_reset or explanation.not_shown:
        return "Why these connections were reset"
    return "How these connections ended"


# --- what was read, and what there is in it -------------------------------------------------------


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
    """How many connections were reset, how many had other trouble, and how many neither."""
    loud, troubled, quiet = _tally(explanation)
    said = f"{counted(loud, 'connection')} with a reset" if loud else "no reset"
    hidden = f" ({explanation.not_shown} of them not shown)" if explanation.not_shown else ""
    passed = explanation.passed
    aside = f"; {counted(passed, 'reset connection')} not asked for" if passed else ""
    if not troubled:
        return f"{said}{hidden}, {counted(quiet, 'connection')} without one{aside}"
    return f"{said}{hidden}, {troubled} with other trouble, {quiet} with neither{aside}"


def _tally(explanation: Explanation) -> tuple[int, int, int]:
    """Connections with a reset, with other trouble alone, and with neither."""
    shown = sum(bool(flow.resets) for flow in explanation.flows)
    troubled = sum(bool(flow.troubles) and not flow.resets for flow in explanation.flows)
    quiet = explanation.quiet + len(explanation.flows) - shown - troubled
    return shown + explanation.not_shown, troubled, quiet


def _overview(
    explanation: Explanation, flows: list[ExplainedFlow], most: int | None
) -> Iterator[Block]:
    rows = overview_of(flows, explanation.tallies)
    shown = rows if most is None else rows[: max(most, MOST_ROWS)]
    if shown:
        heads = "resets", "hurts", "cause", "server", "when"
        cells = tuple(_row(row, explanation.source) for row in shown)
        yield Table(tuple(map(Column, heads)), cells)
    if len(shown) < len(rows):
        resets = sum(row.resets for row in rows[len(shown) :])
        yield Note(f"{len(rows) - len(shown)} more rows with {counted(resets, 'reset')}: --all")
    times = over_time(explanation.source, flows)
    if times is not None:
        source = explanation.source
        day = day_of(times.first_ns)
        of = "the first " if explanation.not_shown else ""
        caption = f"{of}{counted(sum(times.counts), 'reset')} over time{f', {day}' if day else ''}"
        first, last = (clock_in(source, at) for at in (times.first_ns, times.last_ns))
        yield Timeline(times.counts, first, last, caption)


def _row(row: Row, source: InputFacts) -> tuple[Text, ...]:
    several = row.connections != row.resets
    where = f" in {counted(row.connections, 'connection')}" if several else ""
    first, last = clock_in(source, row.first_ns), clock_in(source, row.last_ns)
    when = first if first == last else f"{first} to {last}"
    whose = f"{row.side}: {row.cause}"
    return f"{row.resets}{where}", _HURTS[row.harm], whose, row.server, when


def _scan(scan: Scan, source: InputFacts) -> str:
    first, last = clock_in(source, scan.first_ns), clock_in(source, scan.last_ns)
    let_in = scan.servers - scan.refused
    open_ = f", and was let in by {let_in} that it gave up at once" if let_in else ""
    return (
        f"a scan: {scan.client} tried {counted(scan.servers, 'port')} of"
        f" {counted(scan.hosts, 'host')}{_between(first, last)}: {scan.refused} refused it{open_}"
        f" (packet {scan.example} is one)"
    )


def _between(first: str, last: str) -> str:
    if not first:
        return ""
    return f" at {first}" if first == last else f" from {first} to {last}"


def _troubles(explanation: Explanation, most: int | None) -> Iterator[Block]:
    sentences = trouble_sentences(explanation)
    if sentences:
        yield Heading(2, "Trouble other than resets")
        shown = sentences if most is None else sentences[: max(most, MOST_ROWS)]
        yield BulletList(tuple(shown))
        if len(shown) < len(sentences):
            yield Note(f"{len(sentences) - len(shown)} more kinds of trouble: --all")
    if explanation.unlooked:
        yield Note(
            f"{counted(explanation.unlooked, 'connection')} without a reset were not looked at"
            " closely: --host, --port, --flow, --since and --until ask for fewer."
        )


def _more(left: list[Group], source: InputFacts) -> Iterator[Block]:
    """The kinds of reset that are not shown packet by packet, a line each."""
    yield Heading(2, f"{counted(len(left), 'more kind')} of reset")
    yield BulletList(tuple(map(_in_short, left[:MOST_ROWS])))
    further = len(left) - MOST_ROWS
    behind = f"; {further} further ones are not in this list" if further > 0 else ""
    ways = "--top N shows more, --all all"
    if source.kind != LIVE:
        ways = "--packet N shows one of them, --top N more, --all all"
    yield Note(f"{ways}{behind}.")


def _in_short(group: Group) -> str:
    flow = group.example
    version = f", TLS {flow.tls}" if flow.tls else ""
    resets = ", then ".join(_briefly(told) for told in first_of_each(flow))
    often = "once" if group.count == 1 else f"{group.count} times"
    return f"{often}{version}: {resets} (packet {flow.resets[0].reset.packet})"


def _briefly(told: ExplainedReset) -> str:
    reset = told.reset
    drawn = f" drawn by {_BYTES[reset.provoked]}" if reset.provoked in _BYTES else ""
    return f"the {reset.side}'s {reset.cause}{drawn}: {HURTS_SHORT[told.harm]}"


# --- one kind of reset ----------------------------------------------------------------------------


def _group(group: Group) -> Iterator[Block]:
    flow = group.example
    yield Heading(2, _title(group))
    resets = first_of_each(flow)
    fields = [Field("ended", (Code(flow.signature),))] if flow.signature else []
    for explained in resets:
        fields += _reset(explained)
    fields.append(Field("reader", reader_of(flow)))
    for remedy in dict.fromkeys(e.helps for e in resets):
        fields.append(Field("hurts", remedy.hurts))
        fields.append(Field("remedy", items=remedy.sentences))
    if flow.tunnels:
        fields.append(Field("through", items=flow.tunnels))
    fields += [Field("note", note) for note in flow.notes]
    if group.count > 1:
        fields.append(Field("alike", _others(group)))
    captures = dict.fromkeys(e.capture for e in resets if e.capture)
    fields += [Field("to be sure", capture) for capture in captures]
    yield Fields(tuple(fields))
    experiments = dict.fromkeys(e.experiment for e in resets if e.experiment)
    if experiments:
        yield Paragraph("What would settle it:")
        yield CodeBlock(tuple(experiments))
    if flow.ladder:
        yield _ladder(flow)


def _ladder(flow: ExplainedFlow) -> Ladder:
    return Ladder(flow.ladder, client=flow.client, server=flow.server)


def _title(group: Group) -> tuple[Inline, ...]:
    flow = group.example
    more = [flow.sni] if flow.sni else []
    more += [f"TLS {flow.tls}"] if flow.tls else []
    more += [] if flow.complete else ["captured in part"]
    more += [f"{group.count} times"] if group.count > 1 else []
    ends = (Code(flow.client), " to ", Code(flow.server))
    return (*ends, "".join(f", {words}" for words in more))


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
        verdict=_VERDICTS[explained.harm],
    )
    if explained.trigger is not None:
        yield Field("provoked by", f"packet {explained.trigger}")
    if reset.evidence:
        yield Field("because", items=reset.evidence)
    if reset.alternatives:
        yield Field("or", ", ".join(reset.alternatives))


def _others(group: Group) -> str:
    more = ", ..." if group.count > len(group.clients) + 1 else ""
    told = f"{group.count} connections; besides this one {', '.join(group.clients)}{more}"
    if len(group.servers) == 1:
        return told
    servers = ", ".join(list_of(f"{server}: {count}" for server, count in group.servers))
    return f"{told}; to {servers}"


def _quiet(group: Group) -> Text:
    flow = group.example
    through = f", through {'; '.join(flow.tunnels)}" if flow.tunnels else ""
    title = *_title(group), through
    return (*title, ": ", Code(flow.signature)) if flow.signature else title
