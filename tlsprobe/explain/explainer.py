"""One connection after the other: what is said of each, and how many are only counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from tlsprobe.captures.services import SERVICE_PORTS
from tlsprobe.captures.wireshark_info import Carried
from tlsprobe.explain.choice import MOST_LOOKED, MOST_QUIET, Choice
from tlsprobe.explain.experiment import capture_for, experiment_for, help_for
from tlsprobe.explain.finished import OVER, behind_the_servers_fin, is_over, met_a_closed_server
from tlsprobe.explain.packets_shown import ladder, last_words
from tlsprobe.explain.plain_http import PlainHttp
from tlsprobe.explain.remains import remains_of
from tlsprobe.explain.trace import KeyLog, Known, client_hello_way, known_of, trace_of
from tlsprobe.explain.wanted import Filter, takes_reset
from tlsprobe.flows.connection import Connection
from tlsprobe.judge.causes import resets_of
from tlsprobe.judge.closing import axes_of, closing_of, words_of
from tlsprobe.judge.harm import harm_of
from tlsprobe.judge.provocation import with_provocation
from tlsprobe.judge.rewritten import NatIndex
from tlsprobe.judge.troubles import troubles_of
from tlsprobe.model.explanation import ExplainedFlow, ExplainedReset, Harm, Tally, Trouble
from tlsprobe.model.judgement import Reset, Word, signature
from tlsprobe.model.kernel import KernelReset
from tlsprobe.model.knowledge import Knowledge, Rewritten
from tlsprobe.model.target import is_on_one_host
from tlsprobe.model.trace import Coverage, RecordKind, Side, Trace
from tlsprobe.packets.packet import Endpoint, flow_key, text
from tlsprobe.records.server_name import server_name
from tlsprobe.records.walk import ALERT, ALERT_SIZE

MOST_FLOWS = 10_000
"""So many connections with a reset are told; more are only counted."""

MOST_KINDS = 1_000
"""So many kinds of resets are told apart among those that are only counted."""

_EPHEMERAL = 32768
"""From here on most clients have their ports."""
_SEVERAL = 3
"""So many endpoints talk with a server; an address that is translated makes two of one."""

MOST_RESETS = 20
"""So many RSTs of one connection are told: behind the first few come echoes."""


KernelWords = Callable[[Trace], Mapping[int, KernelReset]]
"""Of a connection, what the kernel says of its RSTs, by their packets' numbers."""


def _no_words(_: Trace) -> Mapping[int, KernelReset]:
    """Of a file: no kernel can be asked."""
    return {}


class _Seen(NamedTuple):
    """A connection with what a close look at it gives; ``why`` tells how its client is known."""

    connection: Connection
    way: int
    why: str | None
    known: Known
    trace: Trace
    client: str
    server: str


