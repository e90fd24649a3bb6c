"""Which sequences that nobody asked for would tell more about a cell: its controls."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from tlsprobe.campaign.judging import CONTROL
from tlsprobe.campaign.learned import FIN_VOUCHER, VOUCHER
from tlsprobe.catalogue import alert_alone, alert_only, catalogue, control_of
from tlsprobe.judge.causes import is_doubtful, is_open
from tlsprobe.judge.rules import wants_alert_alone
from tlsprobe.language import format_groups
from tlsprobe.model.judgement import Judgement
from tlsprobe.model.run import CellPlan
from tlsprobe.model.sequence import Sequence
from tlsprobe.model.verbs import Verb

CONTROL_TRIALS = 3
"""Connections spent on a control that the user did not ask for."""


def possible_controls(cell: CellPlan) -> Iterator[CellPlan]:
    """Every control that some answer to a cell could ask for."""
    if cell.role == CONTROL:
        return
    sequence = cell.sequence
    for control in (control_of(sequence), alert_only(sequence), alert_alone(sequence)):
        if control is not None:
            yield _planned(control, cell)


def vouchers(cell: CellPlan, names: Iterable[str] = (VOUCHER, FIN_VOUCHER)) -> Iterator[CellPlan]:
    """The closes of these names, which no proxy answers by itself, in a cell's TLS version.

    A server that ends those without an alert is taken to end others so as well.
    """
    if cell.role != CONTROL and not cell.sequence.uses(Verb.ABORT):
        for name in names:
            yield _planned(catalogue()[name].sequence, cell)


def controls_for(cell: CellPlan, said: Collection[Judgement]) -> Iterator[CellPlan]:
    """The controls that would tell more about a cell, of whose trials this was said."""
    for control in _wanted(cell.sequence, said):
        yield _planned(control, cell)


def _planned(control: Sequence, cell: CellPlan) -> CellPlan:
    return CellPlan(control, format_groups(control.groups), cell.tls, CONTROL_TRIALS, CONTROL)


def _wanted(sequence: Sequence, said: Collection[Judgement]) -> Iterator[Sequence]:
    open_cause = any(is_open(reset) for judgement in said for reset in judgement.resets)
    if open_cause and (control := control_of(sequence)) is not None:
        yield control
    doubted = any(is_doubtful(reset) for judgement in said for reset in judgement.resets)
    if doubted and (control := alert_only(sequence)) is not None:
        yield control
    unsettled = any(wants_alert_alone(judgement.results) for judgement in said)
    if unsettled and (control := alert_alone(sequence)) is not None:
        yield control
