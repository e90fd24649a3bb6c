"""What a finished run means for whoever started it: its exit code, and what that leaves unsaid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from tlsprobe.cli.console import err, say
from tlsprobe.model.judgement import FAIL_ON, NO_ANSWER, Doubt
from tlsprobe.model.run import Cell, Run
from tlsprobe.model.waiver import Waiver, WaiverState, WaiverUse
from tlsprobe.report.plurals import counted
from tlsprobe.report.waivers import describe_waiver
from tlsprobe.waiving import standing_verdict

_NOTHING_MEASURED = 3
_ENDS_EARLY = "the server ends connections by itself before a sequence begins"


def verdict_exit(runs: Sequence[Run], fail_on: str, *, allow_unmeasured: bool = False) -> int:
    """0; 1 for a finding that counts or a cell that was not measured; 3 if none was measured."""
    verdicts = [standing_verdict(run, cell) for run in runs for cell in run.cells]
    if all(verdict in NO_ANSWER for verdict in verdicts):
        return _NOTHING_MEASURED
    failed = any(verdict in FAIL_ON[fail_on] for verdict in verdicts)
    strict = fail_on != "never" and not allow_unmeasured
    return int(failed or (strict and any(True for _ in _unmeasured(runs))))


def print_unmeasured(runs: Sequence[Run], fail_on: str, *, allow_unmeasured: bool) -> None:
    """Say on standard error how many cells were not measured, whatever the exit code is."""
    moot = sum(cell.role == "asked" and cell.is_moot for run in runs for cell in run.cells)
    if moot:
        what = f"{counted(moot, 'cell')} cannot be asked of a server that does"
        say(err(), f"note: the server ends each connection with its response: {what}")
    cells = list(_unmeasured(runs))
    if not cells:
        return
    early = sum(Doubt.ENDED_EARLY in cell.left_out for cell in cells)
    if early > len(cells) / 2:
        say(err(), f"note: {_ENDS_EARLY}: so it did in {counted(early, 'cell')}")
    asked = sum(cell.role == "asked" for run in runs for cell in run.cells)
    kinds = Counter(str(cell.verdict) for cell in cells)
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    console = err()
    say(
        console, f"warning: {len(cells)} of {counted(asked, 'cell')} could not be measured ({told})"
    )
    if fail_on != "never" and not allow_unmeasured and len(cells) < asked:
        say(console, "hint: the report gives the reasons; --allow-unmeasured lets the run pass")


def print_waivers(runs: Sequence[Run]) -> None:
    """Say on standard error which waivers are over, and which are of no use."""
    uses: dict[Waiver, list[WaiverUse]] = {}
    for run in runs:
        for use in run.waivers:
            uses.setdefault(use.waiver, []).append(use)
    for waiver, of in uses.items():
        if all(use.state is not WaiverState.USED for use in of):
            say(err(), describe_waiver(waiver, of))


def _unmeasured(runs: Sequence[Run]) -> Iterator[Cell]:
    """Cells that were asked for and have no answer, although the server could be asked them."""
    cells = (cell for run in runs for cell in run.cells)
    return (c for c in cells if c.role == "asked" and c.is_unmeasured)
