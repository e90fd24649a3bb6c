"""Pages as one HTML file: no script, nothing from elsewhere, light and dark, to be printed too.

The template writes what it is given, and Jinja escapes all of it; what cannot be seen is spelled
out before, as in every format. So no peer's text becomes markup.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, assert_never

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tlsprobe.report.blocks import (
    Block,
    BulletList,
    Code,
    CodeBlock,
    Emphasis,
    Field,
    Fields,
    Heading,
    Inline,
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
    Text,
    Timeline,
    marks_in,
)
from tlsprobe.report.drawing import draw_ladder, draw_timeline
from tlsprobe.report.escape import printable
from tlsprobe.report.glyphs import UNICODE
from tlsprobe.report.ladder import aligned, rungs_of
from tlsprobe.version import VERSION

_FOLDER = Path(__file__).parent / "html"


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of running text and the element that it stands in."""

    text: str
    tag: str = ""
    url: str = ""
    verdict: str = ""


@dataclass(slots=True)
class Section:
    """A heading of the second level and what it heads; the first one has the page's own."""

    blocks: list[tuple[str, Any]]

    @property
    def pictured(self) -> bool:
        """Whether a ladder can stand beside the words."""
        kinds = [kind for kind, _ in self.blocks]
        return kinds.count("ladder") == 1 and "fields" in kinds


def render_html(page: Page, *, diagrams: bool = False) -> str:
    """The page as one file. ``diagrams``: ladders as pictures, not as text."""
    text: str = (
        _environment()
        .get_template("page.html")
        .render(
            title=_title(page),
            version=VERSION,
            style=Markup((_FOLDER / "style.css").read_text(encoding="utf-8")),
            sections=_sections(page, diagrams),
        )
    )
    return text.strip() + "\n"


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_seen,
    )


def _seen(value: object) -> object:
    """What is put into the page, with all that is unseen spelled out."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _title(page: Page) -> str:
    """The words of the first heading."""
    heading = next((block for block in page if isinstance(block, Heading)), None)
    return "".join(part.text for part in _parts(heading.text)) if heading else "tlsprobe"


def _sections(page: Page, diagrams: bool) -> list[Section]:
    sections = [Section([])]
    for block in page:
        if isinstance(block, Heading) and block.level == 2:
            sections.append(Section([]))
        sections[-1].blocks.append(_view(block, diagrams))
    return sections


def _view(block: Block, diagrams: bool) -> tuple[str, dict[str, Any]]:  # noqa: PLR0911 - per kind
    """The macro that draws a block, and what it is given."""
    match block:
        case Heading():
            text = _parts(block.text)
            return "heading", {"level": block.level, "text": text, "verdict": block.verdict}
        case Paragraph():
            return "paragraph", {"text": _parts(block.text)}
        case Note():
            return "note", {"text": _parts(block.text)}
        case Fields():
            return "fields", {"rows": list(map(_field, block.rows)), "apart": block.apart}
        case BulletList():
            return "bullet_list", {"items": list(map(_parts, block.items))}
        case Table():
            rows = [list(map(_cell, row)) for row in block.rows]
            return "table", {"columns": [column.head for column in block.columns], "rows": rows}
        case Legend():
            return "legend", {"entries": [(_sign(sign), text) for sign, text in block.entries]}
        case Ladder():
            return _ladder(block, diagrams)
        case Timeline():
            drawn = draw_timeline(block)
            ends = {"begin": block.begin, "end": block.end, "caption": _parts(block.caption)}
            shape = {"bars": drawn.bars, "width": drawn.width, "height": drawn.height}
            return "timeline", {**shape, **ends, "told": drawn.told}
        case CodeBlock():
            return "code_block", {"lines": block.lines, "is_text": False}
        case _:
            assert_never(block)


def _ladder(ladder: Ladder, diagrams: bool) -> tuple[str, dict[str, Any]]:
    caption = _parts(ladder.caption)
    if not diagrams:
        lines = list(aligned(rungs_of(ladder.lines)))
        return "text_ladder", {"caption": caption, "lines": lines, "is_text": True}
    drawn = draw_ladder(ladder)
    names = "client", "server", "rungs", "height", "told", "width", "left", "right", "middle"
    return "ladder", {"caption": caption, **{name: getattr(drawn, name) for name in names}}


def _parts(text: Text) -> list[Part]:
    inlines = (text,) if isinstance(text, str) else text
    return [part for inline in inlines for part in _part(inline)]


def _part(inline: Inline) -> Iterator[Part]:
    match inline:
        case str():
            yield Part(inline)
        case Strong():
            yield Part(inline.text, "strong")
        case Emphasis():
            yield Part(inline.text, "em")
        case Code():
            yield Part(inline.text, "code")
        case Link():
            yield Part(inline.text, "a", url=inline.url)
        case Mark():
            yield Part(UNICODE.mark(inline), "mark", verdict=inline.verdict)
        case Names():
            yield Part(", ".join(inline.items))
        case _:
            assert_never(inline)


def _cell(cell: Text) -> list[Part]:
    """Marks of several versions of TLS stand apart."""
    marks = marks_in(cell)
    if len(marks) < 2:
        return _parts(cell)
    first, *others = (part for mark in marks for part in _part(mark))
    return [first, *(part for other in others for part in (Part(" / "), other))]


def _sign(sign: Mark | Code) -> list[Part]:
    return list(_part(sign))


def _field(row: Field) -> dict[str, Any]:
    items = list(map(_parts, row.items))
    text = _parts(row.text) if row.text else []
    if not text and len(items) == 1:
        text = items.pop()
    return {"label": row.label, "text": text, "items": items, "verdict": row.verdict}
