"""One kind of step that can be drawn."""

from __future__ import annotations

from dataclasses import dataclass

from tlsprobe.model.sequence import Step


@dataclass(frozen=True, slots=True)
class Move:
    """A step, or several that differ in form or operand; ``weight`` is how often it is drawn.

    ``rank`` orders the kinds of step, the simplest first, and a second choice says which of them:
    what is split or large becomes whole by lowering one choice, without a way through all the
    moves between.
    """

    rank: int
    weight: int
    steps: tuple[Step, ...]