class Explainer:
    """Turns connections into what is said of them, and counts what is not said.

    ``quiet`` ones had nothing amiss, ``not_shown`` ones with a reset found no room, ``passed`` ones
    with a reset were not asked for; ``unlooked`` ones among the quiet were not looked at. ``lossy``
    says that the capture lacks packets that passed.
    """

    def __init__(
        self,
        choice: Choice,
        wanted: Filter,
        key_log: KeyLog,
        carried: Mapping[int, Carried],
        plain_http: PlainHttp,
        *,
        lossy: bool = False,
        kernel: KernelWords = _no_words,
    ) -> None:
        """``kernel`` gives what the kernel says of the RSTs of a connection."""
        self.flows: list[ExplainedFlow] = []
        self.quiet, self.unlooked = choice.quiet, choice.unlooked
        self.not_shown = self.passed = 0
        self._choice = choice
        self._wanted = wanted
        self._key_log = key_log
        self._carried = carried
        self._plain_http = plain_http
        self.lossy = lossy
        self._kernel = kernel
        self._drawn: set[object] = set()
        self._loud = self._looked = 0
        self._tallies: dict[object, Tally] = {}
        self._named: dict[tuple[int | None, ...], str] = {}
        self._renamed: list[str] = []
        self._nat_index: NatIndex | None = None
        self._peers: Counter[Endpoint] | None = None
        self._asked: Mapping[tuple[Endpoint, int], Endpoint] | None = None

    def goes_on(self, choice: Choice) -> None:
        """What there is besides has changed: from now on this is it, and as many may be looked at.

        Of ``choice`` the counts do not matter any more.
        """
        self._choice = choice
        self._nat_index = self._peers = self._asked = None
        self._looked = 0

    def take(self, connection: Connection) -> None:
        """One more connection."""
        if not connection.rsts:
            self._take_quiet(connection)
        elif self._loud >= MOST_FLOWS:
            self.not_shown += 1
        elif (flow := self.judged(connection)) is not None:
            self._loud += 1
            self.flows.append(flow)

    def take_and_tell(self, connection: Connection) -> ExplainedFlow | None:
        """The same; returns what is said of a reset, also where it finds no room."""
        if connection.rsts and self._loud >= MOST_FLOWS:
            flow = self.judged(connection)
            if flow is not None:
                self.not_shown += 1
                self._count(flow)
            return flow
        told = len(self.flows)
        self.take(connection)
        return next((flow for flow in self.flows[told:] if flow.resets), None)

    def _count(self, flow: ExplainedFlow) -> None:
        """One that finds no room itself: its kinds of resets are added up."""
        counted: set[object] = set()
        for told in flow.resets:
            reset = told.reset
            key = reset.cause, reset.side, told.harm, flow.server, flow.sni
            known, at = self._tallies.get(key), reset.time_ns
            if known is not None:
                more = int(key not in counted)
                known = replace(
                    known,
                    resets=known.resets + 1,
                    connections=known.connections + more,
                    first_ns=min(known.first_ns, at),
                    last_ns=max(known.last_ns, at),
                )
            elif len(self._tallies) < MOST_KINDS:
                known = Tally(reset.cause, reset.side, told.harm, flow, 1, 1, at, at)
            if known is not None:
                self._tallies[key] = known
            counted.add(key)

    @property
    def tallies(self) -> tuple[Tally, ...]:
        """The kinds of resets of those that found no room."""
        return tuple(self._tallies.values())

    def _take_quiet(self, connection: Connection) -> None:
        """One without a reset: a close look, but no judgement of what there is none of."""
        listed = self._wanted.lists_quiet
        full = len(self.flows) >= 2 * MOST_FLOWS
        if full or self._looked >= (MOST_QUIET if listed else MOST_LOOKED):
            self.quiet += 1
            self.unlooked += 1
            return
        if self._wanted.is_about_resets:
            self.quiet += 1
            return
        self._looked += 1
        seen = self._see(connection)
        troubles = self._troubles(seen)
        if troubles or listed:
            self.flows.append(self._flow(seen, (), troubles))
        else:
            self.quiet += 1

    def judged(self, connection: Connection) -> ExplainedFlow | None:
        """What is said of one with a reset; None if none of its resets is asked for."""
        seen = self._see(connection)
        kernel = self._kernel(seen.trace)
        rewritten, near = self._rewritten(seen), _is_on_one_host(connection)
        elsewhere = self._asked_elsewhere(seen)
        knowledge = Knowledge(
            rewritten=rewritten,
            kernel=kernel,
            near=near,
            elsewhere=elsewhere,
            begun_anew=self._begun_anew(seen),
        )
        found = resets_of(seen.trace, knowledge)
        resets = with_provocation(seen.trace, found, is_asked_elsewhere=elsewhere is not None)
        window = self._choice.window
        if not any(takes_reset(self._wanted, window, reset) for reset in resets):
            self.passed += 1
            return None
        self._note_name(seen)
        return self._flow(seen, resets, self._troubles(seen), kernel)

    def _see(self, connection: Connection) -> _Seen:
        way, why = self._client_way(connection)
        known = known_of(connection, way, self._key_log)
        trace = trace_of(connection, way, known, self._carried)
        ends = connection.ends
        return _Seen(connection, way, why, known, trace, text(ends[way]), text(ends[1 - way]))

    def _troubles(self, seen: _Seen) -> tuple[Trouble, ...]:
        remains = remains_of(
            seen.connection,
            seen.way,
            seen.trace,
            seen.known,
            self._plain_http,
            self._choice.until_ns,
            lossy=self.lossy,
        )
        found = troubles_of(seen.trace, remains)
        return tuple(one for one in found if self._choice.window.holds(one.time_ns))

    def _flow(
        self,
        seen: _Seen,
        resets: tuple[Reset, ...],
        troubles: tuple[Trouble, ...],
        kernel: Mapping[int, KernelReset] = MappingProxyType({}),
    ) -> ExplainedFlow:
        trace, server = seen.trace, seen.server
        sni = _asked_for(seen.connection, seen.way)
        closing = closing_of(trace)
        axes, words = axes_of(trace, closing), words_of(closing)
        last = last_words(words)
        flow = ExplainedFlow(
            client=seen.client,
            server=server,
            signature=("... " if last != words else "") + signature(last),
            reader=axes.reader,
            complete=trace.coverage is Coverage.WHOLE,
            resets=tuple(
                _told(trace, r, server, last, sni, kernel.get(r.packet))
                for r in resets[:MOST_RESETS]
            ),
            tls=trace.drive.tls,
            notes=(
                *(_plain_answer(seen) if resets else ()),
                *_notes(seen.connection, seen.why, len(resets)),
            ),
            sni=sni,
            troubles=troubles,
            tunnels=seen.connection.tunnels,
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

    def _note_name(self, seen: _Seen) -> None:
        """Remembers under which addresses a connection was told, to know it under others.

        Each end draws the number that it begins with out of 2**32.
        """
        ways = seen.way, 1 - seen.way
        if len(self._named) >= MOST_FLOWS or not all(s.opened for s in seen.connection.streams):
            return
        numbers = tuple(seen.connection.number(way, 0) for way in ways)
        name = f"{seen.client} to {seen.server}"
        known = self._named.setdefault(numbers, name)
        if known != name:
            self._renamed.append(f"{known} is {name}")

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said of all of them."""
        if not self._renamed:
            return ()
        return (
            "connections with a reset that were captured on either side of a translation of"
            f" addresses, and count twice: {len(self._renamed)}; {self._renamed[0]}",
        )

    def _client_way(self, connection: Connection) -> tuple[int, str | None]:
        """Which way the client's packets go, and, without a SYN, how that is known."""
        if connection.opener is not None:
            return connection.opener, None
        way = client_hello_way(connection)
        if way is not None:
            return way, "it received the ClientHello"
        served = [port in SERVICE_PORTS for _, port in connection.ends]
        if served[0] != served[1]:
            return served.index(False), "its port is a service's"
        if self._peers is None:
            self._peers = self._choice.peers()
        first, second = (self._peers[end] for end in connection.ends)
        ports = [port for _, port in connection.ends]
        is_told = min(ports) < _EPHEMERAL <= max(ports)
        if first != second and not (is_told and max(first, second) < _SEVERAL):
            return int(first > second), "it talks with more endpoints"
        return int(connection.ends[0][1] < connection.ends[1][1]), "its port is the lower one"

    def _asked_elsewhere(self, seen: _Seen) -> str | None:
        """Whom the client had asked in vain, if a SYN-ACK of this one answers that very SYN.

        So does an RST of this one, of which no more is in the capture.
        """
        way, segments = seen.way, seen.trace.segments
        answers = any(s.syn and s.side is Side.SERVER for s in segments)
        refuses = all(s.rst and s.ack is not None and s.side is Side.SERVER for s in segments)
        if not answers and not refuses:
            return None
        number = seen.connection.number(way, 0)
        if number is None:
            return None
        if self._asked is None:
            self._asked = self._choice.asked()
        asked = self._asked.get((seen.connection.ends[way], number))
        return None if asked is None or asked == seen.connection.ends[1 - way] else text(asked)

    def _begun_anew(self, seen: _Seen) -> tuple[int, ...]:
        """The SYNs of its client, on the same ports, that are of other connections."""
        if seen.trace.segments[-1].side is not Side.CLIENT:
            return ()
        own = {segment.number for segment in seen.trace.segments}
        ends = seen.connection.ends
        key = flow_key(ends[seen.way], ends[1 - seen.way])
        syns = (s.syn and s.ack is None and s.side is Side.CLIENT for s in seen.trace.segments)
        if any(syns) and not self._choice.may_begin_twice(key):
            return ()
        return tuple(number for number in self._choice.syns(key) if number not in own)

    def _rewritten(self, seen: _Seen) -> Rewritten | None:
        """Whose connection this one goes on with, if it never shook hands itself."""
        connection, way = seen.connection, seen.way
        if connection.opener is not None:
            return None
        first = next((s for s in seen.trace.segments if s.side is Side.CLIENT and not s.rst), None)
        if first is None or first.ack is None:
            return None
        seq = connection.number(way, first.start)
        ack = connection.number(1 - way, first.ack)
        if seq is None or ack is None:
            return None
        if self._nat_index is None:
            self._nat_index = NatIndex(self._choice.nat_entries())
        return self._nat_index.continued_by(seen.client, seen.server, seq, ack)


def _told(  # noqa: PLR0917 - a private function, with one caller
    trace: Trace,
    reset: Reset,
    server: str,
    words: tuple[Word, ...],
    sni: str | None,
    kernel: KernelReset | None,
) -> ExplainedReset:
    experiment = experiment_for(trace, reset, server, words, sni)
    harm = harm_of(reset)
    over = harm in {Harm.ERROR, Harm.UNCLEAR} and is_over(trace, reset)
    remedy = OVER if over else help_for(reset, server)
    if not over and met_a_closed_server(trace, reset):
        remedy = behind_the_servers_fin(reset, remedy)
    return ExplainedReset(
        reset,
        reset.trigger,
        experiment,
        remedy,
        Harm.NOBODY if over else harm,
        None if experiment else capture_for(trace, reset),
        kernel,
    )


def _is_on_one_host(connection: Connection) -> bool:
    """Whether its packets never left the machine: nothing lies in between."""
    first, second = (text(end).rpartition(":")[0].strip("[]") for end in connection.ends)
    return is_on_one_host(first, second)


def _asked_for(connection: Connection, way: int) -> str | None:
    """The name of the server in the ClientHello."""
    if not connection.walks:
        return None
    bodies = (record.body for record in connection.walks[way].first[:1])
    return next(map(server_name, bodies), None)


def _inferred(connection: Connection) -> str | None:
    """How TLS is known, where no hello tells."""
    walks = [walk for walk in connection.walks if walk.speaks_tls]
    if not walks or any(walk.has_hello for walk in walks):
        return None
    if all(r.kind == ALERT and r.size == ALERT_SIZE for walk in walks for r in walk.found):
        return None  # what says that no handshake came
    sealed = any(r.kind == ALERT and r.size > ALERT_SIZE for w in walks for r in w.found)
    version = "TLS 1.2 or older" if sealed else "TLS 1.2 or 1.3"
    return f"{version}, from its records; the handshake is not in the capture"


def _plain_answer(seen: _Seen) -> Iterator[str]:
    """Whether a client began with TLS at a port where none is spoken."""
    walks, trace = seen.connection.walks, seen.trace
    first = next((s for s in trace.segments if s.side is Side.SERVER and s.length), None)
    asked = next((r for r in trace.drive.records if r.side is Side.CLIENT), None)
    if first is None or asked is None or not walks or trace.coverage is not Coverage.WHOLE:
        return
    begins = asked.kind is RecordKind.HANDSHAKE and asked.start == 0
    if begins and walks[seen.way].speaks_tls and not walks[1 - seen.way].speaks_tls:
        yield (
            f"the client speaks TLS, and what the server answers (packet {first.number}) is none:"
            " the port, or a proxy in between, is for plain text"
        )


def _notes(connection: Connection, why: str | None, resets: int) -> Iterator[str]:
    if (inferred := _inferred(connection)) is not None:
        yield inferred
    if why is not None:
        yield f"no SYN was captured; who is the server was guessed: {why}"
    if connection.presumed:
        yield (
            "the RST's sequence number is absolute and the others are relative, so that they"
            " cannot be compared; it is taken to fit"
        )
    if connection.copies:
        packets = "1 packet" if connection.copies == 1 else f"{connection.copies} packets"
        yield f"the capture has {packets} twice, as captures at two places do: each counts once"
    if resets > MOST_RESETS:
        yield f"{resets - MOST_RESETS} more RSTs of this connection are not shown"
