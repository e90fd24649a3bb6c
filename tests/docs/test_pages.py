"""The pages in ``docs/``: what their blocks are, that each has its place, and what they list."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

import pytest

from tests.docs.sessions import DOCS, blocks
from tlsprobe.catalogue import find_sequences
from tlsprobe.model.behaviour import Harm, Tried, Who
from tlsprobe.model.judgement import (
    Confidence,
    DataEnd,
    Doubt,
    Level,
    Outcome,
    Reader,
    TcpEnd,
    TlsEnd,
    Verdict,
)
from tlsprobe.profiles import load_profile
from tlsprobe.report.glyphs import UNICODE
from tlsprobe.report.matrix import CODES

PAGES = sorted(DOCS.rglob("*.md"))
LANGUAGES = {"console", "sh", "text", "toml", "yaml", "json", "python"}
LISTED = (Verdict, Outcome, TlsEnd, TcpEnd, DataEnd, Reader, Harm, Who, Tried, Confidence, Doubt)
WORDS = (DOCS / "reference" / "words.md").read_text(encoding="utf-8")


def name(page: Path) -> str:
    return str(page.relative_to(DOCS))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_that_are_not_run_say_why(page: Path) -> None:
    for block in blocks(page):
        assert block.language in LANGUAGES, block
        if block.language == "sh":
            assert block.note.startswith("not run: "), block.text


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_that_a_page_shows_can_be_read(page: Path, tmp_path: Path) -> None:
    """Profiles and sequences; one that shows what is said of mistakes is called ``wrong.toml``."""
    for block in blocks(page):
        if block.note.startswith("file: ") and "wrong.toml" not in block.note:
            file = tmp_path / block.note.removeprefix("file: ")
            file.write_text(block.text, encoding="utf-8")
            assert find_sequences(str(file)) if "steps" in block.text else load_profile(str(file))


def test_every_page_has_its_place() -> None:
    """``index.md`` is what the navigation is made of."""
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    listed = re.findall(r"^- \[[^\]]+\]\(([\w/-]+\.md)\)", index, re.MULTILINE)
    assert sorted(listed) == [name(page) for page in PAGES if page.name != "index.md"]


@pytest.mark.parametrize("words", [*LISTED, Level], ids=lambda words: words.__name__)
def test_every_word_is_explained(words: Iterable[StrEnum]) -> None:
    assert [word for word in words if f"`{word}`" not in WORDS] == []


def test_marks_and_codes_are_those_of_the_reports() -> None:
    for verdict, mark in UNICODE.marks.items():
        assert f"| `{mark}` | `{verdict}` |" in WORDS
    for outcome, (code, _) in CODES.items():
        assert f"| `{code}` | `{outcome}` |" in WORDS
