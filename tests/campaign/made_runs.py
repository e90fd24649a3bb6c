"""Facts of runs that nobody drove: trials of named sequences, from stories of packets."""

from __future__ import annotations

from dataclasses import replace

from tlsprobe.campaign.judging import JudgedRun, judged_run
from tlsprobe.catalogue import catalogue
from tlsprobe.language import format_groups
from tlsprobe.model.facts import Fact, PlanFact, PlannedCell, TrialFact
from tlsprobe.model.load import Load
from tlsprobe.model.run import Cell, Trial
from tlsprobe.model.trace import Trace

LEFT, WITHOUT = "terminate-close-notify", "terminate"
"""A close that may leave something unread, and its control."""

ALONE = "close-notify-only"
"""A close in which our alert is all that we send."""


def planned(name: str, role: str = "asked", tls: str = "1.3") -> PlannedCell:
    return PlannedCell(name, format_groups(catalogue()[name].sequence.groups), tls, 3, role)


PLAN = PlanFact((planned(LEFT), planned(WITHOUT), planned("idle-expiry")))


def trial(name: str, index: int, trace: Trace, tls: str = "1.3") -> TrialFact:
    return TrialFact(Trial(name, tls, index), trace, Load(1, 1))


def repeated(name: str, trace: Trace, tls: str = "1.3") -> list[TrialFact]:
    return [trial(name, number, trace, tls) for number in range(3)]


def run_of(*facts: Fact) -> JudgedRun:
    return judged_run(lambda: facts)


def judged(*facts: Fact) -> dict[str, Cell]:
    return {cell.sequence: cell for cell in run_of(*facts).cells}


def between(fact: TrialFact, client: str, server: str) -> TrialFact:
    """The same connection between other addresses."""
    drive = replace(fact.trace.drive, client=(client, 50000), server=(server, 443))
    return replace(fact, trace=replace(fact.trace, drive=drive))
