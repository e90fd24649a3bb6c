"""A results folder that holds facts and a page is read as if its document were there."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.in_process import tlsprobe
from tlsprobe.campaign import reading_many
from tlsprobe.campaign.reading import (
    fact_of,
    holds_results,
    read_results,
    runs_in,
)
from tlsprobe.campaign.reading_many import results_below
from tlsprobe.campaign.results import RUN_PAGE, keep_summary, results_folder
from tlsprobe.errors import UsageError
from tlsprobe.facts.file import FACTS_FILE, FactsFile, RecordedFacts
from tlsprobe.model.run import Run
from tlsprobe.report.document import RUN_FILE, read_run

RECORDED = Path(__file__).resolve().parent.parent / "data" / "judged"
TYPED = "tlsprobe run --target rude"


@pytest.fixture
def run() -> Run:
    return read_run(RECORDED / "rude")


@pytest.fixture
def kept(tmp_path: Path, run: Run) -> Path:
    """A folder of the form that is committed."""
    folder = Path(shutil.copytree(RECORDED / "rude", tmp_path / "kept" / "rude"))
    facts = FactsFile.resume(folder / FACTS_FILE)
    facts.append(fact_of(replace(run, notes=("a note",)), "something else"))
    facts.append(fact_of(run, TYPED))
    facts.close()
    keep_summary(folder, folder, run, TYPED)
    return folder


def results_in(place: Path) -> list[tuple[Path, Run]]:
    (found,) = results_below([place], lambda _: None)
    return found


@pytest.mark.slow
def test_facts_alone_give_the_document(kept: Path, run: Run) -> None:
    assert {path.name for path in kept.iterdir()} == {FACTS_FILE, RUN_PAGE}
    assert read_results(kept) == read_results(kept / FACTS_FILE) == run
    assert results_in(kept) == results_in(kept.parent) == [(kept, run)]
    assert runs_in(kept.parent) == {"rude": run}


def test_where_there_is_a_document_it_is_what_counts(kept: Path, run: Run) -> None:
    shutil.copy(RECORDED / "polite" / RUN_FILE, kept)
    assert read_results(kept) == read_run(RECORDED / "polite") != run


def test_facts_that_do_not_say_how_they_were_measured_are_no_results(tmp_path: Path) -> None:
    shutil.copy(RECORDED / "rude" / FACTS_FILE, tmp_path)
    assert not holds_results(tmp_path)
    for read in (read_results, results_in):
        with pytest.raises(UsageError, match="does not say how it was measured"):
            read(tmp_path)
    (tmp_path / FACTS_FILE).unlink()
    with pytest.raises(UsageError, match="nor does a folder in it"):
        results_in(tmp_path)


@pytest.fixture
def many(kept: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Places that are read by two processes, however few they are."""
    monkeypatch.setattr(reading_many, "FEW", 0)
    monkeypatch.setattr(reading_many, "MANY", 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    return [kept, Path(shutil.copytree(kept, kept.parent / "again"))]


@pytest.mark.slow
def test_many_are_judged_at_a_time_and_come_in_their_order(many: list[Path], run: Run) -> None:
    told: list[str] = []
    kept, again = many
    other = Path(shutil.copytree(RECORDED / "polite", kept.parent.parent / "other"))
    found = results_below([kept.parent, other], told.append)
    assert found == [[(again, run), (kept, run)], [(other, read_run(other))]]
    assert told == ["judging what was recorded of 2 servers, on 2 processors"]


@pytest.mark.slow
def test_where_no_processes_can_be_had_they_are_judged_here(
    many: list[Path], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> list[Run]:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(reading_many, "_read_by", refused)
    assert [pair[1] for (pair,) in results_below(many, lambda _: None)] == [run, run]


@pytest.mark.slow
def test_what_is_damaged_is_told_by_whoever_reads_it(many: list[Path]) -> None:
    data = (many[0] / FACTS_FILE).read_bytes()
    (many[0] / FACTS_FILE).write_bytes(data[: len(data) // 2] + b"x" + data[len(data) // 2 :])
    with pytest.raises(UsageError, match=FACTS_FILE) as damaged:
        results_below(many, lambda _: None)
    assert damaged.value.hint


def test_of_several_places_one_may_hold_nothing(tmp_path: Path) -> None:
    """As where the shell writes ``results/*``, among them what a fuzzer left."""
    told: list[str] = []
    places = [tmp_path, RECORDED / "rude"]
    empty, found = results_below(places, told.append)
    assert (empty, [folder for folder, _ in found]) == ([], [RECORDED / "rude"])
    assert told == [f"warning: {tmp_path} holds no results, and is left out"]
    for nothing in ([tmp_path], [tmp_path, tmp_path]):
        with pytest.raises(UsageError, match="nor does a folder in it"):
            results_below(nothing, told.append)
    with pytest.raises(UsageError, match="no such file"):
        results_below([tmp_path / "misspelt", RECORDED / "rude"], told.append)


def test_kept_facts_are_not_written_over(kept: Path) -> None:
    header = RecordedFacts(kept / FACTS_FILE).header
    with pytest.raises(UsageError, match="already holds"), results_folder(kept, header):
        pass


def test_the_same_facts_are_kept_as_the_same_bytes(kept: Path, run: Run) -> None:
    before = (kept / FACTS_FILE).read_bytes()
    keep_summary(kept, kept, run, TYPED)
    assert (kept / FACTS_FILE).read_bytes() == before


@pytest.mark.slow
def test_commands_read_what_is_kept(kept: Path) -> None:
    cwd = kept.parent
    assert "rude" in tlsprobe("matrix", ".", cwd=cwd).out
    assert tlsprobe("judge", ".", cwd=cwd).code == 0
    page = kept / RUN_PAGE
    before = page.read_bytes()
    page.write_bytes(before.replace(b"rude", b"nice"))
    changed = tlsprobe("judge", ".", "--write", cwd=cwd)
    assert changed.code == 1
    assert "matrix.md: worded or measured otherwise" in " ".join(changed.out.split())
    assert page.read_bytes() == before
    page.unlink()
    alone = tlsprobe("judge", ".", cwd=cwd)
    assert (alone.code, "matrix.md" in alone.out) == (0, False), "nothing was said before"
    assert not page.exists()
