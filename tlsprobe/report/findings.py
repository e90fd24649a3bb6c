"""What is to be said of a run, each thing once.

A server that breaks a rule usually breaks it in many sequences and in both TLS versions. Readers
want one entry for that, with the places where it was seen. The cause of a reset is given with the
first finding that is about such resets: what came before the server's FIN does not explain what
came after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from tlsprobe.model.behaviour import Seen
from tlsprobe.model.causes import cause_named
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


class Phase(StrEnum):
    """When an RST came, by its sender's FIN."""

    BEFORE = "before"
    AFTER = "after"


EITHER = frozenset(Phase)

RULE_PHASES = {
    "INTEROP-RESET-BEFORE-FIN": Phase.BEFORE,
    "INTEROP-RESET-AFTER-FIN": Phase.AFTER,
}
"""The rules that judge resets of one phase; other rules about resets judge them all."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was seen: in ``count`` of a cell's ``trials``, and ``left_out`` beside."""

    target: str
    sequence: str
    tls: str
    count: int
    trials: int
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Why:
    """A cause over several cells.

    ``facts`` has the surest evidence, every remedy and the sum of the trials; ``confidences`` says
    in how many of them it is how sure. ``mixed``: some cell had resets on both sides of the FIN
    and this cause fits either, so that its trials cannot be parted.
    """

    facts: CauseFacts
    confidences: tuple[tuple[Confidence, int], ...]
    mixed: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One finding, wherever it came up.

    ``beside`` names the rules that came out otherwise in the very same cells: a reset may pass
    TLS's rules and TCP's, and hurt all the same.
    """

    finding: Finding
    places: tuple[Place, ...]
    why: tuple[Why, ...] = ()
    beside: tuple[tuple[str, Result], ...] = ()


@dataclass(frozen=True, slots=True)
class LooseCause:
    """The cause of a reset that no finding speaks of: a client's own, mostly."""

    why: Why
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Cells without an answer, and the reason, if one was given."""

    verdict: Verdict
    reason: str
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that is to be said of some runs."""

    entries: tuple[Entry, ...]
    causes: tuple[LooseCause, ...]
    unanswered: tuple[Unanswered, ...]


Located = tuple[str, Cell]
"""A cell and the name of its target."""

_Explained = tuple[int, str, Phase]
"""A cell's id, a cause of its server's resets, and when those came."""


def findings_of(runs: Sequence[Run]) -> Findings:
    """The findings, causes and gaps of the runs, grouped and in reading order."""
    cells = [(run.target.name, cell) for run in runs for cell in run.cells]
    entries = _grouped(cells)
    explained: set[_Explained] = set()
    with_causes = tuple(_with_causes(entry, seen, explained) for entry, seen in entries)
    return Findings(with_causes, _loose_causes(cells, explained), _unanswered(cells))


def is_about_resets(rule: str) -> bool:
    """Whether a rule's id says that it judges a server's RST."""
    return "RST" in rule or "RESET" in rule


def phases_of(cell: Cell, facts: CauseFacts) -> frozenset[Phase]:
    """When the cell's server resets of this cause came: for certain, or as such resets do."""
    server = cell.resets.server
    if bool(server.before_fin) is not bool(server.after_fin):
        return frozenset({Phase.BEFORE if server.before_fin else Phase.AFTER})
    cause = cause_named(facts.cause)
    if cause is None or cause.row.before_fin is None:
        return EITHER
    return frozenset({Phase.BEFORE if cause.row.before_fin else Phase.AFTER})


def merged_causes(causes: Iterable[CauseFacts], mixed: Iterable[str] = ()) -> tuple[Why, ...]:
    """One entry for each cause and side: counts added, the surest evidence, every remedy once.

    ``mixed`` names the causes whose resets cannot be parted at the FIN.
    """
    groups: dict[tuple[str, str], list[CauseFacts]] = {}
    for facts in causes:
        groups.setdefault((facts.cause, facts.side), []).append(facts)
    unparted = frozenset(mixed)
    merged = [_merged(members, members[0].cause in unparted) for members in groups.values()]
    return tuple(sorted(merged, key=lambda why: -why.facts.count))


