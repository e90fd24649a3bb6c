"""Escapes, folds and durations."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt

from tests.report.builders import NASTY
from tlsprobe.report.escape import markdown_cell_code, markdown_code, markdown_text, printable
from tlsprobe.report.glyphs import ASCII, UNICODE, duration, fold, glyphs_for, seconds


def folded(text: str, width: int) -> list[str]:
    return [text[start:end] for start, end in fold(text, width)]


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain text", "plain text"),
        ("é 漢 µ", "é 漢 µ"),
        ("\x1b[31m\x00\x7f", r"\x1b[31m\x00\x7f"),
        ("a\r\nb\tc", r"a\r\nb\tc"),
        ("\u202eabc\u2028\u200b", r"\u202eabc\u2028\u200b"),
        ("\udcff\U000e0001", r"\udcff\U000e0001"),
        ("\x85", r"\x85"),
    ],
)
def test_what_cannot_be_seen_is_spelled_out(text: str, seen: str) -> None:
    assert printable(text) == seen


def test_what_the_stream_lacks_is_spelled_out() -> None:
    assert printable("é→", "ascii") == r"\xe9\u2192"
    assert printable("é→", "latin-1") == r"é\u2192"


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("close_notify, then FIN", "close_notify, then FIN"),
        ("a|b `c` *d* [e](f) \\", r"a\|b \`c\` \*d\* \[e\](f) \\"),
        ("<b>&amp;</b>", "&lt;b&gt;&amp;amp;&lt;/b&gt;"),
        ("_x_ __init__", r"\_x\_ \__init_\_"),
        ("# head", r"\# head"),
        ("- item", r"\- item"),
        ("12. item", r"12\. item"),
        ("60.02 s", "60.02 s"),
        ("line\nbreak", r"line\\nbreak"),
        ("ask @octocat, (@org/team).", "ask `@octocat`, (`@org/team`)."),
        ("220 mail ready; root@mail.example!", "220 mail ready; `root@mail.example`!"),
        ("see HTTP://x.example/a_b?c=*d*.", "see `HTTP://x.example/a_b?c=*d*`."),
        ("www.example.com", "`www.example.com`"),
        ("#12 fixes a/b#34 and GH-5", "`#12` fixes `a/b#34` and `GH-5`"),
        ("[2001:db8:100::1]:443 :tada:", r"\[`2001:db8:100::1]:443` `:tada:`"),
        ("a`@b`|@c", r"a\``@b`\`\|`@c`"),
        ("12:34:56.7 100% a @ b #", "12:34:56.7 100% a @ b #"),
    ],
)
def test_markdown_text_renders_as_itself(text: str, markdown: str) -> None:
    assert markdown_text(text) == markdown


@pytest.mark.parametrize("word", ["@octocat", "a@b.example", "https://x.example", "a/b#1", ":+1:"])
@pytest.mark.parametrize("text", ["{}", "*{}*", "({}) {}", "x|{}`{}`|", "- {}", "\\{}", "{}{}"])
def test_what_a_forge_acts_upon_is_code(word: str, text: str) -> None:
    """Mentions are looked for in what Markdown has made of the text: only in code they are none."""
    said = text.replace("{}", word)
    (inline,) = MarkdownIt("commonmark").parseInline(markdown_text(said))
    children = inline.children or []
    assert "".join(child.content for child in children) == said
    assert not [child for child in children if child.type == "text" and word in child.content]


def test_a_long_word_takes_time_in_proportion() -> None:
    assert len(markdown_text("(" * 200_000 + "@a" + ")" * 200_000)) == 400_004


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("G N n r", "`G N n r`"),
        ("a`b", "``a`b``"),
        ("``", "``` `` ```"),
        ("", "`  `"),
        ("a\nb", r"`a\nb`"),
    ],
)
def test_code_spans_outgrow_their_backticks(text: str, span: str) -> None:
    assert markdown_code(text) == span


def test_a_bar_in_a_table_cell_is_escaped_even_in_code() -> None:
    assert markdown_cell_code("a|b") == r"`a\|b`"


@pytest.mark.parametrize(
    ("microseconds", "words"),
    [
        (0.0, "0 µs"),
        (-3.2, "-3 µs"),
        (999.4, "999 µs"),
        (999.6, "1.0 ms"),
        (12_340.0, "12.3 ms"),
        (99_960.0, "100 ms"),
        (999_600.0, "1.00 s"),
        (60_020_000.0, "60.02 s"),
    ],
)
def test_durations_have_few_digits(microseconds: float, words: str) -> None:
    assert duration(microseconds) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (60.0, "60 s"),
        (60.02, "60.02 s"),
        (0.4, "0.4 s"),
        (432_000, "432000 s"),
        (184_280_858.48, "2133 days"),
    ],
)
def test_seconds_drop_digits_that_say_nothing(value: float, words: str) -> None:
    assert seconds(value) == words


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("✓  ok", 5, ["✓  ok"]),
        ("! RST 3/20", 5, ["! RST", "3/20"]),
        ("!RST 3/1200 rst", 5, ["!RST", "3/", "1200", "rst"]),
        ("✓ok/!RST", 5, ["✓ok/", "!RST"]),
        ("reset-unread", 5, ["reset", "unrea", "d"]),
        ("terminate-close-notify-fin", 14, ["terminate-", "close-notify-", "fin"]),
        ("", 5, [""]),
    ],
)
def test_text_folds_where_the_eye_expects_it(text: str, width: int, lines: list[str]) -> None:
    assert folded(text, width) == lines


@pytest.mark.parametrize("width", [1, 2, 5, 17])
def test_folding_loses_nothing_but_spaces_and_hyphens(width: int) -> None:
    lines = folded(NASTY, width)
    assert max(map(len, lines)) <= width
    kept = str.maketrans("", "", " -\n")
    assert "".join(lines).translate(kept) == NASTY.translate(kept)


@pytest.mark.parametrize(
    ("encoding", "glyphs"),
    [("utf-8", UNICODE), ("UTF8", UNICODE), ("ascii", ASCII), ("latin-1", ASCII), ("?", ASCII)],
)
def test_the_signs_fit_the_stream(encoding: str, glyphs: object) -> None:
    assert glyphs_for(encoding) is glyphs
