"""What a campaign will cost, told before it starts: connections, how many at once, how long.

The time is that of a server that ends each connection soon after we do, as most do; how quick it
is, the preflight has measured. One that never ends a connection costs our patience each time, and
what comes late is driven again: a run takes so long, or longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from heapq import heapify, heapreplace
from math import ceil

from tlsprobe.campaign.settings import Settings
from tlsprobe.campaign.spoiled import SHORT_S, TIMED
from tlsprobe.model.run import CellPlan, Plan
from tlsprobe.model.sequence import (
    PASSES_TIME,
    RELEASES,
    TAKES_TIME,
    Form,
    Limit,
    Sequence,
    Verb,
)
from tlsprobe.model.trace import Drive, EventKind

LONG_IDLE = 20.0
"""Seconds of idling from which on races run beside everything else, so that nobody waits twice."""

_SETTLING = 0.03
"""Seconds until the capture has all packets of a cell, and its trials are judged."""

_TRIAL = 0.0025
"""Seconds of a processor that a trial takes, ours and a near server's together."""

_HEADSTART = 0.35
"""Seconds by which a round of races is longer than the idle timeout."""


@dataclass(frozen=True, slots=True)
class Pacing:
    """How fast a server was in the preflight, in seconds: until its first response, to its end."""

    opening: float
    ending: float


def pacing_of(checks: Iterable[Drive]) -> Pacing:
    """What whole, orderly connections took; the quickest counts, since anything can be late."""
    found = [_paced(check) for check in checks]
    opening = min((p.opening for p in found), default=0.0)
    return Pacing(opening, min((p.ending for p in found), default=0.0))


def _paced(check: Drive) -> Pacing:
    times = [event.time_ns for event in check.events]
    if check.mark is None or not times:
        return Pacing(0.0, 0.0)
    ends = [e.time_ns for e in check.events if e.kind in {EventKind.EOF, EventKind.GAVE_UP}]
    ending = max(0, ends[0] - check.mark.time_ns) if ends else 0
    return Pacing((check.mark.time_ns - times[0]) / 1e9, ending / 1e9)


def plan_of(  # noqa: PLR0917 - all that a plan depends on
    missing: Mapping[CellPlan, int],
    settings: Settings,
    pacing: Pacing,
    most: int,
    working: int,
    begun: int,
) -> Plan:
    """What the trials that are still missing will take; ``begun`` connections are spent already.

    ``most`` may be open at once, ``working`` of them without waiting idle.
    """
    cells = {cell: count for cell, count in missing.items() if count}
    idle = {cell: count for cell, count in cells.items() if cell.sequence.is_idle}
    rounds = {cell: ceil(count / 10) for cell, count in idle.items() if cell.sequence.is_race}
    connections = begun + sum(cells.values()) + len(cells) + sum(rounds.values())
    busy = sum(
        _cell_s(cell.sequence, count, settings, pacing, working)
        for cell, count in cells.items()
        if cell not in idle
    )
    wait = settings.expected_idle + pacing.opening + pacing.ending + settings.patience.tail
    waiting = sum(count for cell, count in idle.items() if cell not in rounds)
    last = sum(rounds.values()) * (wait + _HEADSTART)
    if settings.patience.idle >= LONG_IDLE:
        waiting, last = waiting + sum(idle[cell] + rounds[cell] for cell in rounds), 0.0
    if settings.expected_idle <= SHORT_S and any(c.sequence.name == TIMED for c in idle):
        connections, last = connections + 1, last + wait  # the timeout once more, alone
    seconds = max(busy, _waves_s(waiting, wait, most, working, busy)) + last
    if settings.rate:
        seconds = max(seconds, connections / settings.rate)
    others = max((count for cell, count in cells.items() if cell not in idle), default=0)
    at_once = min(most, max(waiting + min(working, others), 1))
    return Plan(connections, at_once, round(seconds, 1))


def _cell_s(
    sequence: Sequence, count: int, settings: Settings, pacing: Pacing, working: int
) -> float:
    """A cell's trials, so many at a time, and the connection that sees whether the path lives."""
    tail = settings.patience.tail
    one = pacing.opening + _steps_s(sequence, settings, pacing) + tail
    return max(ceil(count / working) * one, count * _TRIAL) + _check_s(pacing, tail)


def _check_s(pacing: Pacing, tail: float) -> float:
    return pacing.opening + pacing.ending + tail + _SETTLING


def _steps_s(sequence: Sequence, settings: Settings, pacing: Pacing) -> float:
    """The waits of a sequence: those of its own in full, those for the server as it was seen."""
    half_hello = any(step.verb is Verb.HELLO and step.form is Form.PART for step in sequence.steps)
    # Who has half a record waits for the rest, whatever is said meanwhile, but not past a FIN.
    in_full = TAKES_TIME if half_hello and not sequence.uses(Verb.FIN) else PASSES_TIME
    seconds, gone = 0.0, False
    for step in sequence.steps:
        gone = gone or step.verb in RELEASES
        if step.verb in in_full and not isinstance(step.wait, Limit):
            seconds += float(step.wait)
        elif step.verb in {Verb.AWAIT, Verb.DRAIN}:
            seconds += settings.patience.tail if gone else pacing.ending
    return seconds


def _waves_s(count: int, wait: float, most: int, working: int, busy: float) -> float:
    """How long so many connections wait, when few may at first and more when the rest is done."""
    if not count:
        return 0.0
    places = [0.0] * max(1, min(count, most - working))
    more = max(0, most - 1 - len(places))
    heapify(places)
    for _ in range(count):
        if more and places[0] >= busy:
            places.extend([busy] * more)
            heapify(places)
            more = 0
        heapreplace(places, places[0] + wait)
    return max(places)
