"""The page of a run: the right words, in the right order, on any kind of stream."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from rich.cells import cell_len

from tests.report.builders import (
    NASTY,
    SEQUENCES,
    bare_fin,
    clean,
    make_run,
    nasty_run,
    nginx_race,
    nginx_run,
    postgres_reset,
    postgres_run,
    unsupported,
)
from tests.report.drawn import in_order, on_terminal, table_rows, words
from tlsprobe.catalogue import catalogue
from tlsprobe.model.judgement import Confidence, Verdict
from tlsprobe.model.run import CaptureFacts, CauseFacts, CountedFrom, Idle, Plan, Run, Spread
from tlsprobe.report.matrix import matrix_of
from tlsprobe.report.pages.run import brief_page, run_page
from tlsprobe.report.render_html import render_html
from tlsprobe.report.render_markdown import render_markdown


def shown(
    runs: Sequence[Run], *, width: int = 80, encoding: str = "utf-8", colour: bool = False
) -> str:
    return on_terminal(run_page(runs), width=width, encoding=encoding, colour=colour)


def written(runs: Sequence[Run], command: str = "") -> str:
    return render_markdown(run_page(runs, command))


def nine_targets() -> list[Run]:
    runs = []
    for number in range(9):
        measured = [clean(name, tls) for name in SEQUENCES[:-2] for tls in ("1.2", "1.3")]
        race = [replace(nginx_race("1.2", 3, 20)), nginx_race("1.3", 20, 20)]
        reset = replace(postgres_reset(), sequence=SEQUENCES[-2])
        runs.append(make_run(*measured, reset, *race, name=f"reference-{number}"))
    return runs


# --- What it says ---------------------------------------------------------------------------------


def test_a_reset_has_its_cause_its_victim_and_its_remedy() -> None:
    in_order(
        words(shown([postgres_run()])),
        [
            "How postgres at 127.0.0.1:5432 ends TLS connections",
            "postgres at 127.0.0.1:5432: 1 behaviour to know, it breaks things.",
            "1 breaks: RST in place of a FIN behind the goodbye: unread-data-at-close",
            "who Most clients close like that: libpq",
            "• Packet 24 is RST+ACK with a live window",
            "again tlsprobe run --target 127.0.0.1:5432",
            "4 cells: 2 pass, 2 warn.",
            "terminate-close-notify ! RST ! RST reset-before-fin G N n r",
            "RST reset-before-fin: ",
            "Findings WARN INTEROP-RESET-BEFORE-FIN (interop)",
            "seen The server reset the connection instead of ending it with a FIN",
            "why unread-data-at-close (confidence high, in 40 trials)",
            "pass TCP-RST-ON-UNREAD",
            "Examples terminate-close-notify, TLS 1.2, trial 7: G N n r",
            "0 µs client ──▶ server G #21 Terminate (5 bytes)",
            "> 1.2 ms client ◀── server r #24 RST+ACK, window 512",
            "How this was measured",
            "capture packet on lo, 1234 packets, none dropped",
            "summary 4 cells: 2 pass, 2 warn",
        ],
    )


def test_the_page_says_what_when_how_and_with_what() -> None:
    page = written([postgres_run()], "tlsprobe run --target 127.0.0.1:5432")
    assert page.startswith("# How postgres at 127.0.0.1:5432 ends TLS connections\n\n")
    assert "- measured: tlsprobe 0.1.0, 2026-11-20 20:01:02 UTC, 20 trials per cell" in page
    assert "- on: Linux 6.18.0, Python 3.11.9, OpenSSL 3.5.1" in page
    assert "- command: `tlsprobe run --target 127.0.0.1:5432`" in page
    assert page.endswith("\n")


def test_the_matrix_is_a_table_with_a_legend() -> None:
    page = written([postgres_run()])
    assert table_rows(page)[3:] == [
        ["sequence", "TLS 1.2", "TLS 1.3", "server's ending", "on the wire"],
        ["---"] * 5,
        ["terminate", "✓ ok", "✓ ok", "clean", "`G nf F`"],
        ["terminate-close-notify", "! RST", "! RST", "reset-before-fin", "`G N n r`"],
    ]
    assert "- `RST` reset-before-fin: " in page
    assert "- `!` warn: " in page


def test_findings_have_evidence_and_remedies() -> None:
    page = written([postgres_run()])
    assert "### WARN INTEROP-RESET-BEFORE-FIN (interop)" in page
    assert "- where: terminate-close-notify (20/20 each, TLS 1.2 and 1.3)" in page
    assert "- why: unread-data-at-close (confidence high, in 40 trials)" in page
    assert "  - It acknowledges our close_notify (packet 22)" in page
    assert "\n- hurts: Anyone who reads between client and server" in page
    assert "- remedy:\n  - Send Terminate and close without a close_notify." in page
    assert "> 1.2 ms  client ◀── server  r  #24  RST+ACK, window 512" in page


def test_a_rule_names_its_source_as_a_link() -> None:
    finding = replace(postgres_reset().findings[0], rule="HTTP-TLS-ALERT")
    finding = replace(finding, result=nginx_run().cells[0].findings[0].result)
    page = written([make_run(replace(clean(), findings=(finding,)))])
    assert "([RFC 9112 section 9.8](https://www.rfc-editor.org/rfc/rfc9112#section-9.8))" in page


def test_only_the_servers_resets_say_whom_they_hurt() -> None:
    own = CauseFacts("unread-data-at-close", 4, "client", Confidence.MEDIUM, ("We had closed.",))
    text = words(shown([make_run(replace(clean(), why=(own,)))]))
    assert "We had closed." in text
    assert "hurts" not in text


def test_our_own_reset_is_called_ours() -> None:
    own = CauseFacts("data-after-close", 4, "client", Confidence.MEDIUM, ("We had closed.",))
    text = words(shown([make_run(replace(clean(), why=(own,)))]))
    assert "INFO our own side reset: data-after-close (confidence medium, in 4 trials)" in text


def test_a_mixed_cell_shows_its_distribution() -> None:
    text = shown([make_run(nginx_race("1.3", 3, 20))])
    assert "! RST 3/20" in text
    assert "in n of N trials" in text


def test_a_missing_capture_is_said_plainly() -> None:
    run = make_run(clean(), capture=CaptureFacts("none", "", 0, None))
    assert "capture none. Weaker evidence" in words(shown([run]))


def test_dropped_packets_are_said_plainly() -> None:
    run = make_run(clean(), capture=CaptureFacts("packet", "lo", 100, 7))
    assert "100 packets, 7 DROPPED. Weaker evidence" in words(shown([run]))
    assert "7 DROPPED" in words(shown([run, postgres_run()]))


def test_a_backend_that_cannot_count_drops_says_so() -> None:
    run = make_run(clean(), capture=CaptureFacts("tcpdump", "eth0", 1, None))
    assert "tcpdump on eth0, 1 packet. It does not report drops" in words(shown([run]))


@pytest.mark.parametrize(
    ("idle", "said"),
    [
        (
            Idle(60.02, 0.01, "close_notify+fin", 55.0, ""),
            "idle The server ends an idle connection after 60.02 s (spread 0.01 s) with "
            "close_notify+fin. Close idle connections on the client before 55 s",
        ),
        (Idle(None, None, "still open after 75 s", None, ""), "idle No idle timeout seen (still"),
        (Idle(5.0, None, "fin", 4.0, "Keep below 4 s."), "after 5 s with fin. Keep below 4 s"),
    ],
)
def test_idle_expiry_has_a_line(idle: Idle, said: str) -> None:
    assert said in words(shown([make_run(clean(), idle=idle)]))


def test_cells_without_an_answer_are_listed_with_the_reason() -> None:
    runs = [make_run(unsupported("terminate", "1.2"), clean())]
    text = words(shown(runs))
    assert "UNSUPPORTED where terminate (TLS 1.2) reason the server speaks only TLS 1.3" in text
    assert "terminate ✓ ok" in text
    assert "### UNSUPPORTED\n\n- where: terminate (TLS 1.2)\n- reason: the server" in written(runs)


def test_how_late_our_steps_were_and_what_it_cost_is_said() -> None:
    run = replace(
        make_run(replace(clean(), left_out={"late": 2, "not-reached": 1}, repeated=3)),
        spent=Plan(106, 15, 3.4),
        lateness=Spread(36, 9.8, 149.9, 4272.4, 9487.1),
    )
    page = written([run])
    assert "- cost: 106 connections, at most 15 open at once, 3.4 s" in page
    assert "0.1 ms late (median), at most 9.5 ms" in page
    assert "2 trials left out: a step of ours was late; 3 trials driven once more" in page


def test_interruption_and_notes_are_there() -> None:
    text = words(shown([make_run(clean(), notes=("the server was slow",), interrupted=True)]))
    assert "note the server was slow" in text
    assert "note interrupted: only what was finished" in text


def test_no_finding_is_said() -> None:
    assert "## Findings\n\nNone.\n" in written([make_run(clean())])


def test_ladders_can_be_left_out() -> None:
    assert "──▶" not in on_terminal(run_page([postgres_run()], ladders=0))


def test_an_empty_run_is_a_page() -> None:
    assert "0 cells: nothing judged" in shown([make_run()])


# --- Several runs ---------------------------------------------------------------------------------


def test_several_targets_share_one_table() -> None:
    page = written([postgres_run(), nginx_run()])
    assert page.startswith("# How 2 targets end TLS connections")
    rows = table_rows(page)
    assert rows[0] == ["sequence", "postgres", "nginx"]
    assert ["server-close-reply", "", "! RST 3/1200 rst"] in rows
    assert "- idle: nginx: 60.02 s (spread 0.01 s), then" in page


def test_the_matrix_can_stand_alone() -> None:
    matrix = matrix_of([postgres_run(), nginx_run()])
    text = on_terminal((matrix.table, matrix.legend))
    assert "✗ fin" in text
    assert "no-close-notify: bare FIN" in text
    assert "FAIL" not in text


@pytest.mark.parametrize(("width", "bands"), [(80, 3), (150, 1)])
def test_nine_targets_come_in_bands_that_keep_their_names_whole(width: int, bands: int) -> None:
    runs = nine_targets()
    text = shown(runs, width=width)
    rows = [line for line in text.splitlines() if line.startswith("terminate-close-notify-fin ")]
    assert " ".join(" ".join(row.split()[1:]) for row in rows) == " ".join(["✓ ok"] * 9)
    for name in SEQUENCES:
        assert len(re.findall(rf"^{name} ", text, re.MULTILINE)) == bands
    headings = " ".join(line for line in text.splitlines() if line.startswith("sequence "))
    assert all(run.target.name in headings for run in runs)


# --- How it fits ----------------------------------------------------------------------------------


def test_one_sequence_fits_one_screen() -> None:
    run = make_run(postgres_reset("1.2"), postgres_reset("1.3"))
    assert on_terminal(brief_page(run, "results/here"), width=80).count("\n") <= 56


def test_a_brief_page_has_the_verdict_first_and_last() -> None:
    lines = on_terminal(brief_page(postgres_run(), "results/here"), width=80).splitlines()
    verdict = "postgres at 127.0.0.1:5432: 1 behaviour to know, it breaks things."
    assert lines[0] == lines[-1] == verdict
    assert any(line.startswith("  results  results/here") for line in lines)


def test_a_server_that_tells_its_version_alone_is_called_by_its_name() -> None:
    run = replace(postgres_run(), server_says="server_version 15.18 (Debian 15.18-0+deb12u1)")
    lines = on_terminal(brief_page(run), width=132).splitlines()
    said = "PostgreSQL 15.18 (Debian 15.18-0+deb12u1) at 127.0.0.1:5432: 1 behaviour to know, "
    assert lines[0].startswith(said)
    other = replace(run, server_says="server_version")
    assert on_terminal(brief_page(other), width=132).startswith("server_version at ")


def test_a_brief_page_counts_what_was_not_measured() -> None:
    gone = replace(clean(), verdict=Verdict.INCONCLUSIVE, reason="the capture had ended by then")
    text = words(on_terminal(brief_page(make_run(gone)), width=80))
    assert "gaps 1 cell inconclusive: the capture had ended by then" in text


def test_nothing_to_report_is_said_of_what_was_measured() -> None:
    unproven = replace(clean("fin-only"), verdict=Verdict.INCONCLUSIVE)
    text = words(on_terminal(brief_page(make_run(clean(), unproven)), width=132))
    said = "nothing to report where it could be measured; 1 of 2 cells could not be."
    assert text.count(said) == 2


def test_a_version_that_is_not_spoken_is_a_line() -> None:
    run = make_run(*(cell for n in SEQUENCES for cell in (clean(n), unsupported(n, "1.2"))))
    line = f"TLS 1.2 is not in the matrix ({len(SEQUENCES)} cells): the server speaks only"
    for page in (brief_page(run), run_page([run])):
        text = words(on_terminal(page, width=132))
        assert line in text
        assert "na" not in text.partition("Findings")[0].split()
    assert "gaps" not in on_terminal(brief_page(run))
    alone = words(on_terminal(brief_page(make_run(unsupported("terminate", "1.2")))))
    assert "not in the matrix" not in alone
    assert "- na" in alone


@pytest.mark.slow
def test_no_number_stands_where_none_is_meant() -> None:
    too_soon = Idle(0.2, 0.01, "fin", 0.0, "no client should keep one")
    by_age = Idle(60.0, 0.01, "fin", 54.0, "use it for 54 s", counted_from=CountedFrom.ACCEPT)
    for idle in (too_soon, by_age):
        text = words(on_terminal(brief_page(make_run(clean(), idle=idle)), width=132))
        assert idle.advice[1:] in text
        assert "or less" not in text
    assert "up to 0 s" not in render_html(run_page([make_run(clean(), idle=too_soon)]))


def test_a_brief_page_says_in_few_words_how_it_was_measured() -> None:
    late = replace(clean(), left_out={"late": 2, "busy": 1}, repeated=7)
    idle = Idle(60.0, 0.01, "close_notify+fin", 54.0, "a long sentence")
    lateness = Spread(20, 100.0, 400.0, 900.0, 1200.0)
    run = replace(make_run(late), idle=idle, lateness=lateness, spent=Plan(9, 4, 12.0))
    text = words(on_terminal(brief_page(run), width=132))
    assert "60 s (spread 0.01 s), then close_notify+fin; keep the client's idle timeout at" in text
    assert "0.4 ms late (median), at most 1.2 ms; 3 trials left out; 7 trials driven once" in text
    assert "cost 9 connections in 12 s; " in text
    assert "a long sentence" not in text


def test_a_server_without_behaviours_has_nothing_to_report() -> None:
    text = words(on_terminal(brief_page(make_run(clean())), width=80))
    assert text.startswith("postgres at 127.0.0.1:5432: nothing to report.")


def test_sequences_that_went_alike_share_a_row() -> None:
    goodbyes = [name for name, entry in catalogue().items() if entry.group == "goodbye"]
    first = [name for name, entry in catalogue().items() if entry.group == "client-first"]
    run = make_run(*map(clean, (*first[:5], *goodbyes)))
    text = on_terminal(brief_page(run), width=80)
    assert f"{first[0]} (+4)" in text
    assert f"{goodbyes[0]} (+{len(goodbyes) - 1})" in text
    assert "✓ pass, ok clean, (+N) N more that went alike\n" in text
    alone = on_terminal(brief_page(make_run(clean(first[0]), clean(goodbyes[0]))), width=80)
    assert "(+N)" not in alone


def test_a_long_run_fits_little_more_than_a_screen_and_counts_the_rest() -> None:
    """Each sequence in a row of its own, and more behaviours than there is room for."""
    names = list(catalogue())[:60]
    steps = [replace(postgres_reset(), sequence=name) for name in names[::3]]
    others = [replace(bare_fin(), sequence=name) for name in names[1::3]]
    run = make_run(*steps, *others, *map(clean, names[2::3]))
    text = on_terminal(brief_page(run, "results/here"), width=80)
    assert text.count("\n") <= 60
    assert re.search(r"\d+ sequences more with --verbose", words(text))


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
@pytest.mark.parametrize("width", [40, 80, 132])
def test_no_line_is_too_wide(width: int, encoding: str) -> None:
    for runs in ([postgres_run()], [nginx_run()], [postgres_run(), nginx_run()], nine_targets()):
        text = shown(runs, width=width, encoding=encoding)
        assert max(map(cell_len, text.splitlines())) <= width
        assert with_blanks(text) == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [40, 80, 132])
def test_no_line_ends_in_blanks(width: int) -> None:
    assert with_blanks(shown([nasty_run()], width=width)) == []
    for runs in ([postgres_run()], [nasty_run()], [postgres_run(), nginx_run()]):
        assert with_blanks(shown(runs, width=width, colour=True)) == []


@pytest.mark.slow
def test_nor_does_one_of_many_targets_or_in_markdown() -> None:
    assert with_blanks(shown(nine_targets(), colour=True)) == []
    for runs in ([postgres_run()], [nasty_run()], [postgres_run(), nginx_run()], nine_targets()):
        assert with_blanks(written(runs)) == []


def with_blanks(text: str) -> list[str]:
    """The lines that end in blanks, whatever their colours."""
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
    return [line for line in lines if line != line.rstrip()]


# --- Hostile text ---------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_nasty_text_is_shown_and_not_obeyed(encoding: str) -> None:
    text = shown([nasty_run()], encoding=encoding)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert r"\x1b[31mred|`tick``s`" in text
    assert "[bold]x[/bold]" in text
    assert max(map(cell_len, text.splitlines())) <= 80
    assert "\x1b" not in shown([nasty_run(), postgres_run()], encoding=encoding)


def test_nasty_text_makes_no_markdown() -> None:
    page = written([nasty_run()], NASTY)
    assert not {"\x1b", "\u202e", "\udcff"} & set(page)
    assert {len(row) for row in table_rows(page)} == {4, 5}
    assert "<b>" not in re.sub(r"```.*?```|``text.*?``|`+[^\n]*`+", "", page, flags=re.DOTALL)
    headings = [line for line in page.splitlines() if line.startswith("#")]
    assert all(line.split()[1] != "head" for line in headings)
    page.encode()


def test_nasty_names_do_not_break_the_matrix() -> None:
    runs = [make_run(clean(), name=f"{NASTY}{n}") for n in range(3)]
    assert max(map(cell_len, shown(runs).splitlines())) <= 80


def test_a_mark_that_is_markdown_stays_a_mark() -> None:
    broken = replace(clean(), verdict=Verdict.ERROR)
    page = written([make_run(broken, unsupported("b", "1.3"))])
    assert "- `#` error: tlsprobe could not measure it" in page
    assert "- `-` unsupported" in page
