"""What the facts in ``results/`` give: the matrix, every page, README's summary.

``python -m tests.report.committed`` writes it all anew after a change of a rule, a report or a
profile, without measuring anything. ``python -m tests.report.committed --keep DIR`` first brings a
folder that a lab measured with run documents into the form that is committed.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

from tests.report.kernel import agreement_with, kernel_page
from tests.report.kernel_counts import Agreement
from tlsprobe.campaign import lab_clients, lab_paths, lab_remedies
from tlsprobe.campaign.beside import MATRICES, PATHS, VERSIONS, pages_beside
from tlsprobe.campaign.lab_columns import shipped_columns
from tlsprobe.campaign.reading import (
    fact_of,
    judged_from,
    named_in,
    read_results,
    typed_of,
)
from tlsprobe.campaign.results import RUN_PAGE, keep_summary, page_of
from tlsprobe.errors import UsageError
from tlsprobe.facts.file import FACTS_FILE, FactsFile, RecordedFacts
from tlsprobe.model.facts import Fact, TrialFact
from tlsprobe.model.run import Run
from tlsprobe.model.trace import Side
from tlsprobe.profiles.tried import tried_in_lab, write_tried
from tlsprobe.report.compatibility_files import write_compatibility, write_series
from tlsprobe.report.compatibility_json import absent_in
from tlsprobe.report.document import RUN_FILE, read_run
from tlsprobe.report.formats import page_for_folder
from tlsprobe.report.lab_notes import LAB_FILE, LabNotes, encode_lab_notes, read_lab_notes
from tlsprobe.report.pages.compatibility import summary_page
from tlsprobe.report.site import data_in, site_of, write_site

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
PROFILES = ROOT / "profiles"
README = ROOT / "README.md"
KERNEL_FILE = "kernel.md"

SUMMARY_BEGIN, SUMMARY_END = "<!-- matrix:begin -->", "<!-- matrix:end -->"
"""What stands in README around its copy of the summary."""


_SERVERS = re.compile(r"\d+(?= servers (?:by the harm|measured on loopback))")
_RESETS = re.compile(r"\d+(?= RSTs held against the kernel)")
"""The numbers in README's sentences."""


class Committed(NamedTuple):
    """A run that is committed, and how far the kernel agrees with its causes."""

    run: Run
    agreement: dict[Side, Agreement]


@cache
def committed() -> dict[str, Committed]:
    """The runs of the servers, by the names of their folders: judged once, for there are many."""
    return committed_in("")


@cache
def committed_in(place: str) -> dict[str, Committed]:
    """Those of a folder below the results."""
    found = {}
    for folder in named_in(RESULTS / place):
        facts = _Heard(folder / FACTS_FILE)
        run, judged = judged_from(facts)
        found[folder.name] = Committed(run, agreement_with(facts.beside_trials, judged.trials))
    return found


class _Heard(RecordedFacts):
    """Recorded facts, read once: a lab's trials of one server fit into memory."""

    @cached_property
    def all(self) -> tuple[Fact, ...]:
        """Each of them."""
        return tuple(super().read())

    @property
    def beside_trials(self) -> Iterator[Fact]:
        """Those that are no trials: they are few."""
        return (fact for fact in self.all if not isinstance(fact, TrialFact))

    def read(self) -> Iterator[Fact]:
        """All facts."""
        return iter(self.all)


def committed_runs() -> dict[str, Run]:
    """Those runs alone."""
    return {name: one.run for name, one in committed().items()}


def write(folder: Path, profiles: Path) -> None:
    """Write everything that the committed facts give into a folder; the commands stay theirs.

    ``profiles`` is where those are, for what reports quote of the lab.
    """
    write_remedies(folder, profiles)  # the pages of the servers quote them
    runs = committed_runs()
    notes = read_lab_notes(RESULTS) or LabNotes("")
    write_compatibility(
        folder,
        tuple(runs[name] for name in sorted(runs)),
        absent_in(RESULTS),
        notes.command,
        profiles=shipped_columns(),
        summary_only=True,
    )
    write_run_pages(runs, RESULTS, folder)
    write_site(folder, committed_site())
    agreed = agreements()
    if any(found[side].resets for found in agreed.values() for side in found):
        page = page_for_folder(kernel_page(agreed))
        (folder / KERNEL_FILE).write_text(page, encoding="utf-8")
    if (RESULTS / PATHS).is_dir():
        along = runs_along()
        write_run_pages(along, RESULTS / PATHS, folder / PATHS)
        paths = page_for_folder(lab_paths.page_of_runs(RESULTS / PATHS, along))
        (folder / PATHS / lab_paths.PAGE_FILE).write_text(paths, encoding="utf-8")
    if (RESULTS / VERSIONS).is_dir():
        said = read_lab_notes(RESULTS / VERSIONS) or LabNotes("")
        (folder / VERSIONS).mkdir(exist_ok=True)
        write_series(folder / VERSIONS, runs_of_versions(), said.command, shipped_columns())
    for name in matrices_beside():
        write_matrix(name, folder / name)
    if (RESULTS / lab_clients.CLIENTS_FOLDER).is_dir():
        clients = page_for_folder(lab_clients.page_again(RESULTS))
        (folder / lab_clients.PAGE_FILE).write_text(clients, encoding="utf-8")


def matrices_beside() -> list[str]:
    """The folders with a matrix of chapters that nobody measures unasked."""
    return [name for name in MATRICES if (RESULTS / name).is_dir()]


