"""``matrix.md`` of many vendors: its heart first, then the groups, then all of it.

Everything from a peer, a profile or a command line passes through ``escape``, as in ``markdown``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tlsprobe.model.run import Run
from tlsprobe.report.agreement import agreement_of, agreement_words
from tlsprobe.report.compatibility import (
    Absent,
    Compatibility,
    Vendor,
    compatibility_of,
    runs_of,
    table_of,
    vendors_of,
)
from tlsprobe.report.escape import markdown_code, markdown_text
from tlsprobe.report.glyphs import UNICODE
from tlsprobe.report.matrix import Matrix, Row
from tlsprobe.report.sentences import WORDS, summary_words
from tlsprobe.report.summary_table import COLUMNS, SAFE, Line, heart_lines

ACROSS = 10
"""Columns of a block of the whole table: what a page shows without scrolling."""

EMPTY = "not asked; the protocol has no such request, or the profile says so"
"""What an empty place of the table means."""

HEART_BEGIN, HEART_END = "<!-- matrix:begin -->", "<!-- matrix:end -->"
"""What stands around the heart where another page holds a copy of it."""

HEART_NOTE = (
    "What the server sent, in order; `RST` without a FIN before it stands in place of the FIN, and "
    "a plain reader gets ECONNRESET instead of EOF. *Safe behind a forwarder*: no such RST in any "
    "sequence (*not always*: in a minority of trials, or in a race against the clock), and the "
    "path alive afterwards. *Not measured*: the protocol or the profile has no such sequence."
)


def heart(runs: Sequence[Run], absent: Sequence[Absent] = ()) -> str:
    """The telling columns alone, as Markdown that another page can hold between its markers."""
    return heart_of(compatibility_of(vendors_of(runs, absent)))


def heart_of(compatibility: Compatibility) -> str:
    """The heart of a matrix that was grouped already."""
    vendors = (*compatibility.measured, *compatibility.absent)
    heads = ("server", *(column.head for column in COLUMNS), SAFE)
    lines = [_line(heads), _line("---" for _ in heads)]
    lines += [_line(_fields(line, len(heads))) for line in heart_lines(vendors)]
    return "\n".join(lines) + f"\n\n{HEART_NOTE}\n"


def render_compatibility(
    compatibility: Compatibility,
    command: str = "",
    *,
    is_turned: bool = False,
) -> str:
    """The whole page. ``command`` reproduces it."""
    matrix = table_of(compatibility, is_turned=is_turned)
    parts = [
        _title(len(compatibility.measured)),
        "\n".join(_facts(compatibility, command)),
        heart_of(compatibility).rstrip(),
        "## Who closes alike",
        "\n".join(_groups(compatibility)),
        "## Every sequence",
        "\n".join(_legend(matrix)),
        *("\n".join(block) for block in _blocks(matrix)),
        *_absent(compatibility.absent),
        *_truth(compatibility),
        "## Versions",
        "\n".join(_versions(compatibility.measured)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _title(servers: int) -> str:
    return f"# How {_count(servers, 'server')} {'ends' if servers == 1 else 'end'} TLS connections"


def _facts(compatibility: Compatibility, command: str) -> Iterator[str]:
    runs = compatibility.runs
    days = sorted({run.started[:10] for run in runs})
    if days:
        yield f"- measured: {markdown_text(' to '.join(dict.fromkeys((days[0], days[-1]))))} (UTC)"
    tools = dict.fromkeys(f"{run.tool.name} {run.tool.version}" for run in runs)
    yield f"- with: {markdown_text(', '.join(tools) or 'nothing')}"
    kernels = dict.fromkeys(f"{run.host.system} {run.host.kernel}" for run in runs)
    yield f"- kernel: {markdown_text(', '.join(kernels) or 'none')}"
    if command:
        yield f"- command: {markdown_code(command)}"
    connections = sum(cell.trials for run in runs for cell in run.cells)
    yield f"- connections: {connections}; {summary_words(runs)}"
    if absent := compatibility.absent:
        yield f"- not measured: {_count(len(absent), 'server')}, see below"


def _fields(line: Line, width: int) -> Iterator[str]:
    yield markdown_text(", ".join(line.names))
    if line.reason or not line.answers:
        yield f"unsupported: {markdown_text(line.reason or 'no reason was given')}"
        yield from ("",) * (width - 2)
        return
    yield from map(_bold, line.answers)


def _bold(words: str) -> str:
    """An answer in which a reader gets an error, or less than it was owed, in bold."""
    bad = words == "no" or any(_is_bad(part) for part in words.split("; "))
    return f"**{markdown_text(words)}**" if bad else markdown_text(words)


def _is_bad(words: str) -> bool:
    return "data lost" in words or ("RST" in words and "FIN" not in words)


def _groups(compatibility: Compatibility) -> Iterator[str]:
    for group in compatibility.groups:
        titles = ", ".join(vendor.title for vendor in group.members)
        yield f"- **{group.letter}** ({markdown_text(titles)}): {markdown_text(group.words)}"
    yield ""
    yield (
        "A letter stands for servers that end otherwise in at most a tenth of what was measured of "
        "both, on average; each group stands next to those it is nearest to. Compared are the "
        "outcome and the server's alerts, FIN and RST in order; two servers end otherwise if "
        "neither ever did what the other mostly does. Races are left out."
    )


def _blocks(matrix: Matrix) -> Iterator[Iterator[str]]:
    for first in range(0, len(matrix.columns), ACROSS):
        yield _block(matrix, range(first, min(first + ACROSS, len(matrix.columns))))


def _block(matrix: Matrix, columns: Sequence[int]) -> Iterator[str]:
    heads = (matrix.corner, *(matrix.columns[column] for column in columns))
    yield _line(map(markdown_text, heads))
    yield _line("---" for _ in heads)
    yield from (_line(_row(row, columns)) for row in matrix.rows)


def _row(row: Row, columns: Sequence[int]) -> Iterator[str]:
    yield markdown_text(row.label)
    for column in columns:
        faces = row.cells[column].faces
        yield markdown_text(" / ".join(face.text(UNICODE) for face in faces))


def _legend(matrix: Matrix) -> Iterator[str]:
    yield from (f"- `{UNICODE.marks[verdict]}` {WORDS[verdict]}" for verdict in matrix.verdicts)
    yield from (f"- `{code}` {markdown_text(meaning)}" for code, meaning in matrix.legend)
    yield f"- an empty place: {EMPTY}"


def _absent(vendors: Sequence[Vendor]) -> Iterator[str]:
    if vendors:
        yield "## Unsupported here"
        told = ((v.title, v.reason or "no reason was given") for v in vendors)
        yield "\n".join(f"- {markdown_text(who)}: {markdown_text(why)}" for who, why in told)


def _truth(compatibility: Compatibility) -> Iterator[str]:
    titled = ((v.title, v.run) for v in compatibility.measured if v.run is not None)
    agreement = agreement_of(titled)
    if agreement is not None:
        yield "## Agreement with the kernel"
        yield "\n".join(f"- {markdown_text(words)}" for words in agreement_words(agreement))


def _versions(vendors: Sequence[Vendor]) -> Iterator[str]:
    yield _line(("server", "version and TLS library", "kernel", "measured"))
    yield _line("---" for _ in range(4))
    for vendor, run in zip(vendors, runs_of(vendors), strict=True):
        when = run.started[:19].replace("T", " ")
        kernel = f"{run.host.system} {run.host.kernel}"
        fields = (vendor.title, vendor.versions(), kernel, f"{when} UTC")
        yield _line(map(markdown_text, fields))
    noted = [
        (v.title, run.server.notes)
        for v, run in zip(vendors, runs_of(vendors), strict=True)
        if run.server and run.server.notes
    ]
    if noted:
        yield ""
    yield from (f"- {markdown_text(title)}: {markdown_text(notes)}" for title, notes in noted)


def _line(fields: Iterable[str]) -> str:
    return f"| {' | '.join(fields)} |"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
