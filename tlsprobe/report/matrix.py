"""The matrix of outcomes: the table that every page of runs has in its middle.

One run is laid out by TLS version, with room to say how the server ended and what went over the
wire. Several runs stand side by side, one column a target, the versions folded into one code
where they agree. A cell shows an outcome alone only if every trial of it ended so.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from tlsprobe.model.judgement import Outcome, Verdict
from tlsprobe.model.run import Cell, Run
from tlsprobe.report.blocks import (
    Code,
    Column,
    Inline,
    Legend,
    Mark,
    Table,
    Text,
    marks_in,
)
from tlsprobe.report.plurals import left_out

MEANINGS: dict[Verdict, str] = {
    Verdict.PASS: "pass",
    Verdict.FAIL: "fail: breaks a MUST",
    Verdict.WARN: "warn: breaks a SHOULD, or hurts somebody",
    Verdict.INFO: "info",
    Verdict.INCONCLUSIVE: "inconclusive: seen, not proven",
    Verdict.ERROR: "error: tlsprobe could not measure it",
    Verdict.UNSUPPORTED: "unsupported",
}
"""What each verdict's mark means."""

_WORST_FIRST = (
    *(Verdict.FAIL, Verdict.WARN, Verdict.ERROR, Verdict.INCONCLUSIVE),
    *(Verdict.INFO, Verdict.PASS, Verdict.UNSUPPORTED),
)

CODES: dict[Outcome, tuple[str, str]] = {
    Outcome.DATA_LOST: ("cut", "data-lost: a response did not arrive whole"),
    Outcome.RESET_BEFORE_FIN: (
        "RST",
        "reset-before-fin: RST in place of FIN, readers get an error",
    ),
    Outcome.OPEN: ("open", "open: not ended by the server while we waited"),
    Outcome.NO_CLOSE_NOTIFY: ("fin", "no-close-notify: bare FIN, no close_notify before it"),
    Outcome.RESET_AFTER_FIN: (
        "rst",
        "reset-after-fin: RST sent after the FIN: readers see EOF, unless the path held it back",
    ),
    Outcome.CLIENT_RESET: ("cRST", "client-reset: our side sent the RST, not the server"),
    Outcome.REFUSED: ("ref", "refused: nothing accepts connections there"),
    Outcome.HANDSHAKE_FAILED: ("hs", "handshake-failed: no TLS connection came about"),
    Outcome.ERROR: ("err", "error: tlsprobe could not carry out the trial"),
    Outcome.ENDED_BEFORE_START: (
        "pre",
        "ended-before-start: the server ended it before our sequence began",
    ),
    Outcome.CLEAN: ("ok", "clean: close_notify, then FIN, no RST from the server"),
}
"""Each outcome's code (at most four characters) and meaning, the worst first."""

UNSUPPORTED = ("na", "unsupported: the server or this machine does not offer it")
UNKNOWN = ("??", "not known: no outcome was seen for these trials")

COUNTS = ("n/N", "in n of N trials; the others as the last code says, ok if none follows")
VERSIONS = "a/b"

SEQUENCE, SERVER = "sequence", "server"
"""What the rows of a matrix are, and those of a transposed one."""

