"""Pages in a real Chromium: from disk, by keyboard, without script, narrow, dark, and printed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import AXE, Browser, browser
from tests.fuzz.test_report import RUN as FUZZ
from tests.report.builders import nasty_run
from tests.report.explanations import EXPLANATIONS
from tests.report.test_html import HTML_NASTY
from tests.report.test_renderers import page_of
from tests.report.test_site import files
from tests.report.vendors import five, in_lab, run_of
from tests.servers import cannot
from tlsprobe.campaign.reading import read_results
from tlsprobe.report.blocks import Page
from tlsprobe.report.compatibility import Vendor
from tlsprobe.report.formats import page_to_share
from tlsprobe.report.pages.compatibility import comparison_page
from tlsprobe.report.pages.explain import explain_page
from tlsprobe.report.pages.fuzz import fuzz_page
from tlsprobe.report.pages.run import run_page
from tlsprobe.report.site import write_site

pytestmark = pytest.mark.server("chromium", "chromedriver")

RECORDED = Path(__file__).parents[1] / "data" / "judged" / "rude"
SCREENS = ((390, False), (800, True), (1440, True))
"""Widths in pixels, and whether it is dark."""

CELL = '.matrix td a[href="#d-terminate-close-notify"]'


def many() -> Page:
    evil = in_lab(run_of("evil", {HTML_NASTY: "n f", "terminate": "n r"}), "evil", HTML_NASTY)
    return comparison_page([*five(), Vendor("evil", HTML_NASTY, evil)], "tlsprobe matrix")


def pages() -> dict[str, str]:
    """A page of every kind, each as it is written."""
    run = read_results(RECORDED)
    one_file = {
        "run": run_page([run], "tlsprobe run --target x"),
        "nasty": run_page([nasty_run()]),
        "blocks": page_of(HTML_NASTY),
        "matrix": many(),
        "explain": explain_page(EXPLANATIONS["unread"]),
        "fuzz": fuzz_page(FUZZ),
    }
    return {f"{name}.html": page_to_share(page) for name, page in one_file.items()}


KINDS = (
    *("run.html", "nasty.html", "blocks.html", "matrix.html", "explain.html", "fuzz.html"),
    *("site/index.html", "site/postgres/index.html", "site/sequences/terminate.html"),
)


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if not AXE.is_file():
        cannot("axe-core is not in .venv/axe: see `make test-deps`")
    with browser(tmp_path_factory.mktemp("chromium")) as one:
        yield one


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("pages")
    write_site(folder, iter(pages().items()))
    write_site(folder / "site", iter(files().items()))
    return folder.as_uri()


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_asks_for_nothing_and_fits(window: Browser, root: str, kind: str) -> None:
    for width, dark in SCREENS:
        window.open(f"{root}/{kind}", width=width, dark=dark)
        requests, complaints = window.seen()
        assert all(one.startswith(root) for one in requests), requests
        assert len(requests) == (3 if kind.startswith("site") else 1)
        assert complaints == []
        assert window.overflowing() == [], f"{kind} is wider than {width} pixels"
        assert width == 800 or window.violations() == []


def test_hostile_words_stay_text(window: Browser, root: str) -> None:
    for kind in ("blocks.html", "matrix.html", "site/index.html"):
        window.open(f"{root}/{kind}")
        assert "<script>alert(1)</script>" in window.find("body").text
        assert window.run("return document.querySelectorAll('b').length") == 0
        assert window.run("return document.querySelectorAll('[onload]').length") == 0


def test_a_cell_opens_its_drawer_and_escape_shuts_it(window: Browser, root: str) -> None:
    window.open(f"{root}/run.html")
    window.find(CELL).click()
    (drawer,) = window.shown(".drawer")
    assert "INTEROP-RESET-BEFORE-FIN" in drawer.text
    assert drawer.find_elements("css selector", "svg .rst")
    assert window.violations() == []
    assert window.driver.current_url.endswith("#d-terminate-close-notify")
    window.press("Escape")
    assert window.shown(".drawer") == []
    assert window.focused() == "#d-terminate-close-notify"


def test_a_drawer_has_an_address(window: Browser, root: str) -> None:
    window.open(f"{root}/run.html#d-terminate-close-notify", width=390)
    (drawer,) = window.shown(".drawer")
    drawer.find_element("css selector", 'a[href^="#behaviour-"]').click()
    assert window.shown(".drawer") == []
    assert window.shown(".card .body")


def test_arrows_walk_the_matrix_and_enter_opens(window: Browser, root: str) -> None:
    window.open(f"{root}/matrix.html")
    tabbed = "return document.querySelectorAll('.matrix td a[tabindex=\"0\"]').length"
    assert window.run(tabbed) == 1
    window.run("document.querySelector('.matrix td a').focus()")
    first = window.focused()
    window.press("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp")
    assert window.focused() == first
    window.press("ArrowDown")
    below = window.focused()
    assert below != first
    assert window.run("return getComputedStyle(document.activeElement).outlineStyle") != "none"
    window.press("Enter")
    window.run("return new Promise((done) => setTimeout(done, 50))")  # unpacking takes a few tasks
    assert [f"#{one.get_attribute('id')}" for one in window.shown(".drawer")] == [below]
    window.press("Escape")
    assert window.focused() == below


def test_filters_leave_what_was_asked_for(window: Browser, root: str) -> None:
    window.open(f"{root}/matrix.html")
    rows = ".matrix tbody tr:not(.group) th"
    assert len(window.shown(rows)) == 6
    window.find("input[name=server]").send_keys("postgr")
    assert [row.text for row in window.shown(rows)] == ["PostgreSQL"]
    window.find("input[name=sequence]").send_keys("terminate")
    assert {head.text for head in window.shown(".heads th")[1:]} == {
        "terminate",
        "terminate-close-notify",
    }
    assert "1 of 6 servers" in window.find("output").text
    assert window.violations() == []


def test_filters_by_verdict_and_chapter(window: Browser, root: str) -> None:
    window.open(f"{root}/matrix.html")
    window.find('select[name=verdict] option[value="warn"]').click()
    left = window.shown(".matrix tbody tr:not(.group)")
    assert 0 < len(left) < 6
    assert all(row.find_elements("css selector", "td.v-warn") for row in left)
    window.find('select[name=verdict] option[value=""]').click()
    window.find('select[name=chapter] option[value="Goodbye"]').click()
    assert [chapter.text for chapter in window.shown(".chapters th")] == ["Goodbye"]
    assert len(window.shown(".heads th")) > 1


def test_without_script_it_is_a_table_and_drawers_are_addresses(window: Browser, root: str) -> None:
    window.command("Emulation.setScriptExecutionDisabled", value=True)
    try:
        window.open(f"{root}/run.html#d-terminate-close-notify")
        requests, complaints = window.seen()
        assert (len(requests), complaints) == (1, [])
    finally:
        window.command("Emulation.setScriptExecutionDisabled", value=False)
    assert window.run("return document.documentElement.className") == ""
    assert [one.get_attribute("id") for one in window.shown(".drawer")] == [
        "d-terminate-close-notify"
    ]
    assert window.shown(".filters") == []
    assert window.shown(".matrix td a")


def test_printed_every_card_is_open(window: Browser, root: str) -> None:
    window.open(f"{root}/run.html")
    cards = window.run("return document.querySelectorAll('.card').length")
    window.command("Emulation.setEmulatedMedia", media="print")
    high = "return [...document.querySelectorAll('.card .body')].filter(e => e.offsetHeight).length"
    assert window.run(high) == cards > 0
    assert window.shown("nav, .filters, .drawer") == []
    window.command("Emulation.setEmulatedMedia", media="")
