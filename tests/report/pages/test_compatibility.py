"""The page of many servers: the summary, groups, the table, and reasons; nothing too wide."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import pytest
from rich.cells import cell_len

from tests.report.drawn import in_order, on_terminal, table_rows, words
from tests.report.vendors import (
    BARE,
    CLOSED,
    DISAGREEMENT,
    HASTY,
    NEVER_IDLE,
    five,
    in_lab,
    nasty,
    run_of,
    truth,
    vendor,
)
from tlsprobe.model.run import Truth
from tlsprobe.report.agreement import agreement_of, agreement_sentences
from tlsprobe.report.compatibility import Vendor, compatibility_of, vendors_of
from tlsprobe.report.pages.compatibility import (
    MOST_EXPLAINED,
    comparison_page,
    compatibility_page,
    summary_page,
)
from tlsprobe.report.pages.run import run_page
from tlsprobe.report.render_markdown import ACROSS, render_markdown
from tlsprobe.report.summary_table import SAFE

COMMAND = "tlsprobe lab run --trials 20"
HABITS = (CLOSED, BARE, HASTY, NEVER_IDLE)


@cache
def many_shown(width: int, encoding: str, *, is_transposed: bool) -> str:
    """What a terminal shows of forty-five servers."""
    return shown(many(), width=width, is_transposed=is_transposed, encoding=encoding)


@cache
def many(count: int = 45) -> list[Vendor]:
    measured = [vendor(f"vendor-{number}", HABITS[number % 4]) for number in range(count)]
    return [*measured, Vendor("h2o", "h2o", None, "no such program: h2o")]


def shown(
    vendors: list[Vendor], *, width: int = 80, is_transposed: bool = False, encoding: str = "utf-8"
) -> str:
    page = compatibility_page(compatibility_of(vendors), is_transposed=is_transposed)
    return on_terminal(page, width=width, encoding=encoding)


def written(vendors: list[Vendor], command: str = "", *, is_transposed: bool = False) -> str:
    page = compatibility_page(compatibility_of(vendors), command, is_transposed=is_transposed)
    return render_markdown(page)


# --- Terminal -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "encoding", "is_transposed"),
    [
        (60, "utf-8", False),
        (60, "ascii", True),
        (80, "utf-8", False),
        (80, "utf-8", True),
        (120, "ascii", False),
        (120, "utf-8", True),
    ],
)
def test_forty_five_servers_fit_any_screen(width: int, encoding: str, is_transposed: bool) -> None:
    text = many_shown(width, encoding, is_transposed=is_transposed)
    lines = text.splitlines()
    assert max(map(cell_len, lines)) <= width
    assert [line for line in lines if line != line.rstrip()] == []


@pytest.mark.slow
def test_every_server_and_every_sequence_is_there() -> None:
    text = many_shown(80, "utf-8", is_transposed=False)
    for name in (*CLOSED, *(f"vendor-{number}" for number in range(45))):
        assert name in text
    transposed = many_shown(80, "utf-8", is_transposed=True)
    rows = [line for line in transposed.splitlines() if re.match("[A-D] vendor-0 ", line)]
    assert " ".join(" ".join(row.split()[2:]) for row in rows) == " ".join(["✓ ok"] * 8)


def test_the_summary_comes_first_and_the_versions_last() -> None:
    in_order(
        words(shown(five(), width=100)),
        [
            "How 4 servers end TLS connections",
            "measured 2026-11-20 (UTC)",
            "PostgreSQL idle expiry close_notify, FIN",
            "h2o idle expiry unsupported: no such program: h2o",
            "Who closes alike",
            "nginx; nginx (as a proxy): ",
            "Servers with the same letter close alike",
            "Every sequence",
            "na unsupported",
            "terminate-close-notify",
            "Unsupported here • h2o: no such program: h2o",
            "Findings",
            "How this was measured summary",
            "version and TLS library",
        ],
    )


@pytest.mark.slow
def test_of_few_servers_the_findings_are_shown_of_many_where_they_are() -> None:
    assert "Findings" in shown(many(MOST_EXPLAINED))
    assert "see the matrix.md of each" in words(shown(many(MOST_EXPLAINED + 1)))


def test_a_single_run_has_its_own_page() -> None:
    one = vendor("nginx", BARE)
    assert one.run is not None
    assert comparison_page([one]) == run_page([one.run])
    assert comparison_page([one], is_transposed=True) != run_page([one.run])


@pytest.mark.parametrize("is_transposed", [False, True])
def test_nasty_names_are_shown_and_not_obeyed(is_transposed: bool) -> None:
    text = shown(nasty(), is_transposed=is_transposed)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[bold]" in text.replace("\n", "")


# --- Markdown -------------------------------------------------------------------------------------


def test_the_page_has_the_summary_first_then_groups_then_everything() -> None:
    page = written(five(), COMMAND)
    order = [
        "# How 4 servers end TLS connections",
        "- measured: 2026-11-20 (UTC)",
        "- kernel: Linux 6.18.0",
        f"- command: `{COMMAND}`",
        f"| {SAFE} |",
        "| h2o | unsupported: no such program: h2o |",
        "## Who closes alike",
        "- A: ",
        "## Every sequence",
        "- `✓` pass",
        "| terminate-close-notify |",
        "## Unsupported here",
        "- h2o: no such program: h2o",
        "## How this was measured",
    ]
    places = [page.find(part) for part in order]
    assert -1 not in places, order[places.index(-1)]
    assert places == sorted(places)


def test_the_summary_can_stand_elsewhere() -> None:
    vendors = five()
    runs = [v.run for v in vendors if v.run]
    alone = render_markdown(summary_page(runs, [("h2o", "h2o", "no such program: h2o")]))
    head, _, *lines = table_rows(alone)
    assert head[0] == "server"
    assert head[-1] == SAFE
    assert {len(line) for line in lines} == {len(head)}
    assert "**close_notify, RST**" in alone


@pytest.mark.slow
@pytest.mark.parametrize("is_transposed", [False, True])
def test_many_columns_come_in_blocks(is_transposed: bool) -> None:
    vendors = [vendor(f"server-{number}", CLOSED) for number in range(45)]
    page = written(vendors, is_transposed=is_transposed)
    _, _, whole = page.partition("## Every sequence")
    assert max(map(len, table_rows(whole))) <= ACROSS + 1
    for name in (*CLOSED, "server-44"):
        assert name in whole


def test_agreement_with_the_kernel_is_shown_with_every_disagreement() -> None:
    run = replace(run_of("nginx", CLOSED), truth=truth(DISAGREEMENT))
    other = replace(run_of("b", BARE), truth=truth(resets=50))
    page = written([*vendors_of([run, other])])
    assert "Of 150 RSTs in 2 runs, the reason that the sending kernel gives agrees with our" in page
    assert "nginx: terminate, TLS 1.3, trial 7, packet 42 (the server's): deliberate-abort" in page
    assert "Agreement" not in written(five())


def test_gaps_in_the_kernels_reasons_are_said() -> None:
    gaps = replace(truth(), unmatched=(DISAGREEMENT,), lost=4)
    found = agreement_of([("a", replace(run_of("a", CLOSED), truth=gaps))])
    assert found is not None
    said = " ".join(agreement_sentences(found))
    assert "For 1 more the kernel gave no reason." in said
    assert "On the same connections it sent 2 more that no trial saw." in said
    assert "lost 4 entries" in said
    assert agreement_of([("a", run_of("a", CLOSED))]) is None


@pytest.mark.parametrize(
    ("resets", "said"),
    [
        (0, "In 1 run there was no RST for which the kernel gave a reason."),
        (1, "Of 1 RST in 1 run, the reason that the sending kernel gives agrees with our cause"),
    ],
)
def test_few_resets_are_counted_in_good_english(resets: int, said: str) -> None:
    few = Truth(resets=resets, agreed=resets)
    found = agreement_of([("a", replace(run_of("a", CLOSED), truth=few))])
    assert found is not None
    assert next(iter(agreement_sentences(found))).startswith(said)


def test_the_lab_notes_stand_under_the_versions() -> None:
    run = in_lab(run_of("x", CLOSED), "nginx-proxy", "nginx (as a proxy)", notes="not nginx itself")
    page = written([*vendors_of([run])])
    assert "| nginx (as a proxy) | 1.22.1, OpenSSL 3.0.17 | 2026-11-20" in page
    assert "- nginx (as a proxy): not nginx itself" in page


def test_versions_name_the_kernel_where_there_are_several() -> None:
    one, other = vendor("a", CLOSED), vendor("b", CLOSED)
    assert "| kernel |" not in written([one, other])
    assert other.run is not None
    old = replace(other.run, host=replace(other.run.host, kernel="5.10.0"))
    assert "| Linux 5.10.0 |" in written([one, replace(other, run=old)])


def test_nasty_names_break_no_table() -> None:
    for is_transposed in (False, True):
        page = written(nasty(), COMMAND, is_transposed=is_transposed)
        assert "\x1b" not in page
        assert "\u202e" not in page
        assert "<b>" not in page
        assert len({len(row) for row in table_rows(page)}) <= 4  # heart, table, versions, no more
        assert [line for line in page.splitlines() if line.startswith("# head")] == []


def test_nothing_at_all_is_a_page_too() -> None:
    page = written([])
    assert page.startswith("# How 0 servers end")
    only_absent = written([Vendor("a", "A", None, "")])
    assert "no reason was given" in only_absent
