"""The compatibility matrix: the pure table that every format prints in its own way.

One run is laid out by TLS version, with room to say how the server ended and what went over the
wire. Several runs stand side by side, one column a target, the versions folded into one code
where they agree. A cell shows an outcome alone only if every trial of it ended so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tlsprobe.model.judgement import Outcome, Verdict
from tlsprobe.model.run import Cell, Run
from tlsprobe.report.glyphs import Glyphs

CODES: dict[Outcome, tuple[str, str]] = {
    Outcome.DATA_LOST: ("cut", "data-lost: a response did not arrive whole"),
    Outcome.RESET_BEFORE_FIN: (
        "RST",
        "reset-before-fin: RST in place of FIN, readers get an error",
    ),
    Outcome.OPEN: ("open", "open: not ended by the server while we waited"),
    Outcome.NO_CLOSE_NOTIFY: ("fin", "no-close-notify: bare FIN, no close_notify before it"),
    Outcome.RESET_AFTER_FIN: ("rst", "reset-after-fin: RST after the FIN, readers saw EOF first"),
    Outcome.CLIENT_RESET: ("cRST", "client-reset: our side sent the RST, not the server"),
    Outcome.REFUSED: ("ref", "refused: nothing accepts connections there"),
    Outcome.HANDSHAKE_FAILED: ("hs", "handshake-failed: no TLS connection came about"),
    Outcome.ERROR: ("err", "error: tlsprobe could not carry out the trial"),
    Outcome.CLEAN: ("ok", "clean: close_notify, then FIN, no RST from the server"),
}
"""Each outcome's code (at most four characters) and meaning, the worst first."""

UNSUPPORTED = ("na", "unsupported: the server or this machine does not offer it")
UNKNOWN = ("??", "not known: no outcome was seen for these trials")

COUNTS_NOTE = ("n/N", "in n of N trials; the others as the last code says, ok if none follows")
VERSIONS_NOTE = "a/b"

TURNED_CORNER = "server"
"""What the rows of a turned matrix are."""

CONTROL_MARK = " (control)"
"""Behind a sequence that nobody asked for, added to settle a cause."""


@dataclass(frozen=True, slots=True)
class CellLabel:
    """What one cell shows: the worst outcome's code, and counts if the trials differ.

    ``counts`` is "" when all trials ended alike, else ``3/20`` (the others were ok),
    ``3/20 rst`` (the others were rst), or ``3/20 rst 7/20``. ``tls`` is the version, or "" when
    the face stands for every version that was measured.
    """

    verdict: Verdict
    code: str
    counts: str = ""
    tls: str = ""

    def text(self, glyphs: Glyphs, *, aligned: bool = False) -> str:
        """Mark, code and counts: ``!RST 3/20``; aligned, the code fills four places."""
        code = f"{self.code:>4}" if aligned else self.code
        return f"{glyphs.marks[self.verdict]}{code} {self.counts}".rstrip()


@dataclass(frozen=True, slots=True)
class MatrixCell:
    """One place of the table: faces (two if the TLS versions differ), or plain words."""

    faces: tuple[CellLabel, ...] = ()
    words: str = ""

    def text(self, glyphs: Glyphs) -> str:
        """All of it: a single face aligned with those above it, several parted by ``/``."""
        if not self.faces:
            return self.words
        if len(self.faces) == 1:
            return self.faces[0].text(glyphs, aligned=True)
        between = " / " if any(face.counts for face in self.faces) else "/"
        return between.join(face.text(glyphs) for face in self.faces)


