"""A site of results as files: static, for any host or straight from disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tlsprobe.catalogue import catalogue
from tlsprobe.model.profile import Profile
from tlsprobe.model.run import Run
from tlsprobe.report.blocks import Link, Page
from tlsprobe.report.compatibility import Absent, compatibility_of, vendors_of
from tlsprobe.report.pages.site import (
    INDEX,
    SEQUENCES,
    answers_of,
    index_page,
    sequence_page,
    server_page,
)
from tlsprobe.report.render_html import Site, render_html, site_files

HOME = "Results"
"""What the way back to the index is called."""

_DATA = ("*.md", "*.csv", "*.json")


def site_of(
    runs: Sequence[tuple[Run, str]],
    absent: Sequence[Absent] = (),
    command: str = "",
    *,
    profiles: Mapping[str, Profile] | None = None,
    also: Sequence[str] = (),
) -> Iterator[tuple[str, str]]:
    """The files of a site, by name: an index, a page for each server and for each sequence.

    Each of the ``runs`` has the command line that measured it, ``command`` measured them all.
    ``profiles`` hold the directives, as in ``write_compatibility``; ``also`` names files beside
    the index to lead to.
    """
    known = profiles or {}
    vendors = vendors_of([run for run, _ in runs], absent)
    measured = {id(run): typed for run, typed in runs}
    compatibility = compatibility_of(vendors)
    answers = answers_of(compatibility)
    yield from site_files().items()
    links = [Link(name, name) for name in also]
    yield INDEX, _page(index_page(compatibility, answers, command, links), Site())
    below = Site("../", (Link(HOME, f"../{INDEX}"),))
    for vendor in compatibility.measured:
        if vendor.run is not None:
            profile = known.get(vendor.name) or known.get(vendor.run.target.profile)
            typed = measured[id(vendor.run)] or command
            page = server_page(vendor, vendor.run, profile, typed)
            yield f"{vendor.folder}/{INDEX}", _page(page, below)
    for name in compatibility.sequences:
        if (entry := catalogue().get(name)) is not None:
            page = sequence_page(name, entry, answers[name], command)
            yield f"{SEQUENCES}/{name}.html", _page(page, below)


def write_site(folder: Path, files: Iterator[tuple[str, str]]) -> int:
    """Write the files below a folder; how many there were. Raises OSError."""
    count = 0
    for name, text in files:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        count += 1
    return count


def data_in(folder: Path) -> list[str]:
    """The names of pages and tables that lie in a folder already."""
    return sorted(path.name for kind in _DATA for path in folder.glob(kind))


def _page(page: Page, site: Site) -> str:
    return render_html(page, diagrams=True, site=site)
