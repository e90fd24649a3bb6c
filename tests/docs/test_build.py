"""The pages as HTML: made without a warning, and complete without anything from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.sessions import DOCS, ROOT

pytestmark = pytest.mark.slow

LOADED = re.compile(
    r"<(?:script|img|iframe)[^>]*\bsrc=\"([^\"]+)\""
    r"|<link[^>]*\brel=\"(?:stylesheet|preload|icon|preconnect|dns-prefetch)\"[^>]*href=\"([^\"]+)\""
    r"|@import\s+(?:url\()?[\"']?([^\"')]+)|url\([\"']?(?!data:)([^\"')]+)"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As ``make docs`` makes it: a warning, such as a link that leads nowhere, is a failure."""
    pytest.importorskip("sphinx", reason="not installed: the extra 'docs'")
    folder = tmp_path_factory.mktemp("site")
    options = ["--fail-on-warning", "--keep-going", "--quiet", "-d", str(folder / "cache")]
    command = [sys.executable, "-m", "sphinx", *options, "-c", str(DOCS), str(ROOT)]
    done = subprocess.run(
        [*command, str(folder / "html")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


def test_every_page_is_there(site: Path) -> None:
    for page in DOCS.rglob("*.md"):
        assert (site / "docs" / page.relative_to(DOCS)).with_suffix(".html").is_file()
    assert (site / "ARCHITECTURE.html").is_file()


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for file in (*site.rglob("*.html"), *site.rglob("*.css")):
        loaded = [next(filter(None, found)) for found in LOADED.findall(file.read_text())]
        assert [one for one in loaded if re.match(r"(?:\w+:)?//", one)] == [], file
