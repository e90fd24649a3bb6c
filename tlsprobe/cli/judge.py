"""``tlsprobe judge``: judge recorded facts again, and say what changed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from tlsprobe.campaign.rejudging import judged_again
from tlsprobe.cli.console import err, out, say
from tlsprobe.cli.options import NoColorOption
from tlsprobe.cli.typed import command_line
from tlsprobe.errors import UsageError
from tlsprobe.facts.file import FACTS_FILE, RecordedFacts
from tlsprobe.fuzz.folder import AGAINST
from tlsprobe.fuzz.rejudging import fuzzed_again
from tlsprobe.model.rejudged import Rejudged
from tlsprobe.report.document import RUN_FILE
from tlsprobe.report.fuzz_document import EXAMPLES_FILE
from tlsprobe.report.pages.rejudged import rejudged_page
from tlsprobe.report.render_terminal import print_page
from tlsprobe.spelling import speakable

CHANGED = 1
"""Exit code when today's rules say something else."""


def judge(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Results folders, or folders of them.")
    ],
    write: Annotated[
        bool,
        typer.Option(
            "--write", help="Replace the documents of the folders in which something changed."
        ),
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document per folder.")
    ] = False,
    no_color: NoColorOption = False,
) -> None:
    """Judge recorded facts again with the rules of today, and say what changed.

    The facts stay as they were recorded; a newer tlsprobe may judge them differently.

    Example: tlsprobe judge results --write

    Exit codes: 0 nothing changed; 1 something did; 2 there are no facts, or
    they are damaged.
    """
    found = []
    for folder in _folders(folders):
        found.append(_judged_again(folder, write))
        if json:
            sys.stdout.buffer.write(msgspec.json.encode(speakable(msgspec.to_builtins(found[-1]))))
            sys.stdout.buffer.write(b"\n")
    if not json:
        print_page(out(no_color=no_color), rejudged_page(found))
    raise typer.Exit(CHANGED if any(one.changes for one in found) else 0)


def _folders(places: list[Path]) -> Iterator[Path]:
    """The folders with facts at or below these places. Raises UsageError where there are none."""
    for place in places:
        found = sorted(path.parent for path in place.rglob(FACTS_FILE))
        below = [folder for folder in found if not _is_second_target(folder)]
        if not below:
            hint = "it was measured before facts were kept, or is no results folder: measure again"
            raise UsageError(f"{place} holds no {FACTS_FILE}, nor does a folder in it", hint)
        without = {path.parent for path in place.rglob(RUN_FILE)} - set(below)
        if without:
            say(err(), f"{len(without)} runs in {place} have no facts and stay as they are", "dim")
        yield from below


def _is_second_target(folder: Path) -> bool:
    """Whether these facts belong to the fuzz run in the folder above."""
    return folder.name == AGAINST and (folder.parent / EXAMPLES_FILE).exists()


def _judged_again(folder: Path, write: bool) -> Rejudged:
    facts = RecordedFacts(folder / FACTS_FILE)
    if (folder / EXAMPLES_FILE).exists():
        return fuzzed_again(folder, facts, write=write)
    return judged_again(folder, facts, command_line(), write=write)
