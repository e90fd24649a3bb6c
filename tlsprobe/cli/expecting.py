"""``--expect``: the baseline, and what is said of a run that was held against it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console

from tlsprobe.cli.console import say
from tlsprobe.errors import UsageError
from tlsprobe.judge.baseline import common_cells
from tlsprobe.model.run import CellPlan, Change, Deviation, Run
from tlsprobe.report.document import read_run
from tlsprobe.report.escape import printable

_STYLES = {Change.WORSE: "bold red", Change.BETTER: "bold green", Change.DIFFERENT: "bold yellow"}


def read_baseline(place: Path, plans: Iterable[CellPlan]) -> Run:
    """The run to hold another against, which must have some cell in common with it.

    Raises UsageError: there is none, it is damaged, or nothing of it will be measured.
    """
    baseline = read_run(place)
    if not common_cells(baseline, {(plan.sequence.name, plan.tls) for plan in plans}):
        hint = "ask for a sequence and a TLS version that the baseline has"
        raise UsageError(f"--expect: {place} has none of the cells of this run", hint)
    return baseline


def has_changed(runs: Sequence[Run]) -> bool:
    """Whether some run certainly deviates from its baseline."""
    return any(deviation.certain for run in runs for deviation in run.deviations or ())


def print_deviations(console: Console, run: Run) -> None:
    """Say what changed, what may have, and what could not be compared."""
    if run.deviations is None:
        return
    told = [d for d in run.deviations if d.change not in {Change.MISSING, Change.NEW}]
    certain = [d for d in told if d.certain]
    say(console, f"\n{_target(run, console)}: {_headline(certain)}", "bold")
    for deviation in (*certain, *(d for d in told if not d.certain)):
        _tell(console, deviation)
    for change, words in _LACKING.items():
        cells = [_cell(d) for d in run.deviations if d.change is change]
        if cells:
            say(console, f"  {words}: {_safe('; '.join(cells), console)}")


_LACKING = {
    Change.MISSING: "in the baseline, and not measured now",
    Change.NEW: "measured now, and not in the baseline",
}


def _headline(certain: Sequence[Deviation]) -> str:
    if not certain:
        return "no change since the baseline"
    return f"{len(certain)} change{'s' if len(certain) > 1 else ''} since the baseline"


def _tell(console: Console, deviation: Deviation) -> None:
    known = deviation.certain or deviation.change is Change.UNCLEAR
    word = deviation.change.upper() if known else f"perhaps {deviation.change}"
    style = _STYLES.get(deviation.change, "") if deviation.certain else ""
    where = f": {_safe(_cell(deviation), console)}" if deviation.sequence else ""
    say(console, f"  {word}{where}", style)
    for sentence in deviation.sentences:
        say(console, f"    {_safe(sentence, console)}")


def _cell(deviation: Deviation) -> str:
    return f"{deviation.sequence}, TLS {deviation.tls}"


def _target(run: Run, console: Console) -> str:
    return _safe(run.target.name, console)


def _safe(words: str, console: Console) -> str:
    return printable(words, console.encoding)
