"""A results folder that holds facts and a page is read as if its document were there."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.in_process import tlsprobe
from tlsprobe.campaign.reading import (
    fact_of,
    holds_results,
    read_results,
    results_in,
    runs_in,
)
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
    with pytest.raises(UsageError, match="does not say how it was measured"):
        read_results(tmp_path)
    with pytest.raises(UsageError, match="nor does a folder in it"):
        results_in(tmp_path)


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