def worst_cells(run: Run, limit: int) -> list[Cell]:
    """The cells with the most telling examples: worst verdict first, no two that went alike."""
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
    places = tuple(
        _place(target, cell, finding.count, finding.judged) for target, cell, finding in members
    )
    total = replace(members[0][2], count=sum(place.count for place in places))
    return Entry(total, places)


def _reading_order(entry: Entry) -> tuple[int, bool, int]:
    """Worst result first; among equals, what has a reset in it, then what was seen most."""
    finding = entry.finding
    return ORDER.index(finding.result), not is_about_resets(finding.rule), -finding.count


def _with_causes(entry: Entry, cells: list[Cell], explained: set[_Explained]) -> Entry:
    """The entry with its causes, unless an earlier entry has those of the same cells."""
    if not is_about_resets(entry.finding.rule):
        return entry
    phase = RULE_PHASES.get(entry.finding.rule)
    asked = EITHER if phase is None else frozenset({phase})
    fresh: list[CauseFacts] = []
    mixed: set[str] = set()
    for cell in _once(cells):
        for facts in _server_causes(cell):
            when = phases_of(cell, facts)
            keys = {(id(cell), facts.cause, each) for each in when & asked}
            if not keys or keys & explained:
                continue
            explained |= keys
            fresh.append(facts)
            if len(when) > 1 and phase is not None:
                mixed.add(facts.cause)
    why = merged_causes(fresh, mixed)
    return replace(entry, why=why, beside=_beside(entry, cells) if why else ())


def _once(cells: Iterable[Cell]) -> Iterable[Cell]:
    """The cells without repeats: two findings of one cell may share an entry."""
    return {id(cell): cell for cell in cells}.values()


def _server_causes(cell: Cell) -> list[CauseFacts]:
    return [facts for facts in cell.why if facts.side == "server"]


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


def _loose_causes(cells: list[Located], explained: set[_Explained]) -> tuple[LooseCause, ...]:
    loose: dict[tuple[str, str], list[tuple[Place, CauseFacts]]] = {}
    for target, cell in cells:
        for facts in cell.why:
            if facts.side == "client" or not _is_explained(cell, facts, explained):
                place = _place(target, cell, facts.count)
                loose.setdefault((facts.cause, facts.side), []).append((place, facts))
    return tuple(
        LooseCause(merged_causes(f for _, f in members)[0], tuple(p for p, _ in members))
        for members in loose.values()
    )


def _is_explained(cell: Cell, facts: CauseFacts, explained: set[_Explained]) -> bool:
    return any((id(cell), facts.cause, phase) in explained for phase in Phase)


def _unanswered(cells: list[Located]) -> tuple[Unanswered, ...]:
    groups: dict[tuple[Verdict, str], list[Place]] = {}
    for target, cell in cells:
        if cell.verdict in UNANSWERED:
            place = _place(target, cell, cell.trials)
            groups.setdefault((cell.verdict, cell.reason or ""), []).append(place)
    return tuple(Unanswered(*key, tuple(places)) for key, places in groups.items())


def _place(target: str, cell: Cell, count: int, judged: int | None = None) -> Place:
    return seen_at(target, Seen(cell.sequence, cell.tls, count, cell.trials, judged))


def seen_at(target: str, seen: Seen) -> Place:
    """The place of what was seen in a cell of this target."""
    out = seen.trials - seen.asked
    return Place(target, seen.sequence, seen.tls, seen.count, seen.asked, out)


def _merged(members: list[CauseFacts], mixed: bool) -> Why:
    surest = min(members, key=lambda facts: _SUREST_FIRST.index(facts.confidence))
    counts = {
        sure: sum(facts.count for facts in members if facts.confidence is sure)
        for sure in _SUREST_FIRST
    }
    remedy = tuple(dict.fromkeys(sentence for facts in members for sentence in facts.remedy))
    hurts = tuple(dict.fromkeys(sentence for facts in members for sentence in facts.hurts))
    total = replace(surest, count=sum(counts.values()), remedy=remedy, hurts=hurts)
    return Why(total, tuple((sure, count) for sure, count in counts.items() if count), mixed)
