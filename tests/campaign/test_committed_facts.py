"""The committed facts, judged again: they must come out as the committed documents say.

Who changes what is said of facts brings the documents up to date: ``tlsprobe judge results
tests/data/judged --write``.

ARCHITECTURE.md, "The path of a probe": a verdict can be reproduced from a file years later.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tlsprobe.campaign.judging import judged_run, with_judgement
from tlsprobe.facts.file import FACTS_FILE, RecordedFacts
from tlsprobe.judge.changes import run_changes
from tlsprobe.report.document import RUN_FILE, TRIALS_FILE, read_run, read_trials, trial_line

ROOT = Path(__file__).resolve().parent.parent.parent
PLACES = (ROOT / "results", ROOT / "tests" / "data" / "judged")
FOLDERS = sorted(path.parent for place in PLACES for path in place.rglob(FACTS_FILE))
RUNS = [folder for folder in FOLDERS if (folder / RUN_FILE).exists()]


def named(folder: Path) -> str:
    return str(folder.relative_to(ROOT))


def test_there_are_facts_to_judge() -> None:
    assert RUNS


@pytest.mark.parametrize("folder", RUNS, ids=named)
def test_committed_facts_are_judged_to_the_committed_documents(folder: Path) -> None:
    before, facts = read_run(folder), RecordedFacts(folder / FACTS_FILE)
    judged = judged_run(facts.read, before.vendor)
    assert run_changes(before, with_judgement(before, judged)) == ()
    if (folder / TRIALS_FILE).exists():
        assert [trial_line(trial) for trial in judged.trials] == list(read_trials(folder))
