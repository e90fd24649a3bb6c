"""What is behind a cell of the matrix: what was asked, how it ended, why, what to do, the packets.

A drawer holds one sequence against one server; versions of TLS in which all went alike share it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tlsprobe.behaviours import behaviours_of
from tlsprobe.catalogue import catalogue
from tlsprobe.judge.families import family_in
from tlsprobe.model.behaviour import Behaviour, Harm
from tlsprobe.model.judgement import Result, Verdict
from tlsprobe.model.run import Cell, Run, Spread
from tlsprobe.report.blocks import (
    Code,
    Drawer,
    Field,
    Fields,
    Heading,
    Inline,
    Jump,
    Names,
    Text,
    TextBlock,
)
from tlsprobe.report.findings import ORDER, merged_causes
from tlsprobe.report.glyphs import duration
from tlsprobe.report.matrix import describe_outcomes, mark_of
from tlsprobe.report.pages.behaviours import anchor_of, command_for_cell, describe, tag_of
from tlsprobe.report.pages.findings import ladder_of
from tlsprobe.report.plurals import share
from tlsprobe.report.rulebook import cause_fields, rule_fields
from tlsprobe.report.sentences import describe_cause
from tlsprobe.report.tried import tried_remedies
from tlsprobe.waiving import worst_standing

TIMINGS = {
    "close_notify_to_answer": "from our close_notify to its own",
    "close_notify_to_fin": "from our close_notify to its FIN",
    "goodbye_to_end": "from the goodbye to the end",
    "idle_to_end": "from the last exchange to the end",
}
"""The times of a cell that a reader asks for."""


class Drawers:
    """The drawers of a run, and what its cells show of its behaviours.

    ``prefix`` sets their names apart from those of other runs on the same page, and ``title``
    begins their titles; that page has cards of the behaviours only if ``has_cards``.
    """

    def __init__(
        self, run: Run, prefix: str = "", title: str = "", *, has_cards: bool = True
    ) -> None:
        self.run = run
        self._prefix, self._title, self._has_cards = prefix, title, has_cards
        self._cells: dict[str, list[Cell]] = {}
        for cell in run.cells:
            self._cells.setdefault(cell.sequence, []).append(cell)
        self._seen: dict[tuple[str, str], list[tuple[int, Behaviour]]] = {}
        for number, one in enumerate(behaviours_of(run), 1):
            for place in one.seen:
                self._seen.setdefault((place.sequence, place.tls), []).append((number, one))

    def name(self, sequence: str) -> str:
        """The name of a sequence's drawer; one that is nobody's goes by its place."""
        known = sequence if sequence in catalogue() else str(list(self._cells).index(sequence))
        return f"d-{self._prefix}{known}"

    def harm(self, cells: Sequence[Cell]) -> Harm | None:
        """The worst that was seen in these cells and is not waived."""
        return worst_standing(one for cell in cells for _, one in self._at(cell))

    def numbers(self, cell: Cell) -> str:
        """The numbers of the behaviours that were seen in a cell."""
        return ",".join(str(number) for number, _ in self._at(cell))

    def every(self, pack: str = "") -> Iterator[Drawer]:
        """The drawers, in the order of the run."""
        for sequence, cells in self._cells.items():
            title = f"{self._title}: {sequence}" if self._title else sequence
            yield Drawer(self.name(sequence), title, tuple(self._blocks(cells)), pack)

    def _at(self, cell: Cell) -> list[tuple[int, Behaviour]]:
        return self._seen.get((cell.sequence, cell.tls), [])

    def _blocks(self, cells: list[Cell]) -> Iterator[TextBlock]:
        first = cells[0]
        entry = catalogue().get(first.sequence)
        fields = [Field("asks", entry.asks)] if entry else []
        yield Fields((*fields, Field("steps", (Code(first.steps),))))
        for alike in _alike(cells):
            versions = " and ".join(cell.tls for cell in alike)
            yield Heading(3, f"TLS {versions}: {describe_outcomes(alike[0])}", alike[0].verdict)
            yield Fields(tuple(self._in_short(alike[0])))
            if ladder := ladder_of(alike[0]):
                yield ladder
            yield Fields(tuple(self._in_full(alike)))

    def _in_short(self, cell: Cell) -> Iterator[Field]:
        """What one has to know, above the packets."""
        if cell.reason:
            yield Field("reason", cell.reason)
        for number, one in self._at(cell):
            yield Field(tag_of(one).word, self._behaviour(number, one))
        if cell.signatures:
            yield Field("wire", tuple(_signatures(cell)))

    def _in_full(self, alike: list[Cell]) -> Iterator[Field]:
        cell = alike[0]
        yield from self._amiss(cell)
        kept = [f.rule for each in alike for f in each.findings if f.result is Result.PASS]
        if kept:
            yield Field("kept", (Names(tuple(dict.fromkeys(kept))),))
        if cell.race is not None:
            yield Field("race", cell.race.text)
        if times := tuple(_times(cell)):
            yield Field("times", items=times)
        if cell.example is not None:
            again = command_for_cell(self.run, cell.sequence, cell.tls)
            yield Field("again", (Code(again),))

    def _behaviour(self, number: int, one: Behaviour) -> Text:
        said = f"{number} {describe(one)}"
        return (Jump(said, anchor_of(number)),) if self._has_cards else describe(one)

    def _amiss(self, cell: Cell) -> Iterator[Field]:
        """What is amiss with its rule, then the causes."""
        run = self.run
        amiss = [finding for finding in cell.findings if finding.result in ORDER]
        for finding in sorted(amiss, key=lambda finding: ORDER.index(finding.result)):
            verdict = Verdict(finding.result.value)
            often = share(finding.count, finding.asked(cell.trials), cell.trials)
            said = f"{finding.rule} ({finding.level}): {finding.text} ({often})"
            yield Field(str(finding.result), said, verdict=verdict)
            family = family_in(run)
            fields = rule_fields(finding.rule, run.target.protocol, family, (cell.steps,))
            yield from (field for field in fields if not cell.why or field.label == "rule")
        for why in merged_causes(cell.why):
            side = "client" if why.facts.side == "client" else "server"
            yield Field("why", f"the {side}'s RST: {describe_cause(why)}", why.facts.evidence)
            told = (one for _, one in self._at(cell))
            yield from cause_fields(why.facts, tried_remedies(told, why.facts.cause))


def _alike(cells: list[Cell]) -> list[list[Cell]]:
    """The cells of a sequence, those together that say the same."""
    groups: dict[object, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(_sayings(cell), []).append(cell)
    return list(groups.values())


def _sayings(cell: Cell) -> object:
    """What tells a cell from another; packet numbers, times and rules that were kept do not."""
    return (
        mark_of(cell),
        tuple(cell.signatures.items()),
        tuple((f.result, f.text, f.count) for f in cell.findings if f.result in ORDER),
        tuple((why.cause, why.side, why.confidence, why.count) for why in cell.why),
        cell.reason,
        cell.race is None or cell.race.text,
    )


def _signatures(cell: Cell) -> Iterator[Inline]:
    """Each signature, with how often if there are several."""
    ranked = sorted(cell.signatures.items(), key=lambda item: -item[1])
    for place, (signature, count) in enumerate(ranked):
        yield from [", "] * bool(place)
        yield Code(signature) if signature else "nothing"
        yield from [f" ({count})"] * (len(ranked) > 1)


def _times(cell: Cell) -> Iterator[str]:
    for name, words in TIMINGS.items():
        spread = cell.timing_us.get(name, Spread(0))
        if spread.n and spread.p50 is not None and spread.min is not None:
            most = spread.p50 if spread.max is None else spread.max
            between = f" ({duration(spread.min)} to {duration(most)})" if spread.n > 1 else ""
            yield f"{words}: {duration(spread.p50)}{between}"
