"""The command line as it was typed, and the one that a results folder remembers."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import split

import typer

from tlsprobe.campaign.resume import read_earlier
from tlsprobe.errors import UsageError
from tlsprobe.report.document import RUN_FILE
from tlsprobe.report.lab_notes import read_lab_notes

_REPLACED = frozenset({"--resume", "--out", "--target"})
"""Options of the first command that resuming replaces."""


def command_line() -> str:
    """The command that is running, as it could be typed again."""
    words = ["tlsprobe", *sys.argv[1:]]
    return " ".join(_quoted(word) for word in words)


def resumed_arguments(place: Path, arguments: Sequence[str]) -> list[str]:
    """The command that started a folder, followed by ``arguments``.

    A folder of several targets' folders is resumed for all of them. Raises UsageError.
    """
    single = (place / RUN_FILE).exists()
    below = [] if single else sorted(place.glob(f"*/{RUN_FILE}"))
    run = read_earlier(below[0].parent if below else place).run
    if not run.command:
        hint = "repeat the options of the first run, with --resume in place of --out"
        raise UsageError(f"--resume: {place} does not say how it was started", hint)
    begun = without(run.command, _REPLACED if single else _REPLACED - {"--target"})
    target = ["--target", str(run.target)] if single else []
    return [*target, *begun, *arguments]


@dataclass(frozen=True, slots=True)
class BegunLab:
    """A lab that did not come to its end: its whole command line, its arguments, its beginning."""

    typed: str
    arguments: tuple[str, ...]
    since: str


def lab_begun_in(place: Path) -> BegunLab:
    """The ``lab run`` that a folder holds unfinished. Raises UsageError."""
    notes = read_lab_notes(place)
    if notes is None:
        raise UsageError(f"--resume: {place} holds no lab", "give the folder of an interrupted lab")
    if not notes.unfinished_since:
        raise UsageError(
            f"--resume: the lab in {place} came to its end", "measure again without it"
        )
    arguments = without(behind_run(split(notes.command)), {"--resume", "--out"})
    return BegunLab(notes.command, tuple(arguments), notes.unfinished_since)


def behind_run(words: Sequence[str]) -> list[str]:
    """The arguments of a command line whose verb is ``run``."""
    return list(words[words.index("run") + 1 :]) if "run" in words else []


def run_again(context: typer.Context, arguments: list[str]) -> None:
    """Run the command that is running again, with other arguments."""
    with context.command.make_context("run", arguments, parent=context.parent) as again:
        context.command.invoke(again)


def without(arguments: Sequence[str], options: Iterable[str]) -> list[str]:
    """A command line without some options and their values."""
    kept, unwanted = [], False
    for word in arguments:
        if unwanted:
            unwanted = False
        elif word in options:
            unwanted = True
        elif word.partition("=")[0] not in options:
            kept.append(word)
    return kept


def _quoted(word: str) -> str:
    return (
        word
        if re.fullmatch(r"[\w@%+=:,./\[\]-]+", word)
        else "'" + word.replace("'", "'\\''") + "'"
    )
