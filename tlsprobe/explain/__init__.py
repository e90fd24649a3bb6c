"""From a capture that somebody else made to the cause of every RST in it.

Two passes: a quick one over everything, which finds the connections worth a close look, and a
second over these alone. What the close look finds is put into the terms of our own driver
(`passive`) and judged by the code that judges runs, with the confidence that a bystander has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from tlsprobe.captures.reading import Reading
from tlsprobe.captures.summary import Half, Summary
from tlsprobe.captures.wireshark_info import Carried
from tlsprobe.explain.experiment import experiment_for, help_for
from tlsprobe.explain.trace import KeyLog, client_hello_way, trace_of
from tlsprobe.flows.connection import Connection
from tlsprobe.flows.tracker import connections
from tlsprobe.judge.causes import resets_of
from tlsprobe.judge.closing import axes_of, closing_of, words_of
from tlsprobe.judge.ladder import ladder_of
from tlsprobe.judge.provocation import with_provocation
from tlsprobe.judge.rewritten import NatIndex
from tlsprobe.model.explanation import ExplainedFlow, ExplainedReset, Explanation, InputFacts
from tlsprobe.model.judgement import LadderLine, Reset, Word, signature
from tlsprobe.model.knowledge import Knowledge, NatEntry, Rewritten
from tlsprobe.model.trace import Coverage, Flag, Mark, Segment, Side, Trace
from tlsprobe.packets.packet import Endpoint, endpoints, host_text, reverse, text
from tlsprobe.records.key_log import read_key_log

_SYN, _ACK, _RST = int(Flag.SYN), int(Flag.ACK), int(Flag.RST)

MOST_FLOWS = 10_000
"""So many connections with a reset are told; more are only counted."""

MOST_QUIET = 1_000
"""So many connections without a reset are told, if they are asked for."""

MOST_RESETS = 20
"""So many RSTs of one connection are told: behind the first few come echoes."""

MOST_LETTERS = 120
"""Characters of a signature; of a longer one the end is told."""

BEFORE, AFTER = 12, 6
"""Lines of a ladder before the first RST, and from it on."""

_LOOK_BACK, _LOOK_ON = 60, 40


@dataclass(frozen=True, slots=True)
class Filter:
    """Which connections to explain. ``quiet`` asks for those without a reset too."""

    host: str | None = None
    port: int | None = None
    quiet: bool = False

    def takes(self, ends: tuple[Endpoint, Endpoint]) -> bool:
        """Whether a connection between these endpoints is asked for."""
        host = self.host is None or any(host_text(a) == self.host for a, _ in ends)
        return host and (self.port is None or any(p == self.port for _, p in ends))


def explain(
    reading: Reading,
    wanted: Filter = Filter(),
    key_logs: Iterable[bytes] = (),
) -> Explanation:
    """Explain a capture. Raises CaptureUnreadable when there is nothing to read in it."""
    is_text = reading.kind == "text"
    choice = _choose(Summary() if is_text else reading.summary(), wanted)
    key_log = read_key_log([*key_logs, *reading.secrets])
    packets = reading.packets(None if is_text else choice.keys.__contains__)
    found: Iterable[Connection] = ()
    if is_text or choice.keys:
        found = connections(packets, text=is_text, keep_bodies=bool(key_log))
    if is_text:
        found = [c for c in found if wanted.takes(c.ends)]
        for connection in found:
            # What was not read, or stands elsewhere, may be what provoked its RST.
            connection.doubtful |= bool(reading.skipped or reading.disordered)
        choice = _choice_of_text(found)
    explainer = _Explainer(choice, key_log, reading.carried, tell_quiet=wanted.quiet)
    for connection in found:
        explainer.take(connection)
    flows = sorted(explainer.flows, key=_first_reset)
    source = _source(reading, choice.summary.forgotten // 2)
    return Explanation(source, tuple(flows), choice.quiet + explainer.quiet, explainer.not_shown)


def _first_reset(flow: ExplainedFlow) -> tuple[bool, int]:
    packets = [told.reset.packet for told in flow.resets]
    return not packets, min(packets, default=0)


def _source(reading: Reading, forgotten: int) -> InputFacts:
    notes = list(reading.notes)
    if forgotten:
        notes.append(
            f"{forgotten} more connections than fit into memory: whether those were reset, too, is"
            " not shown; --host and --port ask for fewer"
        )
    return InputFacts(
        name=reading.name,
        kind=reading.kind,
        packets=reading.total,
        skipped=reading.skipped,
        other=reading.other,
        first_skipped=reading.first_skipped,
        truncated=reading.truncated,
        notes=tuple(notes),
    )


# --- which connections ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Choice:
    """What the first pass found: whom to look at, how many not, and what to compare with."""

    keys: frozenset[bytes]
    quiet: int
    summary: Summary
    connections: tuple[Connection, ...] = ()

    def nat_entries(self) -> Iterator[NatEntry]:
        """Where every connection that shook hands stands."""
        for half, other in self.summary.pairs():
            if other is not None and (entry := _nat_entry(half, other)) is not None:
                yield entry
        for connection in self.connections:
            yield from _nat_entry_of(connection)

    def peers(self) -> Counter[Endpoint]:
        """With how many others each endpoint talks."""
        counts: Counter[Endpoint] = Counter()
        for half, _ in self.summary.pairs():
            counts.update(endpoints(half.key))
        for connection in self.connections:
            counts.update(connection.ends)
        return counts


def _choose(summary: Summary, wanted: Filter) -> _Choice:
    keys: set[bytes] = set()
    quiet = told = 0
    for half, other in summary.pairs():
        if (wanted.host is not None or wanted.port is not None) and not wanted.takes(
            endpoints(half.key)
        ):
            continue
        if not (half.flags | (other.flags if other else 0)) & _RST:
            if not wanted.quiet or told >= MOST_QUIET:
                quiet += 1
                continue
            told += 1
        keys |= {half.key, reverse(half.key)}
    return _Choice(frozenset(keys), quiet + summary.retired // 2, summary)


def _choice_of_text(found: Iterable[Connection]) -> _Choice:
    return _Choice(frozenset(), 0, Summary(), tuple(found))


def _nat_entry(half: Half, other: Half) -> NatEntry | None:
    """From the latest acknowledgements: each is the next number of the other side.

    A bare RST has none; its sender's own number is near enough then.
    """
    client, server = half, other
    for candidate, peer in ((half, other), (other, half)):
        if any(mark.flags & (_SYN | _ACK) == _SYN for mark in candidate.marks):
            client, server = candidate, peer
            break
    else:
        return None
    src, dst = endpoints(client.key)
    numbers = server.ack or client.seq, client.ack or server.seq
    return NatEntry(text(src), text(dst), *numbers, client.last_ns)


def _nat_entry_of(connection: Connection) -> Iterator[NatEntry]:
    way = connection.opener
    if way is None:
        return
    numbers = [connection.number(w, connection.streams[w].reached) for w in (way, 1 - way)]
    if numbers[0] is not None and numbers[1] is not None:
        client, server = text(connection.ends[way]), text(connection.ends[1 - way])
        yield NatEntry(client, server, numbers[0], numbers[1], connection.last_ns)


# --- one connection -------------------------------------------------------------------------------


class _Explainer:
    """Turns connections into what is said of them, and counts what is not said."""

    def __init__(
        self, choice: _Choice, key_log: KeyLog, carried: Mapping[int, Carried], *, tell_quiet: bool
    ) -> None:
        self.flows: list[ExplainedFlow] = []
        self.quiet = self.not_shown = 0
        self._choice = choice
        self._key_log = key_log
        self._carried = carried
        self._tell_quiet = tell_quiet
        self._told: set[object] = set()
        self._loud = self._silent = 0
        self._nat_index: NatIndex | None = None
        self._peers: Counter[Endpoint] | None = None

    def take(self, connection: Connection) -> None:
        """One more connection."""
        if not connection.rsts and (not self._tell_quiet or self._silent >= MOST_QUIET):
            self.quiet += 1
        elif connection.rsts and self._loud >= MOST_FLOWS:
            self.not_shown += 1
        else:
            self._loud += bool(connection.rsts)
            self._silent += not connection.rsts
            self.flows.append(self._flow(connection))

    def _flow(self, connection: Connection) -> ExplainedFlow:
        way, why = self._client_way(connection)
        trace = trace_of(connection, way, self._key_log, self._carried)
        closing = closing_of(trace)
        axes, words = axes_of(trace, closing), words_of(closing)
        last = _last(words)
        client, server = text(connection.ends[way]), text(connection.ends[1 - way])
        rewritten = self._rewritten(connection, trace, client, server)
        resets = with_provocation(trace, resets_of(trace, Knowledge(rewritten=rewritten)))
        told = tuple(
            ExplainedReset(
                r, r.trigger, experiment_for(trace, r, server, last), help_for(r, server)
            )
            for r in resets[:MOST_RESETS]
        )
        like = (connection.ends[1 - way], tuple(reset.kind for reset in resets))
        ladder = () if like in self._told else _ladder(trace, told)
        self._told.add(like)
        return ExplainedFlow(
            client=client,
            server=server,
            signature=("... " if last != words else "") + signature(last),
            reader=axes.reader,
            complete=trace.coverage is Coverage.WHOLE,
            resets=told,
            tls=trace.drive.tls,
            ladder=ladder,
            notes=tuple(_notes(connection, why, len(resets))),
        )

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


def _last(words: tuple[Word, ...]) -> tuple[Word, ...]:
    """As many of the last words as are shown."""
    room, count = MOST_LETTERS, 0
    for word in reversed(words):
        room -= len(word.letters) + 1
        if room < -1:
            break
        count += 1
    return words[len(words) - count :]


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


# --- the packets that matter ----------------------------------------------------------------------


def _ladder(trace: Trace, told: tuple[ExplainedReset, ...]) -> tuple[LadderLine, ...]:
    """The last packets before the first RST, those behind it, and what provoked each."""
    segments = trace.segments
    first = next((i for i, s in enumerate(segments) if s.rst), len(segments))
    begin = max(0, first - _LOOK_BACK)
    window = segments[begin : first + _LOOK_ON]
    if not window:
        return ()
    triggers = {t.trigger: t.reset for t in told if t.trigger is not None}
    reach = {side: _reach(segments[:begin], side) for side in Side}
    mark = Mark(window[0].time_ns, reach[Side.CLIENT], reach[Side.SERVER])
    part = replace(trace, segments=window, drive=replace(trace.drive, mark=mark))
    resets: tuple[Reset, ...] = tuple(t.reset for t in told)
    lines = ladder_of(part, closing_of(part), resets, triggers)
    lines = _around(lines, {r.packet for r in resets})
    return tuple(_pointed(line, lines[0].time_us, triggers) for line in lines)


def _reach(segments: tuple[Segment, ...], side: Side) -> int:
    return max((s.end for s in segments if s.side is side and not s.rst), default=0)


def _around(lines: tuple[LadderLine, ...], resets: set[int]) -> tuple[LadderLine, ...]:
    first = next((i for i, line in enumerate(lines) if line.packet in resets), len(lines))
    return lines[max(0, first - BEFORE) : first + AFTER]


def _pointed(line: LadderLine, since_us: float, triggers: dict[int, Reset]) -> LadderLine:
    reset = triggers.get(line.packet) if line.packet is not None else None
    text_ = f"{line.text}, provokes #{reset.packet}" if reset else line.text
    return replace(line, time_us=line.time_us - since_us, text=text_)
