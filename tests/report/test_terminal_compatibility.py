"""Many servers on a terminal: groups, the table in bands, and reasons; nothing too wide."""

from __future__ import annotations

import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from tests.report.vendors import BARE, CLOSED, HASTY, NEVER_IDLE, five, nasty, vendor
from tlsprobe.report.compatibility import Vendor, compatibility_of
from tlsprobe.report.terminal import MOST_TOLD, print_compatibility

HABITS = (CLOSED, BARE, HASTY, NEVER_IDLE)


def many(count: int = 45) -> list[Vendor]:
    measured = [vendor(f"vendor-{number}", HABITS[number % 4]) for number in range(count)]
    return [*measured, Vendor("h2o", "h2o", None, "no such program: h2o")]


def shown(
    vendors: list[Vendor], *, width: int = 80, is_turned: bool = False, encoding: str = "utf-8"
) -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    console = Console(file=stream, width=width, force_terminal=False, color_system=None)
    print_compatibility(console, compatibility_of(vendors), is_turned=is_turned)
    stream.flush()
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize("is_turned", [False, True])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("width", [60, 80, 120])
def test_forty_five_servers_fit_any_screen(width: int, encoding: str, is_turned: bool) -> None:
    text = shown(many(), width=width, is_turned=is_turned, encoding=encoding)
    lines = text.splitlines()
    assert max(map(cell_len, lines)) <= width
    assert [line for line in lines if line != line.rstrip()] == []


def test_every_server_and_every_sequence_is_there() -> None:
    text = shown(many())
    for name in (*CLOSED, *(f"vendor-{number}" for number in range(45))):
        assert name in text
    turned = shown(many(), is_turned=True)
    rows = [line for line in turned.splitlines() if re.match("[A-D] vendor-0 ", line)]
    assert " ".join(" ".join(row.split()[2:]) for row in rows) == " ".join(["✓ ok"] * 8)


def test_groups_come_first_and_reasons_behind_the_table() -> None:
    text = " ".join(shown(five()).split())
    order = [
        "4 servers; those with the same letter close alike",
        "nginx, nginx engine, APISIX settings: ",
        "sequence",
        "terminate-close-notify",
        "na unsupported",
        "unsupported here h2o no such program: h2o",
        "summary",
    ]
    places = [text.find(part) for part in order]
    assert -1 not in places, order[places.index(-1)]
    assert places == sorted(places)


def test_of_few_servers_the_findings_are_told_of_many_where_they_are() -> None:
    assert "matrix.md" not in shown(many(MOST_TOLD))
    assert "its matrix.md, tell what was found" in shown(many(MOST_TOLD + 1))


@pytest.mark.parametrize("is_turned", [False, True])
def test_nasty_names_are_shown_and_not_obeyed(is_turned: bool) -> None:
    text = shown(nasty(), is_turned=is_turned)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[bold]" in text.replace("\n", "")


def test_nothing_measured_prints() -> None:
    assert "0 servers" in shown([])


def test_one_server_is_one_server() -> None:
    assert shown(many(1)).startswith("1 server\n")
