"""``tlsprobe report``: the page to share, one HTML file for each results folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from tlsprobe.campaign.beside import pages_beside
from tlsprobe.campaign.lab_columns import shipped_columns
from tlsprobe.campaign.reading import typed_of
from tlsprobe.campaign.reading_many import results_below
from tlsprobe.campaign.results import replace_file, writing
from tlsprobe.cli.console import note
from tlsprobe.cli.typed import command_line
from tlsprobe.report.blocks import Page
from tlsprobe.report.compatibility import vendors_of
from tlsprobe.report.compatibility_json import absent_in
from tlsprobe.report.formats import HTML_PAGE, page_to_share
from tlsprobe.report.fuzz_document import FUZZ_FILE, read_fuzz
from tlsprobe.report.lab_notes import read_lab_notes
from tlsprobe.report.pages.compatibility import comparison_page
from tlsprobe.report.pages.fuzz import fuzz_page
from tlsprobe.report.pages.run import run_page
from tlsprobe.report.pages.site import INDEX
from tlsprobe.report.site import data_in, site_of, write_site


def report(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Results folders, or folders of them.")
    ],
    site: Annotated[
        Path | None,
        typer.Option(
            "--site",
            metavar="FOLDER",
            help="Write a site instead: an index, and a page for each server and each sequence.",
        ),
    ] = None,
) -> None:
    """Write the page to share into results folders: one HTML file, which needs no other.

    The page opens from disk, prints, and needs no script. 'run', 'lab run' and 'fuzz' write it as
    well. A folder of several results folders gets the matrix of them all besides.

    A site is static files that lead to each other, for any host or straight from disk: open its
    index.html.

    Example: tlsprobe report results/20261120T200102Z-db.example-5432

    Example: tlsprobe report results --site site
    """
    if site is not None:
        typer.echo(_write_site(folders, site))
        return
    for folder, page in list(_pages(folders)):
        file = folder / HTML_PAGE
        replace_file(file, page_to_share(page).encode())
        typer.echo(file)


def _pages(places: list[Path]) -> Iterator[tuple[Path, Page]]:
    """Each folder that gets a page, and the page."""
    fuzzed = [place for place in places if (place / FUZZ_FILE).exists()]
    yield from ((place, fuzz_page(read_fuzz(place)[0])) for place in fuzzed)
    others = [place for place in places if place not in fuzzed]
    for place, found in zip(others, results_below(others, note), strict=True):
        yield from ((folder, run_page([run])) for folder, run in found)
        if len(found) > 1:
            vendors = vendors_of([run for _, run in found], absent_in(place))
            yield place, comparison_page(vendors, command_line())


def _write_site(folders: list[Path], site: Path) -> Path:
    """The index of the site, written."""
    found = [pair for below in results_below(folders, note) for pair in below]
    notes = [notes for place in folders if (notes := read_lab_notes(place)) is not None]
    files = site_of(
        [(run, typed_of(folder)) for folder, run in found],
        [one for note in notes for one in note.absent],
        notes[0].command if len(notes) == 1 else "",
        profiles=shipped_columns(),
        further=[page for place in folders for page in pages_beside(place)],
        also=data_in(site),
    )
    with writing(site):
        write_site(site, files)
    return site / INDEX
