"""Every kind of block and inline, on a terminal and in Markdown; hostile words stay words.

HTML: test_html.py, with the same page.
"""

from __future__ import annotations

import io
import re
from typing import get_args

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable

from tests.report.builders import LADDER, NASTY
from tests.report.drawn import on_terminal, table_rows
from tlsprobe.model.behaviour import Harm
from tlsprobe.model.judgement import Verdict
from tlsprobe.report.blocks import (
    Block,
    BulletList,
    Card,
    Code,
    CodeBlock,
    Column,
    Drawer,
    Emphasis,
    Field,
    Fields,
    Grid,
    GridCell,
    Heading,
    Inline,
    Jump,
    Ladder,
    Legend,
    Line,
    Link,
    Mark,
    Meeting,
    Meetings,
    Names,
    Note,
    Page,
    Paragraph,
    Strong,
    Table,
    Tag,
    Timeline,
    Timer,
    Timers,
    marks_in,
)
from tlsprobe.report.render_markdown import ACROSS, render_markdown
from tlsprobe.report.render_terminal import STYLES, Trimmed

URL = "https://example.org/"


def inlines(said: str) -> tuple[Inline, ...]:
    return (
        said,
        Strong(said),
        Emphasis(said),
        Code(said),
        Link(said, URL),
        Jump(said, "behaviour-1"),
        Tag(Harm.BREAKS),
        Mark(Verdict.WARN, "RST", said),
        Names((said, said)),
    )


def page_of(said: str) -> Page:
    """One block of each kind, all of them saying the same."""
    text = inlines(said)
    return (
        Heading(1, text),
        Heading(2, said, Verdict.FAIL),
        Paragraph(text),
        Note(said),
        Fields((Field(said, text, (said, text), Verdict.WARN), Field("", "", (said,)))),
        BulletList((text, said)),
        Table((Column(said), Column(said, breaks=True)), ((said, text), (said, ""))),
        Legend(((Mark(Verdict.PASS), said), (Code("ok"), said))),
        Ladder(LADDER, text, said, said),
        Timeline((0, 3, 1), said, said, text),
        CodeBlock((said,)),
        Card(1, Tag(Harm.NOISE), said, said, (Paragraph(text),), Ladder(LADDER, text)),
        grid_of(said),
        *pictures_of(said),
    )


def grid_of(said: str) -> Grid:
    """A row of one cell with a drawer, and one whose drawer is packed."""
    drawers = Drawer("d-one", said, (Paragraph(said),)), Drawer("d-x", said, (Note(said),), "x")
    cell = GridCell((Mark(Verdict.WARN, "RST"),), "#d-one", Harm.NOISE, "1")
    table = Table((Column(said), Column(said)), ((said, (Mark(Verdict.WARN, "RST"),)),))
    lines = (Line(said, said),)
    return Grid(("sequence", ""), lines, lines, ((cell,),), table, lambda: drawers)


def pictures_of(said: str) -> Page:
    """What text leaves out: a sentence beside it says the same."""
    return (
        Timers((Timer(said, 1.0, 2.0, said), Timer(said, None, None, "")), 0.9),
        Meetings(said, (Meeting(-100.0, 1, 0, 2), Meeting(900.0, 0, 1, 0)), 500.0),
    )


TELLING = len(page_of("x")) - len(pictures_of("x"))


def test_the_tests_know_every_kind() -> None:
    assert {type(block) for block in page_of("x")} == set(get_args(Block))
    assert {type(inline) for inline in inlines("x")} == set(get_args(Inline))


@pytest.mark.parametrize("number", range(TELLING))
def test_every_kind_shows_what_it_says(number: int) -> None:
    block = page_of("needle")[number]
    there = len(re.findall("needle", on_terminal((block,), width=200)))
    assert there == len(re.findall("needle", render_markdown((block,)))) >= 1


@pytest.mark.parametrize("diagrams", [False, True])
def test_hostile_words_make_no_markdown(diagrams: bool) -> None:
    text = render_markdown(page_of(NASTY), diagrams=diagrams)
    assert not {"\x1b", "\u202e", "\udcff"} & set(text)
    assert {len(row) for row in table_rows(text)} == {2}
    prose = re.sub(r"(`+).*?\1", "", re.sub(r"^(```+).*?^\1$", "", text, flags=re.M | re.S))
    assert "<b>" not in prose
    assert [line for line in text.splitlines() if line.startswith("# head")] == []
    assert set(re.findall(r"\]\((.*?)\)", prose)) == {URL}
    text.encode()


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
@pytest.mark.parametrize("width", [30, 80, 200])
def test_hostile_words_do_nothing_to_a_terminal(encoding: str, width: int) -> None:
    # what is to be copied is not wrapped
    wrapped = tuple(block for block in page_of(NASTY) if not isinstance(block, CodeBlock))
    text = on_terminal(wrapped, encoding=encoding, width=width)
    assert text.replace("\n", "").isprintable()
    assert max(map(cell_len, text.splitlines())) <= width
    assert [line for line in text.splitlines() if line != line.rstrip()] == []


