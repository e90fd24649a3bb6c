"""The matrix to look around in: each cell leads to what is behind it, and text has the table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.report.builders import nasty_run, nginx_run, postgres_run
from tests.report.drawn import on_terminal
from tests.report.vendors import five
from tlsprobe.behaviours import behaviours_of
from tlsprobe.catalogue import catalogue
from tlsprobe.model.behaviour import Harm
from tlsprobe.model.run import Run
from tlsprobe.report.blocks import Drawer, Field, Fields, Grid, Heading, Jump, Ladder, Page
from tlsprobe.report.compatibility import compatibility_of, table_of, vendors_of
from tlsprobe.report.matrix import matrix_of
from tlsprobe.report.pages.grids import (
    CHAPTERS,
    HARMS,
    HEADINGS,
    HURTS_NOBODY,
    NOT_MEASURED,
    ONLY_WAIVED,
    OWN_CHAPTER,
    heading_of,
    many_grid,
    run_grid,
)


def grid_of(run: Run) -> Grid:
    return run_grid(run, matrix_of([run]).table)


def drawers_of(grid: Grid) -> dict[str, Drawer]:
    return {f"#{drawer.name}": drawer for drawer in grid.drawers()}


def fields_of(page: Page) -> dict[str, Field]:
    return {row.label: row for block in page if isinstance(block, Fields) for row in block.rows}


def test_each_cell_of_a_run_opens_its_drawer() -> None:
    grid = grid_of(postgres_run())
    drawers = drawers_of(grid)
    opened = {cell.opens for row in grid.cells for cell in row if cell.opens}
    assert opened == set(drawers) == {"#d-terminate", "#d-terminate-close-notify"}
    assert [line.group for line in grid.rows] == ["Goodbye", "Goodbye"]


def test_a_cell_has_the_harm_and_number_of_what_was_seen_in_it() -> None:
    run = postgres_run()
    worst = behaviours_of(run)[0]
    clean, reset = grid_of(run).cells
    assert (clean[0].harm, clean[0].numbers) == (None, "")
    assert reset[0].harm is worst.harm
    assert "1" in reset[0].numbers.split(",")


def test_a_drawer_tells_a_cell() -> None:
    """What was asked, how it ended, the packets, the rule, the cause and what to do."""
    drawer = drawers_of(grid_of(postgres_run()))["#d-terminate-close-notify"]
    headings = [block for block in drawer.blocks if isinstance(block, Heading)]
    assert [heading.text for heading in headings] == ["TLS 1.2 and 1.3: reset-before-fin"]
    assert any(isinstance(block, Ladder) for block in drawer.blocks)
    fields = fields_of(drawer.blocks)
    assert {"asks", "steps", "wire", "warn", "rule", "why", "hurts", "remedy", "again"} <= set(
        fields
    )
    words = on_terminal(drawer.blocks, width=200)
    assert "TLS12-NOTIFY, TLS13-NOTIFY" in words.replace("TCP-RST-ON-UNREAD, ", "")
    assert "INTEROP-RESET-BEFORE-FIN" in words
    assert "unread-data-at-close" in words
    behaviour = fields[str(behaviours_of(postgres_run())[0].harm)]
    assert isinstance(behaviour.text[0], Jump)


def test_versions_that_went_apart_are_told_apart() -> None:
    run = postgres_run()
    apart = replace(run.cells[3], signatures={"G N r": 20})
    drawer = drawers_of(grid_of(replace(run, cells=(*run.cells[:3], apart))))
    headings = [b for b in drawer["#d-terminate-close-notify"].blocks if isinstance(b, Heading)]
    assert len(headings) == 2


@pytest.mark.slow
def test_sequences_of_nobody_s_have_safe_names() -> None:
    grid = grid_of(nasty_run())
    assert [drawer.name for drawer in grid.drawers()] == ["d-0", "d-1"]
    assert {line.group for line in grid.rows} == {OWN_CHAPTER}


def test_servers_stand_by_the_worst_that_they_do() -> None:
    comp = compatibility_of(five())
    grid = many_grid(comp, table_of(comp).table)
    groups = list(dict.fromkeys(line.group for line in grid.rows))
    order = [*HEADINGS, NOT_MEASURED]
    assert groups == sorted(groups, key=order.index)
    assert groups[-1] == NOT_MEASURED
    assert grid.axes == ("server", "sequence")
    assert len(grid.cells) == len(grid.rows) == 5
    assert {len(row) for row in grid.cells} == {len(grid.columns)}


def test_drawers_of_many_are_packed_by_server() -> None:
    comp = compatibility_of(five())
    grid = many_grid(comp, table_of(comp).table)
    drawers = drawers_of(grid)
    assert {drawer.pack for drawer in drawers.values()} == {
        "nginx",
        "nginx-proxy",
        "postgres",
        "redis",
    }
    assert {cell.opens for row in grid.cells for cell in row if cell.opens} == set(drawers)
    assert drawers["#d-postgres-terminate-close-notify"].title.startswith("PostgreSQL: ")


def test_a_site_leads_to_its_pages() -> None:
    class Pages:
        def server(self, folder: str) -> str:
            return f"{folder}/"

        def sequence(self, name: str) -> str:
            return f"sequences/{name}"

        def cell(self, folder: str, drawer: str) -> str:
            return f"{folder}/#{drawer}"

    comp = compatibility_of(five())
    grid = many_grid(comp, table_of(comp).table, Pages())
    assert list(grid.drawers()) == []
    assert grid.columns[0].url == f"sequences/{grid.columns[0].head}"
    hasty = next(
        row for line, row in zip(grid.rows, grid.cells, strict=True) if line.url == "postgres/"
    )
    assert "postgres/#d-terminate" in {cell.opens for cell in hasty}


def test_every_harm_has_a_heading() -> None:
    assert set(HARMS) == set(Harm) - {Harm.NONE}


def test_a_server_of_which_all_is_waived_does_not_pass_for_one_that_hurts_nobody() -> None:
    run = postgres_run()
    found = behaviours_of(run)
    accepted = replace(run, behaviours=tuple(replace(one, waived="known") for one in found))
    harmless = replace(run, behaviours=tuple(replace(one, harm=Harm.NONE) for one in found))
    headings = [heading_of(*vendors_of([one])) for one in (run, accepted, harmless)]
    assert headings == [HARMS[found[0].harm], ONLY_WAIVED, HURTS_NOBODY]


def test_races_and_errors_have_drawers_too() -> None:
    assert all(drawer.blocks for drawer in grid_of(nginx_run()).drawers())


def test_each_chapter_of_the_catalogue_has_a_heading() -> None:
    assert {entry.group for entry in catalogue().values()} == set(CHAPTERS)
