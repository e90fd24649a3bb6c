"""What the run documents in ``results/`` give: the matrix, the vendors' pages, README's heart.

``python -m tests.report.committed`` writes it all anew after a change of a report or a profile,
without measuring anything.
"""

from __future__ import annotations

import json
from pathlib import Path

from tlsprobe.cli.lab_run import runs_in, shipped_columns
from tlsprobe.report.compatibility_files import write_compatibility
from tlsprobe.report.compatibility_json import MATRIX_FILE, absent_in
from tlsprobe.report.compatibility_markdown import HEART_BEGIN, HEART_END, heart

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
README = ROOT / "README.md"


def write(folder: Path) -> None:
    """Write everything that the committed runs give into a folder; the command stays theirs."""
    runs = runs_in(RESULTS)
    command = json.loads((RESULTS / MATRIX_FILE).read_bytes())["command"]
    write_compatibility(
        folder,
        tuple(runs[name] for name in sorted(runs)),
        absent_in(RESULTS),
        command,
        profiles=shipped_columns(),
    )


def readme() -> str:
    """README with the heart of what is committed between its markers, which must be there."""
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(HEART_BEGIN)
    _, _, after = rest.partition(HEART_END)
    return f"{before}{HEART_BEGIN}\n{_heart()}{HEART_END}{after}"


def _heart() -> str:
    """Nothing as long as no lab run was committed."""
    if not (RESULTS / MATRIX_FILE).exists():
        return ""
    runs = runs_in(RESULTS)
    return f"\n{heart(tuple(runs[name] for name in sorted(runs)), absent_in(RESULTS))}\n"


if __name__ == "__main__":
    write(RESULTS)
    README.write_text(readme(), encoding="utf-8")
