"""Where commands and servers are found."""

from __future__ import annotations

import os
import shutil

SEARCHED = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin")
"""Where Debian keeps servers; an ordinary user's PATH leaves some of it out."""


def find_command(name: str) -> str | None:
    """A command on PATH, or where servers are kept."""
    path = os.pathsep.join([os.environ.get("PATH", ""), *SEARCHED])
    return shutil.which(name, path=path)
