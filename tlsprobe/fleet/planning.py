"""What a fleet would cost, and what cannot be done as asked: told before it starts.

Names are resolved for the cost; nothing is opened.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from tlsprobe.campaign.connections import ConnectionLimits
from tlsprobe.campaign.driver import ELSEWHERE, ON_LOOPBACK
from tlsprobe.campaign.planning import Pacing, Room, bound_of, plan_of
from tlsprobe.campaign.run import choose_sequences, idle_limit
from tlsprobe.campaign.settings import ANONYMOUS, TargetSettings, plan
from tlsprobe.errors import CannotMeasure, UsageError
from tlsprobe.fleet.asked import (
    LOOKUPS,
    FleetSettings,
    addresses_of,
    in_fleets,
    rate_of,
    target_settings,
    why_not,
)
from tlsprobe.fleet.targets import refused
from tlsprobe.model.fleet import FleetPlan, FleetTarget
from tlsprobe.model.run import Plan
from tlsprobe.model.sequence import Sequence as Close
from tlsprobe.protocols import make_conversation

AT_ONCE = Pacing(0.0, 0.0)

_PREFLIGHT = 2
"""Connections that every target costs before it is measured."""


def planned(jobs: Sequence[TargetSettings], asked: FleetSettings) -> FleetPlan:
    """The plan of a fleet. A target whose name cannot be resolved is refused, with the reason."""
    with ThreadPoolExecutor(LOOKUPS) as pool:
        found = list(pool.map(lambda job: _resolved(job, asked), jobs))
    costs: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    chains: defaultdict[str, float] = defaultdict(float)
    within_s = slowest_s = 0.0
    bounds = Bounds()
    refused = []
    for job, (addresses, why) in zip(jobs, found, strict=True):
        if why:
            refused.append((job.target.name, why))
            continue
        rate = rate_of(addresses, asked)
        cost = cost_of(job, rate)
        counts[job.profile.name] += 1
        costs[job.profile.name] += cost.connections
        chains[addresses[0]] += cost.seconds
        within_s = max(within_s, bound_of(cost, AT_ONCE))
        slowest_s = max(slowest_s, bounds.of(job, rate))
    return FleetPlan(
        targets=counts.total(),
        hosts=len(chains),
        connections=costs.total(),
        least_s=max(chains.values(), default=0.0),
        within_s=within_s,
        slowest_s=slowest_s,
        most=asked.most,
        by_profile=tuple((name, count, costs[name]) for name, count in counts.most_common()),
        refused=tuple(refused),
    )


def _resolved(job: TargetSettings, asked: FleetSettings) -> tuple[tuple[str, ...], str]:
    try:
        addresses = addresses_of(job)
    except CannotMeasure as error:
        return (), error.message
    return addresses, why_not(addresses, asked)


def slowest(job: TargetSettings) -> Pacing:
    """A server that is as slow as it may be to be measured at all."""
    waits_s = max(job.how.patience.server, job.how.patience.answer)
    return Pacing(waits_s, waits_s)


def cost_of(job: TargetSettings, rate: float | None, pacing: Pacing = AT_ONCE) -> Plan:
    """What one target costs; unless told otherwise, were its server to answer at once."""
    sequences = in_fleets(_chosen(job), job)
    how = replace(job.how, rate=rate, patience=replace(job.how.patience, idle=idle_limit(job)))
    usual = ELSEWHERE if rate else ON_LOOPBACK
    limits = ConnectionLimits(how.connections or job.profile.connections or usual, how.concurrency)
    missing = {cell: cell.trials for cell in plan(sequences, how)}
    room = Room(limits.most, limits.working)
    return plan_of(missing, how, pacing, room, begun=_PREFLIGHT)


class Bounds:
    """How long each target may take, were it as slow as it may be.

    How slow it is `campaign.trials` sees, and gives it no longer than that takes. Targets that are
    measured alike are planned once.
    """

    def __init__(self) -> None:
        self._known: dict[Hashable, float] = {}

    def of(self, job: TargetSettings, rate: float | None) -> float:
        """Seconds after which the time of a target is over."""
        how = replace(job.how, identity=ANONYMOUS)
        alike = job.profile.name, job.sequences, job.login, job.idle_s, how, rate
        if alike not in self._known:
            pacing = slowest(job)
            self._known[alike] = bound_of(cost_of(job, rate, pacing), pacing)
        return self._known[alike]


def jobs_of(
    targets: Sequence[FleetTarget], asked: FleetSettings, source: str
) -> list[TargetSettings]:
    """How each target of a list is probed. Nothing is resolved or opened.

    Raises UsageError with all that cannot be probed as asked, and their places; with that alone
    which is said against every one of them, since then it is the command line's mistake.
    """
    jobs: list[TargetSettings] = []
    mistakes: list[tuple[str, UsageError]] = []
    known: dict[Hashable, UsageError | None] = {}
    for target in targets:
        try:
            job = target_settings(target, asked)
        except UsageError as error:
            mistakes.append((target.place, error))
            continue
        alike = _alike(job)
        if alike not in known:
            known[alike] = _objection(job)
        if (objection := known[alike]) is not None:
            mistakes.append((target.place, objection))
        jobs.append(job)
    if len(mistakes) == len(targets) and len({error.message for _, error in mistakes}) == 1:
        raise mistakes[0][1]
    if mistakes:
        raise refused(source, [f"{place}: {error.message}" for place, error in mistakes])
    return jobs


def _alike(job: TargetSettings) -> Hashable:
    """What is the same for targets to which the same can be objected; ASCII names are alike."""
    name = job.how.identity.sni or job.target.host
    host = "" if name.isascii() else name
    return host, job.profile.name, job.sequences, job.login


def _objection(job: TargetSettings) -> UsageError | None:
    try:
        _chosen(job)
    except UsageError as error:
        return error
    return None


def _chosen(job: TargetSettings) -> tuple[Close, ...]:
    """The sequences of a target. Raises UsageError for what its protocol cannot carry."""
    name = job.how.identity.sni or job.target.host
    converse = make_conversation(job.profile, name, job.login, job.target.port)
    return choose_sequences(job.profile, converse, job.sequences)
