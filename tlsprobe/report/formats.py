"""The formats that a page is written in, besides the terminal: each a file, and a word here."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tlsprobe.report.blocks import Page

PAGE_FORMATS = ("markdown", "html")
"""NAME is the function ``render_NAME`` of the module ``render_NAME``, imported when it is used."""

IN_FOLDERS = "markdown"
"""The format of the pages in results folders: a forge shows it."""

HTML_PAGE = "report.html"
"""The page to share, in every folder of results: one file that needs no other."""


class Renderer(Protocol):
    """Writes a page as text. ``diagrams``: ladders are drawn, where the format can."""

    def __call__(self, page: Page, *, diagrams: bool = False) -> str:
        """The page as text."""


def renderer(name: str) -> Renderer:
    """The renderer of one of PAGE_FORMATS."""
    module = import_module(f"tlsprobe.report.render_{name}")
    found: Renderer = getattr(module, f"render_{name}")
    return found


def page_for_folder(page: Page) -> str:
    """The page as it is written into a results folder."""
    return renderer(IN_FOLDERS)(page)


def page_to_share(page: Page) -> str:
    """The page as HTML_PAGE."""
    return renderer("html")(page, diagrams=True)
