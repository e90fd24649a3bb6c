"""Files that tlsprobe itself has written, which people take for captures."""

from __future__ import annotations

import re
from pathlib import Path

_SCHEMA = re.compile(rb'"schema": ?"tlsprobe\.(\w{1,20})/\d{1,4}"')
_FACTS = "facts.jsonl*"


def own_file(head: bytes) -> str | None:
    """What a file of tlsprobe's that begins like this is, None if it is none."""
    found = _SCHEMA.search(head) if head.lstrip()[:1] == b"{" else None
    if found is None:
        return None
    if found[1] == b"facts":
        return "these are the facts of a run, as tlsprobe recorded them, and no capture"
    return f"this is a document of tlsprobe's ({found[1].decode()}), and no capture"


def own_hint(file: Path) -> str:
    """What to do with a folder of results instead."""
    folder = file.parent if file.exists() else "DIR"
    return (
        f"`tlsprobe judge {folder}` judges what it recorded with the rules of today, `tlsprobe"
        f" matrix {folder}` shows it; `explain` takes a capture"
    )


def facts_in(folder: Path) -> Path | None:
    """The facts of a run in its folder."""
    return next(folder.glob(_FACTS), None)
