"""Holds the causes that were read from packets against the kernel's own reasons.

Both name the ends of the connection and a time. The kernel tells an answer to a segment just before
its packet leaves, and a decision of its own just after. So each RST of a trial goes with an event
of its form on the proper side of it, the nearest first; and no event with two of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tlsprobe.lab.kernel_reasons import agrees
from tlsprobe.model.causes import Cause
from tlsprobe.model.judgement import Reset
from tlsprobe.model.kernel import Endpoint, KernelReset
from tlsprobe.model.run import Disagreement, JudgedTrial, Truth
from tlsprobe.model.trace import Side, Trace

APART_NS = 100_000_000
"""How far the kernel's word and the packet may be apart: less than a client's port lives."""

_TOGETHER_NS = 1_000_000

ROUNDING_NS = 2_000
"""By so much an event may seem to be on the other side: the trace tells whole microseconds."""


class Paired(NamedTuple):
    """An RST of a trial, with the kernel's word about it (None: it said nothing)."""

    trial: JudgedTrial
    reset: Reset
    kernel: KernelReset | None

    @property
    def agrees(self) -> bool:
        """Whether the kernel's reason allows the cause that was read from packets."""
        return self._allows(self.reset.cause)

    @property
    def agrees_by_alternative(self) -> bool:
        """Whether it allows not the cause, and one that was left open."""
        return not self.agrees and any(map(self._allows, self.reset.alternatives))

    def _allows(self, cause: Cause) -> bool:
        return self.kernel is not None and agrees(cause, self.kernel.reason, self.kernel.state)


class _Seen(NamedTuple):
    """An RST, and the connection that it belongs to."""

    side: Side
    time_ns: int
    passive: bool
    client: Endpoint

    def fits(self, told: KernelReset, server: Endpoint) -> bool:
        """Whether the kernel may speak of this one."""
        ours = told.belongs_to(self.client, server)
        return ours and told.sent_by(server if self.side is Side.SERVER else self.client)


class Decisions:
    """The RSTs by which a kernel gave a connection up itself, by the end that they went to."""

    def __init__(self) -> None:
        self._by_peer: defaultdict[Endpoint, list[KernelReset]] = defaultdict(list)

    def learn(self, resets: Iterable[KernelReset]) -> None:
        """Take more of what kernels said."""
        for told in resets:
            if not told.passive:
                self._by_peer[told.dst].append(told)

    def has(self, sender: Endpoint, peer: Endpoint, while_open: range) -> bool:
        """Whether the sender's kernel gave up a connection that was open at that time."""
        began, ended = while_open.start - APART_NS, while_open.stop + APART_NS
        times = (one.time_ns for one in self._by_peer.get(peer, ()) if one.sent_by(sender))
        return any(began <= time_ns <= ended for time_ns in times)


def with_kernel(
    trials: Iterable[JudgedTrial], told: Sequence[KernelReset], server: Endpoint
) -> list[Paired]:
    """Every RST of the trials of one server, with what the kernel says; ``told`` is by time."""
    resets = [(t, r) for t in trials if t.client for r in t.judgement.resets]
    seen = [_Seen(r.side, r.time_ns, r.passive, endpoint_of(t.client)) for t, r in resets]
    pairs = _paired(seen, told, server)
    return [
        Paired(trial, reset, told[pairs[index]] if index in pairs else None)
        for index, (trial, reset) in enumerate(resets)
    ]


def words_about(trace: Trace, told: Sequence[KernelReset]) -> dict[int, KernelReset]:
    """What the kernel says of the RSTs of one connection, by packet; ``told`` is by time.

    A word is about an RST of its own form alone, since nobody else vouches for it: an answer to a
    SYN has the form of a decision. One that does not name both ends must have come with its packet.
    """
    client, server = trace.drive.client, trace.drive.server
    if client is None:
        return {}
    rsts = [segment for segment in trace.segments if segment.rst]
    seen = [_Seen(s.side, s.time_ns, s.ack is None, client) for s in rsts]
    spoke = {s.side for s in trace.segments if not s.rst}
    return {
        rsts[one].number: told[event]
        for one, event in _paired(seen, told, server).items()
        if (told[event].passive is seen[one].passive or rsts[one].side not in spoke)
        and (told[event].dst[1] or abs(told[event].time_ns - seen[one].time_ns) <= _TOGETHER_NS)
    }


def compare(
    trials: Iterable[JudgedTrial], told: Sequence[KernelReset], server: Endpoint, lost: int = 0
) -> Truth:
    """The agreement over the trials of one server; ``told`` is in the order of time.

    ``lost`` is how many resets the kernel's trace lost.
    """
    judged = [trial for trial in trials if trial.client]
    paired = with_kernel(judged, told, server)
    answered = [one for one in paired if one.kernel is not None]
    agreed = sum(one.agrees for one in answered)
    by_alternative = sum(one.agrees_by_alternative for one in answered)
    against = (one for one in answered if not (one.agrees or one.agrees_by_alternative))
    clients = {endpoint_of(trial.client) for trial in judged}
    spoken_of = {id(one.kernel) for one in answered}
    return Truth(
        resets=len(answered),
        agreed=agreed,
        agreed_by_alternative=by_alternative,
        disagreements=tuple(map(_disagreement, against)),
        unmatched=tuple(_disagreement(one) for one in paired if one.kernel is None),
        not_seen=sum(
            id(kernel) not in spoken_of and _is_between(kernel, clients, server) for kernel in told
        ),
        lost=lost,
    )


def _is_between(told: KernelReset, clients: set[Endpoint], server: Endpoint) -> bool:
    """Whether both ends are known; a client's port alone may be another connection's."""
    forth, back = told.src == server and told.dst in clients, told.dst == server
    return forth or (back and told.src in clients)


def _paired(seen: Sequence[_Seen], told: Sequence[KernelReset], server: Endpoint) -> dict[int, int]:
    """Which RST goes with which event, by their places: the likeliest first."""
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for *_, one, event in sorted(_candidates(seen, told, server)):
        if one not in pairs and event not in taken:
            pairs[one] = event
            taken.add(event)
    return pairs


def _candidates(
    seen: Sequence[_Seen], told: Sequence[KernelReset], server: Endpoint
) -> Iterator[tuple[bool, bool, int, int, int]]:
    times = [event.time_ns for event in told]
    for index, one in enumerate(seen):
        first = bisect_left(times, one.time_ns - APART_NS)
        for place in range(first, bisect_left(times, one.time_ns + APART_NS)):
            if one.fits(told[place], server):
                event, passive = told[place], one.passive
                ahead = (one.time_ns - event.time_ns) * (1 if passive else -1)
                other_form, other_side = event.passive is not passive, ahead < -ROUNDING_NS
                yield other_form, other_side, abs(ahead), index, place


def _disagreement(one: Paired) -> Disagreement:
    trial, reset, told = one.trial.trial, one.reset, one.kernel
    return Disagreement(
        trial.sequence,
        trial.tls,
        trial.index,
        reset.side,
        reset.packet,
        reset.cause,
        reset.confidence,
        reset.alternatives,
        told.state if told else "",
        told.reason if told else "",
    )


def endpoint_of(text: str) -> Endpoint:
    """``127.0.0.1:443`` or ``[::1]:443`` as the kernel's events have it."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)
