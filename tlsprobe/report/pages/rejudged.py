"""The page of results that were judged again: what changed, cell by cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tlsprobe.model.rejudged import CellChange, Difference, Rejudged
from tlsprobe.report.blocks import Block, Field, Fields, Heading, Page, Paragraph
from tlsprobe.report.plurals import counted


def rejudged_page(folders: Sequence[Rejudged]) -> Page:
    """Every folder in which something changed, and how many are as they were."""
    return tuple(_blocks(folders))


def _blocks(folders: Sequence[Rejudged]) -> Iterator[Block]:
    changed = [one for one in folders if one.changes]
    for one in changed:
        count = counted(len(one.changes), "change")
        yield Heading(2, f"{one.folder}: {count} in {counted(one.trials, 'trial')}")
        yield Fields(tuple(map(_field, one.changes)), apart=True)
        if one.written:
            yield Paragraph("Its documents were replaced.")
    same = len(folders) - len(changed)
    if same:
        trials = counted(sum(one.trials for one in folders if not one.changes), "trial")
        where = "" if not changed else f" in {counted(same, 'other folder')}"
        yield Paragraph(f"Nothing changed{where}: {trials} judged again.")


def _field(change: CellChange) -> Field:
    name = f"{change.sequence}, TLS {change.tls}" if change.tls else change.sequence or "the run"
    return Field(name, items=tuple(map(_sentence, change.differences)))


def _sentence(difference: Difference) -> str:
    if not difference.was and not difference.now:
        return f"{difference.what}: worded or measured otherwise"
    was, now = difference.was or "nothing", difference.now or "nothing"
    return f"{difference.what}: {was} -> {now}"
