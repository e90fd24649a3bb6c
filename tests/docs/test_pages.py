"""The pages in ``docs/``: what their blocks are, that each has its place, and what they list."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

import pytest

import tlsprobe
from tests.docs.sessions import CAPTURE, DOCS, ROOT, Block, blocks
from tlsprobe.catalogue import find_sequences
from tlsprobe.cli.verbs import load
from tlsprobe.configuration import read_waivers
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


PYTHON = [b for page in PAGES for b in blocks(page) if b.language == "python"]
OURS = {
    "results/20261126T150042Z-db.example-5432": "tests/data/judged/rude",
    "trace.pcap": str(CAPTURE),
}
"""What stands in a page for something of the reader's, and what to put in its place."""


@pytest.mark.parametrize("block", [b for b in PYTHON if ">>>" not in b.text])
def test_python_is_python_and_names_what_there_is(block: Block) -> None:
    """Examples with ``>>>`` come from docstrings, and are run there."""
    compile(block.text, "page", "exec")
    assert set(re.findall(r"\btlsprobe\.(\w+)", block.text)) <= set(tlsprobe.__all__)


def test_python_that_needs_no_server_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = (b for b in PYTHON if "tlsprobe.judge(" in b.text and ">>>" not in b.text)
    text = block.text
    for theirs, ours in OURS.items():
        text = text.replace(theirs, str(ROOT / ours))
    exec(text, {})
    assert capsys.readouterr().out == "43 server unread-data-at-close medium\n"


def test_configuration_that_a_page_shows_can_be_read(tmp_path: Path) -> None:
    """Its waivers as a run reads them, and each other key is an option of ``tlsprobe run``."""
    shown = [b.text for page in PAGES for b in blocks(page) if "[[waiver]]" in b.text]
    assert shown
    options = {word for one in load("run").params for word in one.opts}
    for text in shown:
        (file := tmp_path / "tlsprobe.toml").write_text(text, encoding="utf-8")
        assert read_waivers(file)
        document = tomllib.loads(text)
        targets = document.pop("target")
        keys = set(document) - {"waiver"} | {key for target in targets for key in target}
        assert {f"--{key}" for key in keys - {"address", "name"}} <= options


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
