"""Pages on a terminal, as wide as it is, in colour where it has any.

Colour repeats what words and marks already say. All text goes through ``printable`` and
``rich.text.Text``, so that neither escapes nor rich's own markup get in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from rich import cells
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table as Grid
from rich.text import Text as Styled

from tlsprobe.model.judgement import Verdict
from tlsprobe.report.blocks import (
    BulletList,
    Code,
    CodeBlock,
    Emphasis,
    Field,
    Fields,
    Heading,
    Inline,
    Jump,
    Ladder,
    Legend,
    Link,
    Mark,
    Names,
    Note,
    Page,
    Paragraph,
    Strong,
    Table,
    Tag,
    Text,
    TextBlock,
    Timeline,
    in_text,
    marks_in,
)
from tlsprobe.report.escape import printable
from tlsprobe.report.glyphs import Glyphs, fold, glyphs_for
from tlsprobe.report.ladder import rungs_of
from tlsprobe.report.layout import WIDEST_LABEL, Band, Measure, bands_of

STYLES: dict[Verdict, str] = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.WARN: "yellow",
    Verdict.INFO: "blue",
    Verdict.INCONCLUSIVE: "magenta",
    Verdict.ERROR: "bold magenta",
    Verdict.UNSUPPORTED: "dim",
}

CODE = "cyan"

LABEL = 8
"""Least width of the labels of fields, so that those of most blocks stand in one line."""


def print_page(console: Console, page: Page) -> None:
    """Print a page, a blank line between its blocks; what a heading heads follows it at once."""
    terminal = _Terminal(console)
    before: TextBlock | None = None
    for block in in_text(page):
        is_headed = isinstance(before, Heading) and not isinstance(block, Heading)
        if before is not None and not is_headed:
            console.print()
        terminal.show(block)
        before = block


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


class _Terminal:
    """A console and the signs that its encoding can carry."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.encoding = console.encoding
        self.glyphs: Glyphs = glyphs_for(console.encoding)

    def show(self, block: TextBlock) -> None:  # noqa: PLR0912 - one per kind
        """Print one block."""
        match block:
            case Heading():
                self._print(self._heading(block))
            case Paragraph():
                self._print(self._text(block.text))
            case Note():
                self._print(self._text(block.text, "dim"))
            case Fields(apart=True):
                self._fields_apart(block.rows)
            case Fields():
                self._print(self._fields(block.rows))
            case BulletList():
                self._print(Padding(self._bullets(block.items), (0, 0, 0, 2)))
            case Table():
                self._table(block)
            case Legend():
                self._print(self._legend(block))
            case Ladder():
                self._ladder(block)
            case Timeline():
                self._timeline(block)
            case CodeBlock():
                for line in block.lines:
                    self.console.print(self._styled(f"  {line}", CODE), soft_wrap=True)
            case _:
                assert_never(block)

    def _print(self, drawn: RenderableType) -> None:
        self.console.print(Trimmed(drawn))

    # --- Text -------------------------------------------------------------------------------------

    def _styled(self, words: str, style: str = "") -> Styled:
        """Words from anywhere, made safe for this console."""
        return Styled(printable(words, self.encoding), style)

    def _text(self, text: Text, style: str = "") -> Styled:
        if isinstance(text, str):
            return self._styled(text, style)
        whole = Styled(style=style)
        for inline in text:
            whole.append_text(self._inline(inline))
        return whole

    def _inline(self, inline: Inline) -> Styled:  # noqa: PLR0911 - one per kind
        match inline:
            case str():
                return self._styled(inline)
            case Strong():
                return self._styled(inline.text, "bold")
            case Emphasis():
                return self._styled(inline.text, "italic")
            case Code():
                return self._styled(inline.text, CODE)
            case Link() | Jump():
                return self._styled(inline.text)
            case Tag():
                return self._styled(inline.word, "bold" if inline.is_loud else "")
            case Mark():
                return self._mark(inline)
            case Names():
                return self._styled(_shortened(inline))
            case _:
                assert_never(inline)

    def _mark(self, mark: Mark, *, aligned: bool = False) -> Styled:
        return self._styled(self.glyphs.mark(mark, aligned=aligned), STYLES[mark.verdict])

    def _heading(self, heading: Heading) -> Styled:
        text = self._text(heading.text, "bold")
        if heading.verdict is None:
            return text
        word = self._styled(heading.verdict.upper(), STYLES[heading.verdict])
        return word.append("  ").append_text(text) if text else word

    # --- Lists ------------------------------------------------------------------------------------

    def _fields(self, rows: Sequence[Field]) -> Grid:
        """Labels and what they say, with a hanging indent."""
        wide = max((len(row.label) for row in rows), default=0)
        grid = _grid(1)
        for row in rows:
            label = f"  {row.label:<{max(LABEL, wide)}}"
            for part in self._parts_of(row):
                grid.add_row(self._styled(label), part)
                label = ""
        return grid

    def _fields_apart(self, rows: Sequence[Field]) -> None:
        for row in rows:
            style = STYLES[row.verdict] if row.verdict else CODE
            self._print(Padding(self._styled(row.label, style), (0, 0, 0, 2)))
            for part in self._parts_of(replace(row, verdict=None)):
                self._print(Padding(part, (0, 0, 0, 4)))

    def _parts_of(self, row: Field) -> Iterator[RenderableType]:
        """The text, then the items; one item alone needs no bullet."""
        style = STYLES[row.verdict] if row.verdict else ""
        if row.text or not row.items:
            yield self._text(row.text, style)
        if len(row.items) == 1:
            yield self._text(row.items[0], style)
        elif row.items:
            yield self._bullets(row.items, style)

    def _bullets(self, items: Iterable[Text], style: str = "") -> Grid:
        grid = _grid(1)
        for item in items:
            grid.add_row(self.glyphs.bullet, self._text(item, style))
        return grid

    def _legend(self, legend: Legend) -> Grid:
        grid = _grid(1)
        for sign, meaning in legend.entries:
            shown = self._mark(sign) if isinstance(sign, Mark) else self._styled(f" {sign.text}")
            shown.pad_right(max(0, 5 - len(shown.plain)))
            grid.add_row(shown, self._styled(meaning))
        return grid

    # --- Tables -----------------------------------------------------------------------------------

    def _table(self, table: Table) -> None:
        """The table, in as many bands as the width asks for; in the last resort row by row."""
        drawn = [[self._cell(cell) for cell in row] for row in table.rows]
        bands = bands_of(_measures(table, drawn), self.console.width)
        if not bands:
            self._rows_apart(table, drawn)
        for number, band in enumerate(bands):
            if number:
                self.console.print()
            self._print(self._band(table, drawn, band))

    def _cell(self, cell: Text) -> Styled:
        marks = marks_in(cell)
        if not marks:
            return self._text(cell)
        if len(marks) == 1:
            return self._mark(marks[0], aligned=True)
        between = " / " if any(mark.counts for mark in marks) else "/"
        return self._styled(between).join(map(self._mark, marks))

    def _band(self, table: Table, drawn: list[list[Styled]], band: Band) -> Grid:
        grid = Grid(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
        for column, width in zip(band.columns, band.widths, strict=True):
            head = self._styled(table.columns[column].head)
            grid.add_column(_folded(head, width), width=width, overflow="fold")
        for row in drawn:
            cells_in_it = (row[column] for column in band.columns)
            grid.add_row(*map(_folded, cells_in_it, band.widths))
        return grid

    def _rows_apart(self, table: Table, drawn: list[list[Styled]]) -> None:
        """Every row by itself, its cells below its name."""
        heads = [column.head for column in table.columns[1:]]
        wide = min(max(map(len, heads), default=0), self.console.width // 2)
        for row in drawn:
            name = row[0].copy()
            name.stylize("bold")
            self._print(name)
            grid = _grid(1)
            for head, cell in zip(heads, row[1:], strict=True):
                if not cell:
                    continue
                label = _folded(self._styled(head), wide)
                grid.add_row(Padding(label, (0, 0, 0, 2)), cell)
            self._print(grid)

    # --- Ladders ----------------------------------------------------------------------------------

    def _timeline(self, line: Timeline) -> None:
        if line.caption:
            self._print(self._text(line.caption))
        bars = self.glyphs.sparkline(line.counts)
        text = self._styled(f"  {line.begin} ").append(bars, "red")
        self._print(text.append_text(self._styled(f"| {line.end}")))

    def _ladder(self, ladder: Ladder) -> None:
        if ladder.caption:
            self._print(Padding(self._text(ladder.caption), (0, 0, 0, 2)))
        grid = Grid.grid(padding=(0, 2, 0, 0))
        for justify in ("left", "right", "left", "left", "right"):
            grid.add_column(justify=justify, no_wrap=True, overflow="fold")
        grid.add_column(overflow="fold")
        for rung in rungs_of(ladder.lines, self.glyphs):
            style = "bold red" if rung.reset else ""
            fields = (
                ">" if rung.reset else " ",
                rung.time,
                f"client {rung.arrow} server",
                rung.letters,
                rung.packet,
                rung.text,
            )
            grid.add_row(*(self._styled(field, style) for field in fields))
        self._print(grid)


def _grid(padding: int) -> Grid:
    grid = Grid.grid(padding=(0, padding, 0, 0))
    grid.add_column(no_wrap=True, overflow="fold")
    grid.add_column(overflow="fold")
    return grid


def _shortened(names: Names) -> str:
    left = len(names.items) - names.few
    told = [*names.items[: names.few], *([f"and {left} more"] if left > 0 else [])]
    return ", ".join(told)


def _measures(table: Table, drawn: list[list[Styled]]) -> list[Measure]:
    columns = []
    for number, column in enumerate(table.columns):
        texts = [row[number].plain for row in drawn]
        pieces = re.findall("[^-]+-?", column.head) if column.breaks else [column.head]
        head = max(pieces, key=len, default="")
        words = [word for text in (*texts, head) for word in text.split()]
        columns.append(
            Measure(
                max(map(cells.cell_len, (head, *texts))),
                min(WIDEST_LABEL, max(map(cells.cell_len, words), default=1)),
                all(marks_in(row[number]) or not row[number] for row in table.rows),
            )
        )
    return columns


def _folded(text: Styled, width: int) -> Styled:
    """The text in lines that fit, broken where the eye expects it."""
    return Styled("\n").join(text[start:end] for start, end in fold(text.plain, width))
