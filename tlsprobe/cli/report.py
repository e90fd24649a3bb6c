"""``tlsprobe report``: the page to share, one HTML file for each results folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tlsprobe.campaign.reading import results_in
from tlsprobe.campaign.results import HTML_PAGE, html_of, replace_file


def report(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Results folders, or folders of them.")
    ],
) -> None:
    """Write the page to share into results folders: one HTML file, which needs no other.

    The page opens from disk, prints, and needs no script. 'tlsprobe run' writes it as well.

    Example: tlsprobe report results/20261120T200102Z-db.example-5432
    """
    for folder, run in [pair for place in folders for pair in results_in(place)]:
        file = folder / HTML_PAGE
        replace_file(file, html_of(run))
        typer.echo(file)
