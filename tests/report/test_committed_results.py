"""The committed matrix and README's copy of its summary are what the committed runs give.

Mend them with ``python -m tests.report.committed``; measure anew with ``tlsprobe lab run``.
"""

from __future__ import annotations

from pathlib import Path

import jsonschema
import msgspec
import pytest

from tests.report.committed import (
    README,
    RESULTS,
    SUMMARY_BEGIN,
    SUMMARY_END,
    committed_runs,
    readme,
    write,
)
from tlsprobe.report.compatibility_json import MATRIX_FILE
from tlsprobe.report.schema import matrix_schema, run_schema

MATRIX = ("matrix.md", "matrix.csv", MATRIX_FILE)


def test_there_are_runs() -> None:
    assert {"nginx", "postgres"} <= set(committed_runs())


@pytest.mark.slow
def test_each_run_and_the_matrix_fit_their_schemas() -> None:
    validator = jsonschema.Draft202012Validator(run_schema())
    for file in sorted(RESULTS.rglob("run.json")):
        validator.validate(msgspec.json.decode(file.read_bytes()))
    matrix = msgspec.json.decode((RESULTS / MATRIX_FILE).read_bytes())
    jsonschema.validate(matrix, matrix_schema())


def test_the_matrix_is_there_as_a_whole_or_not_at_all() -> None:
    there = {name for name in MATRIX if (RESULTS / name).exists()}
    assert there in (set(), set(MATRIX))


def test_the_files_are_what_the_runs_give(tmp_path: Path) -> None:
    if not (RESULTS / MATRIX_FILE).exists():
        assert list(RESULTS.glob("*/vendor.md")) == [], "a page of a lab, and no matrix"
        return
    write(tmp_path)
    for made in sorted(path for path in tmp_path.rglob("*") if path.is_file()):
        name = made.relative_to(tmp_path)
        assert (RESULTS / name).read_bytes() == made.read_bytes(), f"{name} is not what it would be"


def test_readme_shows_the_summary_of_them() -> None:
    text = README.read_text(encoding="utf-8")
    assert (text.count(SUMMARY_BEGIN), text.count(SUMMARY_END)) == (1, 1)
    assert text == readme()


def test_no_committed_run_was_interrupted() -> None:
    assert [name for name, run in committed_runs().items() if run.interrupted] == []
