"""A fleet as a Parquet file, asked with SQL."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import duckdb
import pytest

from tests.report.pages.test_fleet import ANSWERS
from tlsprobe.errors import UsageError
from tlsprobe.report.fleet_parquet import write_parquet


def asked(file: Path, what: str, where: str = "true") -> list[tuple[object, ...]]:
    with duckdb.connect() as database:
        found = database.execute(f"SELECT {what} FROM read_parquet(?) WHERE {where}", [str(file)])
        return found.fetchall()


@pytest.mark.slow
def test_every_cell_is_a_row_and_a_target_without_any_is_one(tmp_path: Path) -> None:
    file = tmp_path / "it's.parquet"
    write_parquet(ANSWERS, file)
    cells = sum(len(one.run.cells) for one in ANSWERS if one.run is not None)
    counts = asked(file, "count(*), count(verdict), count(DISTINCT target)")
    assert counts == [(cells + 1, cells, len(ANSWERS))]
    failed = asked(file, "reason, labels['team'], sequence", "state = 'failed'")
    assert failed == [("refused", "é\n'\"", None)]
    verdicts = asked(file, "count(*)", "target = 'a.example:443' AND verdict = 'fail'")
    assert ANSWERS[0].run is not None
    assert verdicts == [(ANSWERS[0].run.summary["fail"],)]


def test_where_it_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        write_parquet(ANSWERS, tmp_path / "no" / "such" / "folder.parquet")


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError) as caught:
        write_parquet(ANSWERS, tmp_path / "fleet.parquet")
    assert caught.value.hint == "pip install 'tlsprobe[fleet]'"
