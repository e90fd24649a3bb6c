"""How many connections may come on top of what a campaign plans: its controls and its repeats.

Both depend on what is found. They are bounded, and the bounds are told beforehand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil

from tlsprobe.campaign.again import (
    CALMER,
    IDLE_TRIALS,
    LOOKS_ALONE,
    MOST_AGAIN,
    STEP_DOWN,
)
from tlsprobe.campaign.controls import CONTROL_TRIALS, possible_controls, vouchers
from tlsprobe.model.run import CellPlan
from tlsprobe.model.sequence import Sequence

PATH_TRIES = 3
"""Connections that may run out of time before a path counts as dead."""


def most_repeats(cells: Mapping[CellPlan, int], a_round: int, *, far: bool) -> int:
    """Connections for controls and for what came late, at most.

    ``cells`` has the trials that can be driven of each cell; a round has ``a_round`` races.
    """
    connections = max((cell.sequence.connections for cell in cells), default=1)
    again = sum(
        connections * min(MOST_AGAIN, _trials(cells)) + _rounds(cells, a_round) for _ in CALMER
    )
    paths = (PATH_TRIES - 1) * len(cells) + PATH_TRIES * len({cell.tls for cell in cells})
    return again + LOOKS_ALONE + paths + most_controls(cells, far=far)


def most_if_crowded(cells: Mapping[CellPlan, int], most: int, *, far: bool) -> int:
    """The same for a server that turns out to have no room for ``most`` connections, at most.

    Rounds are as small as they can be then.
    """
    idle = [cell for cell in cells if cell.sequence.is_idle]
    quick = sum(
        cell.sequence.connections * count
        for cell, count in cells.items()
        if not cell.sequence.is_idle
    )
    races = sum(cell.sequence.is_race for cell in idle)
    a_step = quick + IDLE_TRIALS * (len(idle) + races) + PATH_TRIES * len(cells) + LOOKS_ALONE
    return most_repeats(cells, 1, far=far) + _steps_down(most) * a_step


def _steps_down(most: int) -> int:
    """How often fewer connections can be tried."""
    return 0 if most <= 1 else 1 + _steps_down(most // STEP_DOWN)


def wanted_controls(cells: Iterable[CellPlan], *, far: bool) -> list[Sequence]:
    """All controls that could be asked for and are not asked for anyway, once a TLS version.

    ``far``: the server may be behind a proxy.
    """
    planned = list(cells)
    known = {(cell.sequence.groups, cell.tls) for cell in planned}
    every = [control for cell in planned for control in possible_controls(cell)]
    every += [control for cell in planned if far for control in vouchers(cell)]
    added = {(control.sequence.groups, control.tls): control.sequence for control in every}
    return [sequence for key, sequence in added.items() if key not in known]


def most_controls(cells: Iterable[CellPlan], *, far: bool) -> int:
    """Connections of all controls that could be asked for, each with its look at the path."""
    return len(wanted_controls(cells, far=far)) * (CONTROL_TRIALS + PATH_TRIES)


def _trials(cells: Mapping[CellPlan, int]) -> int:
    return sum(cells.values())


def _rounds(cells: Mapping[CellPlan, int], a_round: int) -> int:
    """Rounds of races, each with a connection that sees the expiry come."""
    races = (count for cell, count in cells.items() if cell.sequence.is_race)
    return sum(ceil(count / a_round) for count in races)
