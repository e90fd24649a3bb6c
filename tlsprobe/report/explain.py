"""An explanation as what people read: an overview first, then groups that are alike.

A thousand connections that were reset for the same reason are one group with a number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tlsprobe.model.causes import Cause
from tlsprobe.model.explanation import (
    ExplainedFlow,
    ExplainedReset,
    Explanation,
    Harm,
    InputFacts,
    Tally,
)
from tlsprobe.model.judgement import Provoked, Reader, Reset
from tlsprobe.model.trace import Side

_SERVERS = "the server's: "
_CLIENT_GONE = "; the client had closed, and reads nothing"

READERS = {
    Reader.EOF: "EOF, in order",
    Reader.RESET: "ECONNRESET where EOF belongs",
    Reader.TIMEOUT: "nothing: the server's end is not in the capture, so a read keeps waiting",
}
"""What a plain ``read()`` loop in between got, on the client's side."""


def reader_of(flow: ExplainedFlow) -> str:
    """What plain readers got: the server's, where the client was the first to reset."""
    first = flow.resets[0].reset if flow.resets else None
    if first is not None and first.cause is Cause.REFUSED and first.heeded:
        return "ECONNREFUSED: there was no connection to read from"
    if first is not None and _missed_syn(first) and flow.signature == _LONE_RST:
        return "nothing: no connection had come about"
    if first is None or first.side is Side.SERVER or flow.reader is Reader.EOF:
        return READERS[flow.reader]
    got = READERS[Reader.RESET if first.before_fin else Reader.EOF]
    return f"{_SERVERS}{got}{_CLIENT_GONE}"


_LONE_RST = "r"


def _missed_syn(reset: Reset) -> bool:
    """Whether it is none that a SYN waits for: that connects on."""
    return reset.cause is Cause.UNKNOWN and reset.provoked is Provoked.SYN


HURTS_SHORT = {
    Harm.LOST: "data is lost",
    Harm.ERROR: "a read or connect fails",
    Harm.UNCLEAR: "whom it hurts is unclear",
    Harm.NOBODY: "hurts nobody",
}
"""Whom a reset hurts, behind a comma."""

NAMED = 5
"""So many clients of a group, or names in a list, are written out."""


def server_of(flow: ExplainedFlow) -> str:
    """The server, with the name that its client asked for."""
    return f"{flow.server} ({flow.sni})" if flow.sni else flow.server


def first_of_each(flow: ExplainedFlow) -> list[ExplainedReset]:
    """The first reset of each side, cause and harm: echoes of it say nothing new."""
    first: dict[object, ExplainedReset] = {}
    for explained in flow.resets:
        key = explained.reset.side, explained.reset.cause, explained.harm
        first.setdefault(key, explained)
    return list(first.values())


# --- groups ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Group:
    """Connections that ended alike, one of them the example.

    ``clients`` are some of the others, ``servers`` all servers with how many connections each.
    """

    example: ExplainedFlow
    clients: tuple[str, ...]
    servers: tuple[tuple[str, int], ...]
    count: int

    @property
    def harm(self) -> Harm:
        """The worst that was done to them."""
        return self.example.harm


def groups_of(flows: Iterable[ExplainedFlow]) -> list[Group]:
    """Connections that were reset alike together: whom it hurts most first, then the most.

    What differs from another in the version of TLS alone comes behind all that says something new.
    """
    found: dict[object, list[ExplainedFlow]] = {}
    for flow in flows:
        if flow.resets:
            found.setdefault(flow.likeness, []).append(flow)
    ranked = sorted(map(_group, found.values()), key=lambda group: (group.harm.rank, -group.count))
    news: dict[object, Group] = {}
    for group in ranked:
        news.setdefault(group.example.kinds, group)
    firsts = list(news.values())
    return firsts + [group for group in ranked if all(group is not first for first in firsts)]


def quiet_of(explanation: Explanation) -> list[Group]:
    """The connections with nothing amiss that are shown, likewise, by what went over the wire."""
    found: dict[object, list[ExplainedFlow]] = {}
    for flow in explanation.flows:
        if not flow.resets and not flow.troubles:
            found.setdefault((flow.server, flow.signature, flow.tls), []).append(flow)
    return list(map(_group, found.values()))


def _group(alike: list[ExplainedFlow]) -> Group:
    """The example is one whose packets are all there, of those that were drawn."""
    example = min(alike, key=lambda flow: (not flow.ladder, not flow.complete))
    others = tuple(flow.client for flow in alike if flow is not example)
    servers = Counter(server_of(flow) for flow in alike)
    return Group(example, others[:NAMED], tuple(servers.most_common()), len(alike))


# --- scans ----------------------------------------------------------------------------------------

SCANNED = 10
"""Whoever knocks at so many servers, and says nothing to any, scans."""


