"""A run on the terminal: what happened, why, whom it hurts, and the packets that show it.

The order is that of a reader's questions. Colour repeats what words and marks already say. All
text goes through ``printable`` and ``Text``, so neither escapes nor rich's own markup get in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from tlsprobe.model.judgement import Verdict
from tlsprobe.model.run import CauseFacts, Cell, Run
from tlsprobe.report.compatibility import Compatibility, table_of
from tlsprobe.report.escape import printable
from tlsprobe.report.findings import BAD_FIRST, Entry, Place, Story, story_of, worst_cells
from tlsprobe.report.glyphs import fold, glyphs_for
from tlsprobe.report.ladder import rungs_of
from tlsprobe.report.layout import Band, bands_of
from tlsprobe.report.matrix import Matrix, MatrixCell, matrix_of
from tlsprobe.report.rulebook import cause_rows, rule_rows
from tlsprobe.report.sentences import (
    WORDS,
    capture_words,
    cause_words,
    idle_words,
    measured_words,
    places_words,
    race_words,
    summary_words,
    target_words,
    undecided_words,
    whose_words,
)

STYLES: dict[Verdict, str] = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.WARN: "yellow",
    Verdict.INFO: "blue",
    Verdict.INCONCLUSIVE: "magenta",
    Verdict.ERROR: "bold magenta",
    Verdict.UNSUPPORTED: "dim",
}

MOST_TOLD = 9
"""Of so many servers side by side the findings are told; of more they would fill a book."""

MOST_PLACES = 4
"""How many sequences a headline names; matrix.md names them all."""


def print_report(console: Console, runs: Sequence[Run], *, ladders: int = 2) -> None:
    """Print one run, or several side by side: matrix, findings, examples and facts.

    ``ladders`` is how many example trials are told packet by packet, over all runs.
    """
    page, matrix = Page(console), matrix_of(runs)
    if len(runs) == 1:
        page.say(target_words(runs[0]), "bold")
        page.say(measured_words(runs[0]))
    page.table(matrix)
    if len(runs) > 1:
        page.legend(matrix)
    page.story(story_of(runs), brief=len(runs) > 1)
    page.ladders(runs, ladders)
    if len(runs) == 1:  # its table says the endings in full: the codes can wait
        page.legend(matrix)
    page.facts(runs)


def print_matrix(console: Console, runs: Sequence[Run]) -> None:
    """Print the matrix and its legend, nothing else."""
    page, matrix = Page(console), matrix_of(runs)
    page.table(matrix)
    page.legend(matrix)


def print_compatibility(
    console: Console, compatibility: Compatibility, *, is_turned: bool = False
) -> None:
    """Print many servers: who closes alike, the table in that order, and of few what was found.

    ``is_turned``: one line a server, sequences across.
    """
    page, matrix = Page(console), table_of(compatibility, is_turned=is_turned)
    runs = compatibility.runs
    page.groups(compatibility)
    page.table(matrix)
    page.legend(matrix)
    page.absent(compatibility)
    if len(runs) <= MOST_TOLD:
        page.story(story_of(runs), brief=True)
        page.ladders(runs, 2)
        page.facts(runs)
    else:
        page.summary(runs)


@dataclass(frozen=True, slots=True)
class Trimmed:
    """Anything rich can draw, without the blanks that would fill its lines up to the width."""

    drawn: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in console.render_lines(self.drawn, options, pad=False):
            yield from _without_end(line)
            yield Segment.line()


def _without_end(line: list[Segment]) -> list[Segment]:
    kept = list(line)
    while kept and not kept[-1].text.rstrip():
        kept.pop()
    if kept:
        text, style, control = kept.pop()
        kept.append(Segment(text.rstrip(), style, control))
    return kept


class Page:
    """A console, the signs that its encoding can carry, and the parts of a report."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.encoding = console.encoding
        self.glyphs = glyphs_for(console.encoding)

    def table(self, matrix: Matrix) -> None:
        """The table, in as many bands as the width asks for."""
        for band in bands_of(matrix, self.console.width, self.glyphs):
            self.console.print()
            self._print(self._band(matrix, band))

    def legend(self, matrix: Matrix) -> None:
        """What the marks and codes mean that occur in the table."""
        self.console.print()
        legend = self._grid()
        for verdict in matrix.verdicts:
            mark = f"{self.glyphs.marks[verdict]:<5}"
            legend.add_row(self.text(mark, STYLES[verdict]), self.text(WORDS[verdict]))
        for code, meaning in matrix.legend:
            legend.add_row(self.text(f" {code:<4}"), self.text(meaning))
        self._print(legend)

    def groups(self, compatibility: Compatibility) -> None:
        """Who closes alike, and what tells each group from the others."""
        count = len(compatibility.measured)
        alike = (
            "1 server" if count == 1 else f"{count} servers; those with the same letter close alike"
        )
        self.say(alike, "bold")
        self._rows(
            [
                (group.letter, f"{', '.join(v.title for v in group.members)}: {group.words}")
                for group in compatibility.groups
            ]
        )

    def absent(self, compatibility: Compatibility) -> None:
        """The servers that could not be measured, with the reason."""
        if compatibility.absent:
            self.console.print()
            self.say("unsupported here", "bold")
        told = [(v.title, v.reason or "no reason was given") for v in compatibility.absent]
        self._rows(told)

    def summary(self, runs: Sequence[Run]) -> None:
        """The cells counted, where there is no room for more."""
        self.console.print()
        hint = "one results folder alone, and its matrix.md, tell what was found and why"
        self._rows([("summary", summary_words(runs)), ("more", hint)])

    def story(self, story: Story, *, brief: bool) -> None:
        """What was found and why, resets that no rule speaks of, and what has no answer.

        ``brief`` leaves evidence and remedies to the report of each run.
        """
        for entry in story.entries:
            self._entry(entry, brief)
        for loose in story.causes:
            self._headline(Verdict.INFO, whose_words(loose.why), loose.places, brief)
            self._rows([] if brief else self._cause_rows(loose.why.facts))
        for gap in story.unanswered:
            self._headline(gap.verdict, "", gap.places, brief)
            self._rows([("reason", gap.reason or "none was recorded")])

    def ladders(self, runs: Sequence[Run], limit: int) -> None:
        """The examples of the worst cells; of several runs, one each before one has two."""
        each = limit if len(runs) == 1 else 1
        worst = [(run, cell) for run in runs for cell in worst_cells(run, each)]
        worst.sort(key=lambda pair: BAD_FIRST.index(pair[1].verdict))
        for run, cell in worst[:limit]:
            self._ladder(cell, f"{run.target.name}: " if len(runs) > 1 else "")

    def facts(self, runs: Sequence[Run]) -> None:
        """Idle expiry, the capture's worth, notes and the summary."""
        several = len(runs) > 1
        rows = [
            (label, f"{run.target.name}: {words}" if several else words)
            for run in runs
            for label, words in _facts(run, brief=several)
        ]
        self.console.print()
        self._rows([*rows, ("summary", summary_words(runs))])

    def say(self, words: str, style: str = "") -> None:
        """One paragraph."""
        self._print(self.text(words, style))

    def text(self, words: str, style: str = "") -> Text:
        """Words from anywhere, made safe for this console."""
        return Text(printable(words, self.encoding), style=style)

    def _print(self, drawn: RenderableType) -> None:
        self.console.print(Trimmed(drawn))

    def _band(self, matrix: Matrix, band: Band) -> Table:
        table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
        table.add_column(matrix.corner, width=band.label, overflow="fold")
        for column, width in zip(band.columns, band.widths, strict=True):
            title = matrix.columns[column]
            table.add_column(self._folded(title, width or len(title)), width=width, overflow="fold")
        for row in matrix.rows:
            table.add_row(
                self._folded(row.label, band.label),
                *map(self._cell, (row.cells[column] for column in band.columns), band.widths),
            )
        return table

    def _cell(self, cell: MatrixCell, width: int | None) -> Text:
        if not cell.faces or width is None:
            return self.text(cell.words)
        worst = min((face.verdict for face in cell.faces), key=BAD_FIRST.index)
        return self._folded(cell.text(self.glyphs), width, STYLES[worst])

    def _folded(self, words: str, width: int, style: str = "") -> Text:
        return Text("\n".join(fold(printable(words, self.encoding), width)), style=style)

    def _grid(self) -> Table:
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(no_wrap=True, overflow="fold")
        grid.add_column(overflow="fold")
        return grid

    def _rows(self, rows: Sequence[tuple[str, str]]) -> None:
        """Labels and what they say, with a hanging indent."""
        grid = self._grid()
        for label, words in rows:
            grid.add_row(self.text(f"  {label:<8}"), self.text(words))
        self._print(grid)

    def _entry(self, entry: Entry, brief: bool) -> None:
        finding = entry.finding
        words = f"{finding.rule} ({finding.level})"
        self._headline(Verdict(finding.result.value), words, entry.places, brief)
        rows = [("seen", finding.text)]
        if not brief:
            rows += rule_rows(finding.rule)
        for why in entry.why:
            rows.append(("why", cause_words(why)))
            rows += [] if brief else self._cause_rows(why.facts)
        if entry.beside and not brief:
            beside = (f"{result} {rule}" for rule, result in entry.beside)
            rows.append(("beside", ", ".join(beside)))
        self._rows(rows)

    def _cause_rows(self, facts: CauseFacts) -> list[tuple[str, str]]:
        rows = [("", f"{self.glyphs.bullet} {sentence}") for sentence in facts.evidence]
        shown = ""
        for label, words in cause_rows(facts):
            bullet = f"{self.glyphs.bullet} " if label == "remedy" else ""
            rows.append(("" if label == shown else label, f"{bullet}{words}"))
            shown = label
        return rows

    def _headline(
        self, verdict: Verdict, words: str, places: Sequence[Place], several: bool
    ) -> None:
        self.console.print()
        where = places_words(places, MOST_PLACES, several=several)
        line = self.text(verdict.upper(), STYLES[verdict])
        line.append_text(self.text(f"  {words}" if words else "", "bold"))
        line.append_text(self.text(f"  {where}" if not words else f": {where}", "not bold"))
        self._print(line)

    def _ladder(self, cell: Cell, target: str) -> None:
        if cell.example is None:
            return
        self.console.print()
        head = f"{target}{cell.sequence}, TLS {cell.tls}, trial {cell.example.trial}"
        self.say(f"{head}:  {cell.example.signature}", "bold")
        if cell.steps != cell.sequence:
            self.say(f"  {cell.steps}")
        grid = Table.grid(padding=(0, 2, 0, 0))
        for justify in ("left", "right", "left", "left", "right"):
            grid.add_column(justify=justify, no_wrap=True, overflow="fold")
        grid.add_column(overflow="fold")
        for rung in rungs_of(cell.example, self.glyphs):
            style = "bold red" if rung.reset else ""
            fields = (
                ">" if rung.reset else " ",
                rung.time,
                f"client {rung.arrow} server",
                rung.letters,
                rung.packet,
                rung.text,
            )
            grid.add_row(*(self.text(field, style) for field in fields))
        self._print(grid)


def _facts(run: Run, *, brief: bool) -> Iterator[tuple[str, str]]:
    """The facts under a report; with several runs only those that one has to know."""
    if run.idle:
        yield "idle", idle_words(run.idle)
    yield from (("race", words) for words in race_words(run))
    if not brief or run.capture.backend == "none" or run.capture.dropped:
        yield "capture", capture_words(run.capture)
    if not brief and (rules := undecided_words(run)):
        yield "n/a", f"rules that nothing here could decide: {rules}"
    yield from (("note", note) for note in run.notes)
    if run.interrupted:
        yield "note", "interrupted: only what was finished before is counted"
