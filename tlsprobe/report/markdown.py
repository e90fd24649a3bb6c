"""``matrix.md``: the matrix and what stands behind it, to be read on a forge or pasted there.

Everything from a peer, a profile or a command line passes through ``escape``; what is literally
ours (headings, codes, rule ids) is written as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tlsprobe.model.run import CauseFacts, Cell, Run
from tlsprobe.report.escape import markdown_cell_code, markdown_code, markdown_text, printable
from tlsprobe.report.findings import Entry, LooseCause, Unanswered, story_of, worst_cells
from tlsprobe.report.glyphs import UNICODE
from tlsprobe.report.ladder import aligned, rungs_of
from tlsprobe.report.matrix import Matrix, MatrixCell, Row, matrix_of
from tlsprobe.report.rulebook import cause_rows, rule_rows
from tlsprobe.report.sentences import (
    WORDS,
    capture_words,
    cause_words,
    host_words,
    idle_words,
    measured_words,
    places_words,
    race_words,
    summary_words,
    target_words,
    undecided_words,
    whose_words,
)

WIRE_COLUMN = "on the wire"
"""The column that holds signatures, set as code."""


def render_markdown(runs: Sequence[Run], command: str | None = None, *, ladders: int = 2) -> str:
    """The whole page. ``command`` is the command line that measured, without its secrets."""
    matrix = matrix_of(runs)
    parts = [
        f"# How {markdown_text(_subject(runs))} {_verb(runs)} TLS connections",
        "\n".join(_facts(runs, command)),
        "\n".join(_table(matrix)),
        "\n".join(_legend(matrix)),
        *_findings(runs),
        *_examples(runs, ladders),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _subject(runs: Sequence[Run]) -> str:
    return target_words(runs[0]) if len(runs) == 1 else f"{len(runs)} targets"


def _verb(runs: Sequence[Run]) -> str:
    return "ends" if len(runs) == 1 else "end"


def _facts(runs: Sequence[Run], command: str | None) -> Iterator[str]:
    several = len(runs) > 1
    for run in runs:
        if several:
            yield f"- {markdown_text(target_words(run))}"
        yield from (f"{'  ' if several else ''}- {fact}" for fact in _run_facts(run))
    if command:
        yield f"- command: {markdown_code(command)}"
    yield f"- summary: {summary_words(runs)}"


def _run_facts(run: Run) -> Iterator[str]:
    yield f"measured: {markdown_text(measured_words(run))}"
    yield f"on: {markdown_text(host_words(run))}"
    yield f"capture: {markdown_text(capture_words(run.capture))}"
    if run.idle:
        yield f"idle: {markdown_text(idle_words(run.idle))}"
    yield from (f"race: {markdown_text(words)}" for words in race_words(run))
    if rules := undecided_words(run):
        yield f"not applicable, since nothing here could decide them: {markdown_text(rules)}"
    yield from (f"note: {markdown_text(note)}" for note in run.notes)
    if run.interrupted:
        yield "note: interrupted; only what was finished before is counted"


def _table(matrix: Matrix) -> Iterator[str]:
    heads = ("sequence", *map(markdown_text, matrix.columns))
    yield _line(heads)
    yield _line("---" for _ in heads)
    yield from (_line(_row(matrix, row)) for row in matrix.rows)


def _row(matrix: Matrix, row: Row) -> Iterator[str]:
    yield markdown_text(row.label)
    for column, cell in zip(matrix.columns, row.cells, strict=True):
        yield _cell(cell, is_code=column == WIRE_COLUMN)


def _cell(cell: MatrixCell, *, is_code: bool) -> str:
    if cell.faces:
        return markdown_text(" / ".join(face.text(UNICODE) for face in cell.faces))
    if is_code and cell.words:
        return markdown_cell_code(cell.words)
    return markdown_text(cell.words)


def _line(fields: Iterable[str]) -> str:
    return f"| {' | '.join(fields)} |"


def _legend(matrix: Matrix) -> Iterator[str]:
    yield from (f"- `{UNICODE.marks[verdict]}` {WORDS[verdict]}" for verdict in matrix.verdicts)
    yield from (f"- `{code}` {markdown_text(meaning)}" for code, meaning in matrix.legend)


def _findings(runs: Sequence[Run]) -> Iterator[str]:
    story = story_of(runs)
    yield "## Findings"
    if not (story.entries or story.causes or story.unanswered):
        yield "None."
    yield from ("\n".join(_entry(entry)) for entry in story.entries)
    yield from ("\n".join(_loose(cause)) for cause in story.causes)
    yield from ("\n".join(_gap(gap)) for gap in story.unanswered)


def _entry(entry: Entry) -> Iterator[str]:
    finding = entry.finding
    yield f"### {finding.result.upper()} {markdown_text(finding.rule)} ({finding.level})\n"
    yield f"{markdown_text(finding.text)}\n"
    yield f"- where: {markdown_text(places_words(entry.places))}"
    for label, words in rule_rows(finding.rule):
        yield f"- {label}: {markdown_text(words)}"
    for why in entry.why:
        yield f"- why: {markdown_text(cause_words(why))}"
        yield from _evidence(why.facts)
    if entry.beside:
        beside = ", ".join(f"{result} {markdown_text(rule)}" for rule, result in entry.beside)
        yield f"- beside: {beside}"


def _evidence(facts: CauseFacts) -> Iterator[str]:
    yield from (f"  - {markdown_text(sentence)}" for sentence in facts.evidence)
    yield from (f"- {label}: {markdown_text(words)}" for label, words in cause_rows(facts))


def _loose(cause: LooseCause) -> Iterator[str]:
    yield f"### INFO {markdown_text(whose_words(cause.why))}\n"
    yield f"- where: {markdown_text(places_words(cause.places))}"
    yield from _evidence(cause.why.facts)


def _gap(gap: Unanswered) -> Iterator[str]:
    yield f"### {gap.verdict.upper()}\n"
    yield f"- where: {markdown_text(places_words(gap.places))}"
    yield f"- reason: {markdown_text(gap.reason or 'none was recorded')}"


def _examples(runs: Sequence[Run], limit: int) -> Iterator[str]:
    chosen = [(run, cell) for run in runs for cell in worst_cells(run, limit)][:limit]
    if chosen:
        yield "## Examples"
    for run, cell in chosen:
        name = f"{markdown_text(run.target.name)}: " if len(runs) > 1 else ""
        yield f"### {name}{markdown_text(cell.sequence)}, TLS {cell.tls}"
        yield "\n".join(_ladder(cell))


def _ladder(cell: Cell) -> Iterator[str]:
    yield f"{markdown_code(cell.steps)}\n"
    if cell.example:
        # No line can close the fence: each begins with a margin and a time.
        yield "```text"
        yield f"trial {cell.example.trial}: {printable(cell.example.signature)}"
        yield from map(printable, aligned(rungs_of(cell.example)))
        yield "```"