CONTROL_MARK = " (control)"
"""Behind a sequence that nobody asked for, added to settle a cause."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """The table, and what its marks and codes mean: those that occur in it, and no more."""

    table: Table
    legend: Legend


def matrix_of(runs: Sequence[Run]) -> Matrix:
    """The matrix of one run by TLS version, of several by target."""
    return by_version(runs[0]) if len(runs) == 1 else by_target(runs)


def by_version(run: Run) -> Matrix:
    """One target: a column for each TLS version, one for the ending, one for the wire.

    ``unspoken`` versions have none.
    """
    versions = _spoken(run)
    heads = (*(f"TLS {version}" for version in versions), "server's ending", "on the wire")
    sequences = dict.fromkeys(cell.sequence for cell in run.cells)
    rows = [
        _version_row([cell for cell in run.cells if cell.sequence == sequence], versions)
        for sequence in sequences
    ]
    return _matrix(heads, rows, run.cells, versions)


def unspoken(run: Run) -> dict[str, str]:
    """The TLS versions in which nothing could be asked, each with the reason that most cells have.

    None if there is no version in which anything could.
    """
    found: dict[str, str] = {}
    for version in (versions := _versions([run])):
        cells = [cell for cell in run.cells if cell.tls == version]
        if all(cell.verdict is Verdict.UNSUPPORTED for cell in cells):
            ((found[version], _),) = Counter(cell.reason or "" for cell in cells).most_common(1)
    return found if len(found) < len(versions) else {}


def _spoken(run: Run) -> list[str]:
    silent = unspoken(run)
    return [version for version in _versions([run]) if version not in silent]


class Folded(NamedTuple):
    """A matrix in few rows, and the sequences that are in none of them."""

    matrix: Matrix
    hidden: tuple[str, ...]


def folded(run: Run, chapter: Callable[[str], str], most: int) -> Folded:
    """One target, in at most so many rows, those with the worst verdicts, in the order of the run.

    Sequences of a chapter that went alike share the row of the first; in how many trials is left
    out. ``chapter`` says where a sequence belongs. ``unspoken`` versions have no column.
    """
    versions = _spoken(run)
    groups: dict[tuple[object, ...], list[str]] = {}
    for sequence in dict.fromkeys(cell.sequence for cell in run.cells if cell.role == "asked"):
        cells = {cell.tls: cell for cell in run.cells if cell.sequence == sequence}
        marks = tuple(_bare(mark_of(cells[v])) if v in cells else None for v in versions)
        if not any(marks):
            continue
        groups.setdefault((chapter(sequence), *marks), []).append(sequence)
    kept = set(sorted(groups, key=lambda key: (_rank(key), -len(groups[key])))[:most])
    rows: list[tuple[Text, ...]] = [
        (_and_more(names), *((mark,) if isinstance(mark, Mark) else "" for mark in key[1:]))
        for key, names in groups.items()
        if key in kept
    ]
    shown = {name for key in kept for name in groups[key]}
    heads = tuple(f"TLS {version}" for version in versions)
    asked = [cell for cell in run.cells if cell.sequence in shown]
    hidden = (name for key, names in groups.items() if key not in kept for name in names)
    matrix = _matrix(heads, rows, asked, versions)
    if any(len(groups[key]) > 1 for key in kept):
        entries = (*matrix.legend.entries, (Code("(+N)"), "N more that went alike"))
        matrix = Matrix(matrix.table, Legend(entries))
    return Folded(matrix, tuple(hidden))


def _rank(row: Sequence[object]) -> int:
    """Where a row stands among those of few: 0 for one with the worst verdict."""
    return min(_WORST_FIRST.index(mark.verdict) for mark in row if isinstance(mark, Mark))


def _bare(mark: Mark) -> Mark:
    """The mark without how often: ``n/N`` tells that not all trials ended so."""
    return replace(mark, counts="n/N" if mark.counts else "")


def in_a_line(legend: Legend) -> tuple[Inline, ...]:
    """What the marks mean, each in its first words, for where there is little room."""
    said: list[Inline] = []
    for what, meaning in legend.entries:
        said += [", " if said else "", what, " " + re.split("[:;]", meaning)[0]]
    return tuple(said)


def by_target(runs: Sequence[Run], names: Sequence[str] = (), absent: Sequence[str] = ()) -> Matrix:
    """Several targets side by side, under their own names if none are given.

    ``absent`` names those that could not be measured at all. Controls stay out: they settle
    causes, they do not compare.
    """
    asked = [[cell for cell in run.cells if cell.role == "asked"] for run in runs]
    versions = _versions(runs)
    sequences = dict.fromkeys(cell.sequence for cells in asked for cell in cells)
    missing: Text = (Mark(Verdict.UNSUPPORTED, UNSUPPORTED[0]),)
    rows: list[tuple[Text, ...]] = [
        (
            sequence,
            *(target_cell([c for c in cells if c.sequence == sequence]) for cells in asked),
            *(missing for _ in absent),
        )
        for sequence in sequences
    ]
    heads = (*(names or column_names(runs)), *absent)
    return _matrix(heads, rows, (cell for cells in asked for cell in cells), versions)


def transposed(table: Table) -> Table:
    """The table with a row for each of its columns."""
    sequences = (Column(str(row[0]), breaks=True) for row in table.rows)
    rows = (
        (column.head, *(row[number] for row in table.rows))
        for number, column in enumerate(table.columns)
    )
    return Table((Column(SERVER), *sequences), tuple(rows)[1:])


def column_names(runs: Sequence[Run]) -> tuple[str, ...]:
    """The targets' names, made different where two runs share one (by address, then by time)."""
    names = [run.target.name for run in runs]
    for suffix in (lambda run: str(run.target), lambda run: run.started):
        twice = {name for name, count in Counter(names).items() if count > 1}
        names = [
            f"{name} {suffix(run)}" if name in twice and suffix(run) not in name else name
            for name, run in zip(names, runs, strict=True)
        ]
    return tuple(names)


