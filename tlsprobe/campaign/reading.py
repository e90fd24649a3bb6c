"""Results folders, read: one run, or all those below a folder."""

from __future__ import annotations

import re
from pathlib import Path

from tlsprobe.model.run import Run
from tlsprobe.report.document import RUN_FILE, read_run

AUTOMATIC = re.compile(r"\d{8}T\d{6}Z-")
"""How the names of folders begin that tlsprobe chose itself."""


def runs_in(folder: Path) -> dict[str, Run]:
    """The runs below a folder by the names of theirs, without those that nobody named."""
    found = sorted(folder.glob(f"*/{RUN_FILE}"))
    named = (path for path in found if not AUTOMATIC.match(path.parent.name))
    return {path.parent.name: read_run(path) for path in named}
