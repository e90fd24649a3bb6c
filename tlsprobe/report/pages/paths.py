"""The page of all paths: the matrix, near and far, then what each box on the way did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tlsprobe.report.blocks import Block, BulletList, Code, Heading, Page, Paragraph
from tlsprobe.report.matrix import matrix_of
from tlsprobe.report.paths import Along, distance_sentences


def paths_page(
    command: str, circumstances: str, runs: Sequence[Along], absent: Sequence[tuple[str, str]]
) -> Page:
    """The whole page.

    What a box did is in its run's notes; ``absent`` is (name, reason) of what was not measured.
    """
    return (
        Heading(1, "Paths"),
        Paragraph((Code(command),)),
        Paragraph(circumstances),
        *_matrix(runs),
        *_chapter("Near and far", distance_sentences([a for a in runs if a.is_distance])),
        *(
            block
            for along in runs
            if not along.is_distance
            for block in _chapter(along.run.target.name, along.run.notes)
        ),
        *_chapter("Not measured", [f"{name}: {reason}" for name, reason in absent]),
    )


def _matrix(runs: Sequence[Along]) -> Iterator[Block]:
    if runs:
        matrix = matrix_of([along.run for along in runs])
        yield from (matrix.table, matrix.legend)


def _chapter(head: str, sentences: Sequence[str]) -> Iterator[Block]:
    if sentences:
        yield Heading(2, head)
        yield BulletList(tuple(sentences))
