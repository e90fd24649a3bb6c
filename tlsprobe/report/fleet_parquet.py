"""A fleet as a Parquet file: a row for each cell of each target, for whoever asks with SQL.

DuckDB writes it (MIT, 25 MB, needs nothing else; pyarrow is twice that), from lines of JSON, so
that no more than one target is in memory at a time.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from tlsprobe.behaviours import behaviours_of
from tlsprobe.errors import UsageError
from tlsprobe.model.fleet import Answer

_TARGET = {
    "vantage": "VARCHAR",
    "target": "VARCHAR",
    "address": "VARCHAR",
    "labels": "MAP(VARCHAR, VARCHAR)",
    "state": "VARCHAR",
    "reason": "VARCHAR",
    "attempts": "INTEGER",
    "profile": "VARCHAR",
    "server": "VARCHAR",
    "started": "TIMESTAMPTZ",
    "behaviours": "VARCHAR[]",
    "idle_timeout_s": "DOUBLE",
}
_CELL = {
    "sequence": "VARCHAR",
    "steps": "VARCHAR",
    "tls": "VARCHAR",
    "role": "VARCHAR",
    "verdict": "VARCHAR",
    "trials": "INTEGER",
    "outcomes": "MAP(VARCHAR, INTEGER)",
    "causes": "MAP(VARCHAR, INTEGER)",
}
COLUMNS = {**_TARGET, **_CELL}
"""The columns and their types in SQL. Those of a cell are NULL where a target has no answer."""


def must_have_duckdb() -> None:
    """Raise UsageError where DuckDB is not installed."""
    if importlib.util.find_spec("duckdb") is None:
        raise UsageError("--parquet needs DuckDB", "pip install 'tlsprobe[fleet]'")


def write_parquet(answers: Iterable[Answer], file: Path) -> None:
    """Write the file. Raises UsageError if it cannot be written."""
    must_have_duckdb()
    import duckdb  # noqa: PLC0415 - an optional extra

    with TemporaryDirectory(prefix="tlsprobe-") as folder, duckdb.connect() as database:
        lines = Path(folder, "rows.jsonl")
        with lines.open("w", encoding="utf-8") as out:
            for answer in answers:
                out.writelines(json.dumps(row) + "\n" for row in rows(answer))
        columns = ", ".join(f"{name}: '{kind}'" for name, kind in COLUMNS.items())
        try:
            database.execute(
                f"COPY (SELECT * FROM read_json({_quoted(lines)}, format='newline_delimited',"
                f" columns={{{columns}}})) TO {_quoted(file)} (FORMAT parquet, COMPRESSION zstd)"
            )
        except duckdb.IOException as error:
            said = str(error).splitlines()[0]
            raise UsageError(f"{file}: cannot be written: {said}", "check the path") from None


def rows(answer: Answer) -> Iterator[dict[str, object]]:
    """A row for each cell of a target; one with what is known where it has none."""
    run = answer.run
    target: dict[str, object] = {
        "vantage": answer.vantage,
        "target": answer.target.title,
        "address": answer.target.address,
        "labels": dict(answer.target.labels),
        "state": answer.state or "waiting",
        "reason": answer.reason,
        "attempts": len(answer.attempts),
    }
    if run is None:
        yield target
        return
    target |= {
        "profile": run.target.profile,
        "server": run.server_says,
        "started": run.started,
        "behaviours": [one.name for one in behaviours_of(run)],
        "idle_timeout_s": run.idle.timeout_s if run.idle is not None else None,
    }
    for cell in run.cells:
        yield target | {
            "sequence": cell.sequence,
            "steps": cell.steps,
            "tls": cell.tls,
            "role": cell.role,
            "verdict": cell.verdict,
            "trials": cell.trials,
            "outcomes": dict(cell.outcomes),
            "causes": dict(cell.causes),
        }


def _quoted(file: Path) -> str:
    return "'" + str(file).replace("'", "''") + "'"
