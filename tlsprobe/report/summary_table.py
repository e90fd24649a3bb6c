"""The heart of the matrix: the few closes that tell most, one line for servers that agree.

Each column is a question and the sequence that answers it; the answer is what the server sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tlsprobe.model.run import Cell, Run
from tlsprobe.report.alike import races
from tlsprobe.report.compatibility import Vendor, asked
from tlsprobe.report.ending import NOT_MEASURED, Ending, by_tls, ending_of, endings_of

RARELY = "at times RST in place of FIN"


@dataclass(frozen=True, slots=True)
class Column:
    """A question for the head of the table, and the sequences that answer it, the best first."""

    head: str
    sequences: tuple[str, ...]


COLUMNS = (
    Column("idle expiry", ("idle-expiry",)),
    Column(
        "our close_notify first", ("close-notify-await", "close-notify-fin", "close-notify-only")
    ),
    Column("half-close with a response owed", ("half-close",)),
    Column("its own close answered", ("idle-expiry-reply", "server-close-reply")),
    Column("goodbye, then close_notify", ("terminate-close-notify",)),
)

SAFE = "safe behind a forwarder"
"""The head of the last column: whether a plain reader always got EOF, and the path lived on."""


@dataclass(frozen=True, slots=True)
class Line:
    """Servers that give the same answers; an absent one has its reason alone."""

    names: tuple[str, ...]
    answers: tuple[str, ...]
    reason: str = ""


def heart_lines(vendors: Sequence[Vendor]) -> list[Line]:
    """The table, in the order of the vendors; who agrees shares a line, absent ones come last."""
    lines: dict[tuple[str, ...], Line] = {}
    for vendor in vendors:
        if vendor.run is None:
            continue
        said = answers_of(vendor.run)
        line = lines.get(said, Line((), said))
        lines[said] = replace(line, names=(*line.names, vendor.title))
    absent = (Line((v.title,), (), v.reason) for v in vendors if v.run is None)
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
    if any(cell.path_alive is False or _mostly_hard(cell) for cell in cells):
        return "no"
    return "not always" if any(map(hard_resets, cells)) else "yes"


def hard_resets(cell: Cell) -> int:
    """The trials in which the server reset in place of its FIN: a reader got ECONNRESET."""
    return cell.resets.server.before_fin


def _mostly_hard(cell: Cell) -> bool:
    return cell.sequence not in races() and hard_resets(cell) * 2 >= max(cell.trials, 1)


def _answer(run: Run, sequences: Sequence[str]) -> str:
    told = [(tls, _words(ending)) for tls, ending in endings_of(run, sequences)]
    return by_tls(told) if told else NOT_MEASURED


def _words(ending: Ending) -> str:
    """The ending without its counts: the lines of a table of many servers are to be alike."""
    said = replace(ending, count=ending.trials).words()
    if ending.hard and not ending.is_hard:
        return f"{said} ({RARELY})"
    return said
