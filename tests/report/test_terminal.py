"""What a person reads: the right words, in the right order, on any kind of stream."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from tests.report.builders import (
    NASTY,
    SEQUENCES,
    clean,
    make_run,
    nasty_run,
    nginx_race,
    nginx_run,
    postgres_reset,
    postgres_run,
    unsupported,
)
from tlsprobe.model.judgement import Confidence
from tlsprobe.model.run import CaptureFacts, CauseFacts, Idle, Run
from tlsprobe.report.terminal import Trimmed, print_matrix, print_report


def shown(
    runs: Sequence[Run], *, width: int = 80, encoding: str = "utf-8", colour: bool = False
) -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
    system: Literal["standard"] | None = "standard" if colour else None
    console = Console(file=stream, width=width, force_terminal=colour, color_system=system)
    print_report(console, runs)
    stream.flush()
    data = stream.buffer
    assert isinstance(data, io.BytesIO)
    return data.getvalue().decode(encoding)


def words(text: str) -> str:
    """The text without line breaks, so that wrapping does not matter."""
    return " ".join(text.split())


def nine_targets() -> list[Run]:
    runs = []
    for number in range(9):
        measured = [clean(name, tls) for name in SEQUENCES[:-2] for tls in ("1.2", "1.3")]
        race = [replace(nginx_race("1.2", 3, 20)), nginx_race("1.3", 20, 20)]
        reset = replace(postgres_reset(), sequence=SEQUENCES[-2])
        runs.append(make_run(*measured, reset, *race, name=f"reference-{number}"))
    return runs


def test_a_reset_is_told_with_its_cause_its_victim_and_its_remedy() -> None:
    text = words(shown([postgres_run()]))
    story = [
        "postgres at 127.0.0.1:5432",
        "terminate-close-notify ! RST ! RST reset-before-fin G N n r",
        "WARN INTEROP-RESET-BEFORE-FIN (interop): terminate-close-notify (20/20 each, TLS 1.2 and",
        "seen The server reset the connection instead of ending it with a FIN",
        "why unread-data-at-close (confidence high, in 40 trials)",
        "• Packet 24 is RST+ACK with a live window",
        "hurts Whoever reads between client and server: the read fails with ECONNRESET",
        "remedy • Send Terminate and close without a close_notify.",
        "pass TCP-RST-ON-UNREAD",
        "terminate-close-notify, TLS 1.2, trial 7: G N n r",
        "0 µs client ──▶ server G #21 Terminate (5 bytes)",
        "> 1.2 ms client ◀── server r #24 RST+ACK, window 512",
        "RST reset-before-fin: ",
        "capture packet on lo, 1234 packets, none dropped",
        "summary 4 cells: 2 pass, 2 warn",
    ]
    places = [text.find(part) for part in story]
    assert -1 not in places, story[places.index(-1)]
    assert places == sorted(places)


def test_one_sequence_fits_one_screen() -> None:
    run = make_run(postgres_reset("1.2"), postgres_reset("1.3"))
    assert shown([run]).count("\n") <= 48


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
@pytest.mark.parametrize("width", [40, 80, 132])
def test_no_line_is_too_wide(width: int, encoding: str) -> None:
    for runs in ([postgres_run()], [nginx_run()], [postgres_run(), nginx_run()], nine_targets()):
        lines = shown(runs, width=width, encoding=encoding).splitlines()
        assert max(map(cell_len, lines)) <= width


@pytest.mark.parametrize("width", [40, 80, 132])
@pytest.mark.parametrize("colour", [False, True])
def test_no_line_ends_in_blanks(width: int, colour: bool) -> None:
    for runs in ([postgres_run()], [nasty_run()], [postgres_run(), nginx_run()], nine_targets()):
        text = re.sub(r"\x1b\[[0-9;]*m", "", shown(runs, width=width, colour=colour))
        assert [line for line in text.splitlines() if line != line.rstrip()] == []


def test_trimming_takes_nothing_else() -> None:
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_row("a", "b" * 5, " ")
    table.add_row("  long", "", "", style="bold")
    console = Console(file=io.StringIO(), width=80)
    console.print(Trimmed(table))
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == "a      bbbbb\n  long\n"


def test_only_the_servers_resets_say_whom_they_hurt() -> None:
    own = CauseFacts("unread-data-at-close", 4, "client", Confidence.MEDIUM, ("We had closed.",))
    text = words(shown([make_run(replace(clean(), why=(own,)))]))
    assert "We had closed." in text
    assert "hurts" not in text


@pytest.mark.parametrize(("width", "bands"), [(80, 3), (150, 1)])
def test_nine_targets_come_in_bands_that_keep_their_names_whole(width: int, bands: int) -> None:
    runs = nine_targets()
    text = shown(runs, width=width)
    assert max(map(cell_len, text.splitlines())) <= width
    rows = [line for line in text.splitlines() if line.startswith("terminate-close-notify-fin ")]
    assert " ".join(" ".join(row.split()[1:]) for row in rows) == " ".join(["✓ ok"] * 9)
    for name in SEQUENCES:
        assert len(re.findall(rf"^{name} ", text, re.MULTILINE)) == bands
    headings = " ".join(line for line in text.splitlines() if line.startswith("sequence "))
    assert all(run.target.name in headings for run in runs)


def test_a_mixed_cell_shows_its_distribution() -> None:
    text = shown([make_run(nginx_race("1.3", 3, 20))])
    assert "! RST 3/20" in text
    assert "in n of N trials" in text


def test_ascii_streams_get_ascii() -> None:
    text = shown([postgres_run()], encoding="ascii")
    assert "+  ok" in text
    assert "client <-- server" in text


def test_colour_adds_nothing_but_colour() -> None:
    plain, coloured = shown([postgres_run()]), shown([postgres_run()], colour=True)
    assert "\x1b[" not in plain
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    codes = re.findall(r"\x1b\[([0-9;]*)m", shown([nginx_run()], colour=True))
    assert not {code for code in codes if set(code.split(";")) & {str(n) for n in range(30, 38)}}


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_nasty_text_is_shown_and_not_obeyed(encoding: str) -> None:
    text = shown([nasty_run()], encoding=encoding)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert r"\x1b[31mred|`tick``s`" in text
    assert "[bold]x[/bold]" in text
    assert max(map(cell_len, text.splitlines())) <= 80
    several = shown([nasty_run(), postgres_run()], encoding=encoding)
    assert "\x1b" not in several


def test_a_missing_capture_is_said_plainly() -> None:
    run = make_run(clean(), capture=CaptureFacts("none", "", 0, None))
    assert "capture none. Weaker evidence" in words(shown([run]))


def test_dropped_packets_are_said_plainly() -> None:
    run = make_run(clean(), capture=CaptureFacts("packet", "lo", 100, 7))
    text = words(shown([run]))
    assert "100 packets, 7 DROPPED. Weaker evidence" in text
    assert "7 DROPPED" in words(shown([run, postgres_run()]))


def test_a_backend_that_cannot_count_drops_says_so() -> None:
    run = make_run(clean(), capture=CaptureFacts("tcpdump", "eth0", 1, None))
    assert "tcpdump on eth0, 1 packet. It cannot tell" in words(shown([run]))


@pytest.mark.parametrize(
    ("idle", "said"),
    [
        (
            Idle(60.02, 0.01, "close_notify+fin", 55.0, ""),
            "idle the server ends an idle connection after 60.02 s (spread 0.01 s) with "
            "close_notify+fin. Let clients give idle connections up before 55 s.",
        ),
        (Idle(None, None, "still open after 75 s", None, ""), "idle no idle timeout seen (still"),
        (Idle(5.0, None, "fin", 4.0, "Keep below 4 s."), "after 5 s with fin. Keep below 4 s."),
    ],
)
def test_idle_expiry_has_a_line(idle: Idle, said: str) -> None:
    assert said in words(shown([make_run(clean(), idle=idle)]))


def test_cells_without_an_answer_are_listed_with_the_reason() -> None:
    text = words(shown([make_run(unsupported("terminate", "1.2"), clean())]))
    assert "UNSUPPORTED terminate (TLS 1.2) reason the server speaks only TLS 1.3" in text
    assert "terminate - na ✓ ok" in text


def test_our_own_reset_is_called_ours() -> None:
    own = CauseFacts("data-after-close", 4, "client", Confidence.MEDIUM, ("We had closed.",))
    text = words(shown([make_run(replace(clean(), why=(own,)))]))
    assert "INFO our own side reset: data-after-close (confidence medium, in 4 trials)" in text


def test_interruption_and_notes_are_told() -> None:
    text = words(shown([make_run(clean(), notes=("the server was slow",), interrupted=True)]))
    assert "note the server was slow" in text
    assert "note interrupted: only what was finished" in text


def test_ladders_can_be_left_out() -> None:
    console = Console(file=io.StringIO(), width=80)
    print_report(console, [postgres_run()], ladders=0)
    assert isinstance(console.file, io.StringIO)
    assert "──▶" not in console.file.getvalue()


def test_the_matrix_can_stand_alone() -> None:
    console = Console(file=io.StringIO(), width=80)
    print_matrix(console, [postgres_run(), nginx_run()])
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "✗ fin" in text
    assert "no-close-notify: bare FIN" in text
    assert "FAIL" not in text


def test_an_empty_run_prints() -> None:
    assert "0 cells: nothing judged" in shown([make_run()])


def test_nasty_names_do_not_break_the_matrix() -> None:
    runs = [make_run(clean(), name=f"{NASTY}{n}") for n in range(3)]
    assert max(map(cell_len, shown(runs).splitlines())) <= 80
