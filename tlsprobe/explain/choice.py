"""Which connections of a capture are worth a close look, told from one quick pass over it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from tlsprobe.captures.reading import Reading
from tlsprobe.captures.summary import Half, Summary
from tlsprobe.explain.screening import Suspicion, suspicion
from tlsprobe.explain.wanted import Filter, Window
from tlsprobe.flows.connection import Connection
from tlsprobe.model.knowledge import NatEntry
from tlsprobe.model.trace import Flag
from tlsprobe.packets.packet import Endpoint, endpoints, receiver, reverse, text

if TYPE_CHECKING:
    from tlsprobe.captures.columns import Columns

_SYN, _ACK, _RST = Flag.SYN, Flag.ACK, Flag.RST

MOST_QUIET = 1_000
"""So many connections without a reset are listed, if they are asked for."""

MOST_LOOKED = 1_000
"""So many connections without a reset are looked at closely for other trouble."""

LIKELY_PACKETS, POSSIBLE_PACKETS = 100_000, 20_000
"""So many packets these have, at most: those that are likely to show something, and the others."""

MOST_KNOWN = 50_000
"""Of so many connections of a text it is remembered where they stand."""


class Asking(NamedTuple):
    """A SYN that nobody answered where it went; an answer would acknowledge ``number``."""

    client: Endpoint
    number: int
    server: Endpoint


class Others:
    """What is remembered of connections that are not kept themselves."""

    def __init__(self) -> None:
        self.nat_entries: list[NatEntry] = []
        self.peers: Counter[Endpoint] = Counter()
        self.askings: list[Asking] = []

    def note(self, connection: Connection) -> None:
        """One more connection."""
        if len(self.nat_entries) < MOST_KNOWN:
            self.peers.update(connection.ends)
            self.nat_entries += self.nat_entries_of(connection)
            self.askings += self.askings_of(connection)

    @staticmethod
    def askings_of(connection: Connection) -> Iterable[Asking]:
        """Whom it asked for a connection, if nobody answered."""
        way = connection.opener
        number = None if way is None else connection.number(way, 0)
        if way is not None and number is not None and not connection.streams[1 - way].spoke:
            yield Asking(connection.ends[way], number, connection.ends[1 - way])

    @staticmethod
    def nat_entries_of(connection: Connection) -> Iterable[NatEntry]:
        """Where a connection stands, if its beginning is known."""
        way = connection.opener
        if way is None:
            return
        numbers = [connection.number(w, connection.streams[w].reached) for w in (way, 1 - way)]
        if numbers[0] is not None and numbers[1] is not None:
            client, server = text(connection.ends[way]), text(connection.ends[1 - way])
            yield NatEntry(client, server, numbers[0], numbers[1], connection.last_ns)


@dataclass(frozen=True, slots=True)
class Choice:
    """What the first pass found: whom to look at, how many not, and what to compare with.

    ``others`` are connections of a text, of which there is no first pass: they are noted as they
    come. ``quiet`` connections are not looked at; with ``unlooked`` ones among them something may
    be amiss. ``until_ns`` is the time of the last packet.
    """

    keys: frozenset[bytes] = frozenset()
    quiet: int = 0
    unlooked: int = 0
    summary: Summary = field(default_factory=Summary)
    window: Window = field(default_factory=Window)
    others: Others = field(default_factory=Others)
    until_ns: int = 0

    def nat_entries(self) -> Iterator[NatEntry]:
        """Where every connection that shook hands stands."""
        for half, other in self.summary.pairs():
            if other is not None and (entry := _nat_entry(half, other)) is not None:
                yield entry
        yield from self.others.nat_entries

    def may_begin_twice(self, key: bytes) -> bool:
        """Whether `syns` may give more than one; told without looking at each where it can be."""
        columns = self.summary.columns
        if columns is None:
            return True
        from tlsprobe.explain.quick_screening import may_begin_twice  # noqa: PLC0415 - numpy

        return may_begin_twice(columns, key)

    def syns(self, key: bytes) -> Iterator[int]:
        """The packets with which whoever this is of began connections, by their numbers."""
        half = self.summary.halves.get(key)
        for mark in half.marks if half is not None else ():
            if mark.flags & (_SYN | _ACK) == _SYN:
                yield mark.number

    def asked(self) -> Mapping[tuple[Endpoint, int], Endpoint]:
        """Whom a client asked in vain, by its end and the number that an answer acknowledges."""
        asked = {(one.client, one.number): one.server for one in self.others.askings}
        columns = self.summary.columns
        if columns is not None:
            from tlsprobe.explain.quick_screening import asks_in_vain  # noqa: PLC0415 - numpy

            if not asks_in_vain(columns):
                return asked  # what there is need not be looked through one by one
        for half in self.summary.halves.values():
            if not half.flags & _SYN or (half.other and half.other.flags & _SYN):
                continue
            src, dst = endpoints(half.key)
            for mark in half.marks:
                if mark.flags & (_SYN | _ACK) == _SYN:
                    asked.setdefault((src, (mark.seq + 1) % (1 << 32)), dst)
        return asked

    def peers(self) -> Counter[Endpoint]:
        """With how many others each endpoint talks."""
        counts: Counter[Endpoint] = Counter(self.others.peers)
        for half, _ in self.summary.pairs():
            counts.update(endpoints(half.key))
        return counts


def key_of_packet(reading: Reading, number: int) -> tuple[bytes, int] | None:
    """The `flow_key` and the time of a packet; None if it is not TCP, or there is none."""
    for packet in reading.packets():
        if packet.number == number:
            return packet.key, packet.time_ns or packet.number
        if packet.number > number:
            break
    return None


def span_of(summary: Summary) -> tuple[int, int] | None:
    """The times of the first and the last packet; None where there are none."""
    columns = summary.columns
    if columns is not None:
        return int(columns.first_ns.min()), int(columns.last_ns.max())
    halves = summary.halves.values()
    if not halves:
        return None
    return min(h.first_ns for h in halves), max(h.last_ns for h in halves)


class _Candidates(NamedTuple):
    """Connections by their places: the ``loud`` ones, and the others by suspicion.

    Of each place: the key of the direction that spoke first, its packets, and its receiver.
    """

    loud: list[int]
    others: dict[Suspicion, list[int]]
    keys: Sequence[bytes]
    packets: Sequence[int]
    servers: Sequence[Hashable]


def choose(summary: Summary, wanted: Filter, only: bytes | None = None) -> Choice:
    """Those with a reset, those that something else may be amiss with, and those to be listed.

    ``only`` is the `flow_key` of a packet whose connection alone is asked for.
    """
    span = span_of(summary)
    window = Window.of(wanted, span[0] if span else None)
    until_ns = span[1] if span else 0
    is_all = only is None and window.is_open and not wanted.is_about_ends
    if summary.columns is not None and is_all:
        candidates = _candidates_of(summary.columns, until_ns)
    else:
        candidates = _candidates(_asked_for(summary, wanted, window, only), until_ns)
    others, packets = candidates.others, candidates.packets
    likely, possible = others[Suspicion.LIKELY], others[Suspicion.POSSIBLE]
    looked: list[int] = []
    if wanted.lists_quiet:
        looked = [*likely, *possible, *others[Suspicion.NONE]][:MOST_QUIET]
    elif not wanted.is_about_resets:
        looked = _within(likely, packets, LIKELY_PACKETS)
        turns = _by_turns(possible, candidates.servers)
        looked += _within(turns, packets, POSSIBLE_PACKETS)[: MOST_LOOKED - len(looked)]
    retired = summary.retired // 2
    suspects = len(likely) + len(possible) + retired
    keys = [candidates.keys[place] for place in (*candidates.loud, *looked)]
    return Choice(
        keys=frozenset(both for key in keys for both in (key, reverse(key))),
        quiet=sum(map(len, others.values())) - len(looked) + retired,
        unlooked=0 if wanted.is_about_resets else max(0, suspects - len(looked)),
        summary=summary,
        window=window,
        until_ns=until_ns,
    )


def _candidates(pairs: Iterable[tuple[Half, Half | None]], until_ns: int) -> _Candidates:
    loud: list[int] = []
    others: dict[Suspicion, list[int]] = {level: [] for level in Suspicion}
    halves: list[Half] = []
    for place, (half, other) in enumerate(pairs):
        halves.append(half)
        if (half.flags | (other.flags if other else 0)) & _RST:
            loud.append(place)
        else:
            others[suspicion(half, other, until_ns)].append(place)
    keys, packets = [half.key for half in halves], [half.packets for half in halves]
    return _Candidates(loud, others, keys, packets, [receiver(key) for key in keys])


def _candidates_of(columns: Columns, until_ns: int) -> _Candidates:
    """The same of a large capture."""
    from tlsprobe.explain.quick_screening import screened  # noqa: PLC0415 - brings numpy

    loud, quiet, levels = screened(columns, until_ns)
    others = {level: quiet[levels == level].tolist() for level in Suspicion}
    packets, servers = columns.packets.tolist(), columns.servers().tolist()
    return _Candidates(loud.tolist(), others, columns.keys(), packets, servers)


def _within(places: Iterable[int], packets: Sequence[int], most: int) -> list[int]:
    """As many of them as have no more packets in all; a long one may find no room."""
    chosen: list[int] = []
    for place in places:
        if 2 * packets[place] <= most and len(chosen) < MOST_LOOKED:
            most -= 2 * packets[place]
            chosen.append(place)
    return chosen


def _by_turns(places: Iterable[int], servers: Sequence[Hashable]) -> list[int]:
    """One of each server, then another one of each: no server's many hide another's few."""
    seen: dict[Hashable, int] = {}
    turns: list[list[int]] = []
    for place in places:
        server = servers[place]
        turn = seen[server] = seen.get(server, -1) + 1
        if turn == len(turns):
            turns.append([])
        turns[turn].append(place)
    return [place for turn in turns for place in turn]


def _asked_for(
    summary: Summary, wanted: Filter, window: Window, only: bytes | None
) -> Iterator[tuple[Half, Half | None]]:
    for half, other in summary.pairs():
        if wanted.is_about_ends and not wanted.takes(endpoints(half.key)):
            continue
        if only is not None and only not in {half.key, reverse(half.key)}:
            continue
        if window.meets(half.first_ns, max(half.last_ns, other.last_ns if other else 0)):
            yield half, other


def _nat_entry(half: Half, other: Half) -> NatEntry | None:
    """From the latest acknowledgements: each is the next number of the other side.

    A bare RST has none; its sender's own number is near enough then. A refused SYN began nothing:
    scanners use its numbers again, from other ports.
    """
    client, server = half, other
    for candidate, peer in ((half, other), (other, half)):
        if any(mark.flags & (_SYN | _ACK) == _SYN for mark in candidate.marks):
            client, server = candidate, peer
            break
    else:
        return None
    if not any(mark.flags & _SYN for mark in server.marks):
        return None
    src, dst = endpoints(client.key)
    numbers = server.ack or client.seq, client.ack or server.seq
    return NatEntry(text(src), text(dst), *numbers, client.last_ns)
