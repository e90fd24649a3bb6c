"""Pages as their readers get them."""

from __future__ import annotations

import io
import re
from typing import Literal

from rich.console import Console

from tlsprobe.report.blocks import Page
from tlsprobe.report.render_terminal import print_page


def on_terminal(
    page: Page, *, width: int = 80, encoding: str = "utf-8", colour: bool = False
) -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
    system: Literal["standard"] | None = "standard" if colour else None
    console = Console(file=stream, width=width, force_terminal=colour, color_system=system)
    print_page(console, page)
    stream.flush()
    data = stream.buffer
    assert isinstance(data, io.BytesIO)
    return data.getvalue().decode(encoding)


def words(text: str) -> str:
    """The text without line breaks, so that wrapping does not matter."""
    return " ".join(text.split())


def in_order(text: str, parts: list[str]) -> None:
    """Fails unless all the parts are there, one behind the other."""
    places = [text.find(part) for part in parts]
    assert -1 not in places, parts[places.index(-1)]
    assert places == sorted(places), list(zip(places, parts, strict=True))


def table_rows(markdown: str) -> list[list[str]]:
    """The fields of every table row; a bar that was escaped ends no field."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
