"""``tlsprobe lab remedies``: what people do against resets, tried on the servers of the lab."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tlsprobe.campaign.lab import measure_vendors
from tlsprobe.campaign.lab_columns import shipped_columns
from tlsprobe.campaign.progress import Progress
from tlsprobe.campaign.reading import runs_in
from tlsprobe.campaign.results import replace_file, writing
from tlsprobe.campaign.settings import LabSettings, RemediesSettings
from tlsprobe.errors import UsageError
from tlsprobe.lab.choice import Chosen, chosen
from tlsprobe.lab.remedies import to_measure
from tlsprobe.model.behaviour import TriedInLab
from tlsprobe.model.profile import Profile
from tlsprobe.model.run import Run
from tlsprobe.report.blocks import Page
from tlsprobe.report.formats import page_for_folder
from tlsprobe.report.lab_notes import LabNotes, read_lab_notes
from tlsprobe.report.pages.remedies import remedies_page
from tlsprobe.report.remedies import TriedRemedy, as_quoted, tried_remedies

REMEDIES_FOLDER = "remedies"
"""Where the facts are, a folder for each vendor and for each remedy of a server."""

PAGE_FILE = "remedies.md"
"""The page of what came of them, in the folder that ``--out`` names."""


@dataclass(frozen=True, slots=True)
class RemediesMeasured:
    """What came of it. ``page`` None: nothing was measured."""

    page: Page | None
    interrupted: bool


def remedies_chosen(names: Sequence[str] | None) -> Chosen:
    """What to measure for the remedies of these vendors, or of all that name some.

    Raises UsageError for a vendor whose profile names none.
    """
    picked = chosen(names, tunnels=False)
    found = {profile.name: list(to_measure(profile)) for profile in picked.profiles}
    for name in names or ():
        if name in found and not found[name]:
            known = ", ".join(n for n, one in found.items() if one) if len(found) > 1 else ""
            words = f"the profile of '{name}' names no remedies that could be tried"
            raise UsageError(words, f"vendors with some: {known}" if known else "")
    return Chosen([one for some in found.values() for one in some], picked.broken)


async def measure_remedies(
    picked: Chosen, settings: RemediesSettings, progress: Progress
) -> RemediesMeasured:
    """Measure each vendor as it is and with each remedy, and write the page of all in the folder.

    Raises as ``measure_vendors``.
    """
    place = settings.folder / REMEDIES_FOLDER
    asked = LabSettings(
        folder=place,
        trials=settings.trials,
        tls=settings.tls,
        summary_only=True,
        install=settings.install,
        typed=settings.typed,
        matrix=False,
        most_signalled=settings.trials,
    )
    outcome = await measure_vendors(picked, asked, progress)
    if not outcome.runs:
        return RemediesMeasured(None, outcome.interrupted)
    runs = runs_in(settings.folder / REMEDIES_FOLDER)
    page = page_of_runs(settings.folder, runs, picked.profiles)
    with writing(settings.folder):
        replace_file(settings.folder / PAGE_FILE, page_for_folder(page).encode())
    return RemediesMeasured(page, outcome.interrupted)


def page_of_runs(folder: Path, runs: Mapping[str, Run], profiles: Sequence[Profile] = ()) -> Page:
    """The page of the remedies that these runs in ``folder`` tried. Raises UsageError.

    ``profiles`` are those that name remedies beside the ones that ship.
    """
    notes = read_lab_notes(folder / REMEDIES_FOLDER) or LabNotes("")
    return remedies_page(_tried(runs, profiles), runs, notes.command)


def quoted_from(runs: Mapping[str, Run]) -> dict[str, list[TriedInLab]]:
    """What reports quote of the remedies that these runs tried, by vendor."""
    found: dict[str, list[TriedInLab]] = {}
    for one in _tried(runs, ()):
        if quoted := list(as_quoted(one)):
            found.setdefault(one.vendor, []).extend(quoted)
    return found


def _tried(runs: Mapping[str, Run], profiles: Sequence[Profile]) -> list[TriedRemedy]:
    vendors = {**shipped_columns(), **{profile.name: profile for profile in profiles}}
    return tried_remedies(runs, [vendors[name] for name in runs if name in vendors])
