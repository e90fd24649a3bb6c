"""Results folders, judged again from their facts with the rules of today."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tlsprobe.campaign.judging import judged_run, with_judgement
from tlsprobe.campaign.reading import judged_from
from tlsprobe.campaign.results import RUN_PAGE, page_of, replace_file, write_documents
from tlsprobe.facts.file import FACTS_FILE, RecordedFacts
from tlsprobe.judge.changes import run_changes, trial_changes
from tlsprobe.model.facts import RunFact, TrialFact
from tlsprobe.model.rejudged import CellChange, Difference, Rejudged
from tlsprobe.model.run import Run
from tlsprobe.report.document import (
    RUN_FILE,
    TRIALS_FILE,
    encode_trial,
    read_run,
    read_trials,
    trial_line,
)


def judged_again(folder: Path, facts: RecordedFacts, typed: str, *, write: bool) -> Rejudged:
    """What today's rules say otherwise than what a folder holds, be it documents or a page.

    ``write`` replaces what has changed; ``typed`` is the command line that does it. Raises
    UsageError.
    """
    if (folder / RUN_FILE).exists():
        return _document_again(folder, facts, typed, write=write)
    said = facts.how_measured()
    if said is not None:
        return _page_again(folder, facts, said, write=write)
    return _watched_again(folder, facts, write=write)


def judged_now(folder: Path) -> Run:
    """The run of a folder by the rules of today; what was compared with it before is left out.

    Raises UsageError.
    """
    facts = RecordedFacts(folder / FACTS_FILE)
    if not (folder / RUN_FILE).exists():
        return judged_from(facts)[0]
    before = replace(read_run(folder), deviations=None, waivers=())
    return with_judgement(before, judged_run(facts.read, before.vendor))


def _document_again(folder: Path, facts: RecordedFacts, typed: str, *, write: bool) -> Rejudged:
    """A run and its documents; a comparison with a baseline is outdated once they change."""
    before = read_run(folder)
    judged = judged_run(facts.read, before.vendor)
    now = with_judgement(before, judged)
    changes = run_changes(before, now)
    written = bool(changes) and write
    if written:
        trials = judged.trials if (folder / TRIALS_FILE).exists() else None
        write_documents(folder, replace(now, deviations=None, waivers=()), trials, typed)
    return Rejudged(str(folder), before.target.name, len(judged.trials), changes, written)


def _page_again(folder: Path, facts: RecordedFacts, said: RunFact, *, write: bool) -> Rejudged:
    """A run of which facts and page are kept: whether the page still says what they say.

    Where facts alone are kept nothing was said that could have changed.
    """
    run, judged = judged_from(facts)
    page, kept = page_of(run, said.typed), folder / RUN_PAGE
    is_same = kept.read_bytes() == page if kept.exists() else not write
    changes = () if is_same else (CellChange("", "", (Difference(RUN_PAGE, "", ""),)),)
    if changes and write:
        replace_file(kept, page)
    written = bool(changes) and write
    return Rejudged(str(folder), run.target.name, len(judged.trials), changes, written)


def _watched_again(folder: Path, facts: RecordedFacts, *, write: bool) -> Rejudged:
    """Connections of clients that tlsprobe only watched: no run, and no more than their lines."""
    if not (folder / TRIALS_FILE).exists():
        count = sum(isinstance(fact, TrialFact) for fact in facts.read())
        return Rejudged(str(folder), facts.header.target.name, count, ())
    before, trials = list(read_trials(folder)), judged_run(facts.read).trials
    changes = trial_changes(before, map(trial_line, trials))
    written = bool(changes) and write
    if written:
        lines = (encode_trial(trial_line(trial)) for trial in trials)
        replace_file(folder / TRIALS_FILE, b"".join(lines))
    return Rejudged(str(folder), facts.header.target.name, len(trials), changes, written)
