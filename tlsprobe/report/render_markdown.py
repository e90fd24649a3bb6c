"""Pages as Markdown, to be read on a forge or pasted into a ticket.

Everything passes through ``escape``: no peer's text becomes a heading, a link or a new cell.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import assert_never

from tlsprobe.model.judgement import LadderLine
from tlsprobe.model.trace import Side
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
from tlsprobe.report.escape import (
    markdown_cell_code,
    markdown_code,
    markdown_text,
    printable,
)
from tlsprobe.report.glyphs import UNICODE
from tlsprobe.report.ladder import aligned, is_reset, rungs_of

ACROSS = 10
"""Columns of outcomes in one table: what a page shows without scrolling."""

STEPS = 10
"""Arrows in a diagram: more is not looked at in a ticket."""

_Code = Callable[[str], str]


def render_markdown(page: Page, *, diagrams: bool = False) -> str:
    """The page. ``diagrams``: ladders as small Mermaid sequence diagrams, not as text."""
    parts = ("\n".join(_lines(block, diagrams)) for block in in_text(page))
    return "\n\n".join(part for part in parts if part) + "\n"


def _lines(block: TextBlock, diagrams: bool) -> Iterable[str]:  # noqa: PLR0911 - one per kind
    match block:
        case Heading():
            verdict = f"{block.verdict.upper()} " if block.verdict else ""
            return [f"{'#' * block.level} {verdict}{_text(block.text)}".rstrip()]
        case Paragraph() | Note():
            return [_text(block.text)]
        case Fields():
            return (line for row in block.rows for line in _field(row))
        case BulletList():
            return (f"- {_text(item)}" for item in block.items)
        case Table():
            return _table(block)
        case Legend():
            return (f"- {_sign(sign)} {markdown_text(meaning)}" for sign, meaning in block.entries)
        case Ladder():
            return _diagram(block) if diagrams else _ladder(block)
        case Timeline():
            return _timeline(block)
        case CodeBlock():
            return _fenced(block.lines)
        case _:
            assert_never(block)


def _text(text: Text, code: _Code = markdown_code) -> str:
    inlines = (text,) if isinstance(text, str) else text
    return "".join(_inline(inline, code) for inline in inlines)


def _inline(inline: Inline, code: _Code) -> str:  # noqa: PLR0911 - one per kind
    match inline:
        case str():
            return markdown_text(inline)
        case Strong():
            return f"**{markdown_text(inline.text)}**"
        case Emphasis():
            return f"*{markdown_text(inline.text)}*"
        case Code():
            return code(inline.text)
        case Link():
            return f"[{markdown_text(inline.text)}]({inline.url})"
        case Jump():
            return markdown_text(inline.text)
        case Tag():
            return f"**{inline.word}**" if inline.is_loud else inline.word
        case Mark():
            return markdown_text(UNICODE.mark(inline, apart=True))
        case Names():
            return markdown_text(", ".join(inline.items))
        case _:
            assert_never(inline)


def _field(row: Field) -> Iterator[str]:
    items = [_text(item) for item in row.items]
    text = _text(row.text)
    if not text and len(items) == 1:
        text = items.pop()
    label = f"{markdown_text(row.label)}: " if row.label else ""
    yield f"- {label}{text}".rstrip()
    yield from (f"  - {item}" for item in items)


def _sign(sign: Mark | Code) -> str:
    return markdown_code(UNICODE.mark(sign) if isinstance(sign, Mark) else sign.text)


# --- Tables ---------------------------------------------------------------------------------------


def _table(table: Table) -> Iterator[str]:
    """The table; one of nothing but outcomes in parts that a page is wide enough for."""
    wide = len(table.columns)
    is_cut = all(_is_marks(cell) for row in table.rows for cell in row[1:])
    for first in range(1, wide, ACROSS) if is_cut else (1,):
        if first > 1:
            yield ""
        columns = (0, *range(first, min(first + ACROSS, wide) if is_cut else wide))
        yield _row(markdown_text(table.columns[column].head) for column in columns)
        yield _row("---" for _ in columns)
        yield from (_row(_cell(row[column]) for column in columns) for row in table.rows)


def _row(fields: Iterable[str]) -> str:
    return f"| {' | '.join(fields)} |"


def _is_marks(cell: Text) -> bool:
    return not cell or bool(marks_in(cell))


def _cell(cell: Text) -> str:
    marks = marks_in(cell)
    if marks:
        return " / ".join(_inline(mark, markdown_cell_code) for mark in marks)
    return _text(cell, markdown_cell_code)


# --- Ladders and code -----------------------------------------------------------------------------


def _ladder(ladder: Ladder) -> Iterator[str]:
    if ladder.caption:
        yield f"{_text(ladder.caption)}\n"
    yield from _fenced(tuple(aligned(rungs_of(ladder.lines))), "text")


def _timeline(line: Timeline) -> Iterator[str]:
    if line.caption:
        yield f"{_text(line.caption)}\n"
    yield from _fenced((f"{line.begin} {UNICODE.sparkline(line.counts)}| {line.end}",), "text")


def _fenced(lines: Sequence[str], language: str = "") -> Iterator[str]:
    """The lines between fences that none of them can close."""
    safe = [printable(line) for line in lines]
    longest = max((len(ticks) for line in safe for ticks in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    yield f"{fence}{language}"
    yield from safe
    yield fence


def _diagram(ladder: Ladder) -> Iterator[str]:
    if ladder.caption:
        yield f"{_text(ladder.caption)}\n"
    yield "```mermaid"
    yield "sequenceDiagram"
    yield f"    participant C as {_harmless(ladder.client)}"
    yield f"    participant S as {_harmless(ladder.server)}"
    for line in _around_the_reset(ladder.lines):
        arrow = "-x" if is_reset(line) else "->>"
        ends = f"C{arrow}S" if line.side is Side.CLIENT else f"S{arrow}C"
        number = "" if line.packet is None else f"{line.packet}. "
        yield f"    {ends}: {number}{_harmless(line.text)}"
    yield "```"


def _around_the_reset(lines: tuple[LadderLine, ...]) -> tuple[LadderLine, ...]:
    """The lines around the first RST; the last ones, if there is none."""
    resets = [number for number, line in enumerate(lines) if is_reset(line)]
    end = min(len(lines), (resets[0] if resets else len(lines)) + 3)
    return lines[max(0, end - STEPS) : end]


def _harmless(text: str) -> str:
    """Words that Mermaid takes as they are: no line ends, comments or markup."""
    safe = re.sub(r"#(?=\d)", "packet ", printable(text))
    return re.sub(r"[^\w .,:()\[\]/-]", "?", safe).replace("--", "- -")
