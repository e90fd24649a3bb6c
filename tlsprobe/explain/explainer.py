"""One connection after the other: what is said of each, and how many are only counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from tlsprobe.captures.wireshark_info import Carried
from tlsprobe.explain.choice import MOST_QUIET, Choice
from tlsprobe.explain.experiment import experiment_for, help_for
from tlsprobe.explain.packets_shown import ladder, last_words
from tlsprobe.explain.trace import KeyLog, client_hello_way, trace_of
from tlsprobe.explain.wanted import Filter, takes_reset
from tlsprobe.flows.connection import Connection
from tlsprobe.judge.causes import resets_of
from tlsprobe.judge.closing import axes_of, closing_of, words_of
from tlsprobe.judge.harm import harm_of
from tlsprobe.judge.provocation import with_provocation
from tlsprobe.judge.rewritten import NatIndex
from tlsprobe.model.explanation import ExplainedFlow, ExplainedReset
from tlsprobe.model.judgement import Reset, Word, signature
from tlsprobe.model.knowledge import Knowledge, Rewritten
from tlsprobe.model.trace import Coverage, Side, Trace
from tlsprobe.packets.packet import Endpoint, text
from tlsprobe.records.server_name import server_name

MOST_FLOWS = 10_000
"""So many connections with a reset are told; more are only counted."""

MOST_RESETS = 20
"""So many RSTs of one connection are told: behind the first few come echoes."""


class Explainer:
    """Turns connections into what is said of them, and counts what is not said.

    ``quiet`` ones had no reset, ``not_shown`` ones with a reset found no room, ``passed`` ones were
    not asked for.
    """

    def __init__(
        self, choice: Choice, wanted: Filter, key_log: KeyLog, carried: Mapping[int, Carried]
    ) -> None:
        self.flows: list[ExplainedFlow] = []
        self.quiet = self.not_shown = self.passed = 0
        self._choice = choice
        self._wanted = wanted
        self._key_log = key_log
        self._carried = carried
        self._drawn: set[object] = set()
        self._loud = self._silent = 0
        self._nat_index: NatIndex | None = None
        self._peers: Counter[Endpoint] | None = None

    def take(self, connection: Connection) -> None:
        """One more connection."""
        if not connection.rsts:
            self._take_quiet(connection)
        elif self._loud >= MOST_FLOWS:
            self.not_shown += 1
        else:
            self._take_loud(connection)

    def _take_quiet(self, connection: Connection) -> None:
        if not self._wanted.lists_quiet or self._silent >= MOST_QUIET:
            self.quiet += 1
            return
        self._silent += 1
        self.flows.append(self._flow(connection))

    def _take_loud(self, connection: Connection) -> None:
        flow = self._flow(connection)
        if not any(
            takes_reset(self._wanted, self._choice.window, told.reset) for told in flow.resets
        ):
            self.passed += 1
            return
        self._loud += 1
        self.flows.append(flow)

    def _flow(self, connection: Connection) -> ExplainedFlow:
        way, why = self._client_way(connection)
        trace = trace_of(connection, way, self._key_log, self._carried)
        closing = closing_of(trace)
        axes, words = axes_of(trace, closing), words_of(closing)
        last = last_words(words)
        client, server = text(connection.ends[way]), text(connection.ends[1 - way])
        rewritten = self._rewritten(connection, trace, client, server)
        resets = with_provocation(trace, resets_of(trace, Knowledge(rewritten=rewritten)))
        flow = ExplainedFlow(
            client=client,
            server=server,
            signature=("... " if last != words else "") + signature(last),
            reader=axes.reader,
            complete=trace.coverage is Coverage.WHOLE,
            resets=tuple(_told(trace, r, server, last) for r in resets[:MOST_RESETS]),
            tls=trace.drive.tls,
            notes=tuple(_notes(connection, why, len(resets))),
            sni=_asked_for(connection, way),
            tunnels=connection.tunnels,
        )
        return self._with_ladder(flow, trace)

    def _with_ladder(self, flow: ExplainedFlow, trace: Trace) -> ExplainedFlow:
        """With its packets, if none that is like it, and captured as well, has been drawn."""
        like = flow.likeness, flow.complete
        if like in self._drawn and not self._wanted.is_about_one:
            return flow
        self._drawn.add(like)
        if not flow.resets and not self._wanted.is_about_one:
            return flow
        return replace(flow, ladder=ladder(trace, flow.resets, flow.troubles))

    def _client_way(self, connection: Connection) -> tuple[int, str | None]:
        """Which way the client's packets go, and, without a SYN, how that is known."""
        if connection.opener is not None:
            return connection.opener, None
        way = client_hello_way(connection)
        if way is not None:
            return way, "it received the ClientHello"
        if self._peers is None:
            self._peers = self._choice.peers()
        first, second = (self._peers[end] for end in connection.ends)
        if first != second:
            return int(first > second), "it talks with more endpoints"
        return int(connection.ends[0][1] < connection.ends[1][1]), "its port is the lower one"

    def _rewritten(
        self, connection: Connection, trace: Trace, client: str, server: str
    ) -> Rewritten | None:
        """Whose connection this one goes on with, if it never shook hands itself."""
        if connection.opener is not None:
            return None
        first = next((s for s in trace.segments if s.side is Side.CLIENT and not s.rst), None)
        if first is None or first.ack is None:
            return None
        way = 0 if text(connection.ends[0]) == client else 1
        seq = connection.number(way, first.start)
        ack = connection.number(1 - way, first.ack)
        if seq is None or ack is None:
            return None
        if self._nat_index is None:
            self._nat_index = NatIndex(self._choice.nat_entries())
        return self._nat_index.continued_by(client, server, seq, ack)


def _told(trace: Trace, reset: Reset, server: str, words: tuple[Word, ...]) -> ExplainedReset:
    return ExplainedReset(
        reset,
        reset.trigger,
        experiment_for(trace, reset, server, words),
        help_for(reset, server),
        harm_of(reset),
    )


def _asked_for(connection: Connection, way: int) -> str | None:
    """The name of the server in the ClientHello."""
    if not connection.walks:
        return None
    bodies = (record.body for record in connection.walks[way].first[:1])
    return next(map(server_name, bodies), None)


def _notes(connection: Connection, why: str | None, resets: int) -> Iterator[str]:
    if why is not None:
        yield f"no SYN was captured; who is the server was guessed: {why}"
    if connection.presumed:
        yield (
            "the RST's sequence number is absolute and the others are relative, so that they"
            " cannot be compared; it is taken to fit"
        )
    if resets > MOST_RESETS:
        yield f"{resets - MOST_RESETS} more RSTs of this connection are not shown"
