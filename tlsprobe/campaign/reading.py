"""Results folders, read: from the run document, or from the facts where only these were kept.

A folder that is kept for long holds facts and pages; what is said of the facts is then judged by
whoever reads it, with the rules of today.
"""

from __future__ import annotations

import re
from pathlib import Path

from tlsprobe.campaign.judging import JudgedRun, judged_run, with_judgement
from tlsprobe.errors import UsageError
from tlsprobe.facts.file import FACTS_FILE, RecordedFacts
from tlsprobe.model.facts import FactsHeader, RunFact
from tlsprobe.model.run import Run
from tlsprobe.report.document import RUN_FILE, read_run

AUTOMATIC = re.compile(r"\d{8}T\d{6}Z-")
"""How the names of folders begin that tlsprobe chose itself."""


def read_results(place: Path) -> Run:
    """The run of a results folder, or of a run document or a facts file given by its own name.

    Raises UsageError: there is none, or it is damaged.
    """
    facts = place / FACTS_FILE if place.is_dir() else place
    if facts.name == FACTS_FILE and not facts.with_name(RUN_FILE).exists() and facts.exists():
        return judged_from(RecordedFacts(facts))[0]
    return read_run(place.parent if place.name == FACTS_FILE else place)


def results_at(place: Path) -> list[Path]:
    """What `read_results` is to read for a place: itself, or the results folders below it."""
    if not place.is_dir() or holds_results(place):
        return [place]
    return [folder for folder in _folders(place) if holds_results(folder)]


def nothing_at(place: Path) -> UsageError:
    """What is missing where there are no results."""
    if (place / FACTS_FILE).exists():
        return _untold(place / FACTS_FILE)
    hint = "give folders that 'tlsprobe run', 'demo' or 'lab' wrote"
    return UsageError(f"{place} holds no {RUN_FILE} and no facts, nor does a folder in it", hint)


def runs_in(folder: Path) -> dict[str, Run]:
    """The runs below a folder by the names of theirs, without those that nobody named."""
    return {below.name: read_results(below) for below in named_in(folder)}


def named_in(folder: Path) -> list[Path]:
    """The results folders below a folder, but for those that tlsprobe named itself."""
    named = (below for below in _folders(folder) if not AUTOMATIC.match(below.name))
    return [below for below in named if holds_results(below)]


def holds_results(folder: Path) -> bool:
    """Whether a folder holds a run: its document, or facts that say how they were measured."""
    if (folder / RUN_FILE).exists():
        return True
    facts = folder / FACTS_FILE
    return facts.exists() and RecordedFacts(facts).how_measured() is not None


def judged_from(facts: RecordedFacts) -> tuple[Run, JudgedRun]:
    """The run that facts tell of, judged with the rules of today. Raises UsageError."""
    said = facts.how_measured()
    if said is None:
        raise _untold(facts.path)
    run = _unjudged(facts.header, said)
    judged = judged_run(facts.read, run.vendor)
    return with_judgement(run, judged), judged


def fact_of(run: Run, typed: str) -> RunFact:
    """What a run document says beside its judgement, and the command line that measured."""
    return RunFact(
        run.finished,
        run.host,
        run.target,
        run.capture,
        interrupted=run.interrupted,
        notes=run.notes,
        command=run.command,
        seed=run.seed,
        server=run.server,
        typed=typed,
        plan=run.plan,
        spent=run.spent,
    )


def typed_of(folder: Path) -> str:
    """The command line that measured what is in a results folder; empty if its facts do not say."""
    facts = folder / FACTS_FILE
    said = RecordedFacts(facts).how_measured() if facts.exists() else None
    return said.typed if said else ""


def _untold(facts: Path) -> UsageError:
    hint = f"they belong to a run whose {RUN_FILE} is missing, or to something else"
    return UsageError(f"{facts} does not say how it was measured", hint)


def _unjudged(header: FactsHeader, said: RunFact) -> Run:
    return Run(
        tool=header.tool,
        started=header.started,
        finished=said.finished,
        host=said.host,
        target=said.target,
        capture=said.capture,
        cells=(),
        summary={},
        interrupted=said.interrupted,
        notes=said.notes,
        seed=said.seed,
        command=said.command,
        server=said.server,
        plan=said.plan,
        spent=said.spent,
    )


def _folders(place: Path) -> list[Path]:
    return sorted(path for path in place.iterdir() if path.is_dir()) if place.is_dir() else []
