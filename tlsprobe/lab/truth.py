"""Holds the causes that were read from packets against the kernel's own reasons.

Both name the ends of the connection and a time. The kernel tells an answer to a segment just before
its packet leaves, and a decision of its own just after. So each RST of a trial goes with an event
of its form on the proper side of it, the nearest first; and no event with two of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tlsprobe.lab.kernel_truth import agrees
from tlsprobe.model.judgement import Reset
from tlsprobe.model.kernel import Endpoint, KernelReset
from tlsprobe.model.run import Disagreement, JudgedTrial, Truth
from tlsprobe.model.trace import Side

APART_NS = 100_000_000
"""How far the kernel's word and the packet may be apart: less than a client's port lives."""

ROUNDING_NS = 2_000
"""By so much an event may seem to be on the other side: the trace tells whole microseconds."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A RST of a trial, and the connection that it belongs to."""

    trial: JudgedTrial
    reset: Reset
    client: Endpoint

    def fits(self, told: KernelReset, server: Endpoint) -> bool:
        """Whether the kernel may speak of this one."""
        ours = told.belongs_to(self.client, server)
        return ours and told.sent_by(server if self.reset.side is Side.SERVER else self.client)


def compare(
    trials: Iterable[JudgedTrial], told: Sequence[KernelReset], server: Endpoint, lost: int = 0
) -> Truth:
    """The agreement over the trials of one server; ``told`` is in the order of time.

    ``lost`` is how many resets the kernel's trace lost.
    """
    judged = [trial for trial in trials if trial.client]
    seen = [
        _Seen(trial, reset, endpoint_of(trial.client))
        for trial in judged
        for reset in trial.judgement.resets
    ]
    pairs = _paired(seen, told, server)
    answered = [(one, told[pairs[index]]) for index, one in enumerate(seen) if index in pairs]
    plain = [one for one, kernel in answered if _allows(kernel, one.reset)]
    others = [(one, kernel) for one, kernel in answered if not _allows(kernel, one.reset)]
    against = [(one, kernel) for one, kernel in others if not _allows_another(kernel, one.reset)]
    clients = {endpoint_of(trial.client) for trial in judged}
    spoken_of = set(pairs.values())
    return Truth(
        resets=len(answered),
        agreed=len(plain),
        agreed_by_alternative=len(others) - len(against),
        disagreements=tuple(_disagreement(one, kernel) for one, kernel in against),
        untold=tuple(_disagreement(one) for index, one in enumerate(seen) if index not in pairs),
        not_seen=sum(
            index not in spoken_of and _is_between(kernel, clients, server)
            for index, kernel in enumerate(told)
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
        first = bisect_left(times, one.reset.time_ns - APART_NS)
        for place in range(first, bisect_left(times, one.reset.time_ns + APART_NS)):
            if one.fits(told[place], server):
                event, passive = told[place], one.reset.passive
                ahead = (one.reset.time_ns - event.time_ns) * (1 if passive else -1)
                other_form, other_side = event.passive is not passive, ahead < -ROUNDING_NS
                yield other_form, other_side, abs(ahead), index, place


def _allows(told: KernelReset, reset: Reset) -> bool:
    return agrees(reset.cause, told.reason, told.state)


def _allows_another(told: KernelReset, reset: Reset) -> bool:
    return any(agrees(cause, told.reason, told.state) for cause in reset.alternatives)


def _disagreement(one: _Seen, told: KernelReset | None = None) -> Disagreement:
    trial, reset = one.trial.trial, one.reset
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
