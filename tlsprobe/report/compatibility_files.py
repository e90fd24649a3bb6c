"""Writes the matrix of many runs as page, table and document, and each vendor's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tlsprobe.model.profile import LabChange, Profile
from tlsprobe.model.run import Run
from tlsprobe.report.blocks import Page
from tlsprobe.report.compatibility import Absent, Compatibility, compatibility_of, vendors_of
from tlsprobe.report.compatibility_csv import render_csv
from tlsprobe.report.compatibility_json import MATRIX_FILE, encode_matrix
from tlsprobe.report.formats import HTML_PAGE, page_for_folder, page_to_share
from tlsprobe.report.lab_notes import LAB_FILE, LabNotes, encode_lab_notes
from tlsprobe.report.pages.compatibility import compatibility_page
from tlsprobe.report.pages.series import series_page
from tlsprobe.report.pages.vendor import vendor_page
from tlsprobe.report.series import compared, series_of

PAGE_FILE = "vendor.md"
"""A vendor's page, in the vendor's folder."""

VERSIONS_FILE = "versions.md"
"""The page of what changed from version to version, where versions were measured."""


def write_compatibility(
    folder: Path,
    runs: Sequence[Run],
    absent: Sequence[Absent],
    command: str,
    *,
    profiles: Mapping[str, Profile] | None = None,
    summary_only: bool = False,
    unfinished_since: str = "",
) -> Compatibility:
    """Write the matrix of all runs into ``folder``, and each vendor's page into its own below it.

    ``summary_only`` leaves out ``matrix.json`` and ``report.html``, which `tlsprobe matrix` makes
    of the same runs.
    ``absent`` are the vendors that could not be measured: name, title, reason. ``command``
    reproduces it all. ``profiles`` hold the directives, by the name of the vendor or of the run's
    profile. ``unfinished_since`` as in LabNotes. Raises OSError.
    """
    compatibility = compatibility_of(vendors_of(runs, absent))
    folder.mkdir(parents=True, exist_ok=True)
    page = compatibility_page(compatibility, command)
    (folder / "matrix.md").write_text(page_for_folder(page), encoding="utf-8")
    lines = render_csv(compatibility)
    (folder / "matrix.csv").write_text(lines, encoding="utf-8", newline="")
    notes = LabNotes(command, tuple(absent), unfinished_since=unfinished_since)
    (folder / LAB_FILE).write_bytes(encode_lab_notes(notes))
    if summary_only:
        for name in (MATRIX_FILE, HTML_PAGE):
            (folder / name).unlink(missing_ok=True)
    else:
        (folder / HTML_PAGE).write_text(page_to_share(page), encoding="utf-8")
        (folder / MATRIX_FILE).write_bytes(encode_matrix(compatibility, command))
    _write_pages(folder, compatibility, command, profiles or {})
    return compatibility


def write_series(
    folder: Path, runs: Mapping[str, Run], command: str, profiles: Mapping[str, Profile]
) -> None:
    """Write the page of the versions among these runs, if there are any. Raises OSError."""
    page = page_of_series(runs, command, profiles)
    if page is not None:
        (folder / VERSIONS_FILE).write_text(page_for_folder(page), encoding="utf-8")


def page_of_series(
    runs: Mapping[str, Run], command: str, profiles: Mapping[str, Profile]
) -> Page | None:
    """The page of the versions among these runs; None if there are none.

    ``profiles`` of the vendors, by name, hold what the servers' notes say of their changes.
    """
    series = series_of(runs)
    each = [compared(one, _notes(profiles.get(one.vendor))) for one in series]
    return series_page(each, command) if each else None


def _notes(profile: Profile | None) -> tuple[LabChange, ...]:
    return () if profile is None or profile.lab is None else profile.lab.changes


def _write_pages(
    folder: Path, compatibility: Compatibility, command: str, profiles: Mapping[str, Profile]
) -> None:
    for vendor in compatibility.measured:
        if vendor.run is None:
            continue
        profile = profiles.get(vendor.name) or profiles.get(vendor.run.target.profile)
        own = folder / vendor.folder
        own.mkdir(exist_ok=True)
        page = page_for_folder(vendor_page(vendor, profile, command))
        (own / PAGE_FILE).write_text(page, encoding="utf-8")
