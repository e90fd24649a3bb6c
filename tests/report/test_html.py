"""Pages as HTML: whatever a peer says stays text, and the file needs nothing and nobody else."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import product
from pathlib import Path

import pytest

from tests.report.builders import LADDER, NASTY
from tests.report.explanations import EXPLANATIONS
from tests.report.test_renderers import page_of
from tlsprobe.model.behaviour import Harm
from tlsprobe.model.explanation import Explanation
from tlsprobe.model.judgement import LadderLine
from tlsprobe.model.trace import Side
from tlsprobe.report import render_html as module
from tlsprobe.report.blocks import Heading, Ladder, Paragraph, Tag, Timeline
from tlsprobe.report.drawing import draw_ladder, draw_timeline
from tlsprobe.report.pages.explain import explain_page
from tlsprobe.report.render_html import render_html

STYLE = (Path(module.__file__).parent / "html" / "style.css").read_text(encoding="utf-8")
VOID = {"meta", "input"}
HTML_NASTY = (
    f"{NASTY}</title></style></script><script>alert(1)</script>\" onload='x' {{{{ 7 * 7 }}}}"
)


class Reader(HTMLParser):
    """What a browser sees: elements that open and close in order, attributes, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


@pytest.mark.parametrize("number", range(len(page_of("x"))))
def test_every_kind_shows_what_it_says(number: int) -> None:
    block = page_of("needle")[number]
    assert re.findall("needle", " ".join(read(render_html((block,), diagrams=True)).text))


@pytest.mark.parametrize("diagrams", [False, True])
def test_hostile_words_make_no_markup(diagrams: bool) -> None:
    harmless = read(render_html(page_of("words"), diagrams=diagrams))
    html = render_html(page_of(HTML_NASTY), diagrams=diagrams)
    nasty = read(html)
    assert nasty.tags == harmless.tags
    assert nasty.attributes == harmless.attributes
    assert not {"\x1b", "\u202e", "\udcff"} & set(html)
    assert "{{ 7 * 7 }}" in "".join(nasty.text)
    html.encode()


@pytest.mark.parametrize("explanation", EXPLANATIONS.values(), ids=EXPLANATIONS)
def test_explanations_are_whole_files(explanation: Explanation) -> None:
    html = render_html(explain_page(explanation), diagrams=True)
    reader = read(html)
    assert html.startswith("<!doctype html>\n")
    assert {"html", "head", "title", "style", "main", "h1"} <= reader.tags
    assert not {"script", "link", "img", "iframe", "object"} & reader.tags
    assert not re.findall(r"url\(|@import|https?:", html)


def test_a_ladder_is_a_picture_beside_its_words() -> None:
    html = render_html(explain_page(EXPLANATIONS["unread"]), diagrams=True)
    assert html.count(' class="pictured"') == 1
    assert html.count('class="rst"') == 1
    assert "provokes" in html
    assert "<svg" not in render_html(explain_page(EXPLANATIONS["unread"]))


def test_the_first_heading_is_the_title() -> None:
    assert "<title>a &lt;b&gt;</title>" in render_html((Heading(1, "a <b>"),))
    assert "<title>tlsprobe</title>" in render_html(())


# --- Colours --------------------------------------------------------------------------------------


def tokens(dark: bool) -> dict[str, str]:
    light, _, rest = STYLE.partition("@media (prefers-color-scheme: dark)")
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", rest if dark else light))


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


WORDS = ("ink", "soft", "accent", "bad", "warn", "note", "good", "doubt")


@pytest.mark.parametrize(
    ("dark", "word", "ground"),
    [
        *product((False, True), WORDS, ("paper",)),
        *product((False, True), ("ink",), ("code", "bad-tint", "warn-tint")),
        *product((False, True), ("bad",), ("bad-tint",)),
    ],
)
def test_words_stand_out_from_what_is_behind_them(dark: bool, word: str, ground: str) -> None:
    """WCAG 2.2 AA, 1.4.3."""
    colours = tokens(dark)
    assert contrast(colours[word], colours[ground]) >= 4.5


@pytest.mark.parametrize("dark", [False, True])
def test_arrows_and_bars_stand_out(dark: bool) -> None:
    """WCAG 2.2 AA, 1.4.11."""
    colours = tokens(dark)
    for token in ("strong-line", "soft", "accent", "bad"):
        assert contrast(colours[token], colours["paper"]) >= 3


# --- Pictures -------------------------------------------------------------------------------------


def test_rungs_go_down_from_side_to_side() -> None:
    drawn = draw_ladder(Ladder(LADDER))
    tops = [rung.top for rung in drawn.rungs]
    assert tops == sorted(set(tops))
    assert all(rung.bottom <= drawn.height for rung in drawn.rungs)
    for line, rung in zip(LADDER, drawn.rungs, strict=False):
        assert (rung.tail_x < rung.head_x) == (line.side is Side.CLIENT)
    assert any(rung.kind == "rst" for rung in drawn.rungs)


def test_what_a_reader_got_is_not_read_off_packets_that_our_path_kept_back() -> None:
    fin = LadderLine(1.0, Side.SERVER, "f", "FIN")
    assert draw_ladder(Ladder((fin,))).reader == "EOF"
    assert draw_ladder(Ladder((fin,), in_order=False)).reader == ""


def test_bars_are_as_high_as_what_they_count() -> None:
    drawn = draw_timeline(Timeline((0, 1, 1000, 500), "a", "b"))
    assert [bar.count for bar in drawn.bars] == [1, 1000, 500]
    assert drawn.bars[1].height == 2 * drawn.bars[2].height
    assert drawn.bars[0].height >= 3
    assert draw_timeline(Timeline((), "a", "b")).bars == ()


@pytest.mark.parametrize("harm", Harm)
def test_every_harm_has_its_tag(harm: Harm) -> None:
    assert f'class="harm h-{harm.replace(" ", "-")}"' in render_html((Paragraph((Tag(harm),)),))