def test_a_card_is_a_heading_with_what_it_heads() -> None:
    page = (Card(2, Tag(Harm.NOISE), "an RST", "3 of 3", (Note("aside"),), Ladder(LADDER)),)
    assert render_markdown(page) == "### **2 noise**: an RST\n\naside\n"
    assert on_terminal(page) == "2 noise: an RST\naside\n"


def test_pictures_say_nothing_in_text() -> None:
    assert on_terminal(pictures_of("words")) == ""
    assert render_markdown(pictures_of("words")) == "\n"


def test_rich_markup_stays_text() -> None:
    assert "[bold]x[/bold]" in on_terminal((Paragraph("[bold]x[/bold]"),))


def test_colour_adds_nothing_but_colour() -> None:
    page = page_of("words")
    plain, coloured = on_terminal(page), on_terminal(page, colour=True)
    assert "\x1b[" not in plain
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    codes = re.findall(r"\x1b\[([0-9;]*)m", on_terminal(page_of("words"), colour=True))
    assert not {code for code in codes if set(code.split(";")) & {str(n) for n in range(30, 38)}}


def test_every_verdict_has_a_style() -> None:
    assert set(STYLES) == set(Verdict)


def test_ascii_streams_get_ascii() -> None:
    page = (Paragraph((Mark(Verdict.PASS, "ok"),)), Ladder(LADDER))
    text = on_terminal(page, encoding="ascii")
    assert "+ok" in text
    assert "client <-- server" in text


def test_trimming_takes_nothing_else() -> None:
    table = RichTable.grid(padding=(0, 1, 0, 0))
    table.add_row("a", "b" * 5, " ")
    table.add_row("  long", "", "", style="bold")
    console = Console(file=io.StringIO(), width=80)
    console.print(Trimmed(table))
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == "a      bbbbb\n  long\n"


# --- Each kind ------------------------------------------------------------------------------------


def test_what_a_heading_heads_follows_it_at_once() -> None:
    page = (Heading(1, "A"), Paragraph("b"), Heading(2, "C"), Heading(3, "D"), Note("e"))
    assert on_terminal(page) == "A\nb\n\nC\n\nD\ne\n"
    assert render_markdown(page) == "# A\n\nb\n\n## C\n\n### D\n\ne\n"


def test_a_heading_begins_with_its_verdict() -> None:
    page = (Heading(3, "RULE", Verdict.FAIL), Heading(3, "", Verdict.ERROR))
    assert on_terminal(page) == "FAIL  RULE\n\nERROR\n"
    assert render_markdown(page) == "### FAIL RULE\n\n### ERROR\n"


def test_fields_have_a_hanging_indent() -> None:
    page = (
        Fields(
            (
                Field("seen", "one two three four five six"),
                Field("because", "this", ("first", "second")),
                Field("remedy", items=("the only one",)),
                Field("", items=("a", "b")),
            )
        ),
    )
    assert on_terminal(page, width=30) == (
        "  seen     one two three four\n"
        "           five six\n"
        "  because  this\n"
        "           • first\n"
        "           • second\n"
        "  remedy   the only one\n"
        "           • a\n"
        "           • b\n"
    )
    assert render_markdown(page) == (
        "- seen: one two three four five six\n"
        "- because: this\n"
        "  - first\n"
        "  - second\n"
        "- remedy: the only one\n"
        "-\n"
        "  - a\n"
        "  - b\n"
    )


def test_long_labels_stand_on_lines_of_their_own() -> None:
    rows = (Field("terminate-close-notify", "one two three four", ("asked",)), Field("abort", "x"))
    assert on_terminal((Fields(rows, apart=True),), width=25) == (
        "  terminate-close-notify\n    one two three four\n    asked\n  abort\n    x\n"
    )
    assert render_markdown((Fields(rows, apart=True),)).startswith("- terminate-close-notify: one")


def test_a_terminal_names_the_first_few_and_counts_the_rest() -> None:
    page = (Paragraph((Names(("a", "b", "c", "d"), 2),)),)
    assert on_terminal(page) == "a, b, and 2 more\n"
    assert render_markdown(page) == "a, b, c, d\n"
    assert on_terminal((Paragraph((Names(("a", "b"), 2),)),)) == "a, b\n"


