"""A site of results as files: static, for any host or straight from disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

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


class FurtherPage(NamedTuple):
    """A page of a site beside those of servers and sequences, by the name of its file."""

    name: str
    title: str
    page: Page

    @property
    def is_listed(self) -> bool:
        """Whether the index leads to it; to pages further below, the page above them does."""
        return self.name.count("/") == 1


def site_of(
    runs: Sequence[tuple[Run, str]],
    absent: Sequence[Absent] = (),
    command: str = "",
    *,
    profiles: Mapping[str, Profile] | None = None,
    further: Sequence[FurtherPage] = (),
    also: Sequence[str] = (),
) -> Iterator[tuple[str, str]]:
    """The files of a site, by name: an index, a page for each server and for each sequence.

    Each of the ``runs`` has the command line that measured it, ``command`` measured them all.
    ``profiles`` hold the directives, as in ``write_compatibility``; ``further`` pages are part
    of the site; ``also`` names files beside the index to lead to.
    """
    known = profiles or {}
    vendors = vendors_of([run for run, _ in runs], absent)
    measured = {id(run): typed for run, typed in runs}
    compatibility = compatibility_of(vendors)
    answers = answers_of(compatibility)
    yield from site_files().items()
    links = [Link(one.title, one.name) for one in further if one.is_listed]
    links += [Link(name, name) for name in also]
    yield INDEX, _page(index_page(compatibility, answers, command, links), Site())
    below = _below(f"{SEQUENCES}/{INDEX}")
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
    for one in further:
        yield one.name, _page(one.page, _below(one.name))


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


def _below(name: str) -> Site:
    """What a page below the index is part of: the way back leads through the folders above it."""
    *above, _ = name.split("/")[:-1]
    root = "../" * (len(above) + 1)
    ways = [Link(HOME, f"{root}{INDEX}")]
    ways += [Link(one.capitalize(), f"{'../' * n}{INDEX}") for n, one in enumerate(above[::-1], 1)]
    return Site(root, tuple(ways))


def _page(page: Page, site: Site) -> str:
    return render_html(page, diagrams=True, site=site)
