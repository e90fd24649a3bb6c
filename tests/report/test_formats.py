from __future__ import annotations

from pathlib import Path

import pytest

from tlsprobe import report
from tlsprobe.report.blocks import Heading
from tlsprobe.report.formats import PAGE_FORMATS, renderer

TERMINAL = "terminal"


def test_the_list_has_every_renderer_but_the_terminals() -> None:
    files = Path(report.__file__).parent.glob("render_*.py")
    assert {file.stem.removeprefix("render_") for file in files} == {*PAGE_FORMATS, TERMINAL}


@pytest.mark.parametrize("name", PAGE_FORMATS)
def test_every_format_writes_pages(name: str) -> None:
    page = (Heading(1, "what was found"),)
    assert "what was found" in renderer(name)(page)
    assert renderer(name)(page, diagrams=True)
