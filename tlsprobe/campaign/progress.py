"""Who is shown how far a campaign has come."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from tlsprobe.campaign.results import ResultsFolder
from tlsprobe.campaign.settings import Measured, Watcher
from tlsprobe.model.run import CellPlan, JudgedTrial, Plan
from tlsprobe.report.plurals import counted, how_long


class Bar(Protocol):
    """What is shown of one target."""

    def planned(self, connections: int, waits: int, seconds: float) -> None:
        """So many connections are to be judged, so many of them wait for an idle expiry.

        All of it takes about so many ``seconds``.
        """

    def judged(self, waits: int) -> None:
        """One more has ended; so many still wait for an idle expiry."""


class Progress(Protocol):
    """Where a campaign says what it does, for whoever waits for it."""

    def note(self, text: str) -> None:
        """Say something in one line."""

    def bar(self, name: str) -> Bar:
        """A target is about to be probed."""


class Silent:
    """A progress that nobody sees, and its bars."""

    def note(self, text: str) -> None:
        """Nothing is said."""

    def bar(self, name: str) -> Silent:
        """Nothing is shown."""
        return self

    def planned(self, connections: int, waits: int, seconds: float) -> None:
        """Nothing is shown."""

    def judged(self, waits: int) -> None:
        """Nothing is shown."""


def shown(
    progress: Progress,
    name: str,
    folder: ResultsFolder,
    progressed: Callable[[Measured], None],
    *,
    is_resumed: bool = False,
) -> Watcher:
    """Callbacks that feed the progress and the results folder of one target."""
    bar = progress.bar(name)
    waits: dict[str, int] = {}
    plans: list[Plan] = []

    def planned(cells: Mapping[CellPlan, int]) -> None:
        for plan, count in cells.items():
            if plan.sequence.is_idle:
                waits[plan.sequence.name] = waits.get(plan.sequence.name, 0) + count
        seconds = plans[-1].seconds if plans else 0.0
        bar.planned(sum(cells.values()), sum(waits.values()), seconds)
        more = " to go" if is_resumed else ""
        cost = f", {cost_of(plans[-1])}" if plans else ""
        progress.note(f"{name}: {counted(len(cells), 'cell')}{more}{cost}")

    def judged(trial: JudgedTrial) -> None:
        folder.add(trial)
        if trial.trial.sequence in waits:
            left = waits[trial.trial.sequence] - 1
            waits[trial.trial.sequence] = max(0, left)  # some are driven once more
        bar.judged(sum(waits.values()))

    def warned(text: str) -> None:
        progress.note(f"{name}: warning: {text}")

    return Watcher(plans.append, planned, judged, progressed, warned)


def cost_of(plan: Plan) -> str:
    """What a run will cost, in words."""
    at_once = f"at most {plan.most_open} open at once"
    long = f"about {how_long(plan.seconds)}"
    if plan.patient_seconds is not None and round(plan.patient_seconds) > round(plan.seconds):
        long += f", or {how_long(plan.patient_seconds)} if the server leaves connections open"
    return f"{counted(plan.connections, 'connection')}{_more(plan)}, {at_once}, {long}"


def _more(plan: Plan) -> str:
    """What may come on top of it."""
    if plan.with_repeats is None or plan.with_repeats == plan.connections:
        return ""
    more = f" (at most {plan.with_repeats} with controls and repeats"
    if plan.if_crowded is not None and plan.if_crowded > plan.with_repeats:
        more += f", {plan.if_crowded} if the server has no room for them"
    return f"{more})"
