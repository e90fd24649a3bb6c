"""Notices for GitHub Actions: annotations, as workflow commands.

A workflow command is a line, so that a line break or a percent sign in a message is written as
``%0A`` or ``%25``, and a colon or a comma in a property as ``%3A`` or ``%2C``. GitHub shows ten
annotations of each kind for a step: the gravest come first, and the rest is counted in the last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tlsprobe.report.ci.notice import Notice, Weight
from tlsprobe.report.escape import printable

MOST = 10
"""So many annotations of a kind are shown for a step."""

SUMMARY_BYTES = 1024 * 1024
"""The longest step summary that is shown; GitHub refuses a longer one as a whole."""

_WORDS = {Weight.ERROR: "error", Weight.WARNING: "warning", Weight.NOTE: "notice"}


def github_lines(notices: Iterable[Notice]) -> Iterator[str]:
    """A workflow command for each notice, as far as GitHub shows them."""
    ordered = list(notices)
    for weight in Weight:
        alike = [notice for notice in ordered if notice.weight is weight]
        shown = alike if len(alike) <= MOST else alike[: MOST - 1]
        yield from map(_command, shown)
        if len(alike) > len(shown):
            said = f"{len(alike) - len(shown)} more like these: see the step summary"
            yield f"::{_WORDS[weight]} title=tlsprobe::{said}"


def summary_part(markdown: str, room: int) -> str:
    """A page for the step summary, cut to ``room`` bytes at the end of a line."""
    data = markdown.encode()
    if len(data) <= room:
        return markdown
    note = "\n\nCut: the rest is in the results folder.\n"
    kept = data[: max(room - len(note), 0)]
    kept = kept[: kept.rfind(b"\n") + 1]
    return kept.decode("utf-8", "ignore") + note if kept else ""


def _command(notice: Notice) -> str:
    where = ""
    if notice.place is not None:
        where = f"file={_property(notice.place.file)},line={notice.place.line},"
    title = _property(notice.title)
    message = "\n".join((*notice.lines, *([f"waived: {notice.waived}"] if notice.waived else [])))
    return f"::{_WORDS[notice.weight]} {where}title={title}::{_message(message or notice.title)}"


def _message(text: str) -> str:
    lines = (printable(line).replace("%", "%25") for line in text.splitlines())
    return "%0A".join(lines)


def _property(text: str) -> str:
    return printable(text).replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
