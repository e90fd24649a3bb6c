"""``tlsprobe matrix``: several results folders side by side."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tlsprobe.cli.console import out
from tlsprobe.errors import UsageError
from tlsprobe.model.run import Run
from tlsprobe.report.document import RUN_FILE, encode_run_line, read_run
from tlsprobe.report.terminal import print_report


def matrix(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Results folders, or folders of them.")
    ],
    json: Annotated[bool, typer.Option("--json", help="One run document a line.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colour.")] = False,
) -> None:
    """Put the results of several runs into one compatibility matrix.

    Example: tlsprobe matrix results/20261120T*
    """
    runs = [run for folder in folders for run in _read(folder)]
    if json:
        for run in runs:
            sys.stdout.buffer.write(encode_run_line(run))
        return
    print_report(out(no_color), runs)


def _read(place: Path) -> list[Run]:
    """The run in a folder, or the runs in the folders below it."""
    if place.is_dir() and not (place / RUN_FILE).exists():
        below = sorted(place.glob(f"*/{RUN_FILE}"))
        if not below:
            hint = "give folders that 'tlsprobe run' or 'tlsprobe demo' wrote"
            raise UsageError(f"{place} holds no {RUN_FILE}, nor does a folder in it", hint)
        return [read_run(path) for path in below]
    return [read_run(place)]
