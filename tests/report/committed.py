"""What the run documents in ``results/`` give: the matrix, the vendors' pages, README's summary.

``python -m tests.report.committed`` writes it all anew after a change of a report or a profile,
without measuring anything.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from tlsprobe.campaign.columns import shipped_columns
from tlsprobe.campaign.reading import runs_in
from tlsprobe.campaign.results import RUN_PAGE
from tlsprobe.model.run import Run
from tlsprobe.report.compatibility_files import write_compatibility
from tlsprobe.report.compatibility_json import MATRIX_FILE, absent_in
from tlsprobe.report.pages.compatibility import summary_page
from tlsprobe.report.pages.run import run_page
from tlsprobe.report.render_markdown import render_markdown

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
README = ROOT / "README.md"

SUMMARY_BEGIN, SUMMARY_END = "<!-- matrix:begin -->", "<!-- matrix:end -->"
"""What stands in README around its copy of the summary."""


@cache
def committed_runs() -> dict[str, Run]:
    """The runs of the servers, by the names of their folders: read once, for there are many."""
    return runs_in(RESULTS)


def write(folder: Path) -> None:
    """Write everything that the committed runs give into a folder; the command stays theirs."""
    runs = committed_runs()
    command = json.loads((RESULTS / MATRIX_FILE).read_bytes())["command"]
    write_compatibility(
        folder,
        tuple(runs[name] for name in sorted(runs)),
        absent_in(RESULTS),
        command,
        profiles=shipped_columns(),
    )
    for name, run in runs.items():
        (folder / name).mkdir(exist_ok=True)
        page = render_markdown(run_page([run], command))
        (folder / name / RUN_PAGE).write_text(page, encoding="utf-8")


def readme() -> str:
    """README with the summary of what is committed between its markers, which must be there."""
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(SUMMARY_BEGIN)
    _, _, after = rest.partition(SUMMARY_END)
    return f"{before}{SUMMARY_BEGIN}\n{_summary()}{SUMMARY_END}{after}"


def _summary() -> str:
    """Nothing as long as no lab run was committed."""
    if not (RESULTS / MATRIX_FILE).exists():
        return ""
    runs = committed_runs()
    page = summary_page(tuple(runs[name] for name in sorted(runs)), absent_in(RESULTS))
    return f"\n{render_markdown(page)}\n"


if __name__ == "__main__":
    write(RESULTS)
    README.write_text(readme(), encoding="utf-8")
