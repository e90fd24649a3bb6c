"""What changed since a baseline, by behaviour: which are new, which are gone, which are the same.

Two behaviours are the same if their kind is, and their phase, their cause and what drew them as far
as both say so; a cause at which the packets only hint says nothing. How often a behaviour comes is
a matter of timing, and where a run has other sequences than its baseline that is no change either:
a behaviour is new, or gone, only if the other run measured a cell that shows it, often enough for
chance not to explain it (`Shift` in ``judge.baseline``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tlsprobe.judge.baseline import Shift, answered, has_few_answers
from tlsprobe.model.behaviour import Behaviour, KnownBehaviour, KnownBehaviours
from tlsprobe.model.causes import Cause
from tlsprobe.model.judgement import NO_ANSWER, Confidence
from tlsprobe.model.run import Change, Deviation, Run


def known_behaviours(run: Run, found: Iterable[Behaviour]) -> KnownBehaviours:
    """What a run found, as a baseline for others."""
    behaviours = tuple(found)
    return KnownBehaviours(
        target=run.target.name,
        captured=run.capture.backend != "none",
        behaviours=tuple(map(_known, behaviours)),
        measured=_measured(run, behaviours),
        steps={cell.sequence: cell.steps for cell in run.cells if cell.role == "asked"},
    )


def behaviour_changes(before: KnownBehaviours, now: KnownBehaviours) -> tuple[Deviation, ...]:
    """The behaviours that are new or gone; the certain ones are changes."""
    if before.captured != now.captured:
        sentence = (
            "the wire was watched in one of both runs alone: what it showed and what a socket was"
            " told cannot be compared"
        )
        return (Deviation("", "", Change.DIFFERENT, certain=True, sentences=(sentence,)),)
    return (
        *_lacking(now, before, Change.WORSE, "new"),
        *_lacking(before, now, Change.BETTER, "gone"),
    )


def is_known(one: Behaviour, before: KnownBehaviours) -> bool:
    """Whether the baseline has it."""
    return _is_among(_known(one), before.behaviours)


def _known(one: Behaviour) -> KnownBehaviour:
    seen: dict[str, dict[str, int]] = {}
    for cell in one.seen:
        seen.setdefault(cell.sequence, {})[cell.tls] = cell.count
    return KnownBehaviour(
        one.kind, one.sentence, one.harm, seen, one.phase, one.cause, one.drawn_by, one.confidence
    )


def _measured(run: Run, found: tuple[Behaviour, ...]) -> dict[str, dict[str, int]]:
    """How many trials of each cell gave an answer: those that were left out show no absence."""
    seen: dict[tuple[str, str], int] = {}
    for place in (place for one in found for place in one.seen):
        name = place.sequence, place.tls
        seen[name] = max(seen.get(name, 0), place.count)
    measured: dict[str, dict[str, int]] = {}
    for cell in run.cells:
        few = has_few_answers(cell)
        if cell.role == "asked" and cell.verdict not in NO_ANSWER and not few:
            most = max(answered(cell), seen.get((cell.sequence, cell.tls), 0))
            measured.setdefault(cell.sequence, {})[cell.tls] = most
    return measured


def _lacking(
    has: KnownBehaviours, lacks: KnownBehaviours, change: Change, word: str
) -> Iterator[Deviation]:
    """What one side has and the other does not."""
    for one in has.behaviours:
        if not _is_among(one, lacks.behaviours):
            yield _deviation(one, has, lacks, change, word)


def _is_among(one: KnownBehaviour, others: Iterable[KnownBehaviour]) -> bool:
    return any(_is_same(one, other) for other in others)


def _is_same(one: KnownBehaviour, other: KnownBehaviour) -> bool:
    if one.kind != other.kind or not _agree(one.phase, other.phase):
        return False
    return _agree(_clear_cause(one), _clear_cause(other)) and _agree(one.drawn_by, other.drawn_by)


def _agree(one: str | None, other: str | None) -> bool:
    return not one or not other or one == other


def _clear_cause(one: KnownBehaviour) -> str:
    """The cause, unless the packets only hint at it."""
    is_vague = one.cause == Cause.UNKNOWN or one.confidence is Confidence.LOW
    return "" if is_vague else one.cause


def _deviation(
    one: KnownBehaviour, has: KnownBehaviours, lacks: KnownBehaviours, change: Change, word: str
) -> Deviation:
    """One side has it and the other lacks it: a change where both measured a cell that shows it."""
    here, there = has.measured, lacks.measured
    cells = [
        (sequence, tls, count)
        for sequence, versions in one.seen.items()
        for tls, count in versions.items()
        if has.steps.get(sequence) == lacks.steps.get(sequence)
        and there.get(sequence, {}).get(tls)
        and here.get(sequence, {}).get(tls)
    ]
    cause = f": {one.cause}" if one.cause else ""
    name = f"{one.sentence}{cause} ({one.harm})"
    if not cells:
        said = f"{word}: {name}; only one of both runs measured a sequence that shows it"
        return Deviation("", "", Change.UNCLEAR, certain=False, sentences=(said,))
    seen = sum(count for _, _, count in cells)
    of_here = sum(here[sequence][tls] for sequence, tls, _ in cells)
    of_there = sum(there[sequence][tls] for sequence, tls, _ in cells)
    if change is Change.WORSE:
        shift = Shift(f"{word}: {name}", 0, of_there, seen, of_here)
    else:
        shift = Shift(f"{word}: {name}", seen, of_here, 0, of_there)
    where = ", ".join(f"{sequence} TLS {tls}" for sequence, tls, _ in cells)
    chance = "" if shift.certain else f"; too few to tell from chance ({shift.chance:.0%})"
    return Deviation("", "", change, shift.certain, (f"{shift.words} ({where}){chance}",))
