"""``tlsprobe judge``: judge recorded facts again, and say what changed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from tlsprobe.campaign.judging import JudgedRun, judged_run, with_judgement
from tlsprobe.campaign.reading import judged_from
from tlsprobe.campaign.results import RUN_PAGE, page_of, replace_file, write_documents
from tlsprobe.cli.console import err, out, say
from tlsprobe.cli.options import NoColorOption
from tlsprobe.cli.typed import command_line
from tlsprobe.errors import UsageError
from tlsprobe.facts.file import FACTS_FILE, RecordedFacts
from tlsprobe.fuzz.folder import AGAINST
from tlsprobe.fuzz.properties import PROPERTIES
from tlsprobe.fuzz.rejudging import line_changes, lines_again
from tlsprobe.judge.changes import run_changes, trial_changes
from tlsprobe.model.facts import TrialFact
from tlsprobe.model.rejudged import CellChange, Difference, Rejudged
from tlsprobe.model.run import Run
from tlsprobe.report.document import (
    RUN_FILE,
    TRIALS_FILE,
    encode_trial,
    read_run,
    read_trials,
    trial_line,
)
from tlsprobe.report.fuzz_document import EXAMPLES_FILE, encode_example, read_fuzz
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
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document a folder.")] = False,
    no_color: NoColorOption = False,
) -> None:
    """Judge recorded facts again with the rules of today, and say what changed.

    What was seen stays as it was written down; what is said of it may change when tlsprobe learns.

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
        print_page(out(no_color), rejudged_page(found))
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
        return _fuzzed_again(folder, facts, write)
    if not (folder / RUN_FILE).exists():
        said = facts.how_measured()
        if said is not None:
            return _page_again(folder, facts, said.typed, write)
        return _watched_again(folder, facts, write)
    before, judged = read_run(folder), judged_run(facts.read)
    now = with_judgement(before, judged)
    changes = run_changes(before, now)
    if changes and write:
        _write(folder, now, judged)
    count, written = len(judged.trials), bool(changes) and write
    return Rejudged(str(folder), before.target.name, count, changes, written)


def _page_again(folder: Path, facts: RecordedFacts, typed: str, write: bool) -> Rejudged:
    """A run of which facts and page are kept: whether the page still says what they say."""
    run, judged = judged_from(facts)
    page, kept = page_of(run, typed), folder / RUN_PAGE
    is_same = kept.exists() and kept.read_bytes() == page
    changes = () if is_same else (CellChange("", "", (Difference(RUN_PAGE, "", ""),)),)
    if changes and write:
        replace_file(kept, page)
    written = bool(changes) and write
    return Rejudged(str(folder), run.target.name, len(judged.trials), changes, written)


def _watched_again(folder: Path, facts: RecordedFacts, write: bool) -> Rejudged:
    """Connections of clients that tlsprobe only watched: no run, and no more than their lines."""
    if not (folder / TRIALS_FILE).exists():
        count = sum(isinstance(fact, TrialFact) for fact in facts.read())
        return Rejudged(str(folder), facts.header.target.name, count, ())
    before, trials = list(read_trials(folder)), judged_run(facts.read).trials
    changes = trial_changes(before, map(trial_line, trials))
    written = bool(changes) and write
    if written:
        lines = (encode_trial(trial_line(trial)) for trial in trials)
        replace_file(folder / TRIALS_FILE, b"".join(lines))
    return Rejudged(str(folder), facts.header.target.name, len(trials), changes, written)


def _fuzzed_again(folder: Path, facts: RecordedFacts, write: bool) -> Rejudged:
    """A fuzz run's connections; its failures were found by what was said of them then, and stay."""
    run, lines = read_fuzz(folder)
    asked = [PROPERTIES[name] for name in run.properties if name in PROPERTIES]
    second = folder / AGAINST / FACTS_FILE
    stores = [facts, *([RecordedFacts(second)] if second.exists() else [])]
    again = lines_again(chain.from_iterable(s.read() for s in stores), lines, asked)
    changes = line_changes(lines, again)
    written = bool(changes) and write
    if written:
        replace_file(folder / EXAMPLES_FILE, b"".join(map(encode_example, again)))
    return Rejudged(str(folder), run.target.name, len(lines), changes, written)


def _write(folder: Path, now: Run, judged: JudgedRun) -> None:
    """The documents as they would be written today; a comparison with a baseline is outdated."""
    had_trials = (folder / TRIALS_FILE).exists()
    trials = judged.trials if had_trials else None
    write_documents(folder, replace(now, deviations=None), trials, command_line())
