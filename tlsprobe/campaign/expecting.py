"""``--expect``: the baseline, and whether a run deviates from it.

A results folder is compared cell by cell, a file of known behaviours behaviour by behaviour.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from tlsprobe.behaviours import behaviours_of
from tlsprobe.campaign.reading import holds_results, read_results
from tlsprobe.errors import UsageError
from tlsprobe.expected import behaviour_changes, known_behaviours
from tlsprobe.judge.baseline import common_cells, deviations
from tlsprobe.model.behaviour import KnownBehaviours
from tlsprobe.model.run import CellPlan, Run
from tlsprobe.report.known import KNOWN_FILE, decode_known, is_known_document

Baseline = Run | KnownBehaviours
"""What a run is held against."""


def read_baseline(place: Path, plans: Iterable[CellPlan]) -> Baseline:
    """What to hold a run against, which must have some cell in common with it.

    ``place`` is a results folder, a run document, or a file of known behaviours; a folder that
    holds nothing but such a file is taken for that.

    Raises UsageError: there is none, it is damaged, or nothing of it will be measured.
    """
    known = place / KNOWN_FILE if place.is_dir() and not holds_results(place) else place
    names = {(plan.sequence.name, plan.tls) for plan in plans}
    baseline: Baseline
    if known.is_file() and is_known_document(data := known.read_bytes()):
        baseline = decode_known(data, known)
        cells = {(name, tls) for name, of in baseline.measured.items() for tls in of}
        common = len(names & cells)
    else:
        baseline = read_results(place)
        common = common_cells(baseline, names)
    if not common:
        hint = "run a sequence and a TLS version that the baseline has"
        raise UsageError(f"--expect: {place} has no cell in common with this run", hint)
    return baseline


def compared(run: Run, baseline: Baseline | None) -> Run:
    """The run with how it deviates from a baseline, if there is one."""
    match baseline:
        case None:
            return run
        case Run():
            return replace(run, deviations=deviations(baseline, run))
        case KnownBehaviours():
            now = known_behaviours(run, behaviours_of(run))
            return replace(run, deviations=behaviour_changes(baseline, now))


def has_changed(runs: Sequence[Run]) -> bool:
    """Whether some run certainly deviates from its baseline."""
    return any(deviation.certain for run in runs for deviation in run.deviations or ())
