"""Processor time, which a busy machine blurs less than it does a clock on the wall."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Sequence


def cpu(*whose: int) -> float:
    """User and system seconds of this process and the children it has waited for.

    ``whose`` picks one of them: RUSAGE_SELF or RUSAGE_CHILDREN.
    """
    used = [
        resource.getrusage(who) for who in whose or (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def cpu_of(command: Sequence[str], rounds: int) -> float:
    """The least CPU seconds that a command took in so many rounds, its output thrown away."""
    least = float("inf")
    for _ in range(rounds):
        before = cpu(resource.RUSAGE_CHILDREN)
        subprocess.run(command, capture_output=True, check=False)
        least = min(least, cpu(resource.RUSAGE_CHILDREN) - before)
    return least
