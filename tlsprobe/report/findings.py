"""What is to be said of a run, each thing once.

A server that breaks a rule usually breaks it in many sequences and in both TLS versions. Readers
want one entry for that, with the places where it was seen; the cause of a reset is told with the
first finding that speaks of the reset.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tlsprobe.model.judgement import Confidence, Level, Result, Verdict
from tlsprobe.model.run import CauseFacts, Cell, Finding, Run

ORDER = (Result.FAIL, Result.WARN, Result.ERROR, Result.INFO)
"""The results worth an entry, in the order of the entries."""

BAD_FIRST = (
    Verdict.FAIL,
    Verdict.WARN,
    Verdict.ERROR,
    Verdict.INCONCLUSIVE,
    Verdict.INFO,
    Verdict.PASS,
    Verdict.UNSUPPORTED,
)

UNANSWERED = (Verdict.INCONCLUSIVE, Verdict.ERROR, Verdict.UNSUPPORTED)
"""The verdicts that say that there is no answer."""

_SUREST_FIRST = tuple(Confidence)


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was seen: in ``count`` of a cell's ``trials``."""

    target: str
    sequence: str
    tls: str
    count: int
    trials: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One finding, wherever it came up.

    ``beside`` names the rules that came out otherwise in the very same cells: a reset may pass
    TLS's rules and TCP's, and hurt all the same.
    """

    finding: Finding
    places: tuple[Place, ...]
    why: tuple[CauseFacts, ...] = ()
    beside: tuple[tuple[str, Result], ...] = ()


@dataclass(frozen=True, slots=True)
class LooseCause:
    """The cause of a reset that no finding speaks of: a client's own, mostly."""

    facts: CauseFacts
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Cells without an answer, and the reason, if one was given."""

    verdict: Verdict
    reason: str
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Story:
    """Everything that is to be said of some runs."""

    entries: tuple[Entry, ...]
    causes: tuple[LooseCause, ...]
    unanswered: tuple[Unanswered, ...]


Located = tuple[str, Cell]
"""A cell and the name of its target."""


def story_of(runs: Sequence[Run]) -> Story:
    """The findings, causes and gaps of the runs, grouped and in reading order."""
    cells = [(run.target.name, cell) for run in runs for cell in run.cells]
    entries = _grouped(cells)
    told: set[int] = set()
    explained = tuple(_explained(entry, seen, told) for entry, seen in entries)
    return Story(explained, _loose_causes(cells, told), _unanswered(cells))


def is_about_resets(rule: str) -> bool:
    """Whether a rule's id says that it judges a server's RST."""
    return "RST" in rule or "RESET" in rule


def merged_causes(causes: Iterable[CauseFacts]) -> tuple[CauseFacts, ...]:
    """One entry for each cause and side: counts added, the surest evidence, every remedy once."""
    merged: dict[tuple[str, str], CauseFacts] = {}
    for facts in causes:
        key = (facts.cause, facts.side)
        merged[key] = _merge(merged[key], facts) if key in merged else facts
    return tuple(sorted(merged.values(), key=lambda facts: -facts.count))


def worst_cells(run: Run, limit: int) -> list[Cell]:
    """The cells whose examples tell most: worst verdict first, no two with the same story."""
    chosen: dict[tuple[str, str], Cell] = {}
    for cell in sorted(run.cells, key=lambda cell: BAD_FIRST.index(cell.verdict)):
        if cell.example is None or not cell.example.ladder or cell.role != "asked":
            continue
        chosen.setdefault((cell.sequence, cell.example.signature), cell)
    bad = [cell for cell in chosen.values() if cell.verdict in BAD_FIRST[:4]]
    return (bad or list(chosen.values())[:1])[:limit]


def _grouped(cells: list[Located]) -> list[tuple[Entry, list[Cell]]]:
    groups: dict[tuple[str, Level, Result, str], list[tuple[str, Cell, Finding]]] = {}
    for target, cell in cells:
        for finding in cell.findings:
            if finding.result in ORDER:
                key = (finding.rule, finding.level, finding.result, finding.text)
                groups.setdefault(key, []).append((target, cell, finding))
    entries = [(_entry(members), [cell for _, cell, _ in members]) for members in groups.values()]
    entries.sort(key=lambda pair: _reading_order(pair[0]))
    return entries


def _entry(members: list[tuple[str, Cell, Finding]]) -> Entry:
    places = tuple(_place(target, cell, finding.count) for target, cell, finding in members)
    total = replace(members[0][2], count=sum(place.count for place in places))
    return Entry(total, places)


def _reading_order(entry: Entry) -> tuple[int, bool, int]:
    """Worst result first; among equals, what has a reset in it, then what was seen most."""
    finding = entry.finding
    return ORDER.index(finding.result), not is_about_resets(finding.rule), -finding.count


def _explained(entry: Entry, cells: list[Cell], told: set[int]) -> Entry:
    """The entry with its causes, unless an earlier entry has told those of the same cells."""
    if not is_about_resets(entry.finding.rule):
        return entry
    fresh = [cell for cell in cells if id(cell) not in told]
    told.update(id(cell) for cell in fresh)
    why = merged_causes(facts for cell in fresh for facts in cell.why if facts.side == "server")
    return replace(entry, why=why, beside=_beside(entry, cells) if why else ())


def _beside(entry: Entry, cells: list[Cell]) -> tuple[tuple[str, Result], ...]:
    """Rules with one and the same other result wherever this finding was made."""
    results: dict[str, set[Result]] = {}
    for cell in cells:
        for finding in cell.findings:
            if finding.result is not Result.NOT_APPLICABLE:
                results.setdefault(finding.rule, set()).add(finding.result)
    results.pop(entry.finding.rule, None)
    other = {Result.PASS, Result.INFO}
    return tuple(
        (rule, min(seen)) for rule, seen in results.items() if len(seen) == 1 and seen <= other
    )


def _loose_causes(cells: list[Located], told: set[int]) -> tuple[LooseCause, ...]:
    loose: dict[tuple[str, str], list[tuple[Place, CauseFacts]]] = {}
    for target, cell in cells:
        for facts in cell.why:
            if facts.side == "client" or id(cell) not in told:
                place = _place(target, cell, facts.count)
                loose.setdefault((facts.cause, facts.side), []).append((place, facts))
    return tuple(
        LooseCause(merged_causes(f for _, f in members)[0], tuple(p for p, _ in members))
        for members in loose.values()
    )


def _unanswered(cells: list[Located]) -> tuple[Unanswered, ...]:
    groups: dict[tuple[Verdict, str], list[Place]] = {}
    for target, cell in cells:
        if cell.verdict in UNANSWERED:
            place = _place(target, cell, cell.trials)
            groups.setdefault((cell.verdict, cell.reason or ""), []).append(place)
    return tuple(Unanswered(*key, tuple(places)) for key, places in groups.items())


def _place(target: str, cell: Cell, count: int) -> Place:
    return Place(target, cell.sequence, cell.tls, count, cell.trials)


def _merge(first: CauseFacts, second: CauseFacts) -> CauseFacts:
    surest = min(first, second, key=lambda facts: _SUREST_FIRST.index(facts.confidence))
    remedy = tuple(dict.fromkeys((*first.remedy, *second.remedy)))
    return replace(surest, count=first.count + second.count, remedy=remedy)
