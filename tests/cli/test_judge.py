"""``tlsprobe judge``: what is said of recorded facts today, and what that changes.

ARCHITECTURE.md, "Facts, knowledge, judgement": facts stay as they were recorded.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import jsonschema
import pytest

from tests.cli.in_process import tlsprobe
from tests.e2e.probing import Ran
from tlsprobe.facts.file import FACTS_FILE
from tlsprobe.report.document import RUN_FILE, TRIALS_FILE, read_run, read_trials
from tlsprobe.report.schema import closed, judge_schema

RECORDED = Path(__file__).resolve().parent.parent / "data" / "judged"
"""Folders of small runs, with everything that a run writes but the capture."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run against a server that resets, and its facts."""
    return Path(shutil.copytree(RECORDED / "rude", tmp_path / "rude"))


def judged(*words: str | Path, cwd: Path) -> Ran:
    return tlsprobe("judge", *map(str, words), cwd=cwd)


def spoil(folder: Path, name: str = RUN_FILE, old: str = '"warn"', new: str = '"pass"') -> None:
    """As if an older tlsprobe had said something else."""
    file = folder / name
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def test_what_was_said_is_said_again(folder: Path) -> None:
    ran = judged(folder, cwd=folder)
    assert (ran.code, ran.err) == (0, "")
    assert "Nothing changed" in ran.out


def test_what_is_said_otherwise_is_shown_cell_by_cell(folder: Path) -> None:
    before = (folder / RUN_FILE).read_bytes()
    spoil(folder)
    ran = judged(folder, cwd=folder)
    assert ran.code == 1
    assert "terminate-close-notify, TLS 1.3" in ran.out
    assert "verdict: pass -> warn" in ran.out
    assert "close-notify-fin" not in ran.out
    assert (folder / RUN_FILE).read_bytes() != before


@pytest.mark.slow
def test_behaviours_are_told_anew(folder: Path) -> None:
    whole = read_run(folder)
    spoil(folder, old='"sentence": "RST in place of a FIN"', new='"sentence": "something else"')
    assert read_run(folder) != whole
    ran = judged(folder, "--write", cwd=folder)
    assert ran.code == 1
    assert "the behaviours" in ran.out
    assert read_run(folder) == whole


@pytest.mark.slow
def test_writing_brings_the_documents_up_to_date(folder: Path) -> None:
    whole = read_run(folder), list(read_trials(folder))
    spoil(folder)
    spoil(folder, TRIALS_FILE, "unread-data-at-close", "deliberate-abort")
    assert judged(folder, "--write", cwd=folder).code == 1
    assert judged(folder, cwd=folder).code == 0
    assert (read_run(folder), list(read_trials(folder))) == whole
    assert "tlsprobe judge" in (folder / "matrix.md").read_text(encoding="utf-8")


def test_documents_that_are_up_to_date_are_left_alone(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert judged(folder, "--write", cwd=folder).code == 0
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_no_trial_lines_are_made_where_none_were_kept(folder: Path) -> None:
    (folder / TRIALS_FILE).unlink()
    spoil(folder)
    judged(folder, "--write", cwd=folder)
    assert not (folder / TRIALS_FILE).exists()


def test_a_folder_of_folders_is_judged_whole(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(RECORDED / "polite", tmp_path / "deep" / "polite")
    other = tmp_path / "old"
    other.mkdir()
    shutil.copy(folder / RUN_FILE, other)
    spoil(folder)
    ran = judged(".", cwd=tmp_path)
    assert ran.code == 1
    assert "rude: " in ran.out and "1 other folder" in ran.out
    assert "1 runs in . have no facts" in ran.err


def test_as_json_each_folder_is_a_document(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(RECORDED / "polite", tmp_path / "polite")
    spoil(folder)
    ran = judged(".", "--json", cwd=tmp_path)
    documents = [json.loads(line) for line in ran.out.splitlines()]
    for document in documents:
        jsonschema.validate(document, closed(judge_schema()))
    assert [bool(document["changes"]) for document in documents] == [False, True]
    (change, *_) = documents[1]["changes"]
    assert {"what": "verdict", "was": "pass", "now": "warn"} in change["differences"]


@pytest.mark.parametrize("what", ["nothing", "a run", "a file"])
def test_without_facts_there_is_nothing_to_judge(folder: Path, tmp_path: Path, what: str) -> None:
    place = tmp_path / "place"
    if what == "a file":
        place.write_text("x", encoding="utf-8")
    else:
        place.mkdir()
    if what == "a run":
        shutil.copy(folder / RUN_FILE, place)
    ran = judged("place", cwd=tmp_path)
    assert ran.code == 2
    assert f"place holds no {FACTS_FILE}" in ran.err
    assert "before facts were kept" in ran.err


def test_damaged_facts_are_named(folder: Path) -> None:
    (folder / FACTS_FILE).write_bytes(b"nothing of the kind")
    ran = judged(folder, cwd=folder)
    assert ran.code == 2
    assert f"{folder / FACTS_FILE}: no gzip file" in ran.err


def test_facts_of_a_killed_run_are_judged_as_far_as_they_go(folder: Path) -> None:
    facts = folder / FACTS_FILE
    facts.write_bytes(facts.read_bytes()[: facts.stat().st_size // 2])
    ran = judged(folder, "--json", cwd=folder)
    assert ran.code == 1
    whole = sum(cell.trials for cell in read_run(folder).cells)
    assert 0 < json.loads(ran.out)["trials"] < whole


def test_zcat_reads_what_was_recorded() -> None:
    file = RECORDED / "rude" / FACTS_FILE
    lines = subprocess.run(["zcat", file], capture_output=True, check=True).stdout.splitlines()
    assert {next(iter(json.loads(line))) for line in lines[1:]} == {
        *("reached", "plan", "trial", "path", "end"),
    }


def test_help_names_the_exit_codes(tmp_path: Path) -> None:
    assert "Exit codes" in judged("--help", cwd=tmp_path).out
