"""Who is shown how far a campaign has come."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from tlsprobe.campaign.results import ResultsFolder
from tlsprobe.campaign.settings import Measured, Watcher
from tlsprobe.model.run import CellPlan, JudgedTrial


class Bar(Protocol):
    """What is shown of one target."""

    def planned(self, connections: int, waits: int) -> None:
        """So many connections are to be opened, so many of them wait for an idle expiry."""

    def judged(self, waits: int) -> None:
        """One more has ended; so many still wait for an idle expiry."""


class Progress(Protocol):
    """Where a campaign says what it does, for whoever waits for it."""

    def note(self, text: str) -> None:
        """Say something in one line."""

    def bar(self, name: str) -> Bar:
        """A target is about to be probed."""


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

    def planned(cells: Mapping[CellPlan, int]) -> None:
        for plan, count in cells.items():
            if plan.sequence.is_idle:
                waits[plan.sequence.name] = waits.get(plan.sequence.name, 0) + count
        total = sum(cells.values())
        bar.planned(total, sum(waits.values()))
        more = " to go" if is_resumed else ""
        progress.note(f"{name}: {len(cells)} cells, {total} connections{more}")

    def judged(trial: JudgedTrial) -> None:
        folder.add(trial)
        if trial.trial.sequence in waits:
            waits[trial.trial.sequence] -= 1
        bar.judged(sum(waits.values()))

    def warned(text: str) -> None:
        progress.note(f"warning: {text}")

    return Watcher(planned, judged, progressed, warned)
