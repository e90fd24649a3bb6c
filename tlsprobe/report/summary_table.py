"""The summary of the matrix: the few closes that say most, one line for servers that agree.

Each column is a question and the sequence that answers it; the answer is what the server sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tlsprobe.model.run import Cell, Run
from tlsprobe.report.alike import races
from tlsprobe.report.blocks import Code, Column, Emphasis, Strong, Table, Text
from tlsprobe.report.compatibility import Vendor, asked
from tlsprobe.report.ending import NOT_MEASURED, Ending, by_tls, ending_of, endings_of

RARELY = "at times RST in place of FIN"


@dataclass(frozen=True, slots=True)
class SummaryColumn:
    """A question for the head of the table, and the sequences that answer it, the best first."""

    head: str
    sequences: tuple[str, ...]


COLUMNS = (
    SummaryColumn("idle expiry", ("idle-expiry",)),
    SummaryColumn(
        "our close_notify first", ("close-notify-await", "close-notify-fin", "close-notify-only")
    ),
    SummaryColumn("half-close with a response owed", ("half-close",)),
    SummaryColumn("its own close answered", ("idle-expiry-reply", "server-close-reply")),
    SummaryColumn("goodbye, then close_notify", ("terminate-close-notify",)),
)

SAFE = "safe behind a forwarder"
"""The head of the last column: whether a plain reader always got EOF, and the path lived on."""


NOTE: Text = (
    "What the server sent, in order; ",
    Code("RST"),
    " without a FIN before it stands in place of the FIN, and a plain reader gets ECONNRESET"
    " instead of EOF. ",
    Emphasis("Safe behind a forwarder"),
    ": no such RST in any sequence (",
    Emphasis("not always"),
    ": in a minority of trials, or in a race against the clock), and the path alive afterwards. ",
    Emphasis("Not measured"),
    ": the protocol or the profile has no such sequence.",
)
"""How to read the table."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Servers that give the same answers; an absent one has its reason alone."""

    names: tuple[str, ...]
    answers: tuple[str, ...]
    reason: str = ""


def summary_table(vendors: Sequence[Vendor]) -> Table:
    """The table; an answer with which a reader gets an error, or less than was owed, is strong."""
    heads = ("server", *(column.head for column in COLUMNS), SAFE)
    rows = (_row(line, len(heads)) for line in summary_of(vendors))
    return Table(tuple(map(Column, heads)), tuple(rows))


def summary_of(vendors: Sequence[Vendor]) -> list[Answers]:
    """The answers in the order of the vendors; who agrees shares a line, absent ones come last."""
    lines: dict[tuple[str, ...], Answers] = {}
    for vendor in vendors:
        if vendor.run is None:
            continue
        given = answers_of(vendor.run)
        line = lines.get(given, Answers((), given))
        lines[given] = replace(line, names=(*line.names, vendor.title))
    absent = (Answers((v.title,), (), v.reason) for v in vendors if v.run is None)
    return [*lines.values(), *absent]


def answers_of(run: Run) -> tuple[str, ...]:
    """One server's line."""
    return (*(_answer(run, column.sequences) for column in COLUMNS), safety_of(run))


def safety_of(run: Run) -> str:
    """Whether who reads through a forwarder can live with this server.

    ``no``: in some sequence an RST in place of the FIN is what mostly came, or the path was dead
    behind it. ``not always``: it came now and then, or in a race against the clock.
    """
    cells = [cell for cell in asked(run) if ending_of(cell)]
    if not cells:
        return NOT_MEASURED
    if any(cell.path_alive is False or _mostly_reset_for_fin(cell) for cell in cells):
        return "no"
    return "not always" if any(map(resets_for_fin, cells)) else "yes"


def resets_for_fin(cell: Cell) -> int:
    """The trials in which the server reset in place of its FIN: a reader got ECONNRESET."""
    return cell.resets.server.before_fin


def _row(line: Answers, width: int) -> tuple[Text, ...]:
    names = "; ".join(line.names)  # a title may hold a comma
    if not line.answers:
        reason = f"unsupported: {line.reason or 'no reason was given'}"
        return (names, reason, *("" for _ in range(width - 2)))
    return (names, *((Strong(a),) if _is_bad(a) else a for a in line.answers))


def _is_bad(answer: str) -> bool:
    """Whether it is a ``no``, or in some TLS version data was lost or an RST came for a FIN."""
    return answer == "no" or any(
        "data lost" in part or ("RST" in part and "FIN" not in part) for part in answer.split("; ")
    )


def _mostly_reset_for_fin(cell: Cell) -> bool:
    return cell.sequence not in races() and resets_for_fin(cell) * 2 >= max(cell.trials, 1)


def _answer(run: Run, sequences: Sequence[str]) -> str:
    endings = [(tls, _without_counts(ending)) for tls, ending in endings_of(run, sequences)]
    return by_tls(endings) if endings else NOT_MEASURED


def _without_counts(ending: Ending) -> str:
    """The ending without its counts: the lines of a table of many servers are to be alike."""
    text = replace(ending, count=ending.trials).describe()
    if ending.resets_for_fin and not ending.is_reset_for_fin:
        return f"{text} ({RARELY})"
    return text
