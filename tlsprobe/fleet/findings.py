"""What a run of a fleet asks for once it is here: another attempt, or a look at its capture."""

from __future__ import annotations

from tlsprobe.model.judgement import Doubt, Verdict
from tlsprobe.model.run import Left, Run

SPOILED = frozenset(doubt.value for doubt in Doubt if doubt.may_pass)
"""Why a cell has no answer although its server would give one at a calmer time."""


def is_spoiled(run: Run) -> bool:
    """Whether some cell has no answer only because of what this machine had to do.

    A server whose time is over is not asked again.
    """
    was_over = run.cut_short is not None and run.cut_short.by is Left.TIME_OVER
    return not was_over and any(
        cell.verdict is Verdict.INCONCLUSIVE and SPOILED & set(cell.left_out) for cell in run.cells
    )


def why_in_part(run: Run) -> str:
    """Why the server was left before everything was driven; empty if it was not."""
    return "" if run.cut_short is None else run.cut_short.because


def has_findings(run: Run) -> bool:
    """Whether there is something to look at in the capture."""
    return any(cell.verdict in {Verdict.FAIL, Verdict.WARN} for cell in run.cells)