def test_code_is_never_wrapped() -> None:
    line = "tlsprobe run" + " --sequence terminate" * 9
    assert on_terminal((CodeBlock((line, "x")),), width=40) == f"  {line}\n  x\n"
    assert render_markdown((CodeBlock(("a", "```")),)) == "````\na\n```\n````\n"


def test_a_legend_lines_up_with_its_marks() -> None:
    legend = Legend(((Mark(Verdict.FAIL), "bad"), (Code("RST"), "reset"), (Code("open"), "open")))
    assert on_terminal((legend,)) == "✗     bad\n RST  reset\n open open\n"
    assert render_markdown((legend,)) == "- `✗` bad\n- `RST` reset\n- `open` open\n"


def test_a_ladder_points_at_its_reset() -> None:
    page = (Ladder(LADDER[2:], (Code("drain"),)),)
    assert on_terminal(page) == (
        "  drain\n"
        "   812 µs  client ◀── server  n  #23  close_notify (24 bytes)\n"
        ">  1.2 ms  client ◀── server  r  #24  RST+ACK, window 512\n"
    )
    assert render_markdown(page).startswith("`drain`\n\n```text\n  812 µs  client ◀── server  n")


def test_a_diagram_is_small_and_takes_no_markup() -> None:
    page = (Ladder(LADDER[:1] * 50 + LADDER, client="10.0.0.1:5", server="a<b>--\n::1"),)
    lines = render_markdown(page, diagrams=True).splitlines()
    assert lines[0] == "```mermaid"
    assert lines[-1] == "```"
    assert "    participant S as a?b?- -?n::1" in lines
    assert len(lines) == 4 + 10 + 1
    assert lines[-2] == "    S-xC: 24. RST?ACK, window 512"


# --- Tables ---------------------------------------------------------------------------------------

OK, RESET = Mark(Verdict.PASS, "ok"), Mark(Verdict.WARN, "RST", "3/20 rst")


def outcomes(columns: int) -> Table:
    heads = (Column("sequence"), *(Column(f"server-{n}") for n in range(columns)))
    return Table(heads, (("terminate", *((OK,) for _ in range(columns))),))


def test_marks_line_up_and_versions_stand_side_by_side() -> None:
    heads = tuple(map(Column, ("sequence", "a", "b", "c")))
    table = Table(heads, (("x", (OK,), (OK, RESET), (OK, Mark(Verdict.FAIL, "fin"))),))
    assert on_terminal((table,)) == (
        "sequence a     b            c\n"
        "x        ✓  ok ✓ok / !RST   ✓ok/✗fin\n"
        "               3/20 rst\n"
    )
    shown = ["x", "✓ ok", "✓ ok / ! RST 3/20 rst", "✓ ok / ✗ fin"]
    assert table_rows(render_markdown((table,)))[2] == shown


@pytest.mark.parametrize(("width", "bands"), [(40, 4), (80, 2), (200, 1)])
def test_outcomes_come_in_bands_that_keep_names_whole(width: int, bands: int) -> None:
    text = on_terminal((outcomes(10),), width=width)
    assert text.count("sequence") == text.count("terminate") == bands
    assert all(f"server-{n}" in text for n in range(10))


def test_outcomes_come_in_parts_in_markdown() -> None:
    rows = table_rows(render_markdown((outcomes(2 * ACROSS + 1),)))
    assert [len(row) for row in rows] == [ACROSS + 1] * 6 + [2] * 3
    assert rows[-1] == ["terminate", "✓ ok"]


def test_words_share_what_the_marks_leave() -> None:
    heads = tuple(map(Column, ("sequence", "TLS 1.3", "ending", "wire")))
    table = Table(heads, (("abort", (OK,), "one two three four", "five six seven"),))
    assert on_terminal((table,), width=40) == (
        "sequence TLS 1.3 ending      wire\n"
        "abort    ✓  ok   one two     five six\n"
        "                 three four  seven\n"
    )


def test_where_no_row_fits_each_stands_by_itself() -> None:
    heads = tuple(map(Column, ("server", "idle expiry", "half-close")))
    table = Table(
        heads, (("nginx", "close_notify", "close_notify"), ("h2o", "no such program", ""))
    )
    assert on_terminal((table,), width=30) == (
        "nginx\n"
        "  idle expiry close_notify\n"
        "  half-close  close_notify\n"
        "h2o\n"
        "  idle expiry no such program\n"
    )


def test_only_cells_of_nothing_but_marks_are_marks() -> None:
    assert marks_in((OK, RESET)) == (OK, RESET)
    assert marks_in((OK, " and ", RESET)) == ()
    assert marks_in("ok") == ()
    assert marks_in(()) == ()


def test_a_page_is_a_value() -> None:
    assert page_of("x") == page_of("x")
    assert hash(page_of("x")) == hash(page_of("x"))