def write_matrix(name: str, folder: Path) -> None:
    """Write the matrix and the pages of one of these folders."""
    runs = {vendor: one.run for vendor, one in committed_in(name).items()}
    said = read_lab_notes(RESULTS / name) or LabNotes("")
    write_compatibility(
        folder,
        tuple(runs[vendor] for vendor in sorted(runs)),
        said.absent,
        said.command,
        profiles=shipped_columns(),
        summary_only=True,
    )
    write_run_pages(runs, RESULTS / name, folder)


def write_remedies(folder: Path, profiles: Path) -> None:
    """Write the page of the remedies, and what reports quote of it beside the profiles."""
    page = page_for_folder(lab_remedies.page_of_runs(RESULTS, runs_of_remedies()))
    (folder / lab_remedies.PAGE_FILE).write_text(page, encoding="utf-8")
    for vendor, tried in lab_remedies.quoted_from(runs_of_remedies()).items():
        (profiles / vendor).mkdir(parents=True, exist_ok=True)
        write_tried(profiles / vendor, tried)
    tried_in_lab.cache_clear()


@cache
def runs_along() -> dict[str, Run]:
    """The runs over paths, by the names of their folders: judged once."""
    return _judged_in(RESULTS / PATHS)


@cache
def runs_of_versions() -> dict[str, Run]:
    """The runs of versions, by the names of their folders: judged once."""
    return _judged_in(RESULTS / VERSIONS)


@cache
def runs_of_remedies() -> dict[str, Run]:
    """The runs that tried remedies, by the names of their folders: judged once."""
    return _judged_in(RESULTS / lab_remedies.REMEDIES_FOLDER)


def _judged_in(folder: Path) -> dict[str, Run]:
    return {below.name: judged_from(_Heard(below / FACTS_FILE))[0] for below in named_in(folder)}


def committed_site() -> Iterator[tuple[str, str]]:
    """The files of the site, by name: as 'tlsprobe report results --site results' makes them."""
    notes = read_lab_notes(RESULTS) or LabNotes("")
    runs = committed_runs()
    judged = {
        PATHS: runs_along(),
        VERSIONS: runs_of_versions(),
        **{
            name: {vendor: one.run for vendor, one in committed_in(name).items()}
            for name in matrices_beside()
        },
        lab_remedies.REMEDIES_FOLDER: runs_of_remedies(),
    }
    return site_of(
        [(runs[name], typed_of(RESULTS / name)) for name in sorted(runs)],
        absent_in(RESULTS),
        notes.command,
        profiles=shipped_columns(),
        further=list(pages_beside(RESULTS, judged)),
        also=data_in(RESULTS),
    )


def write_run_pages(runs: dict[str, Run], measured: Path, folder: Path) -> None:
    """The page of each run; it names the command line that measured just this one."""
    for name, run in runs.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / RUN_PAGE).write_bytes(page_of(run, typed_of(measured / name)))


def keep(folder: Path, command: str) -> None:
    """Bring a lab's folders of run documents and facts into the form that is committed.

    Raises UsageError for one whose facts are not judged to its document, and leaves it alone.
    """
    notes = read_lab_notes(folder) or LabNotes(command, absent_in(folder))
    (folder / LAB_FILE).write_bytes(encode_lab_notes(notes))
    for document in sorted(folder.glob(f"*/{RUN_FILE}")):
        keep_one(document.parent, notes.command)
    for name in ("matrix.json", "truth.json"):
        (folder / name).unlink(missing_ok=True)


def keep_one(place: Path, command: str) -> None:
    """One folder: what its document says beside the judgement becomes a fact."""
    run, facts = read_run(place), FactsFile.resume(place / FACTS_FILE)
    if facts.how_measured() is None:
        facts.append(fact_of(run, command))
    facts.close()
    document = place / RUN_FILE
    aside = document.rename(document.with_suffix(".aside"))
    judged = read_results(place)
    if judged != run:
        aside.rename(document)
        raise UsageError(f"{place}: its facts are judged to something else: tlsprobe judge --write")
    aside.unlink()
    keep_summary(place, place, judged, command)


def agreements() -> dict[str, dict[Side, Agreement]]:
    """How far the kernel agrees, by server, also in the matrices beside."""
    agreed = {name: one.agreement for name, one in committed().items()}
    for place in matrices_beside():
        agreed |= {f"{place}/{name}": one.agreement for name, one in committed_in(place).items()}
    return agreed


def readme() -> str:
    """README with the summary of what is committed between its markers, which must be there.

    The numbers that its sentences name are those of what is committed, too.
    """
    resets = sum(one.resets for sides in agreements().values() for one in sides.values())
    text = README.read_text(encoding="utf-8")
    text = _SERVERS.sub(str(len(committed_runs())), text)
    text = _RESETS.sub(str(resets), text)
    before, _, rest = text.partition(SUMMARY_BEGIN)
    _, _, after = rest.partition(SUMMARY_END)
    return f"{before}{SUMMARY_BEGIN}\n{_summary()}{SUMMARY_END}{after}"


def _summary() -> str:
    """Nothing as long as no lab run was committed."""
    runs = committed_runs()
    if not runs:
        return ""
    page = summary_page(tuple(runs[name] for name in sorted(runs)), absent_in(RESULTS))
    return f"\n{page_for_folder(page)}\n"


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, metavar="DIR")
    parser.add_argument("--command", default="tlsprobe lab run --install --summary-only")
    given = parser.parse_args()
    if given.keep is not None:
        keep(given.keep, given.command)
        return
    write(RESULTS, PROFILES)
    README.write_text(readme(), encoding="utf-8")


if __name__ == "__main__":
    _main()
