"""A page as a value: blocks, which hold inline text, which holds what was said and no markup.

Pages are written once, in ``report/pages``, and drawn by ``render_terminal``, ``render_markdown``
and ``render_html``; a new format is one more such module. A renderer matches over ``Block`` and
``Inline`` to the end (``assert_never``), so that the type checker names every renderer that does
not know a new kind. One that writes plain text takes the page ``in_text``: without the kinds that
only a page on a screen can show.

Nothing in a page is escaped. Servers, profiles and command lines say what they like; making it
harmless is the business of the renderer, which alone knows what would do harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from tlsprobe.model.behaviour import Harm
from tlsprobe.model.judgement import LadderLine, Verdict

# --- Inline ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Strong:
    """Words that a reader must not miss; ``verdict`` gives them its colour, if there is any."""

    text: str
    verdict: Verdict | None = None


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
class Jump:
    """Words that lead to another place of the same page, where a format has such places."""

    text: str
    to: str


WAIVED = "waived"
"""The word in place of a harm that somebody accepts."""


@dataclass(frozen=True, slots=True)
class Tag:
    """How bad a behaviour is, so that it stands out; or that it counts for nothing."""

    harm: Harm
    is_waived: bool = False

    @property
    def word(self) -> str:
        """What it says."""
        return WAIVED if self.is_waived else str(self.harm)

    @property
    def is_loud(self) -> bool:
        """Whether it has to stand out where there are no colours."""
        return self.harm is Harm.BREAKS and not self.is_waived


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


Inline: TypeAlias = str | Strong | Emphasis | Code | Link | Jump | Tag | Mark | Names
Text: TypeAlias = str | tuple[Inline, ...]

# --- Blocks ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Heading:
    """Level 1 heads the page. A heading with a ``verdict`` begins with its word: ``WARN``.

    ``folded``: what it heads says more of what the page says already, and may be folded away.
    """

    level: int
    text: Text
    verdict: Verdict | None = None
    folded: bool = False


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
    """A connection packet by packet, between two ends; ``caption`` says what was done in it.

    ``in_order``: a reader got what came in the order of the packets. Our own path may have kept
    some of them back.
    """

    lines: tuple[LadderLine, ...]
    caption: Text = ""
    client: str = "client"
    server: str = "server"
    in_order: bool = True


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


TextBlock: TypeAlias = (
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
"""What every format can show."""


@dataclass(frozen=True, slots=True)
class Card:
    """A behaviour: what there is to say of it, and the connection that proves it.

    ``seen`` says how often. In text it is a heading with what it heads; there the ladder is left
    to the examples.
    """

    number: int
    tag: Tag
    text: str
    seen: str
    blocks: tuple[TextBlock, ...]
    proof: Ladder | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A row or a column of a grid; ``url`` is that of its own page, where it has one.

    Lines with the same ``group`` stand together under it.
    """

    head: str
    group: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class GridCell:
    """A cell of a grid; one without ``text`` was not asked.

    ``opens`` names its drawer, as ``#drawer``, or the page that has it. ``numbers`` are those of
    the behaviours that were seen there, ``harm`` is that of the worst.
    """

    text: Text = ""
    opens: str = ""
    harm: Harm | None = None
    numbers: str = ""


@dataclass(frozen=True, slots=True)
class Drawer:
    """What is behind a cell. Drawers of one ``pack`` may be stored together, to save room."""

    name: str
    title: str
    blocks: tuple[TextBlock, ...]
    pack: str = ""


@dataclass(frozen=True, slots=True)
class Grid:
    """The matrix, to be looked around in: what is in each cell can be opened.

    ``axes`` says what the rows and the columns are. In text it is the ``table``, so that the
    ``drawers`` are made only when they are asked for.
    """

    axes: tuple[str, str]
    rows: tuple[Line, ...]
    columns: tuple[Line, ...]
    cells: tuple[tuple[GridCell, ...], ...]
    table: Table
    drawers: Callable[[], Iterable[Drawer]] = field(default=tuple, compare=False)


@dataclass(frozen=True, slots=True)
class Timer:
    """An idle timer: from the ``least`` to the ``most`` seconds, None where it did not fire."""

    label: str
    least: float | None
    most: float | None
    how: str


@dataclass(frozen=True, slots=True)
class Timers:
    """Idle timers as a picture: when each fired, and the longest safe timeout of a client.

    The sentences about them say the same, so that in text there is no picture.
    """

    timers: tuple[Timer, ...]
    safe: float | None = None


@dataclass(frozen=True, slots=True)
class Meeting:
    """What became of requests that came ``offset_us`` after the server's first word of its end."""

    offset_us: float
    answered: int
    refused: int
    lost: int


@dataclass(frozen=True, slots=True)
class Meetings:
    """A race as a picture: who came when, and what became of it. In text, a sentence says it.

    ``window_us`` is how long the server is exposed: from its first word to its FIN.
    """

    label: str
    meetings: tuple[Meeting, ...]
    window_us: float | None = None


Block: TypeAlias = TextBlock | Card | Grid | Timers | Meetings
Page: TypeAlias = tuple[Block, ...]


def in_text(page: Page) -> Iterator[TextBlock]:
    """The page in blocks that plain text can show; pictures that repeat a sentence are left out."""
    for block in page:
        match block:
            case Card():
                yield Heading(3, (Strong(f"{block.number} {block.tag.word}"), f": {block.text}"))
                yield from block.blocks
            case Grid():
                yield block.table
            case Timers() | Meetings():
                pass
            case _:
                yield block


def marks_in(cell: Text) -> tuple[Mark, ...]:
    """The marks of a cell that holds nothing else; none of any other cell."""
    inlines = () if isinstance(cell, str) else cell
    marks = tuple(inline for inline in inlines if isinstance(inline, Mark))
    return marks if len(marks) == len(inlines) else ()
