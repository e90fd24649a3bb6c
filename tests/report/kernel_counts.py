"""What was counted of the kernel's agreement, server by server, and the file that keeps it.

The facts of many trials are too many to keep. What was counted of them is not, so that a server can
be measured later than another and both stand on one page.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tlsprobe.lab.kernel_comparison import Paired
from tlsprobe.model.causes import Cause
from tlsprobe.model.judgement import Confidence
from tlsprobe.model.trace import Side

_NUMBERS = ("resets", "right", "by_alternative", "wrong", "high", "high_wrong")
_WITH_PAIRS = "meant"
"""What is told of a server only where some first choices are not right."""


@dataclass(slots=True)
class Agreement:
    """The RSTs of one side of one server's runs, of which the kernel told the reason.

    ``right``: it allows the first choice; ``by_alternative``: only one that was left open;
    ``wrong``: none that was named. ``high`` counts those with that confidence, ``high_wrong`` those
    of them of which the first choice is not right, ``meant`` those that are aborts on purpose by
    our word and the kernel's. ``pairs`` counts our cause and the kernel's reason where the first
    choice is not right; ``against`` are these RSTs, as far as they were counted just now.
    """

    resets: int = 0
    right: int = 0
    by_alternative: int = 0
    wrong: int = 0
    high: int = 0
    high_wrong: int = 0
    meant: int = 0
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    against: list[Paired] = field(default_factory=list)

    def count(self, one: Paired) -> None:
        """Count one RST."""
        self.resets += 1
        self.right += one.agrees
        self.meant += one.agrees and one.reset.cause is Cause.DELIBERATE
        self.by_alternative += one.agrees_by_alternative
        self.wrong += not (one.agrees or one.agrees_by_alternative)
        if one.reset.confidence is Confidence.HIGH:
            self.high += 1
            self.high_wrong += not one.agrees
        if not one.agrees:
            assert one.kernel is not None
            self.pairs[str(one.reset.cause), one.kernel.reason] += 1
            self.against.append(one)

    def add(self, other: Agreement) -> None:
        """Count what another has counted."""
        for name in (*_NUMBERS, _WITH_PAIRS):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.pairs += other.pairs
        self.against += other.against


@dataclass(frozen=True, slots=True)
class Counted:
    """What was counted of one server, and the day on which its run ended (YYYY-MM-DD)."""

    day: str
    sides: dict[Side, Agreement]


def read_counts(path: Path) -> dict[str, Counted]:
    """What a file keeps, by server; nothing where there is no file."""
    if not path.exists():
        return {}
    document = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: Counted(one["day"], {side: _agreement(one[str(side)]) for side in Side})
        for name, one in document.items()
    }


def write_counts(path: Path, servers: dict[str, Counted]) -> None:
    """Keep what was counted, a line a server, so that a diff shows which were counted anew."""
    lines = (f"{json.dumps(name)}: {json.dumps(_written(one))}" for name, one in servers.items())
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _written(one: Counted) -> dict[str, Any]:
    return {"day": one.day} | {str(side): _side(found) for side, found in one.sides.items()}


def _side(found: Agreement) -> dict[str, Any]:
    written = {name: getattr(found, name) for name in _NUMBERS}
    if not found.pairs:
        return written
    pairs = [[*pair, count] for pair, count in found.pairs.items()]
    return written | {_WITH_PAIRS: found.meant, "pairs": pairs}


def _agreement(written: dict[str, Any]) -> Agreement:
    pairs = {(cause, reason): count for cause, reason, count in written.pop("pairs", ())}
    return Agreement(**written, pairs=Counter(pairs))