def mark_of(cell: Cell) -> Mark:
    """What a cell shows of its trials: the worst outcome, with counts if the trials differ."""
    outcomes = ranked_outcomes(cell)
    if not outcomes or cell.verdict is Verdict.UNSUPPORTED:
        return Mark(cell.verdict, _empty_code(cell.verdict))
    trials = _trials(cell)
    worst, count = outcomes[0]
    if count == trials:
        return Mark(cell.verdict, code_of(worst))
    *middle, (last, _) = outcomes[1:]
    counts = [f"{count}/{trials}", *(f"{code_of(outcome)} {n}/{trials}" for outcome, n in middle)]
    if last != Outcome.CLEAN:
        counts.append(code_of(last))
    return Mark(cell.verdict, code_of(worst), " ".join(counts))


def ranked_outcomes(cell: Cell) -> list[tuple[str, int]]:
    """The cell's outcomes with their counts, the worst first; trials without one as ``""``."""
    seen = {outcome: count for outcome, count in answers_in(cell).items() if count}
    if seen and (unseen := _trials(cell) - sum(seen.values())) > 0:
        seen[""] = unseen
    return sorted(seen.items(), key=lambda item: _RANKS.get(item[0], -1))


_RANKS = {str(outcome): place for place, outcome in enumerate(CODES)}


def code_of(outcome: str) -> str:
    """The outcome's short code; an outcome of a later tlsprobe shows its first letters."""
    try:
        return CODES[Outcome(outcome)][0]
    except ValueError:
        return outcome[:4] or UNKNOWN[0]


def describe_outcomes(cell: Cell) -> str:
    """The outcomes in full: ``reset-before-fin``, or with counts if the trials differ."""
    outcomes = ranked_outcomes(cell)
    if not outcomes or cell.verdict is Verdict.UNSUPPORTED:
        return str(cell.verdict)
    trials = _trials(cell)
    if len(outcomes) == 1:
        return outcomes[0][0] + left_out(trials, cell.trials)
    told = (f"{outcome or 'not known'} {count}/{trials}" for outcome, count in outcomes)
    return ", ".join(told) + left_out(trials, cell.trials)


def describe_wire(cell: Cell) -> str:
    """The commonest signature, with its count and how many others there were."""
    ranked = sorted(cell.signatures.items(), key=lambda item: -item[1])
    if not ranked:
        return ""
    signature, count = ranked[0]
    if len(ranked) == 1:
        return signature
    return f"{signature} {count}/{sum(cell.signatures.values())} (+{len(ranked) - 1} more)"


