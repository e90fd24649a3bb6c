"""``matrix.csv``: one line for each vendor, sequence and TLS version (RFC 4180).

Spreadsheets take a field that begins with ``=``, ``+``, ``-`` or ``@`` for a formula; such a field
gets an apostrophe in front, which they do not show. What cannot be seen is spelled out.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

from tlsprobe.model.judgement import Outcome
from tlsprobe.model.run import Cell
from tlsprobe.report.compatibility import Compatibility, Vendor
from tlsprobe.report.ending import ending_of
from tlsprobe.report.escape import printable

HEADS = (
    *("vendor", "title", "version", "tls_library", "group", "measured"),
    *("sequence", "tls", "trials", "verdict"),
    *map(str, Outcome),
    *("ending", "signature", "signature_trials", "other_signatures", "causes"),
    *("server_rst_before_fin", "server_rst_after_fin", "client_rst"),
    *("reader_eof", "reader_reset", "reader_timeout", "path_alive", "reason"),
)

FORMULA = ("=", "+", "-", "@")


def render_csv(compatibility: Compatibility, *, is_transposed: bool = False) -> str:
    """The lines vendor by vendor, or sequence by sequence; absent vendors come last."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(HEADS)
    for fields in _lines(compatibility, is_transposed):
        writer.writerow([safe_field(field) for field in fields])
    return text.getvalue()


def safe_field(value: str | int) -> str:
    """A field that shows what it holds and does nothing."""
    if isinstance(value, int):
        return str(value)
    text = printable(value)
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text


def _lines(compatibility: Compatibility, is_transposed: bool) -> Iterator[list[str | int]]:
    for vendor, cell in compatibility.cells(is_transposed=is_transposed):
        yield [*_vendor(vendor, compatibility.letter_of(vendor)), *_cell(cell)]
    for vendor in compatibility.absent:
        missing = len(HEADS) - 6 - 5
        yield [*_vendor(vendor, ""), "", "", 0, "unsupported", *[""] * missing, vendor.reason]


def _vendor(vendor: Vendor, letter: str) -> list[str | int]:
    measured = vendor.run.started if vendor.run else ""
    about = (vendor.name, vendor.title, vendor.version or "", vendor.tls_library or "")
    return [*about, letter, measured]


def _cell(cell: Cell) -> list[str | int]:
    signature, count = max(cell.signatures.items(), key=lambda item: item[1], default=("", 0))
    ending = ending_of(cell)
    server, client, reader = cell.resets.server, cell.resets.client, cell.reader
    return [
        *(cell.sequence, cell.tls, cell.trials, str(cell.verdict)),
        *(cell.outcomes.get(outcome, 0) for outcome in Outcome),
        *(ending.describe() if ending else "", signature, count, max(len(cell.signatures) - 1, 0)),
        _counts(cell.causes.items()),
        *(server.before_fin, server.after_fin, client.before_fin + client.after_fin),
        *(reader.eof, reader.reset, reader.timeout),
        "" if cell.path_alive is None else str(cell.path_alive).lower(),
        cell.reason or "",
    ]


def _counts(items: Iterable[tuple[str, int]]) -> str:
    return "; ".join(f"{name} {count}" for name, count in items)
