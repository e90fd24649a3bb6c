"""A site of results: its pages lead to each other, and hostile words stay words."""

from __future__ import annotations

from pathlib import Path

from tests.report.builders import NASTY, nasty_run, nginx_run, postgres_run
from tests.report.links import Places, broken_links
from tests.report.picture import PICTURE
from tests.report.test_html import HTML_NASTY
from tests.report.vendors import in_lab
from tlsprobe.report.blocks import Heading, Link, Paragraph
from tlsprobe.report.render_html import SITE_FILES
from tlsprobe.report.site import FurtherPage, data_in, site_of, write_site

COMMAND = "tlsprobe lab run --out results"


def files() -> dict[str, str]:
    runs = [
        (in_lab(nginx_run(), "nginx", "nginx"), "tlsprobe run nginx"),
        (in_lab(postgres_run(), "../postgres", f"Postgres {HTML_NASTY}"), "tlsprobe run pg"),
        (nasty_run(), f"tlsprobe run {NASTY}"),
    ]
    absent = [("h2o", "h2o", f"not here {HTML_NASTY}")]
    page = (Heading(1, f"Paths {HTML_NASTY}"), Paragraph((Link("near", "near/index.html"),)))
    further = [
        FurtherPage("paths/index.html", "Paths", page),
        FurtherPage("paths/near/index.html", "near", (Heading(1, "near"),)),
    ]
    return dict(site_of(runs, absent, COMMAND, further=further, also=["matrix.md"]))


def test_there_is_a_page_for_each_server_and_each_sequence() -> None:
    made = set(files())
    assert set(SITE_FILES) | {"index.html", "nginx/index.html", "postgres/index.html"} <= made
    assert "sequences/terminate-close-notify.html" in made
    assert not any(".." in name for name in made)


def test_every_link_holds(tmp_path: Path) -> None:
    (tmp_path / "matrix.md").write_text("")
    assert data_in(tmp_path) == ["matrix.md"]
    assert write_site(tmp_path, iter(files().items())) == len(files())
    assert broken_links(tmp_path) == []


def test_servers_and_sequences_lead_to_each_other() -> None:
    made = files()
    index = Places(made["index.html"]).links
    assert {"postgres/index.html#d-terminate", "sequences/terminate.html", "matrix.md"} <= index
    sequence = Places(made["sequences/terminate.html"]).links
    assert {"../index.html", "../postgres/index.html#d-terminate", "../site.css"} <= sequence
    assert "../index.html" in Places(made["postgres/index.html"]).links


def test_further_pages_are_listed_and_lead_back() -> None:
    made = files()
    index = Places(made["index.html"]).links
    assert "paths/index.html" in index
    assert "paths/near/index.html" not in index
    assert "../site.css" in Places(made["paths/index.html"]).links
    near = Places(made["paths/near/index.html"]).links
    assert {"../../index.html", "../index.html", "../../site.css"} <= near


def test_each_page_names_the_command_that_measured() -> None:
    made = files()
    assert COMMAND in made["index.html"]
    assert COMMAND in made["sequences/terminate.html"]
    assert "tlsprobe run pg" in made["postgres/index.html"]


def test_hostile_words_make_no_markup() -> None:
    for name, text in files().items():
        if name.endswith(".html"):
            assert "<script>" not in text, name
            assert "onload='x'" not in text, name
            assert not {"\x1b", "\u202e", "\udcff"} & set(text), name


def test_the_style_and_script_are_there_once() -> None:
    for name, text in files().items():
        assert ("<style" in text, "</style" in text) == (False, False), name


def test_the_picture_in_readme_is_small() -> None:
    """``python -m tests.report.picture`` takes it anew."""
    assert 10_000 < PICTURE.stat().st_size < 200_000