def _matrix(
    heads: Sequence[str],
    rows: Sequence[tuple[Text, ...]],
    cells: Iterable[Cell],
    versions: Sequence[str],
) -> Matrix:
    shown = [marks for row in rows for cell in row if (marks := marks_in(cell))]
    entries = [*_meanings(list(cells), [mark for marks in shown for mark in marks])]
    if any(len(marks) > 1 for marks in shown):
        meaning = " / ".join(f"TLS {version}" for version in versions)
        entries.append((Code(VERSIONS), f"{meaning}, where they differ"))
    return Matrix(
        Table((Column(SEQUENCE), *map(Column, heads)), tuple(rows)), Legend(tuple(entries))
    )


def _meanings(cells: list[Cell], shown: list[Mark]) -> Iterator[tuple[Mark | Code, str]]:
    """The verdicts and codes that occur, the worst last: one begins with what is normal."""
    verdicts = {mark.verdict for mark in shown}
    yield from ((Mark(v), MEANINGS[v]) for v in Verdict if v in verdicts)
    seen = {outcome for cell in cells for outcome, count in ranked_outcomes(cell) if count}
    known = [entry for outcome, entry in CODES.items() if outcome in seen]
    codes = {code for mark in shown for code in (mark.code, *mark.counts.split())}
    rest = [entry for entry in (UNSUPPORTED, UNKNOWN) if entry[0] in codes]
    rest += [COUNTS] if any(mark.counts for mark in shown) else []
    yield from ((Code(code), meaning) for code, meaning in (*reversed(known), *rest))


def _version_row(cells: list[Cell], versions: Sequence[str]) -> tuple[Text, ...]:
    by_tls = {cell.tls: cell for cell in cells}
    marks = ((mark_of(by_tls[v]),) if v in by_tls else "" for v in versions)
    measured = [cell for cell in cells if cell.verdict is not Verdict.UNSUPPORTED]
    ending = _folded([(cell.tls, describe_outcomes(cell)) for cell in measured])
    wire = _folded([(cell.tls, describe_wire(cell)) for cell in measured])
    return (_label(cells[0]), *marks, ending, (Code(wire),) if wire else "")


def _and_more(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} (+{len(names) - 1})"


def _label(cell: Cell) -> str:
    """The sequence, marked once if it is a control: one made for a sequence has it in its name."""
    marked = cell.role != "control" or cell.sequence.endswith(CONTROL_MARK)
    return cell.sequence if marked else f"{cell.sequence}{CONTROL_MARK}"


def _folded(texts: list[tuple[str, str]]) -> str:
    """The text once if all versions share it, else each behind its version."""
    if len({text for _, text in texts}) <= 1:
        return texts[0][1] if texts else ""
    return "; ".join(f"{tls}: {text}" for tls, text in texts if text)


def target_cell(cells: Sequence[Cell]) -> tuple[Mark, ...]:
    """Of the cells of one sequence a mark for each TLS version, or one where they agree."""
    marks = tuple(mark_of(cell) for cell in sorted(cells, key=lambda cell: cell.tls))
    return marks[:1] if len(set(marks)) == 1 else marks


def _versions(runs: Sequence[Run]) -> list[str]:
    return sorted({cell.tls for run in runs for cell in run.cells})


def answers_in(cell: Cell) -> dict[str, int]:
    """The outcomes that answer the sequence: of all trials, or of those that were not left out."""
    return cell.answers or cell.outcomes


def _trials(cell: Cell) -> int:
    """How many trials those are of; trials without an outcome were seen by nobody."""
    answers = sum(cell.answers.values())
    return answers or max(cell.trials, sum(cell.outcomes.values()))


def _empty_code(verdict: Verdict) -> str:
    if verdict is Verdict.UNSUPPORTED:
        return UNSUPPORTED[0]
    return CODES[Outcome.ERROR][0] if verdict is Verdict.ERROR else UNKNOWN[0]