@dataclass(frozen=True, slots=True)
class Row:
    """A sequence over the columns."""

    label: str
    cells: tuple[MatrixCell, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """The whole table. ``verdicts`` and ``legend`` explain what occurs in it, and no more.

    ``corner`` says what the rows are.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    verdicts: tuple[Verdict, ...]
    legend: tuple[tuple[str, str], ...]
    corner: str = "sequence"


def matrix_of(runs: Sequence[Run]) -> Matrix:
    """The matrix of one run by TLS version, of several by target."""
    return by_version(runs[0]) if len(runs) == 1 else by_target(runs)


def by_version(run: Run) -> Matrix:
    """One target: a column for each TLS version, one for the ending, one for the wire."""
    versions = _versions([run])
    sequences = list(dict.fromkeys(cell.sequence for cell in run.cells))
    columns = (*(f"TLS {version}" for version in versions), "server's ending", "on the wire")
    rows = tuple(
        _version_row([cell for cell in run.cells if cell.sequence == sequence], versions)
        for sequence in sequences
    )
    return _matrix(run.target.name, columns, rows, run.cells, versions)


def by_target(runs: Sequence[Run], names: Sequence[str] = ()) -> Matrix:
    """Several targets side by side, under their own names if none are given.

    Controls stay out: they settle causes, they do not compare.
    """
    asked = [[cell for cell in run.cells if cell.role == "asked"] for run in runs]
    versions = _versions(runs)
    sequences = dict.fromkeys(cell.sequence for cells in asked for cell in cells)
    rows = tuple(
        Row(sequence, tuple(_target_cell(cells, sequence) for cells in asked))
        for sequence in sequences
    )
    title = f"{len(runs)} targets"
    columns = tuple(names) or column_names(runs)
    return _matrix(title, columns, rows, (c for cells in asked for c in cells), versions)


def turned(matrix: Matrix) -> Matrix:
    """Columns for rows: what stood side by side stands one below the other."""
    cells = zip(*(row.cells for row in matrix.rows), strict=True)
    rows = tuple(Row(name, column) for name, column in zip(matrix.columns, cells, strict=False))
    columns = tuple(row.label for row in matrix.rows)
    return replace(matrix, columns=columns, rows=rows, corner=TURNED_CORNER)


def with_absent(matrix: Matrix, names: Sequence[str]) -> Matrix:
    """The matrix with a column for each server that could not be measured at all."""
    if not names:
        return matrix
    absent = MatrixCell((CellLabel(Verdict.UNSUPPORTED, UNSUPPORTED[0]),))
    rows = (replace(row, cells=row.cells + (absent,) * len(names)) for row in matrix.rows)
    used = {*matrix.verdicts, Verdict.UNSUPPORTED}
    return replace(
        matrix,
        columns=(*matrix.columns, *names),
        rows=tuple(rows),
        verdicts=tuple(verdict for verdict in Verdict if verdict in used),
        legend=tuple(dict.fromkeys((*matrix.legend, UNSUPPORTED))),
    )


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


def face_of(cell: Cell) -> CellLabel:
    """What a cell shows of its trials."""
    outcomes = ranked_outcomes(cell)
    if not outcomes or cell.verdict is Verdict.UNSUPPORTED:
        return CellLabel(cell.verdict, _empty_code(cell.verdict), tls=cell.tls)
    trials = _trials(cell)
    worst, count = outcomes[0]
    if count == trials:
        return CellLabel(cell.verdict, code_of(worst), tls=cell.tls)
    *middle, (last, _) = outcomes[1:]
    counts = [f"{count}/{trials}", *(f"{code_of(outcome)} {n}/{trials}" for outcome, n in middle)]
    if last != Outcome.CLEAN:
        counts.append(code_of(last))
    return CellLabel(cell.verdict, code_of(worst), " ".join(counts), cell.tls)


def ranked_outcomes(cell: Cell) -> list[tuple[str, int]]:
    """The cell's outcomes with their counts, the worst first; trials without one as ``""``."""
    rank = {str(outcome): place for place, outcome in enumerate(CODES)}
    seen = {outcome: count for outcome, count in cell.outcomes.items() if count}
    if seen and (unseen := cell.trials - sum(seen.values())) > 0:
        seen[""] = unseen
    return sorted(seen.items(), key=lambda item: rank.get(item[0], -1))


def code_of(outcome: str) -> str:
    """The outcome's short code; an outcome of a later tlsprobe shows its first letters."""
    try:
        return CODES[Outcome(outcome)][0]
    except ValueError:
        return outcome[:4] or UNKNOWN[0]


def outcome_words(cell: Cell) -> str:
    """The outcomes in full: ``reset-before-fin``, or with counts if the trials differ."""
    outcomes = ranked_outcomes(cell)
    if not outcomes or cell.verdict is Verdict.UNSUPPORTED:
        return str(cell.verdict)
    if len(outcomes) == 1:
        return outcomes[0][0]
    trials = _trials(cell)
    return ", ".join(f"{outcome or 'not known'} {count}/{trials}" for outcome, count in outcomes)


def wire_words(cell: Cell) -> str:
    """The commonest signature, with its count and how many others there were."""
    ranked = sorted(cell.signatures.items(), key=lambda item: -item[1])
    if not ranked:
        return ""
    signature, count = ranked[0]
    if len(ranked) == 1:
        return signature
    return f"{signature} {count}/{sum(cell.signatures.values())} (+{len(ranked) - 1} more)"


def _matrix(
    title: str,
    columns: tuple[str, ...],
    rows: tuple[Row, ...],
    cells: Iterable[Cell],
    versions: Sequence[str],
) -> Matrix:
    shown = [face for row in rows for cell in row.cells for face in cell.faces]
    used = {face.verdict for face in shown}
    verdicts = tuple(verdict for verdict in Verdict if verdict in used)
    legend = list(_code_legend(list(cells), shown))
    if any(face.counts for face in shown):
        legend.append(COUNTS_NOTE)
    if any(len(cell.faces) > 1 for row in rows for cell in row.cells):
        meaning = " / ".join(f"TLS {version}" for version in versions)
        legend.append((VERSIONS_NOTE, f"{meaning}, where they differ"))
    return Matrix(title, columns, rows, verdicts, tuple(legend))


def _code_legend(cells: list[Cell], shown: list[CellLabel]) -> Iterable[tuple[str, str]]:
    """The codes that occur, the worst last: one reads a legend from what is normal."""
    seen = {outcome for cell in cells for outcome, count in ranked_outcomes(cell) if count}
    known = [entry for outcome, entry in CODES.items() if outcome in seen]
    yield from reversed(known)
    codes = {code for face in shown for code in (face.code, *face.counts.split())}
    yield from (entry for entry in (UNSUPPORTED, UNKNOWN) if entry[0] in codes)


def _version_row(cells: list[Cell], versions: Sequence[str]) -> Row:
    by_tls = {cell.tls: cell for cell in cells}
    faces = tuple(
        MatrixCell((face_of(by_tls[version]),)) if version in by_tls else MatrixCell()
        for version in versions
    )
    told = [cell for cell in cells if cell.verdict is not Verdict.UNSUPPORTED]
    ending = _folded([(cell.tls, outcome_words(cell)) for cell in told])
    wire = _folded([(cell.tls, wire_words(cell)) for cell in told])
    return Row(_label(cells[0]), (*faces, MatrixCell(words=ending), MatrixCell(words=wire)))


def _label(cell: Cell) -> str:
    """The sequence, marked once if it is a control: one made for a sequence has it in its name."""
    marked = cell.role != "control" or cell.sequence.endswith(CONTROL_MARK)
    return cell.sequence if marked else f"{cell.sequence}{CONTROL_MARK}"


def _folded(words: list[tuple[str, str]]) -> str:
    """The words once if all versions share them, else each behind its version."""
    if len({text for _, text in words}) <= 1:
        return words[0][1] if words else ""
    return "; ".join(f"{tls}: {text}" for tls, text in words if text)


def _target_cell(cells: list[Cell], sequence: str) -> MatrixCell:
    faces = [face_of(cell) for cell in cells if cell.sequence == sequence]
    faces.sort(key=lambda face: face.tls)
    if len({(face.verdict, face.code, face.counts) for face in faces}) == 1:
        first = faces[0]
        return MatrixCell((CellLabel(first.verdict, first.code, first.counts),))
    return MatrixCell(tuple(faces))


def _versions(runs: Sequence[Run]) -> list[str]:
    return sorted({cell.tls for run in runs for cell in run.cells})


def _trials(cell: Cell) -> int:
    return max(cell.trials, sum(cell.outcomes.values()))


def _empty_code(verdict: Verdict) -> str:
    if verdict is Verdict.UNSUPPORTED:
        return UNSUPPORTED[0]
    return CODES[Outcome.ERROR][0] if verdict is Verdict.ERROR else UNKNOWN[0]
