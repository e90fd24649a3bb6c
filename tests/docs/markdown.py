"""The few pieces of Markdown that pages made from the code are built of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """The lines of a table, with empty ones around it."""
    yield ""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


def anchor(heading: str) -> str:
    """What a forge, and the HTML, make of a heading."""
    return re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")


def plain(text: str) -> str:
    """Text that is not Markdown: what Markdown would read into it is escaped."""
    return re.sub(r"([\\*_<>\[\]|~])", r"\\\1", text)
