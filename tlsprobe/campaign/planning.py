"""What a campaign will cost, told before it starts: connections, how many at once, how long.

Two times are told: that of a server that ends each connection soon after we do, as quickly as it
did in the preflight, and that of one that ends none, so that each wait costs our patience, with
every control that an RST may need. Most servers do one here and the other there. What comes late is
driven again, which nobody can foresee: for the connections that this takes there is a bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from heapq import heapify, heapreplace
from math import ceil

from tlsprobe.campaign.controls import CONTROL_TRIALS
from tlsprobe.campaign.repeats import (
    most_controls,
    most_if_crowded,
    most_repeats,
    wanted_controls,
)
from tlsprobe.campaign.settings import Settings
from tlsprobe.campaign.spoiled import SHORT_S, TIMED
from tlsprobe.model.run import CellPlan, Plan
from tlsprobe.model.sequence import Limit, Sequence
from tlsprobe.model.trace import Drive, EventKind
from tlsprobe.model.verbs import PASSES_TIME, RELEASES, TAKES_TIME, Form, Verb

LONG_IDLE = 20.0
"""Seconds of idling from which on races run beside everything else, so that nobody waits twice."""

EXHAUST_S = 2.0
"""Seconds until a connection is used up, more or less: nobody knows a server's limits."""

RESTART_S = 0.5
"""Seconds that a server takes to be started again, as a rule."""

TIMES, MORE_S = 1.5, 60.0
"""How much longer a target may take than one that ends nothing: so many times, and so many seconds.

A quick one that ends nothing takes up to 1.24 times as long, measured: what was late is driven once
more, and controls wait. Whoever takes longer holds us up.
"""

AGAIN = 0.6
"""How many connections of a plan may have to be driven again, one after the other.

Each takes as long as the server takes to answer: one that needs 3.5 s for that and ends nothing
took 2.13 times as long as planned, with 202 connections more than the 368 of its plan.
"""

_SETTLING = 0.03
"""Seconds until the capture has all packets of a cell, and its trials are judged."""

_TRIAL = 0.0025
"""Seconds of a processor that a trial takes, ours and a near server's together."""

_HEADSTART = 0.35
"""Seconds by which a round of races is longer than the idle timeout."""


@dataclass(frozen=True, slots=True)
class Pacing:
    """How fast a server was in the preflight, in seconds: until its first response, to its end.

    ``elsewhere`` is how long it takes to end what the preflight did not try, None: as long;
    ``idling`` how long it lets a connection idle, None: as is expected of it.
    """

    opening: float
    ending: float
    elsewhere: float | None = None
    idling: float | None = None

    @property
    def waiting(self) -> float:
        """How long a wait for the server's end takes."""
        return self.ending if self.elsewhere is None else self.elsewhere


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


@dataclass(frozen=True, slots=True)
class Room:
    """How many connections may be open at once, how many of them without waiting idle.

    ``a_round`` is how many race the same expiry together.
    """

    most: int
    working: int
    a_round: int = 10


def plan_of(
    missing: Mapping[CellPlan, int],
    settings: Settings,
    pacing: Pacing,
    room: Room,
    *,
    begun: int,
    measurable: Mapping[CellPlan, int] | None = None,
    behind: bool = False,
) -> Plan:
    """What the trials that are still missing will take; ``begun`` connections are spent already.

    ``measurable`` are all trials that may have to be driven once more; None: the missing ones.
    ``behind``: a program on this machine passes the connections on, or may.
    """
    most, working = room.most, room.working
    cells = {cell: count for cell, count in missing.items() if count}
    idle = {cell: count for cell, count in cells.items() if cell.sequence.is_idle}
    races = {cell: count for cell, count in idle.items() if cell.sequence.is_race}
    rounds = {cell: ceil(count / room.a_round) for cell, count in races.items()}
    trials = sum(cell.sequence.connections * count for cell, count in cells.items())
    checks = sum(count if cell.sequence.signals else 1 for cell, count in cells.items())
    connections = begun + trials + checks + sum(rounds.values())
    if settings.expected_idle <= SHORT_S and any(c.sequence.name == TIMED for c in idle):
        connections += 1  # the timeout once more, alone
    others = max((_at_once(c, n, working) for c, n in cells.items() if c not in idle), default=0)
    waiting = sum(_waiters(cell, count, rounds, settings) for cell, count in idle.items())
    a_race = max((min(count, room.a_round) + 1 for count in races.values()), default=1)
    at_once = min(most, max(waiting + others, a_race))
    spans = (
        _seconds(cells, rounds, settings, paced, most, working)
        for paced in (pacing, _patient(pacing, settings))
    )
    again = cells if measurable is None else measurable
    far = behind or settings.rate is not None  # on this machine as many as come are opened
    least = connections / settings.rate if settings.rate else 0.0
    with_controls = connections + most_controls(again, far=far)
    controlled = with_controls / settings.rate if settings.rate else 0.0
    wanted = wanted_controls(again, far=far)
    controls = _controls_s(wanted, settings, _patient(pacing, settings), working)
    quick, patient = spans
    return Plan(
        connections,
        at_once,
        round(max(quick, least), 1),
        round(max(quick, patient + controls, controlled), 1),
        with_repeats=connections + most_repeats(again, room.a_round, far=far),
        if_crowded=connections + most_if_crowded(again, most, far=far),
    )


