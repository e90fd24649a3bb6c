"""``--expect``: the baseline, and whether a run deviates from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tlsprobe.campaign.reading import read_results
from tlsprobe.errors import UsageError
from tlsprobe.judge.baseline import common_cells
from tlsprobe.model.run import CellPlan, Run


def read_baseline(place: Path, plans: Iterable[CellPlan]) -> Run:
    """The run to hold another against, which must have some cell in common with it.

    Raises UsageError: there is none, it is damaged, or nothing of it will be measured.
    """
    baseline = read_results(place)
    if not common_cells(baseline, {(plan.sequence.name, plan.tls) for plan in plans}):
        hint = "run a sequence and a TLS version that the baseline has"
        raise UsageError(f"--expect: {place} has no cell in common with this run", hint)
    return baseline


def has_changed(runs: Sequence[Run]) -> bool:
    """Whether some run certainly deviates from its baseline."""
    return any(deviation.certain for run in runs for deviation in run.deviations or ())
