"""What `explain` found in a capture: the input, and every connection worth a word."""

from __future__ import annotations

from dataclasses import dataclass

from tlsprobe.model.causes import Remedy
from tlsprobe.model.judgement import LadderLine, Reader, Reset

EXPLAIN_SCHEMA = "tlsprobe.explain/1"


@dataclass(frozen=True, slots=True)
class InputFacts:
    """What was read, and what could not be.

    ``packets`` counts the input's packets, TCP or not; ``other`` those that are not TCP. The
    sentences are None where there is nothing to say.
    """

    name: str
    kind: str
    packets: int
    skipped: int = 0
    other: int = 0
    first_skipped: str | None = None
    truncated: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExplainedReset:
    """An RST with what provoked it (a packet number) and what would tell the causes apart.

    ``remedy`` is whom it hurts and what helps, None where no more is known than its cause.
    """

    reset: Reset
    trigger: int | None = None
    experiment: str | None = None
    remedy: Remedy | None = None

    @property
    def helps(self) -> Remedy:
        """Whom it hurts, and what helps."""
        return self.remedy or self.reset.cause.remedy(self.reset.side)


@dataclass(frozen=True, slots=True)
class ExplainedFlow:
    """One connection. ``complete`` says that the capture lacks nothing of it.

    ``client`` and ``server`` are printed endpoints. Only an example of many like it has a
    ``ladder``.
    """

    client: str
    server: str
    signature: str
    reader: Reader
    complete: bool
    resets: tuple[ExplainedReset, ...]
    tls: str | None = None
    ladder: tuple[LadderLine, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """The whole answer. Of the connections without a reset some, or all, are only counted.

    ``quiet`` is how many those are, ``not_shown`` how many with a reset found no room.
    """

    source: InputFacts
    flows: tuple[ExplainedFlow, ...]
    quiet: int = 0
    not_shown: int = 0

    @property
    def found(self) -> bool:
        """Whether any reset was found."""
        return self.not_shown > 0 or any(flow.resets for flow in self.flows)
