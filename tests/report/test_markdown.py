"""matrix.md: complete, and inert whatever a peer said."""

from __future__ import annotations

import re
from dataclasses import replace

from tests.report.builders import (
    NASTY,
    clean,
    make_run,
    nasty_run,
    nginx_run,
    postgres_run,
    unsupported,
)
from tlsprobe.model.judgement import Verdict
from tlsprobe.report.markdown import render_markdown


def table_rows(page: str) -> list[list[str]]:
    """The page's table as its reader splits it: at bars that are not escaped."""
    lines = [line for line in page.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_the_page_says_what_when_how_and_with_what() -> None:
    page = render_markdown([postgres_run()], "tlsprobe run --target 127.0.0.1:5432")
    assert page.startswith("# How postgres at 127.0.0.1:5432 ends TLS connections\n\n")
    assert "tlsprobe 0.1.0, 2026-11-20 20:01:02 UTC, 20 trials a cell" in page
    assert "Linux 6.18.0, Python 3.11.9, OpenSSL 3.5.1" in page
    assert "command: `tlsprobe run --target 127.0.0.1:5432`" in page
    assert page.endswith("\n")


def test_the_matrix_is_a_table_with_a_legend() -> None:
    page = render_markdown([postgres_run()])
    assert table_rows(page) == [
        ["sequence", "TLS 1.2", "TLS 1.3", "server's ending", "on the wire"],
        ["---"] * 5,
        ["terminate", "✓ok", "✓ok", "clean", "`G nf F`"],
        ["terminate-close-notify", "!RST", "!RST", "reset-before-fin", "`G N n r`"],
    ]
    assert "- `RST` reset-before-fin: " in page
    assert "- `!` warn: " in page


def test_findings_have_evidence_and_remedies() -> None:
    page = render_markdown([postgres_run()])
    assert "### WARN INTEROP-RESET-BEFORE-FIN (interop)" in page
    assert "- where: terminate-close-notify (20/20 each, TLS 1.2 and 1.3)" in page
    assert "- why: unread-data-at-close (confidence high, in 40 trials)" in page
    assert "  - It acknowledges our close_notify (packet 22)" in page
    assert "\n- hurts: Whoever reads between client and server" in page
    assert "- remedy: Send Terminate and close without a close_notify." in page
    assert "> 1.2 ms  client ◀── server  r  #24  RST+ACK, window 512" in page


def test_no_line_ends_in_blanks() -> None:
    for runs in ([postgres_run()], [nasty_run()], [postgres_run(), nginx_run()]):
        page = render_markdown(runs)
        assert [line for line in page.splitlines() if line != line.rstrip()] == []


def test_several_targets_share_one_table() -> None:
    page = render_markdown([postgres_run(), nginx_run()])
    assert page.startswith("# How 2 targets end TLS connections")
    rows = table_rows(page)
    assert rows[0] == ["sequence", "postgres", "nginx"]
    assert ["server-close-reply", "", "!RST 3/1200 rst"] in rows
    assert "  - idle: the server ends an idle connection after 60.02 s" in page


def test_no_finding_is_said() -> None:
    assert "## Findings\n\nNone.\n" in render_markdown([make_run(clean())])


def test_what_has_no_answer_has_a_reason() -> None:
    page = render_markdown([make_run(unsupported("a", "1.2"))])
    assert "### UNSUPPORTED\n\n- where: a (TLS 1.2)\n- reason: the server speaks only" in page


def test_nasty_text_makes_no_markdown() -> None:
    page = render_markdown([nasty_run()], NASTY)
    assert not {"\x1b", "\u202e", "\udcff"} & set(page)
    assert {len(row) for row in table_rows(page)} == {5}
    assert "<b>" not in re.sub(r"```.*?```|``text.*?``|`+[^\n]*`+", "", page, flags=re.DOTALL)
    headings = [line for line in page.splitlines() if line.startswith("#")]
    assert all(line.split()[1] != "head" for line in headings)
    page.encode()


def test_a_mark_that_is_markdown_stays_a_mark() -> None:
    broken = replace(clean(), verdict=Verdict.ERROR)
    page = render_markdown([make_run(broken, unsupported("b", "1.3"))])
    assert "- `#` error: of the tester" in page
    assert "- `-` unsupported" in page
