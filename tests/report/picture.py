"""The picture of the results at the top of README: ``python -m tests.report.picture``.

Chromium opens results/index.html from disk, as a reader would.
"""

from __future__ import annotations

import tempfile
from base64 import b64decode
from pathlib import Path

from tests.browser import browser
from tests.report.committed import RESULTS, ROOT

PICTURE = ROOT / "docs" / "results.png"
WIDTH, HEIGHT = 1160, 860
CHAPTER = "Goodbye"


def take(file: Path) -> None:
    """Write what the first screen of the results shows, as PNG."""
    with tempfile.TemporaryDirectory() as folder, browser(Path(folder)) as window:
        window.open((RESULTS / "index.html").as_uri(), width=WIDTH, height=HEIGHT)
        window.find(f'select[name=chapter] option[value="{CHAPTER}"]').click()
        window.run("document.activeElement.blur()")
        shot = window.command("Page.captureScreenshot", format="png")
        file.write_bytes(b64decode(shot["data"]))


if __name__ == "__main__":
    take(PICTURE)
