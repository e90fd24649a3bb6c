"""What the pages tell a reader to type, and what they say comes of it.

A block of language ``console`` is a session: lines that begin with ``$`` are typed, those below are
what is printed, ``...`` stands for anything. ``test_sessions.py`` runs these. A block of language
``sh`` is only parsed, and a comment before it says why: ``<!-- not run: REASON -->``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

CAPTURE = ROOT / "tests/data/corpus/postgres-terminate-close-notify-4.pcapng"
"""What stands in a page for a capture of the reader's, ``trace.pcap``."""

_BLOCK = re.compile(
    r"^(?:<!-- (?P<note>[^\n]+?) -->\n+)?```(?P<language>[\w-]*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_LEFT_OUT = re.compile(r"^\s*\.\.\.$", re.MULTILINE)
_REPEATED = re.compile(r"^.*──.*#\d+\s+retransmission, .*\n?", re.MULTILINE)
"""A packet of a ladder that a kernel sent again: who waits for a processor acknowledges late."""
_NUMBER = re.compile(
    r"(?P<kept>TLS 1\.[23]\b)|\d+(?:\.\d+)?\s?(?P<unit>µs|ms|s|min)\b|\d+(?:[.:/]\d+)*"
)


@dataclass(frozen=True, slots=True)
class Block:
    """A block of a page: its language, its text, and the comment before it."""

    language: str
    text: str
    note: str


@dataclass(frozen=True, slots=True)
class Typed:
    """A command as it is typed, with what is printed: parts that come in this order."""

    command: str
    printed: tuple[str, ...]


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page."""
    for found in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        yield Block(found["language"], found["text"], found["note"] or "")


def session(block: Block) -> Iterator[Typed]:
    """The commands of a console block. A command goes on in the next line behind a backslash."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        end = next(at for at, line in enumerate(lines, 1) if not line.endswith("\\"))
        printed = _LEFT_OUT.split("\n".join(lines[end:]))
        told = tuple(comparable(text) for text in printed if text.strip())
        yield Typed("\n".join(lines[:end]), told)


def comparable(text: str) -> str:
    """Printed text without what differs from run to run: numbers, times, columns, repeats."""
    return " ".join(_NUMBER.sub(_without_number, _REPEATED.sub("", text)).split())


def _without_number(found: re.Match[str]) -> str:
    return found["kept"] or ("TIME" if found["unit"] else "NUMBER")


def missing_part(typed: Typed, printed: str) -> str | None:
    """The first part that a page shows and that was not printed in its place; None for no such."""
    rest = comparable(printed)
    for part in typed.printed:
        _, found, rest = rest.partition(part)
        if not found:
            return part
    return None
