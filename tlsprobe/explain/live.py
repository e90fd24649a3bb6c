"""Packets as they come, in place of a file: a reset is judged once its last packets have come.

There is no first pass here, and no end. A connection is kept until it has ended and been quiet for
a while, or until too many are held; memory is bounded by the tracker. One that was reset is judged
when it is quiet behind its RST. Connections that were there before us lack their beginning.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from tlsprobe.explain.choice import Choice, Others
from tlsprobe.explain.explainer import Explainer
from tlsprobe.explain.plain_http import PlainHttp
from tlsprobe.explain.wanted import Filter
from tlsprobe.flows.connection import Connection
from tlsprobe.flows.tracker import Tracker
from tlsprobe.lab.kernel_comparison import words_about
from tlsprobe.model.explanation import LIVE, ExplainedFlow, Explanation, InputFacts
from tlsprobe.model.kernel import KernelReset
from tlsprobe.model.knowledge import NatEntry
from tlsprobe.model.trace import Trace
from tlsprobe.packets.decode import Decoder, Malformed
from tlsprobe.packets.frames import ETHERNET
from tlsprobe.packets.packet import Packet
from tlsprobe.records.key_log import Secrets

SETTLED_NS = 10**9
"""So long a connection has to be quiet behind an RST before that is judged."""

PATIENCE_NS = 5 * 10**9
"""After such a time it is judged even if the packets go on."""

LINGER_NS = 60 * 10**9
"""So long a connection that has ended is remembered: late packets of it are still its own."""

HELD = 100_000
"""So many segments are held over all connections, other things counted as such: some 120 MiB."""

_MOST_WORDS = 20_000
"""So many words of the kernel wait for their packets."""

_MOST_GONE = 5_000
"""Of so many connections it is remembered where they stood when they ended."""


class _Words:
    """What the kernel said lately of the RSTs that it sent, by the ports of the connection."""

    def __init__(self) -> None:
        self._by_ports: dict[tuple[int, int], list[KernelReset]] = {}
        self._order: deque[tuple[int, int]] = deque()

    def hear(self, words: Iterable[KernelReset]) -> None:
        """Takes more of them, in order of time, and forgets the oldest."""
        for word in words:
            ports = word.src[1], word.dst[1]
            self._by_ports.setdefault(ports, []).append(word)
            self._order.append(ports)
        while len(self._order) > _MOST_WORDS:
            oldest = self._order.popleft()
            self._by_ports[oldest].pop(0)
            if not self._by_ports[oldest]:
                del self._by_ports[oldest]

    def about(self, trace: Trace) -> dict[int, KernelReset]:
        """What it says of this connection, by packet."""
        if trace.drive.client is None or not self._by_ports:
            return {}
        client, server = trace.drive.client[1], trace.drive.server[1]
        # Who listens, and knows no connection, does not name the other end.
        keys = dict.fromkeys([(client, server), (server, client), (server, 0), (client, 0)])
        found = [word for key in keys for word in self._by_ports.get(key, ())]
        return words_about(trace, sorted(found, key=lambda word: word.time_ns)) if found else {}


class LiveExplainer:
    """Takes frames, gives what is said of each connection that was reset, and in the end of all.

    ``wanted`` says which are asked for, ``key_log`` may grow while it is used. ``packets`` counts
    the frames that were taken, ``later`` RSTs of connections whose resets had been told.
    """

    def __init__(
        self,
        wanted: Filter,
        key_log: dict[bytes, Secrets],
        *,
        keep_bodies: bool = False,
        held: int = HELD,
    ) -> None:
        """``keep_bodies``: there will be keys; ``held`` bounds the memory, in segments."""
        self.link = ETHERNET
        self.packets = self.other = self.skipped = self.later = 0
        self._first_ns: int | None = None
        self._last_ns = 0
        self._decoder = Decoder()
        self._tracker = Tracker(keep_bodies=keep_bodies, held=held)
        self._plain_http = PlainHttp()
        self._wanted = wanted
        self._kernel = _Words()
        self._explainer = Explainer(
            Choice(), wanted, key_log, {}, self._plain_http, kernel=self._kernel.about
        )
        self._gone: list[Connection] = []
        self._reset_since: dict[Connection, int] = {}
        self._told: dict[Connection, int] = {}
        self._stood: deque[NatEntry] = deque(maxlen=_MOST_GONE)

    def file(self, arrivals: Iterable[tuple[int, int, bytes]]) -> None:
        """Takes frames: of each the time, the length on the wire, and the bytes."""
        packets = self._plain_http.watch(self._decoded(arrivals))
        self._gone += self._tracker.follow(packets)

    def hear(self, words: Iterable[KernelReset]) -> None:
        """Takes what the kernel says of the RSTs that it sends, in order of time."""
        self._kernel.hear(words)

    @property
    def open(self) -> int:
        """How many connections are followed."""
        return sum(1 for _ in self._tracker.open())

    def lost(self) -> None:
        """Packets were dropped: of what goes on now nothing is sure any more."""
        self._explainer.lossy = True
        for connection in self._tracker.open():
            connection.doubtful = True

    def sweep(self, now_ns: int) -> Iterator[ExplainedFlow]:
        """What is said of the connections whose resets can be understood by now."""
        ripe = list(self._ripe(now_ns))
        gone, self._gone = self._gone, []
        gone += self._tracker.drop(lambda one: self._is_over(one, now_ns))
        yield from self._take(ripe, gone, now_ns)

    def finish(self, now_ns: int) -> Iterator[ExplainedFlow]:
        """The rest, now that no more packets come."""
        gone, self._gone = self._gone, []
        yield from self._take([], [*gone, *self._tracker.drop(lambda _: True)], now_ns)

    def explanation(self, name: str, notes: Iterable[str], truncated: str | None) -> Explanation:
        """All that was found; ``notes`` are sentences about the capture."""
        explainer, last_ns = self._explainer, self._last_ns
        source = InputFacts(
            name=name,
            kind=LIVE,
            packets=self.packets,
            skipped=self.skipped,
            other=self.other,
            truncated=truncated,
            notes=(*notes, *self._notes()),
            first_ns=self._first_ns,
            last_ns=last_ns if self._first_ns is not None else None,
        )
        return Explanation(
            source=source,
            flows=tuple(explainer.flows),
            quiet=explainer.quiet,
            not_shown=explainer.not_shown,
            passed=explainer.passed,
            unlooked=explainer.unlooked,
            tallies=explainer.tallies,
        )

    # --- how connections come to their judgement --------------------------------------------------

    def _decoded(self, arrivals: Iterable[tuple[int, int, bytes]]) -> Iterator[Packet]:
        decode, link, number = self._decoder.decode, self.link, self.packets
        for time_ns, length, data in arrivals:
            number += 1
            try:
                packet = decode(data, link, length, time_ns, number)
            except Malformed:
                self.skipped += 1
                continue
            if packet is None:
                self.other += 1
                continue
            if self._first_ns is None:
                self._first_ns = time_ns
            self._last_ns = time_ns
            yield packet
        self.packets = number

    def _ripe(self, now_ns: int) -> Iterator[Connection]:
        """Connections with an RST that has not been told, and behind which it is quiet."""
        for one in self._tracker.open():
            if not one.rsts or one in self._told or not self._wanted.takes(one.ends):
                continue
            since = self._reset_since.setdefault(one, now_ns)
            if now_ns - one.last_ns >= SETTLED_NS or now_ns - since >= PATIENCE_NS:
                yield one

    def _is_over(self, one: Connection, now_ns: int) -> bool:
        is_open = one.rsts and one not in self._told and self._wanted.takes(one.ends)
        return one.ended and not is_open and now_ns - one.last_ns >= LINGER_NS

    def _take(
        self, ripe: list[Connection], gone: list[Connection], now_ns: int
    ) -> Iterator[ExplainedFlow]:
        takes = self._wanted.takes
        untold = [*ripe, *(one for one in gone if one not in self._told and takes(one.ends))]
        if not untold and not gone:
            return
        self._explainer.goes_on(Choice(others=self._others(untold, gone), until_ns=now_ns))
        for one in untold:
            if one.rsts:
                self._told[one] = one.rsts
            flow = self._explainer.take_and_tell(one)
            if flow is not None:
                yield flow
        for one in gone:
            self.later += one.rsts - self._told.pop(one, one.rsts)
            self._reset_since.pop(one, None)
            self._plain_http.forget(one)
            self._stood += Others.nat_entries_of(one)

    def _others(self, untold: Iterable[Connection], gone: Iterable[Connection]) -> Others:
        """What else goes on: it bears on connections alone whose beginning is not known."""
        others = Others()
        if any(one.opener is None for one in untold):
            for connection in (*gone, *self._tracker.open()):
                others.note(connection)
            others.nat_entries += self._stood
        return others

    def _notes(self) -> Iterator[str]:
        if self.later:
            yield f"{self.later} more RSTs came on connections whose resets had been shown"
        if self._tracker.forgotten:
            yield (
                f"{self._tracker.forgotten} open connections were forgotten to bound the memory,"
                " the quietest first: what came of them later is judged without their beginning;"
                " 'port N' and 'host ADDRESS' watch fewer"
            )
