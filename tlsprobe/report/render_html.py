"""Pages as HTML: nothing from elsewhere, light and dark, to be printed too.

The templates write what they are given, and Jinja escapes all of it; what cannot be seen is spelled
out before, as in every format. So no peer's text becomes markup. The script only adds: it opens
drawers in place and filters the matrix. The page allows this one script, by its hash, and no
request at all.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, assert_never

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tlsprobe.report.blocks import (
    Block,
    BulletList,
    Card,
    Code,
    CodeBlock,
    Drawer,
    Emphasis,
    Field,
    Fields,
    Grid,
    Heading,
    Inline,
    Jump,
    Ladder,
    Legend,
    Link,
    Mark,
    Meetings,
    Names,
    Note,
    Page,
    Paragraph,
    Strong,
    Table,
    Tag,
    Text,
    Timeline,
    Timers,
    marks_in,
)
from tlsprobe.report.charts import OUTCOMES, draw_meetings, draw_timers
from tlsprobe.report.drawing import draw_ladder, draw_timeline
from tlsprobe.report.escape import printable
from tlsprobe.report.glyphs import UNICODE
from tlsprobe.report.grid_view import grid_view
from tlsprobe.report.ladder import aligned, rungs_of
from tlsprobe.version import VERSION

_FOLDER = Path(__file__).parent / "html"

_LONGEST_NAME = 32
"""Headings no longer than that, in characters, are in the bar at the top of the page."""

View = tuple[str, dict[str, Any]]
"""The macro that draws a block, and what it is given."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of running text and the element that it stands in."""

    text: str
    tag: str = ""
    url: str = ""
    verdict: str = ""


@dataclass(frozen=True, slots=True)
class Site:
    """What a page is part of: the way to its style and script, and back to where it is listed."""

    root: str = ""
    crumbs: tuple[Link, ...] = ()


@dataclass(slots=True)
class Section:
    """A heading of the second level and what it heads; the first one has the page's own."""

    anchor: str = ""
    name: str = ""
    folded: bool = False
    blocks: list[View] = field(default_factory=list)

    @property
    def pictured(self) -> bool:
        """Whether a ladder can stand beside the words."""
        kinds = [kind for kind, _ in self.blocks]
        return kinds.count("ladder") == 1 and "fields" in kinds


def render_html(page: Page, *, diagrams: bool = False, site: Site | None = None) -> str:
    """The page as one file, or as a page of a site, which has its style and script once.

    ``diagrams``: ladders as pictures, not as text.
    """
    sections = _sections(page, diagrams)
    has_script = any(kind == "grid" for section in sections for kind, _ in section.blocks)
    script = _file("script.js") if has_script else ""
    text: str = (
        _environment()
        .get_template("page.html")
        .render(
            title=_title(page),
            version=VERSION,
            policy=_SITE_POLICY if site else _policy(script),
            style=Markup(_file("style.css")),
            script=Markup(script),
            site=site,
            crumbs=site.crumbs if site else (),
            sections=sections,
        )
    )
    return text.strip() + "\n"


SITE_FILES = {"site.css": "style.css", "site.js": "script.js"}


def site_files() -> dict[str, str]:
    """What all pages of a site share, by its name in the site's own folder."""
    return {name: _file(file) for name, file in SITE_FILES.items()}


_SITE_POLICY = "style-src 'self' file:; script-src 'self' file:"
"""From disk, a page has no origin of its own that 'self' could be."""


def _policy(script: str) -> str:
    """The page's own style and its own script, and no request at all."""
    if not script:
        return "style-src 'unsafe-inline'"
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


@cache
def _file(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


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
    sections = [Section()]
    for block in page:
        if isinstance(block, Heading) and block.level == 2:
            is_short = isinstance(block.text, str) and len(block.text) <= _LONGEST_NAME
            name = block.text if is_short and not block.verdict else ""
            sections.append(Section(f"s{len(sections)}", str(name), block.folded))
        sections[-1].blocks.append(_view(block, diagrams=diagrams))
    return sections


def _view(block: Block, *, diagrams: bool) -> View:  # noqa: PLR0911, PLR0912 - one per kind
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
            return _timeline(block)
        case CodeBlock():
            return "code_block", {"lines": block.lines, "is_text": False}
        case Card():
            return _card(block, diagrams)
        case Grid():
            return "grid", grid_view(block, _drawer, _parts)
        case Timers():
            return "timers", _shape(draw_timers(block), "rows", "ticks", "safe", "safe_words")
        case Meetings():
            names = "label", "marks", "ticks", "start", "window", "told"
            return "meetings", {"outcomes": OUTCOMES, **_shape(draw_meetings(block), *names)}
        case _:
            assert_never(block)


def _shape(drawn: object, *names: str) -> dict[str, Any]:
    return {name: getattr(drawn, name) for name in names}


def _card(card: Card, diagrams: bool) -> View:
    blocks = [_view(block, diagrams=diagrams) for block in card.blocks]
    proof = _ladder(card.proof, diagrams) if card.proof else None
    said = {"number": card.number, "harm": card.tag.word, "text": card.text, "seen": card.seen}
    return "card", {**said, "blocks": blocks, "proof": proof}


def _drawer(drawer: Drawer) -> str:
    """A drawer as markup, as it stands in the page or in a pack."""
    blocks = [_view(block, diagrams=True) for block in drawer.blocks]
    one = {"name": drawer.name, "title": drawer.title, "blocks": blocks}
    kinds: Any = _environment().get_template("blocks.html").module
    text: str = kinds.drawer(one)
    return text


def _timeline(line: Timeline) -> View:
    drawn = draw_timeline(line)
    ends = {"begin": line.begin, "end": line.end, "caption": _parts(line.caption)}
    return "timeline", {**_shape(drawn, "bars", "width", "height", "told"), **ends}


def _ladder(ladder: Ladder, diagrams: bool) -> View:
    caption = _parts(ladder.caption)
    if not diagrams:
        lines = list(aligned(rungs_of(ladder.lines)))
        return "text_ladder", {"caption": caption, "lines": lines, "is_text": True}
    names = "client", "server", "rungs", "height", "foot", "told", "width", "left", "right"
    shape = _shape(draw_ladder(ladder), *names, "middle", "reader")
    return "ladder", {"caption": caption, **shape}


def _parts(text: Text) -> list[Part]:
    inlines = (text,) if isinstance(text, str) else text
    return [part for inline in inlines for part in _part(inline)]


def _part(inline: Inline) -> Iterator[Part]:
    match inline:
        case str():
            yield Part(inline)
        case Strong():
            yield Part(inline.text, "strong", verdict=inline.verdict or "")
        case Emphasis():
            yield Part(inline.text, "em")
        case Code():
            yield Part(inline.text, "code")
        case Link():
            yield Part(inline.text, "a", url=inline.url)
        case Jump():
            yield Part(inline.text, "a", url=f"#{inline.to}")
        case Tag():
            yield Part(inline.word, "harm")
        case Mark():
            yield Part(UNICODE.mark(inline, apart=True), "mark", verdict=inline.verdict)
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
