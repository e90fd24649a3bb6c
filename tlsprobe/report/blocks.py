"""A page as a value: blocks, which hold inline text, which holds what was said and no markup.

Pages are written once, in ``report/pages``, and drawn by ``render_terminal`` and
``render_markdown``; a new format is one more such module. A renderer matches over ``Block`` and
``Inline`` to the end (``assert_never``), so that the type checker names every renderer that does
not know a new kind.

Nothing in a page is escaped. Servers, profiles and command lines say what they like; making it
harmless is the business of the renderer, which alone knows what would do harm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from tlsprobe.model.judgement import LadderLine, Verdict

# --- Inline ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Strong:
    """Words that a reader must not miss."""

    text: str


@dataclass(frozen=True, slots=True)
class Emphasis:
    """Words that are set apart from the sentence around them."""

    text: str


@dataclass(frozen=True, slots=True)
class Code:
    """What somebody types, or what went over the wire, letter for letter."""

    text: str


@dataclass(frozen=True, slots=True)
class Link:
    """Words that lead somewhere. ``url`` is our own, never a peer's."""

    text: str
    url: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A verdict's mark, and the outcome behind it: ``!RST 3/20``.

    ``code`` is one of ``matrix.CODES`` (at most four characters). ``counts`` is "" when all trials
    ended alike, else ``3/20`` (the others were ok), ``3/20 rst`` (the others were rst), or ``3/20
    rst 7/20``.
    """

    verdict: Verdict
    code: str = ""
    counts: str = ""


@dataclass(frozen=True, slots=True)
class Names:
    """A list in running text, of which a renderer short of room shows the first ``few``."""

    items: tuple[str, ...]
    few: int = 4


Inline: TypeAlias = str | Strong | Emphasis | Code | Link | Mark | Names
Text: TypeAlias = str | tuple[Inline, ...]

# --- Blocks ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Heading:
    """Level 1 heads the page. A heading with a ``verdict`` begins with its word: ``WARN``."""

    level: int
    text: Text
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph of the page itself."""

    text: Text


@dataclass(frozen=True, slots=True)
class Note:
    """An aside: how to read a table, or where there is more."""

    text: Text


@dataclass(frozen=True, slots=True)
class Field:
    """A label and what it stands for: words, items below them, or both.

    ``verdict`` says how bad it is, where that deserves a colour.
    """

    label: str
    text: Text = ""
    items: tuple[Text, ...] = ()
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Fields:
    """Labelled facts, one below the other; ``apart``: long labels, each on a line of its own."""

    rows: tuple[Field, ...]
    apart: bool = False


@dataclass(frozen=True, slots=True)
class BulletList:
    """Items of equal rank."""

    items: tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """The head of a column; ``breaks``: it may be broken at its hyphens, to keep it narrow."""

    head: str
    breaks: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of as many cells as there are columns; the first cell of each names its row.

    A cell of nothing but marks shows outcomes: one, or one for each TLS version where those
    differ.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Text, ...], ...]


@dataclass(frozen=True, slots=True)
class Legend:
    """What the marks and codes mean that occur in a table."""

    entries: tuple[tuple[Mark | Code, str], ...]


@dataclass(frozen=True, slots=True)
class Ladder:
    """A connection packet by packet, between two ends; ``caption`` says what was done in it."""

    lines: tuple[LadderLine, ...]
    caption: Text = ""
    client: str = "client"
    server: str = "server"


@dataclass(frozen=True, slots=True)
class Timeline:
    """How often something happened in equal parts of a time from ``begin`` to ``end``."""

    counts: tuple[int, ...]
    begin: str
    end: str
    caption: Text = ""


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """Lines to be copied as they are: never wrapped."""

    lines: tuple[str, ...]


Block: TypeAlias = (
    Heading
    | Paragraph
    | Note
    | Fields
    | BulletList
    | Table
    | Legend
    | Ladder
    | Timeline
    | CodeBlock
)
Page: TypeAlias = tuple[Block, ...]


def marks_in(cell: Text) -> tuple[Mark, ...]:
    """The marks of a cell that holds nothing else; none of any other cell."""
    inlines = () if isinstance(cell, str) else cell
    marks = tuple(inline for inline in inlines if isinstance(inline, Mark))
    return marks if len(marks) == len(inlines) else ()
