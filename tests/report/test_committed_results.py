"""The committed pages and README's copy of the summary are what the committed facts give.

Mend them with ``python -m tests.report.committed``; measure anew with ``tlsprobe lab run``. Judging
all that is committed takes minutes: `make results` does it, and CI, which also runs the tests.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import jsonschema
import msgspec
import pytest

from tests.report.committed import (
    PROFILES,
    README,
    RESULTS,
    ROOT,
    SUMMARY_BEGIN,
    SUMMARY_END,
    committed_runs,
    readme,
    runs_of_versions,
    write,
)
from tests.report.links import broken_links, unpacked
from tlsprobe.behaviours import behaviours_of
from tlsprobe.campaign.lab_columns import shipped_columns
from tlsprobe.model.behaviour import Harm, Phase, Tried
from tlsprobe.model.profile import Lab
from tlsprobe.profiles.tried import TRIED_FILE
from tlsprobe.report.compatibility import compatibility_of, vendors_of
from tlsprobe.report.compatibility_json import MATRIX_FILE, absent_in, encode_matrix
from tlsprobe.report.document import encode_run_line
from tlsprobe.report.schema import matrix_schema, run_schema
from tlsprobe.report.series import compared, series_of

pytestmark = pytest.mark.results

DERIVED = ("run.json", "trials.jsonl", MATRIX_FILE, "truth.json")
"""What follows from facts, and is not committed."""


def test_there_are_runs() -> None:
    assert {"nginx", "postgres"} <= set(committed_runs())


def test_nothing_is_committed_that_follows_from_facts() -> None:
    found = (path for name in DERIVED for path in RESULTS.rglob(name))
    assert [str(path) for path in found if not is_of_this_machine(path, RESULTS)] == []


def test_runs_and_their_matrix_fit_their_schemas() -> None:
    """A few of each kind: all would take a minute."""
    validator = jsonschema.Draft202012Validator(run_schema())
    some = tuple(committed_runs()[name] for name in sorted(committed_runs())[::16])
    for run in some:
        validator.validate(msgspec.json.decode(encode_run_line(run)))
    matrix = compatibility_of(vendors_of(some, absent_in(RESULTS)))
    jsonschema.validate(msgspec.json.decode(encode_matrix(matrix)), matrix_schema())


def test_the_files_are_what_the_facts_give(tmp_path: Path) -> None:
    results, profiles = tmp_path / "results", tmp_path / "profiles"
    results.mkdir()
    write(results, profiles)
    for made in sorted(path for path in tmp_path.rglob("*") if path.is_file()):
        name = made.relative_to(tmp_path)
        assert _said(ROOT / name) == _said(made), f"{name} is not what it would be"
    assert broken_links(results, RESULTS) == []
    assert _pages(results) == _pages(RESULTS), "a page of a server or sequence that is no more"
    assert set(PROFILES.glob(f"*/{TRIED_FILE}")) == {
        PROFILES / made.relative_to(profiles) for made in profiles.glob(f"*/{TRIED_FILE}")
    }


def _pages(folder: Path) -> set[str]:
    found = (path for path in folder.rglob("*.html") if not is_of_this_machine(path, folder))
    return {str(path.relative_to(folder)) for path in found}


def is_of_this_machine(path: Path, results: Path) -> bool:
    """Whether it is of a run that was made here, as by `make demo`: git leaves those out too."""
    return path.relative_to(results).parts[0].startswith("2")


def _said(file: Path) -> str | bytes:
    return unpacked(file.read_text()) if file.suffix == ".html" else file.read_bytes()


def test_each_note_of_a_profile_explains_a_change_that_was_measured() -> None:
    said = {note for one in _vendors_with_versions() for note in one.changes}
    series = series_of(runs_of_versions())
    notes = {one.vendor: shipped_columns()[one.vendor].lab for one in series}
    changes = [
        change
        for one in series
        if (lab := notes[one.vendor]) is not None
        for change in compared(one, lab.changes).changes
    ]
    assert {note for change in changes for note in change.why} == said


def _vendors_with_versions() -> list[Lab]:
    return [lab for one in shipped_columns().values() if (lab := one.lab) and lab.versions]


def test_readme_shows_the_summary_of_them() -> None:
    text = README.read_text(encoding="utf-8")
    assert (text.count(SUMMARY_BEGIN), text.count(SUMMARY_END)) == (1, 1)
    assert text == readme()


def test_no_committed_run_was_interrupted() -> None:
    assert [name for name, run in committed_runs().items() if run.interrupted] == []


def test_waiting_for_postgres_alert_was_tried_and_does_not_help() -> None:
    found = behaviours_of(committed_runs()["postgres"])
    goodbye = next(one for one in found if one.phase is Phase.GOODBYE)
    tried = {one.tried for one in goodbye.to_do if one.seen}
    assert goodbye.harm is Harm.BREAKS
    assert tried == {Tried.HELPS, Tried.HELPS_NOT}


def test_the_levels_divide_the_servers_that_were_measured() -> None:
    worst = Counter(
        found[0].harm if (found := behaviours_of(run)) else Harm.NONE
        for run in committed_runs().values()
    )
    assert max(worst.values()) < 0.6 * worst.total()
    assert all(worst[harm] for harm in Harm)
