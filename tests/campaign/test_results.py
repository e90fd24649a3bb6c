"""Results folders: what is refused, what is given back to whom, and what is left behind."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.report.builders import nginx_run
from tlsprobe.campaign.circumstances import TOOL
from tlsprobe.campaign.results import ResultsFolder, give_back, replace_file, results_folder
from tlsprobe.errors import CannotMeasure, UsageError
from tlsprobe.facts.file import FACTS_FILE
from tlsprobe.model.facts import FactsHeader
from tlsprobe.report.document import RUN_FILE, TRIALS_FILE

RUN = nginx_run()
HEADER = FactsHeader(TOOL, RUN.target, RUN.started)


def refused(path: Path, *, resume: bool = False) -> str:
    with pytest.raises(UsageError) as caught, results_folder(path, HEADER, resume=resume):
        pass
    return f"{caught.value.message}; {caught.value.hint}"


def test_a_folder_with_files_of_others_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    said = "is not empty: it holds thesis.tex; name a new or an empty folder with --out DIR"
    assert refused(tmp_path) == f"{tmp_path} {said}"
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    with results_folder(tmp_path, HEADER) as folder:
        folder.save(RUN)
    assert (tmp_path / RUN_FILE).exists()


@pytest.mark.parametrize("name", [TRIALS_FILE, FACTS_FILE, RUN_FILE, "capture-2.pcapng"])
def test_nothing_is_written_through_a_link(tmp_path: Path, name: str) -> None:
    victim, folder = tmp_path / "victim", tmp_path / "run"
    victim.write_text("kept")
    with results_folder(folder, HEADER) as made:
        made.save(RUN)
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(victim)
    assert "is a link" in refused(folder, resume=True)
    assert victim.read_text() == "kept"


def test_a_link_in_place_of_an_unfinished_file_is_replaced(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("kept")
    (tmp_path / "run.json.new").symlink_to(victim)
    replace_file(tmp_path / "run.json", b"{}")
    assert (victim.read_text(), (tmp_path / "run.json").read_bytes()) == ("kept", b"{}")


def test_a_run_that_was_refused_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "results" / "refused"
    with pytest.raises(CannotMeasure), results_folder(path, HEADER):
        raise CannotMeasure("connection refused")
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_broke_off_is_kept(tmp_path: Path) -> None:
    with pytest.raises(CannotMeasure), results_folder(tmp_path, HEADER) as folder:
        folder.save(RUN)
        raise CannotMeasure("the network is gone")
    assert (tmp_path / RUN_FILE).exists()
    assert (tmp_path / FACTS_FILE).exists()


def test_a_folder_that_vanishes_is_said(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with pytest.raises(UsageError, match="cannot write results"), results_folder(path, HEADER) as f:
        shutil.rmtree(path)
        f.save(RUN)
    folder = ResultsFolder(path, HEADER)
    shutil.rmtree(path)
    folder.close()


@pytest.mark.root
def test_only_what_a_run_wrote_is_given_to_who_called_sudo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, mine, other = tmp_path / "old", tmp_path / "mine", tmp_path / "other"
    old.write_text("root's, from long ago")
    since = old.stat().st_ctime + 0.5
    other.write_text("somebody's")
    os.chown(other, 65534, 65534)
    mine.touch()
    while mine.stat().st_ctime < since:
        mine.chmod(0o600)
    link = tmp_path / "link"
    link.symlink_to(old)
    monkeypatch.setenv("SUDO_UID", "4321")
    monkeypatch.setenv("SUDO_GID", "4322")
    give_back(tmp_path.iterdir(), since)
    owners = {entry.name: entry.lstat().st_uid for entry in tmp_path.iterdir()}
    assert owners == {"old": 0, "mine": 4321, "other": 65534, "link": 4321}
