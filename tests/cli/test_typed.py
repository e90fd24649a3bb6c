"""What a results folder remembers of the command line that began it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlsprobe.cli.typed import behind_run, lab_begun_in
from tlsprobe.errors import UsageError
from tlsprobe.report.lab_notes import LAB_FILE, LabNotes, encode_lab_notes

SINCE = "2026-11-26T09:00:00.000Z"
TYPED = "tlsprobe lab run nginx ./own --out out --sequence 'request; fin' --trials 2"


def noted(folder: Path, notes: LabNotes) -> Path:
    (folder / LAB_FILE).write_bytes(encode_lab_notes(notes))
    return folder


def test_a_lab_goes_on_with_its_own_arguments_and_in_its_folder(tmp_path: Path) -> None:
    begun = lab_begun_in(noted(tmp_path, LabNotes(TYPED, unfinished_since=SINCE)))
    arguments = ("nginx", "./own", "--sequence", "request; fin", "--trials", "2")
    assert (begun.typed, begun.arguments, begun.since) == (TYPED, arguments, SINCE)


def test_a_lab_that_came_to_its_end_is_not_continued(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="came to its end"):
        lab_begun_in(noted(tmp_path, LabNotes(TYPED)))


def test_a_folder_without_a_lab_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no lab"):
        lab_begun_in(tmp_path)


def test_notes_of_a_whole_lab_say_nothing_of_a_beginning() -> None:
    assert b"unfinished" not in encode_lab_notes(LabNotes(TYPED))


@pytest.mark.parametrize(("words", "arguments"), [(["lab", "run", "a"], ["a"]), (["fuzz"], [])])
def test_the_arguments_stand_behind_the_verb(words: list[str], arguments: list[str]) -> None:
    assert behind_run(words) == arguments