def bound_of(plan: Plan, pacing: Pacing) -> float:
    """Seconds that a target is given where others wait for it, whatever its server does."""
    again_s = AGAIN * plan.connections * pacing.opening
    return TIMES * max(plan.seconds, plan.patient_seconds or 0.0) + again_s + MORE_S


def _at_once(cell: CellPlan, count: int, working: int) -> int:
    """Connections of a cell that are open at the same time."""
    return cell.sequence.connections * min(working, count)


def _patient(pacing: Pacing, settings: Settings) -> Pacing:
    """The same server, were it to end nothing that it did not end in the preflight."""
    patience = settings.patience
    return Pacing(pacing.opening, pacing.ending, max(patience.server, pacing.ending), patience.idle)


def _waiters(cell: CellPlan, count: int, rounds: Mapping[CellPlan, int], settings: Settings) -> int:
    """Connections of an idle cell that wait beside everything else: those of short races do not."""
    if cell not in rounds:
        return count
    return count + rounds[cell] if settings.patience.idle >= LONG_IDLE else 0


def _seconds(  # noqa: PLR0917 - all that it depends on
    cells: Mapping[CellPlan, int],
    rounds: Mapping[CellPlan, int],
    settings: Settings,
    pacing: Pacing,
    most: int,
    working: int,
) -> float:
    """How long the cells take: idle ones beside all the others, short races by themselves."""
    idle = {cell: count for cell, count in cells.items() if cell.sequence.is_idle}
    busy = sum(
        _cell_s(cell.sequence, count, settings, pacing, working)
        for cell, count in cells.items()
        if cell not in idle
    )
    idling = settings.expected_idle if pacing.idling is None else pacing.idling
    wait = idling + pacing.opening + pacing.waiting + settings.patience.tail
    waiting = sum(_waiters(cell, count, rounds, settings) for cell, count in idle.items())
    last = 0.0
    if settings.patience.idle < LONG_IDLE:
        last = sum(rounds.values()) * (wait + _HEADSTART)
    if settings.expected_idle <= SHORT_S and any(c.sequence.name == TIMED for c in idle):
        last += wait
    return max(busy, _waves_s(waiting, wait, most, working, busy)) + last


def _controls_s(
    controls: Iterable[Sequence], settings: Settings, pacing: Pacing, working: int
) -> float:
    """How long the controls take; those that wait idle do so together."""
    idling = settings.expected_idle if pacing.idling is None else pacing.idling
    wait = idling + pacing.opening + pacing.waiting + settings.patience.tail
    idle = [control for control in controls if control.is_idle]
    return wait * bool(idle) + sum(
        _cell_s(control, CONTROL_TRIALS, settings, pacing, working)
        for control in controls
        if not control.is_idle
    )


def _cell_s(
    sequence: Sequence, count: int, settings: Settings, pacing: Pacing, working: int
) -> float:
    """A cell's trials, so many at a time, and the connection that sees whether the path lives.

    Where each stops the server there is one at a time, with such a connection behind it.
    """
    tail = settings.patience.tail
    one = pacing.opening + _steps_s(sequence, settings, pacing) + tail
    if sequence.signals:
        return count * (one + RESTART_S + _check_s(pacing, tail))
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
        if step.verb is Verb.EXHAUST:
            seconds += EXHAUST_S
            continue
        gone = gone or step.verb in RELEASES
        if step.verb in in_full and not isinstance(step.wait, Limit):
            seconds += float(step.wait)
        elif step.verb in {Verb.AWAIT, Verb.DRAIN}:
            seconds += settings.patience.tail if gone else pacing.waiting
        elif step.verb is Verb.TICKET and not isinstance(step.wait, Limit):
            seconds += min(float(step.wait), pacing.waiting)
        elif step.verb is Verb.RESUME:
            seconds += pacing.opening + pacing.ending
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
