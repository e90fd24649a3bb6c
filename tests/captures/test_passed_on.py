"""Traces that came through mail, web pages, logs, diffs and terminals say what they said before."""

from __future__ import annotations

import html
import json
import quopri
from collections.abc import Callable
from itertools import pairwise

import pytest

from tests.captures.pasting import EXPECTED, PLAIN, facts, read
from tlsprobe.captures.passed_on import QuotedPrintable, is_quoted_printable, row_begin

STAMPS = "TSval=2518407611 TSecr=2518407610"
ROWS = [
    (number, time, *ends, *rest)
    for number, time, ends, rest in (
        (
            *("12", "88.330748", ("192.0.2.1", "192.0.2.2")),
            ("TCP", "103", f"40000 → 5432 [PSH, ACK] Seq=1866 Ack=2595 Win=512 Len=37 {STAMPS}"),
        ),
        (
            *("13", "88.330750", ("192.0.2.2", "192.0.2.1")),
            ("TCP", "66", f"5432 → 40000 [ACK] Seq=2595 Ack=1903 Win=512 Len=0 {STAMPS}"),
        ),
        ("14", "88.331087", ("192.0.2.2", "192.0.2.1"), ("TLSv1.2", "97", "Encrypted Alert")),
        (
            *("15", "88.333718", ("192.0.2.2", "192.0.2.1")),
            ("TCP", "66", f"5432 → 40000 [RST, ACK] Seq=2626 Ack=1903 Win=512 Len=0 {STAMPS}"),
        ),
    )
]
LIST = ["   {:>5} {} {} → {} {} {} {}".format(*row) for row in ROWS]
LISTED = facts(read("\n".join(LIST))[1])

Lines = list[str]


def _each(form: str) -> Callable[[Lines], str]:
    return lambda lines: "\n".join(form.format(n, line) for n, line in enumerate(lines, 1))


def _quoted_printable(lines: Lines) -> str:
    return quopri.encodestring("\n".join(lines).encode()).decode()


PASSED_ON: dict[str, Callable[[Lines], str]] = {
    "quoted-printable": _quoted_printable,
    "quoted-printable, other line ends": lambda s: _quoted_printable(s).replace("\n", "\r\n"),
    "quoted-printable HTML": lambda s: _quoted_printable(
        ["<html><pre>", *map(html.escape, s), "</pre>"]
    ),
    "in double quotes": _each("“{1}”"),
    "colours": _each("\x1b[38;5;1m\x1b[K{1}\x1b(B\x1b[m"),
    "a terminal's title": lambda s: "\x1b]0;me@host\x07" + "\n".join(s),
    "colours in carets": _each("^[[32m{1}^[[0m"),
    "colours that lost their start": _each("[32m{1}[0m"),
    "colours spelled out": _each("\\x1b[32m{1}\\x1b[0m"),
    "a container's log": _each("2026-01-02T03:04:05.123456789Z stdout F {1}"),
    "a container's log in JSON": lambda s: "\n".join(
        json.dumps({"log": f"{line}\n", "stream": "stdout"}) for line in s
    ),
    "Go's JSON": lambda s: json.dumps({"body": "\n".join(s)}).replace(">", "\\u003e"),
    "syslog": _each("<13>1 2026-01-02T03:04:05.1Z host tcpdump 123 - - {1}"),
    "a log's time": _each("[2026-01-02 03:04:05,123] INFO: {1}"),
    "strings of a list": _each('    "{1}",'),
    "a diff": lambda s: "@@ -1,2 +3,4 @@\n" + _each("+{1}")(s),
    "numbered": _each("{0}. {1}"),
    "numbered in brackets": _each("[{0}] {1}"),
    "numbered with an edge": _each("{0:4d} | {1}"),
    "grep": _each("trace.txt:{0}:{1}"),
    "bullets": _each("• {1}"),
    "comments": _each("# {1}"),
    "quoted by name": _each("JD> {1}"),
    "code of a wiki": _each("{{{{{1}}}}}"),
    "breaks of HTML": lambda s: "<br>".join(map(html.escape, s)),
    "paragraphs": lambda s: "".join(f"<p>{html.escape(line)}</p>" for line in s),
    "bold": lambda s: "\n".join(f"<b>{html.escape(line)}</b>" for line in s),
    "links": lambda s: "\n".join(html.escape(line) for line in s).replace(
        "192.0.2.2", '<a href="http://192.0.2.2/">192.0.2.2</a>'
    ),
    "links in Markdown": lambda s: "\n".join(s).replace(
        "192.0.2.2", "[192.0.2.2](http://192.0.2.2)"
    ),
}


@pytest.mark.parametrize("how", PASSED_ON)
def test_what_tcpdump_printed(how: str) -> None:
    reading, found = read(PASSED_ON[how](PLAIN))
    assert (reading.skipped, facts(found)) == (0, EXPECTED)


@pytest.mark.parametrize("how", PASSED_ON)
def test_a_packet_list(how: str) -> None:
    reading, found = read(PASSED_ON[how](LIST))
    assert (reading.skipped, facts(found)) == (0, LISTED)
    assert [what.kind for what in reading.carried.values()] == ["alert"]


CELLS = {
    "each cell on its line": "\n".join("\n".join(row) for row in ROWS),
    "with names and blank lines": "No.\n\nTime\n\nInfo\n\n" + "\n\n".join(sum(ROWS, ())),
    "without numbers": "\n".join("\n".join(row[1:]) for row in ROWS),
    "a table of HTML": "<table>"
    + "\n".join(
        "<tr>\n" + "\n".join(f"<td>\n{html.escape(cell)}\n</td>" for cell in row) + "\n</tr>"
        for row in ROWS
    ),
    "rows of HTML without ends": "\n".join(
        "<TR>\n" + "\n".join(f"<TD>{html.escape(cell)}</TD>" for cell in row) for row in ROWS
    ),
}


@pytest.mark.parametrize("how", CELLS)
def test_a_table_copied_from_a_page(how: str) -> None:
    reading, found = read(CELLS[how])
    assert (reading.skipped, facts(found)) == (0, LISTED)


def test_a_line_is_found_where_it_stood_in_the_mail() -> None:
    broken = [*PLAIN[:3], PLAIN[3].replace("ack 1903", "nack 1903")]
    before = _quoted_printable(broken[:3]).count("\n")
    reading, _ = read(_quoted_printable(broken))
    assert f"line {before + 2}, column 1" in str(reading.first_skipped)


def test_a_cell_that_is_missing_costs_its_row_alone() -> None:
    rows = [list(row) for row in ROWS]
    del rows[1][2]
    reading, found = read("\n".join("\n".join(row) for row in rows))
    assert [p.number for p in found] == [12, 14, 15]
    assert reading.skipped == 1


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_mail_comes_in_pieces_of_any_size(size: int) -> None:
    whole = quopri.encodestring("\n".join(LIST).encode())
    mail = QuotedPrintable()
    ends = [*range(0, len(whole), size), len(whole)]
    meant = b"".join(mail.feed(whole[one:two]) for one, two in pairwise(ends)) + mail.finish()
    assert meant.decode().replace("\x1e", "").split("\n") == LIST


def test_what_is_no_mail_stays_as_it_is() -> None:
    assert not is_quoted_printable("\n".join(LIST).encode())
    assert not is_quoted_printable("\n".join(PLAIN).encode())
    assert not is_quoted_printable(b"token: aGVsbG8=\n" * 3)
    assert not is_quoted_printable(b"Seq=18 Ack=20 Len=99\n")
    assert not any(row_begin(line.strip()) for line in LIST)
