"""``tlsprobe report``: the page to share, written into results folders.

ARCHITECTURE.md, "Rooms": report judges nothing and measures nothing.
"""

from __future__ import annotations

import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.cli.in_process import tlsprobe
from tests.fuzz.test_report import RUN as FUZZ
from tests.report.committed import RESULTS
from tests.report.links import broken_links
from tlsprobe.facts.file import FACTS_FILE
from tlsprobe.report.document import RUN_FILE
from tlsprobe.report.formats import HTML_PAGE
from tlsprobe.report.fuzz_document import EXAMPLES_FILE, FUZZ_FILE, encode_fuzz

RECORDED = Path(__file__).resolve().parent.parent / "data" / "judged"


class Seen(HTMLParser):
    """What a browser would fetch, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        wanted = {"src", "srcset", "data"} | ({"href"} if tag == "link" else set())
        self.fetched += [value or "" for name, value in attrs if name in wanted]

    def handle_data(self, data: str) -> None:
        self.text += data


def seen_in(file: Path) -> Seen:
    seen = Seen()
    seen.feed(file.read_text(encoding="utf-8"))
    return seen


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(RECORDED / "rude", tmp_path / "rude"))


def test_a_folder_gets_its_page(folder: Path) -> None:
    ran = tlsprobe("report", str(folder), cwd=folder)
    assert (ran.code, ran.out) == (0, f"{folder / HTML_PAGE}\n")
    seen = seen_in(folder / HTML_PAGE)
    assert "RST in place of a FIN behind the goodbye" in seen.text
    assert seen.fetched == []


@pytest.mark.slow
def test_folders_old_and_new_get_it(folder: Path) -> None:
    """A folder that kept its facts alone is as good as a whole one."""
    kept = folder.parent / "kept"
    kept.mkdir()
    shutil.copy(RESULTS / "bind" / FACTS_FILE, kept)
    ran = tlsprobe("report", str(folder.parent), cwd=folder)
    assert ran.code == 0
    assert (kept / HTML_PAGE).exists()
    assert (folder / HTML_PAGE).exists()
    assert "How 2 servers end TLS connections" in seen_in(folder.parent / HTML_PAGE).text


def test_a_site_is_made_of_folders(folder: Path) -> None:
    site = folder.parent / "site"
    ran = tlsprobe("report", str(folder), "--site", str(site), cwd=folder)
    assert (ran.code, ran.out) == (0, f"{site / 'index.html'}\n")
    assert list((site / "sequences").glob("terminate*.html"))
    assert broken_links(site) == []


def test_a_fuzz_run_gets_its_page(tmp_path: Path) -> None:
    (tmp_path / EXAMPLES_FILE).write_bytes(b"")
    (tmp_path / FUZZ_FILE).write_bytes(encode_fuzz(FUZZ))
    assert tlsprobe("report", str(tmp_path), cwd=tmp_path).code == 0
    assert "1 failure in 10 examples" in seen_in(tmp_path / HTML_PAGE).text


def test_a_folder_without_results_is_told(tmp_path: Path) -> None:
    ran = tlsprobe("report", str(tmp_path), cwd=tmp_path)
    assert ran.code == 2
    assert RUN_FILE in ran.err
    assert not (tmp_path / HTML_PAGE).exists()
