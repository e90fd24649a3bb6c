"""The pages in ``docs/``: what their blocks are, and that each has its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.sessions import DOCS, blocks

PAGES = sorted(DOCS.rglob("*.md"))
LANGUAGES = {"console", "sh", "text", "toml", "yaml", "json", "python"}
COMMANDS = {"console", "sh"}


def name(page: Path) -> str:
    return str(page.relative_to(DOCS))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_that_are_not_run_say_why(page: Path) -> None:
    for block in blocks(page):
        assert block.language in LANGUAGES, block
        if block.language == "sh":
            assert block.note.startswith("not run: "), block.text