@dataclass(frozen=True, slots=True)
class Scan:
    """One host that knocked at many servers; ``refused`` of them let nobody in."""

    client: str
    servers: int
    hosts: int
    refused: int
    first_ns: int
    last_ns: int
    example: int


def without_scans(flows: Iterable[ExplainedFlow]) -> tuple[list[Scan], list[ExplainedFlow]]:
    """The scans among connections that were reset, and what is left."""
    knocks: dict[str, list[ExplainedFlow]] = {}
    rest: list[ExplainedFlow] = []
    for flow in flows:
        if _is_knock(flow):
            knocks.setdefault(_host(flow.client), []).append(flow)
        else:
            rest.append(flow)
    scans = []
    for client, tried in knocks.items():
        if len({flow.server for flow in tried}) >= SCANNED:
            scans.append(_scan(client, tried))
        else:
            rest += tried
    return scans, rest


def _is_knock(flow: ExplainedFlow) -> bool:
    """Whether nothing was said: refused, or given up while it connected."""
    resets = [told.reset for told in flow.resets]
    silent = not set(flow.signature.lower()) - set("r ")
    return silent and all(
        r.cause is Cause.REFUSED or r.provoked in {Provoked.SYN, None} for r in resets
    )


def _host(endpoint: str) -> str:
    return endpoint.rpartition(":")[0] or endpoint


def _scan(client: str, tried: list[ExplainedFlow]) -> Scan:
    times = [told.reset.time_ns for flow in tried for told in flow.resets]
    servers = {flow.server for flow in tried}
    closed = {f.server for f in tried if any(t.reset.cause is Cause.REFUSED for t in f.resets)}
    return Scan(
        client=client,
        servers=len(servers),
        hosts=len(set(map(_host, servers))),
        refused=len(closed),
        first_ns=min(times),
        last_ns=max(times),
        example=min(told.reset.packet for flow in tried for told in flow.resets),
    )


# --- the overview ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """The resets of one cause that one side sent, between any client and one server."""

    cause: Cause
    side: Side
    server: str
    harm: Harm
    resets: int
    connections: int
    first_ns: int
    last_ns: int


def overview_of(flows: Iterable[ExplainedFlow], tallies: Iterable[Tally] = ()) -> list[Row]:
    """The resets by cause, side, server and whom they hurt: the worst first, then the most.

    ``tallies`` are of connections that are not among the flows.
    """
    found: dict[tuple[Cause, Side, str, Harm], list[tuple[ExplainedFlow, ExplainedReset]]] = {}
    for flow in flows:
        for told in flow.resets:
            key = told.reset.cause, told.reset.side, server_of(flow), told.harm
            found.setdefault(key, []).append((flow, told))
    rows = {key: _row(*key, of) for key, of in found.items()}
    for tally in tallies:
        key = tally.cause, tally.side, server_of(tally.example), tally.harm
        rows[key] = _with_tally(rows.get(key), tally, key[2])
    return sorted(rows.values(), key=lambda row: (row.harm.rank, -row.connections, row.first_ns))


def _row(
    cause: Cause,
    side: Side,
    server: str,
    harm: Harm,
    of: list[tuple[ExplainedFlow, ExplainedReset]],
) -> Row:
    times = [told.reset.time_ns for _, told in of]
    connections = len({id(flow) for flow, _ in of})
    return Row(cause, side, server, harm, len(of), connections, min(times), max(times))


def _with_tally(row: Row | None, tally: Tally, server: str) -> Row:
    first_ns, last_ns = tally.first_ns, tally.last_ns
    return Row(
        tally.cause,
        tally.side,
        server,
        tally.harm,
        tally.resets + (row.resets if row else 0),
        tally.connections + (row.connections if row else 0),
        min(first_ns, row.first_ns) if row else first_ns,
        max(last_ns, row.last_ns) if row else last_ns,
    )


BINS = 46
"""Bars of a time line."""


@dataclass(frozen=True, slots=True)
class OverTime:
    """How many RSTs fell into each of `BINS` equal parts of the time of a capture."""

    counts: tuple[int, ...]
    first_ns: int
    last_ns: int


def over_time(source: InputFacts, flows: Iterable[ExplainedFlow]) -> OverTime | None:
    """The resets over time; None where there are none, no times are told, or no time passed."""
    first, last = source.first_ns, source.last_ns
    if first is None or last is None or last <= first:
        return None
    counts = [0] * BINS
    for flow in flows:
        for told in flow.resets:
            at = (told.reset.time_ns - first) * BINS // (last - first + 1)
            counts[max(0, min(BINS - 1, at))] += 1
    return OverTime(tuple(counts), first, last) if any(counts) else None


def list_of(names: Iterable[str]) -> Iterator[str]:
    """The first few names, and how many more there are."""
    every = list(names)
    yield from every[:NAMED]
    if len(every) > NAMED:
        yield f"and {len(every) - NAMED} more"
