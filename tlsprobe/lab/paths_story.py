"""What both sides of a router tell of a run that one side cannot: pure, from two captures.

The probe sees the client's side alone, where a reset is a reset. The other side tells whether the
server sent it, under which name a connection reached the server, and what never got there.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from tlsprobe.lab.paths_sides import (
    Rewrite,
    from_server,
    is_reset,
    only_here,
    origins,
    rewrites,
    to_server,
)
from tlsprobe.model.causes import Cause
from tlsprobe.model.judgement import Confidence, Verdict
from tlsprobe.model.run import (
    BeforeAfter,
    CauseFacts,
    Cell,
    ReaderCounts,
    ResetCounts,
    Run,
    TrialLine,
)
from tlsprobe.model.target import endpoint
from tlsprobe.model.trace import Side
from tlsprobe.packets.decode import packets_in
from tlsprobe.packets.frames import ETHERNET, Frame
from tlsprobe.packets.packet import Endpoint, Packet

SHOWN = 3
"""How many connections a report names one by one."""


class Named(NamedTuple):
    """A rewritten connection with all its names, as texts."""

    client: str
    before: str
    after: str
    rewrite: Rewrite


@dataclass(frozen=True, slots=True)
class Story:
    """``made_on_the_way`` are clients that got an RST which the server never sent; ``swallowed``
    counts packets of clients that went into the router and did not come out.
    """  # noqa: D205 - two of the facts, one sentence

    rewritten: tuple[Named, ...] = ()
    made_on_the_way: frozenset[str] = frozenset()
    swallowed: int = 0


def story_of(client_side: Iterable[Frame], server_side: Iterable[Frame], server: Endpoint) -> Story:
    """What the captures on both sides of a router tell of connections to the server.

    Packets keep their numbers through a router, and lose them in one that ends connections: this
    is for the first kind.
    """
    near, far = (list(packets_in(side, ETHERNET)) for side in (client_side, server_side))
    behind = origins(near, far, server)
    named = tuple(
        Named(
            _text(behind[rewrite.before]) if rewrite.before in behind else "a client",
            _text(rewrite.before),
            _text(rewrite.after),
            rewrite,
        )
        for rewrite in rewrites(far, server)
    )
    invented = only_here(_resets(from_server(near, server)), _resets(from_server(far, server)))
    receivers = frozenset(_text(packet.dst) for packet in invented)
    lost = only_here(to_server(near, server), to_server(far, server))
    return Story(named, receivers, len(lost))


def notes_on(story: Story, how: str, forgotten: int = 0) -> tuple[str, ...]:
    """The story in sentences, for the run's report.

    ``how`` says what was done to the router, ``forgotten`` to how many idle connections.
    """
    said = [f"on the way: {how}"]
    if forgotten and not story.rewritten:
        said.append(
            f"that was done while {_connections(forgotten)} idled, and none of them changed its"
            " port: this kernel keeps the entries"
        )
    for one in story.rewritten[:SHOWN]:
        said.append(_renamed(one))
    if len(story.rewritten) > SHOWN:
        said.append(f"and {len(story.rewritten) - SHOWN} connections more were renamed like that")
    if story.made_on_the_way:
        said.append(
            f"in {_connections(len(story.made_on_the_way))} the RST in the server's name was made"
            " by the router: it is in the client-side capture and not in the server-side one"
        )
    if story.swallowed:
        packets = "packet" if story.swallowed == 1 else "packets"
        said.append(
            f"{story.swallowed} {packets} of clients went into the router and never came out"
        )
    return tuple(said)


def retold(run: Run, trials: Sequence[TrialLine], story: Story) -> Run:
    """The run with its causes held against both sides."""
    return replace(run, cells=tuple(_cell(cell, trials, story) for cell in run.cells))


def after_closes(runs: Sequence[Run]) -> tuple[str, ...]:
    """How often the path was dead after each sequence, over runs of one connection each."""
    checks: dict[str, list[bool]] = {}
    for cell in (cell for run in runs for cell in run.cells):
        if cell.path_alive is not None:
            checks.setdefault(cell.sequence, []).append(cell.path_alive)
    return tuple(
        f"after {sequence} the path was dead {alive.count(False)} of {len(alive)} times"
        for sequence, alive in checks.items()
    )


def merged(runs: Sequence[Run]) -> Run:
    """Runs of the same target as one: cells of the same sequence and version are added up."""
    cells: dict[tuple[str, str], Cell] = {}
    for cell in (cell for run in runs for cell in run.cells):
        name = cell.sequence, cell.tls
        cells[name] = _sum(cells[name], cell) if name in cells else cell
    summary = dict.fromkeys(runs[0].summary, 0)
    for cell in cells.values():
        summary[cell.verdict] = summary.get(cell.verdict, 0) + 1
    capture = replace(
        runs[0].capture,
        packets=sum(run.capture.packets for run in runs),
        dropped=sum(run.capture.dropped or 0 for run in runs),
    )
    return replace(
        runs[0],
        cells=tuple(cells.values()),
        summary=summary,
        capture=capture,
        finished=runs[-1].finished,
    )


def _cell(cell: Cell, trials: Sequence[TrialLine], story: Story) -> Cell:
    clients = {
        line.client
        for line in trials
        if (line.sequence, line.tls) == (cell.sequence, cell.tls)
        and any(reset.side is Side.SERVER for reset in line.resets)
    }
    if not clients:
        return cell
    if clients <= story.made_on_the_way:
        return _attributed(cell, Cause.MIDDLEBOX, _MADE)
    names = [one for one in story.rewritten if one.client in clients]
    if len(names) == len(clients):
        return _attributed(cell, Cause.NO_STATE, _renamed(names[0]))
    return cell


_MADE = (
    "both sides of the router were captured, and the RST is on the client's side alone: the server"
    " never sent it"
)


def _attributed(cell: Cell, cause: Cause, said: str) -> Cell:
    """The cell with the cause of the server's resets proved by the other side's capture."""
    server = [facts for facts in cell.why if facts.side == "server"]
    if not server:
        return cell
    first = server[0]
    count = sum(facts.count for facts in server)
    proved = CauseFacts(
        cause, count, "server", Confidence.HIGH, (said, *first.evidence), first.remedy
    )
    others = tuple(facts for facts in cell.why if facts.side != "server")
    return replace(cell, causes={str(cause): count}, why=(proved, *others))


def _renamed(one: Named) -> str:
    answer = ""
    if one.rewrite.reset is not None:
        answer = (
            f", and the server answers with the RST in packet {one.rewrite.reset}:"
            f" {Cause.NO_STATE} (confidence high)"
        )
    return (
        f"{one.client} reached the server as {one.before}; with the entry gone its next packet"
        f" (server-side packet {one.rewrite.number}) came from {one.after}, which never shook hands"
        f"{answer}"
    )


def _resets(packets: Iterable[Packet]) -> list[Packet]:
    return [packet for packet in packets if is_reset(packet)]


def _text(end: Endpoint) -> str:
    return endpoint(str(ipaddress.ip_address(end[0])), end[1])


def _connections(count: int) -> str:
    return "1 connection" if count == 1 else f"{count} connections"


def _sum(one: Cell, other: Cell) -> Cell:
    """Two cells of one name as one. What is told by example is the first's."""
    worse = min((one, other), key=lambda cell: _WORST_FIRST.index(cell.verdict))
    alive = [cell.path_alive for cell in (one, other) if cell.path_alive is not None]
    return replace(
        worse,
        trials=one.trials + other.trials,
        outcomes=_added(one.outcomes, other.outcomes),
        signatures=_added(one.signatures, other.signatures),
        causes=_added(one.causes, other.causes),
        reader=_readers(one.reader, other.reader),
        resets=ResetCounts(
            _resets_added(one.resets.server, other.resets.server),
            _resets_added(one.resets.client, other.resets.client),
        ),
        path_alive=all(alive) if alive else None,
    )


_WORST_FIRST = (
    Verdict.FAIL,
    Verdict.WARN,
    Verdict.ERROR,
    Verdict.INCONCLUSIVE,
    Verdict.INFO,
    Verdict.PASS,
    Verdict.UNSUPPORTED,
)


def _added(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}


def _readers(one: ReaderCounts, other: ReaderCounts) -> ReaderCounts:
    return ReaderCounts(one.eof + other.eof, one.reset + other.reset, one.timeout + other.timeout)


def _resets_added(one: BeforeAfter, other: BeforeAfter) -> BeforeAfter:
    return BeforeAfter(one.before_fin + other.before_fin, one.after_fin + other.after_fin)
