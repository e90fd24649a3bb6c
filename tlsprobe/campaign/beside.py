"""What lies beside the servers of a results folder, as pages of its site: paths, ends and more.

Each is read from the facts of its own folder, as the command that measured it left them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from tlsprobe.campaign import lab_clients, lab_paths, lab_remedies
from tlsprobe.campaign.lab_columns import shipped_columns
from tlsprobe.campaign.reading import runs_in, typed_of
from tlsprobe.model.run import Run
from tlsprobe.report.blocks import BulletList, Heading, Link
from tlsprobe.report.compatibility import compatibility_of, vendors_of
from tlsprobe.report.compatibility_files import page_of_series
from tlsprobe.report.lab_notes import LabNotes, read_lab_notes
from tlsprobe.report.pages.compatibility import compatibility_page
from tlsprobe.report.pages.run import run_page
from tlsprobe.report.pages.site import INDEX
from tlsprobe.report.site import FurtherPage

PATHS, VERSIONS = "paths", "versions"
"""The folders below a lab's results that hold those of `lab paths`, and of versions."""

MATRICES: Mapping[str, str] = MappingProxyType(
    {"ends": "Stops, reloads and limits", "control": "What TLS and the path can say"}
)
"""The folders with a matrix of chapters that nobody measures unasked, and what they are called.

``ends`` holds ``shutdown`` and ``limits``, ``control`` also ``wire``.
"""


def pages_beside(
    folder: Path, judged: Mapping[str, Mapping[str, Run]] = MappingProxyType({})
) -> Iterator[FurtherPage]:
    """The pages that a results folder has besides those of its servers. Raises UsageError.

    ``judged`` are the runs that were judged already, by the names of the folders that hold them.
    """
    runs = {
        name: judged[name] if name in judged else runs_in(folder / name)
        for name in (PATHS, VERSIONS, *MATRICES, lab_remedies.REMEDIES_FOLDER)
        if (folder / name).is_dir()
    }
    if PATHS in runs:
        yield from _paths(folder / PATHS, runs[PATHS])
    if VERSIONS in runs:
        yield from _versions(folder / VERSIONS, runs[VERSIONS])
    for name in (name for name in MATRICES if name in runs):
        yield from _matrix(folder / name, runs[name])
    if (folder / lab_clients.CLIENTS_FOLDER).is_dir():
        page = lab_clients.page_again(folder)
        yield FurtherPage(f"{lab_clients.CLIENTS_FOLDER}/{INDEX}", "Clients", page)
    if lab_remedies.REMEDIES_FOLDER in runs:
        page = lab_remedies.page_of_runs(folder, runs[lab_remedies.REMEDIES_FOLDER])
        yield FurtherPage(f"{lab_remedies.REMEDIES_FOLDER}/{INDEX}", "Remedies", page)


def _paths(folder: Path, runs: Mapping[str, Run]) -> Iterator[FurtherPage]:
    """What paths change, and a page for each run over one."""
    links = tuple((Link(run.target.name, f"{name}/{INDEX}"),) for name, run in runs.items())
    each = (Heading(2, "Each path"), BulletList(links)) if links else ()
    page = (*lab_paths.page_of_runs(folder, runs), *each)
    yield FurtherPage(f"{PATHS}/{INDEX}", "Paths", page)
    yield from _each(PATHS, folder, runs)


def _each(kind: str, folder: Path, runs: Mapping[str, Run]) -> Iterator[FurtherPage]:
    """A page for each run."""
    for name, run in runs.items():
        own = run_page([run], typed_of(folder / name), pack="cells")
        yield FurtherPage(f"{kind}/{name}/{INDEX}", run.target.name, own)


def _matrix(folder: Path, runs: Mapping[str, Run]) -> Iterator[FurtherPage]:
    """How servers end in chapters of their own, side by side; and a page for each of them."""
    notes, kind = read_lab_notes(folder) or LabNotes(""), folder.name
    compared = compatibility_of(vendors_of([runs[name] for name in sorted(runs)], notes.absent))
    page = compatibility_page(compared, notes.command)
    yield FurtherPage(f"{kind}/{INDEX}", MATRICES[kind], page)
    yield from _each(kind, folder, runs)


def _versions(folder: Path, runs: Mapping[str, Run]) -> Iterator[FurtherPage]:
    """What changed from version to version."""
    command = (read_lab_notes(folder) or LabNotes("")).command
    page = page_of_series(runs, command, shipped_columns())
    if page is not None:
        yield FurtherPage(f"{VERSIONS}/{INDEX}", "Versions", page)
