"""Which resets exist only nearby, or only far away: the same closes over several paths.

Pure: it takes runs with the distance of each, nearest first. A difference that chance explains is
reported as one that may be chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import comb

from tlsprobe.model.judgement import Outcome
from tlsprobe.model.run import Run

CERTAIN = 0.01
"""How improbable a difference must be to be no chance (Fisher's exact test)."""


class Where(StrEnum):
    """Where a reset exists."""

    NEARBY = "only nearby"
    FAR = "only far away"
    SOMEWHERE = "on some paths only"


@dataclass(frozen=True, slots=True)
class Along:
    """A run over one path; ``rank`` grows with the distance, ``where`` names it."""

    vendor: str
    path: str
    where: str
    rank: int
    run: Run

    @property
    def is_distance(self) -> bool:
        """Whether nothing but distance is on the way."""
        return self.path == "direct" or self.path.startswith(("rtt-", "loss-"))


@dataclass(frozen=True, slots=True)
class Count:
    """Trials of one cell that ended in a reset of one kind."""

    where: str
    resets: int
    trials: int

    def __str__(self) -> str:
        """``1 ms away: 3 of 5``."""
        return f"{self.where}: {self.resets} of {self.trials}"


@dataclass(frozen=True, slots=True)
class Difference:
    """A reset that not every path shows. ``counts`` are by distance, the nearest first."""

    vendor: str
    sequence: str
    tls: tuple[str, ...]
    outcome: Outcome
    where: Where
    certain: bool
    counts: tuple[Count, ...]

    @property
    def sentence(self) -> str:
        """The difference in one sentence."""
        versions = " and ".join(self.tls)
        chance = "" if self.certain else " (may be chance)"
        listed = ", ".join(map(str, self.counts))
        return (
            f"{self.vendor}: {self.sequence} in TLS {versions} ends {self.outcome}"
            f" {self.where}{chance}: {listed}"
        )


def differences(runs: Iterable[Along]) -> tuple[Difference, ...]:
    """Every reset that exists on some paths and not on others, the certain ones first."""
    by_vendor: dict[str, list[Along]] = {}
    for along in runs:
        by_vendor.setdefault(along.vendor, []).append(along)
    found = [one for paths in by_vendor.values() for one in _of_vendor(paths)]
    return tuple(sorted(_folded(found), key=lambda one: not one.certain))


def distance_sentences(runs: Sequence[Along]) -> tuple[str, ...]:
    """What distance changes; one sentence that says so if it changes nothing."""
    if len({along.path for along in runs}) < 2:
        return ()
    found = differences(runs)
    if not found:
        return ("every reset occurs at every distance that was measured",)
    return tuple(one.sentence for one in found)


def _of_vendor(paths: Sequence[Along]) -> Iterator[Difference]:
    ordered = sorted(paths, key=lambda along: along.rank)
    names = dict.fromkeys(
        (cell.sequence, cell.tls) for along in ordered for cell in along.run.cells
    )
    for sequence, tls in names:
        cells = [(along, along.run.cell_at(sequence, tls)) for along in ordered]
        measured = [(along, cell) for along, cell in cells if cell is not None and cell.trials]
        for outcome in (Outcome.RESET_BEFORE_FIN, Outcome.RESET_AFTER_FIN):
            counts = tuple(
                Count(along.where, cell.outcomes.get(outcome, 0), cell.trials)
                for along, cell in measured
            )
            where = _where(counts)
            if where is not None:
                vendor, certain = paths[0].vendor, chance(counts) < CERTAIN
                yield Difference(vendor, sequence, (tls,), outcome, where, certain, counts)


def _where(counts: Sequence[Count]) -> Where | None:
    """Where the resets are, None if on every path or on none."""
    seen = [bool(count.resets) for count in counts]
    if all(seen) or not any(seen):
        return None
    if seen == sorted(seen, reverse=True):
        return Where.NEARBY
    return Where.FAR if seen == sorted(seen) else Where.SOMEWHERE


def chance(counts: Sequence[Count]) -> float:
    """How probable it is that all resets fell where they did, were all trials alike.

    Fisher's exact test, one-sided, of the paths with resets against those without any. It takes
    the trials for independent; those of one path share the load that the machine had just then.
    """
    there = sum(count.trials for count in counts if count.resets)
    elsewhere = sum(count.trials for count in counts if not count.resets)
    resets = sum(count.resets for count in counts)
    return comb(there, resets) / comb(there + elsewhere, resets)


def _folded(found: Iterable[Difference]) -> list[Difference]:
    """The TLS versions of a sequence as one, where they agree."""
    folded: dict[tuple[object, ...], Difference] = {}
    for one in found:
        same = tuple((count.where, count.resets, count.trials) for count in one.counts)
        name = (one.vendor, one.sequence, one.outcome, one.where, same)
        if name in folded:
            before = folded[name]
            folded[name] = Difference(
                one.vendor,
                one.sequence,
                (*before.tls, *one.tls),
                one.outcome,
                one.where,
                before.certain,
                one.counts,
            )
        else:
            folded[name] = one
    return list(folded.values())
