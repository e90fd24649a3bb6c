"""``tlsprobe matrix``: several results folders side by side."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tlsprobe.campaign.reading import AUTOMATIC
from tlsprobe.campaign.reading_many import results_below
from tlsprobe.cli.console import note, one_of, out
from tlsprobe.cli.machines import SarifOption, seen_from_here, write_report
from tlsprobe.cli.typed import command_line
from tlsprobe.errors import UsageError
from tlsprobe.facts.file import FACTS_FILE
from tlsprobe.model.run import Run
from tlsprobe.report.blocks import Page
from tlsprobe.report.ci.notice import Place
from tlsprobe.report.compatibility import Compatibility, compatibility_of, vendors_of
from tlsprobe.report.compatibility_csv import render_csv
from tlsprobe.report.compatibility_json import absent_in, encode_matrix
from tlsprobe.report.document import RUN_FILE, encode_run_line
from tlsprobe.report.formats import PAGE_FORMATS, renderer
from tlsprobe.report.pages.compatibility import comparison_page
from tlsprobe.report.render_terminal import print_page

TERMINAL = "terminal"


def _csv(matrix: Compatibility, is_transposed: bool) -> bytes:
    return render_csv(matrix, is_transposed=is_transposed).encode()


def _json(matrix: Compatibility, is_transposed: bool) -> bytes:
    return encode_matrix(matrix, command_line(), is_transposed=is_transposed)


DATA_FORMATS = {"csv": _csv, "json": _json}
"""What a matrix is written as for programs, besides the formats of pages."""

FORMATS = (TERMINAL, *PAGE_FORMATS, *DATA_FORMATS)


def matrix(  # noqa: PLR0917 - the options of the command line are its arguments
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Results folders, or folders of them.")
    ],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="|".join(FORMATS),
            callback=one_of(FORMATS),
            help="csv has one line per target, sequence and TLS version; json is one document.",
        ),
    ] = TERMINAL,
    transposed: Annotated[
        bool, typer.Option("--transposed", help="One row per target, one column per sequence.")
    ] = False,
    turned: Annotated[bool, typer.Option("--turned", hidden=True)] = False,
    out_file: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write to this file instead of the screen."),
    ] = None,
    sarif: SarifOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print one run document per line.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="Print no colour.")] = False,
) -> None:
    """Put the results of several runs into one compatibility matrix.

    Targets that close alike are grouped under one letter.

    Example: tlsprobe matrix results --format markdown --out matrix.md
    """
    if json and form != TERMINAL:
        hint = "--format json prints one document for all; --json prints one per run"
        raise UsageError("--json and --format exclude each other", hint)
    found = [pair for below in results_below(folders, note) for pair in below]
    if sarif is not None:
        write_report("--sarif", sarif, _sarif(found))
    if json:
        _put(b"".join(encode_run_line(run) for _, run in found), out_file)
        return
    runs = [_named(place, run) for place, run in found]
    vendors = vendors_of(runs, [one for folder in folders for one in absent_in(folder)])
    is_transposed = transposed or turned
    if form in DATA_FORMATS:
        _put(DATA_FORMATS[form](compatibility_of(vendors), is_transposed), out_file)
        return
    page = comparison_page(vendors, command_line(), is_transposed=is_transposed)
    if form == TERMINAL:
        _show(page, out_file, no_color)
    else:
        _put(renderer(form)(page).encode(), out_file)


def _sarif(found: Sequence[tuple[Path, Run]]) -> bytes:
    """What every server does, for code scanning; a matrix alone fails nothing.

    A result stands where the facts lie, since no file says where the target is configured.
    """
    from tlsprobe.report.ci.of_run import notices_of_runs
    from tlsprobe.report.ci.sarif import render_sarif

    files = [next(folder.glob(FACTS_FILE), folder / RUN_FILE) for folder, _ in found]
    places = [Place(seen_from_here(file)) for file in files]
    runs = [_named(place, run) for place, run in found]
    return render_sarif(notices_of_runs(runs, "never", allow_unmeasured=True, places=places))


def _show(page: Page, file: Path | None, no_color: bool) -> None:
    screen, text = out(no_color=no_color), io.StringIO()
    if file is None:
        print_page(screen, page)
        return
    plain = Console(
        file=text, width=screen.width, highlight=False, force_terminal=False, color_system=None
    )
    print_page(plain, page)
    _put(text.getvalue().encode(), file)


def _put(data: bytes, file: Path | None) -> None:
    """Write to standard output, or to a file in one go."""
    if file is None:
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
        return
    try:
        file.write_bytes(data)
    except OSError as error:
        hint = "give a file in a folder that can be written with --out FILE"
        raise UsageError(f"cannot write {file}: {error.strerror}", hint) from error


def _named(place: Path, run: Run) -> Run:
    """A target named by its address takes the name of its folder, if that was chosen by hand."""
    folder = place.resolve().name
    if run.target.name != str(run.target) or AUTOMATIC.match(folder):
        return run
    return replace(run, target=replace(run.target, name=folder))
