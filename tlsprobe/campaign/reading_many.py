"""Many results folders, read on all processors.

What is kept of a folder are often its facts alone, and to judge those of one server takes most of a
second. Each folder is judged for itself, so that as many are at a time as there are processors.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

from tlsprobe.campaign.reading import nothing_at, read_results, results_at
from tlsprobe.model.run import Run
from tlsprobe.report.document import RUN_FILE
from tlsprobe.report.plurals import counted

FEW = 4
"""Folders of facts alone that are judged sooner than processes for them begin."""

MANY = 20
"""So many take long enough to be told about."""


def results_below(
    places: Sequence[Path], tell: Callable[[str], None]
) -> list[list[tuple[Path, Run]]]:
    """The runs in or below each place, each with its own folder.

    Of several places one may hold none, as in ``results/*``: that is told, as is what takes long.
    Raises UsageError where there is none at all, or a folder is damaged.
    """
    found = [results_at(place) for place in places]
    if places and not any(found):
        raise nothing_at(places[0])
    for place in (place for place, below in zip(places, found, strict=True) if not below):
        tell(f"warning: {place} holds no results, and is left out")
    runs = iter(_read([one for below in found for one in below], tell))
    return [[(_folder(one), next(runs)) for one in below] for below in found]


def _folder(place: Path) -> Path:
    return place if place.is_dir() else place.parent


def _read(places: Sequence[Path], tell: Callable[[str], None]) -> list[Run]:
    """The runs of these places, in their order."""
    crew = min(len(os.sched_getaffinity(0)), len(places))
    unjudged = sum(not (_folder(place) / RUN_FILE).exists() for place in places)
    if unjudged >= MANY:
        tell(f"judging what was recorded of {unjudged} servers, on {counted(crew, 'processor')}")
    if crew < 2 or unjudged <= FEW:
        return list(map(read_results, places))
    try:
        return list(_read_by(crew, places))
    except (OSError, BrokenProcessPool):  # no room for processes, or for what they share
        return list(map(read_results, places))


def _read_by(crew: int, places: Sequence[Path]) -> Iterator[Run]:
    """The same, in so many processes, none of which outlives a mistake or Ctrl-C."""
    pool = ProcessPoolExecutor(crew, mp_context=get_context("spawn"), initializer=_leave_ctrl_c)
    try:
        yield from pool.map(read_results, places)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _leave_ctrl_c() -> None:
    """Ctrl-C reaches every process of a terminal; the one that started us ends us."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
