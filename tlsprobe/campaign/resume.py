"""What an interrupted run left in its results folder, and whether it is a part of another run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from tlsprobe.errors import UsageError
from tlsprobe.facts.file import FACTS_FILE, RecordedFacts
from tlsprobe.model.run import CaptureFacts, CellPlan, Run
from tlsprobe.model.target import Target
from tlsprobe.report.document import read_run
from tlsprobe.version import VERSION


@dataclass(frozen=True, slots=True)
class Earlier:
    """A results folder that holds part of a run."""

    folder: Path
    run: Run


def read_earlier(folder: Path) -> Earlier:
    """What a results folder holds. Raises UsageError: there is none, or it is damaged."""
    if not folder.is_dir():
        hint = "give the results folder of an interrupted run"
        raise UsageError(f"--resume: no folder {folder}", hint)
    run = read_run(folder)
    RecordedFacts(folder / FACTS_FILE)
    return Earlier(folder, run)


def is_whole(folder: Path, since: str) -> bool:
    """Whether a results folder holds a run that began at this time or later and came to its end."""
    facts = folder / FACTS_FILE
    if not facts.exists():
        return False
    recorded = RecordedFacts(facts)
    said = recorded.how_measured()
    return said is not None and not said.interrupted and recorded.header.started >= since


def must_fit(earlier: Earlier, target: Target, plans: Iterable[CellPlan], seed: int | None) -> None:
    """Raise UsageError unless the earlier run is a part of the one that is asked for."""
    run, planned = earlier.run, {(p.sequence.name, p.tls): p.steps for p in plans}
    clashes = list(_clashes(run, target, seed))
    for cell in run.cells:
        steps = planned.get((cell.sequence, cell.tls))
        if cell.role == "asked" and steps is None:
            clashes.append(f"it also holds '{cell.sequence}' in TLS {cell.tls}")
        elif steps not in {None, cell.steps}:
            clashes.append(f"its '{cell.sequence}' is '{cell.steps}', and now it is '{steps}'")
    if clashes:
        hint = f"leave out the other options: tlsprobe run --resume {earlier.folder}"
        if run.tool.version != VERSION:
            hint = "measure again into another folder"
        raise UsageError(f"--resume: {earlier.folder} does not match: {clashes[0]}", hint)


def _clashes(run: Run, target: Target, seed: int | None) -> Iterable[str]:
    if run.tool.version != VERSION:
        yield f"it was measured by tlsprobe {run.tool.version}, and this is {VERSION}"
    if run.target != target:
        was, now = (f"{t} (profile {t.profile})" for t in (run.target, target))
        yield f"its target is {was}, not {now}"
    if seed is not None and seed != run.seed:
        yield f"its seed is {'none' if run.seed is None else run.seed}, not {seed}"


def continued(before: Run, now: Run, capture: str) -> Run:
    """The run document of both parts; ``capture`` is the file of the second."""
    note = f"resumed {now.started[:19]}Z: what was measured since then is in {capture}"
    return replace(
        now,
        started=before.started,
        seed=before.seed,
        command=now.command or before.command,
        capture=_both(before.capture, now.capture),
        notes=tuple(dict.fromkeys((*before.notes, *now.notes, note))),
    )


def _both(before: CaptureFacts, now: CaptureFacts) -> CaptureFacts:
    """Counts added up; the weaker of the two captures counts."""
    dropped = None
    if before.dropped is not None and now.dropped is not None:
        dropped = before.dropped + now.dropped
    weaker = before if before.backend == "none" or before.dropped is None else now
    return replace(weaker, packets=before.packets + now.packets, dropped=dropped)
