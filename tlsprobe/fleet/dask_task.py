"""What a worker of Dask does for a fleet: a process of its own probes a target; its files return.

Dask repeats what a worker that died had begun, without a word. So the first thing a task does is to
take the one token that the coordinator has laid out for its attempt, before any connection: who
finds none is such a repeat, and leaves the server alone.

All targets of a worker share its processes and their sniffers, one for each processor, and as many
run at once as leave every verdict as it is alone (`crew`). They are apart from Dask's own process,
whose threads would make our steps late.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from distributed import Queue, get_client, get_worker

from tlsprobe.campaign.reading import read_results
from tlsprobe.campaign.results import is_capture
from tlsprobe.errors import TlsprobeError, no_room_in
from tlsprobe.facts.file import FACTS_FILE
from tlsprobe.fleet.asked import FleetSettings, addresses_of, why_not
from tlsprobe.fleet.crew import ALLOWED, Crew
from tlsprobe.fleet.findings import has_findings
from tlsprobe.fleet.orders import Lost, Order
from tlsprobe.report.document import RUN_FILE
from tlsprobe.version import VERSION

TOKEN_WITHIN_S = 5.0
"""Seconds that a token is looked for: it was laid out before the task was handed in."""

MOST_CAPTURE = 32 << 20
"""Bytes of a capture that goes over the wire; a larger one is left out, and that is said."""

Files = Mapping[str, bytes]
"""Files of a results folder by name, each compressed (zlib)."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """An order for elsewhere, with the files that it goes on with; ``key`` names the attempt."""

    key: str
    order: Order
    asked: FleetSettings
    files: Files
    version: str = VERSION


@dataclass(frozen=True, slots=True)
class Returned:
    """What came of it: files of the results folder, or else ``failure`` says why there are none.

    ``repeated``: the attempt had been begun before, so that nothing was done. ``no_room``: the
    worker's disk is full. ``lost``: what was measured is, and the target has nothing to do with it.
    """

    files: Files
    failure: str = ""
    notes: tuple[str, ...] = ()
    repeated: bool = False
    no_room: bool = False
    lost: bool = False


def measure(parcel: Parcel) -> Returned:
    """Probe one target, at most once. Runs in a thread of a worker of Dask."""
    if parcel.version != VERSION:
        failure = f"the worker has tlsprobe {VERSION}, not {parcel.version}"
        return Returned({}, failure)
    if not is_first(parcel.key):
        return Returned({}, repeated=True)
    try:
        return _allowed(parcel)
    except OSError as error:
        if full := no_room_in(error):
            return Returned({}, full, no_room=True)
        raise
    finally:
        _STOPPED.discard(parcel.key)


def stop(keys: Iterable[str]) -> None:
    """Have the attempts of these keys end soon, with what they have measured by then.

    Runs in the worker itself, and not as one of its tasks.
    """
    _STOPPED.update(keys)


def _allowed(parcel: Parcel) -> Returned:
    """Probe the target, unless it must not be probed from here or nobody waits for it any more."""
    if parcel.key in _STOPPED:
        return Returned({}, "interrupted")
    settings = parcel.order.settings
    try:
        addresses = addresses_of(settings)
        refused = why_not(addresses, parcel.asked)
    except TlsprobeError as error:
        return Returned({}, error.message)
    if refused:
        return Returned({}, f"not probed: {refused}")
    settings = replace(settings, how=replace(settings.how, only=addresses))
    parcel = replace(parcel, order=replace(parcel.order, settings=settings))
    with TemporaryDirectory(prefix="tlsprobe-") as place:
        folder = Path(place, "run")
        return _measured(parcel, folder)


def is_first(key: str) -> bool:
    """Whether nobody has begun this attempt before: its token is still there."""
    try:
        Queue(key, client=get_client()).get(timeout=TOKEN_WITHIN_S)
    except TimeoutError:
        return False
    return True


def _measured(parcel: Parcel, folder: Path) -> Returned:
    unpack(parcel.files, folder)
    worker, key = get_worker(), parcel.key

    def is_wanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state in {"executing", "long-running"}

    order = replace(parcel.order, folder=folder)
    notes, ended = _crew().probe(order, is_wanted, is_stopped=lambda: key in _STOPPED)
    if ended is None:
        return Returned({}, "nobody waited for it any more")
    if isinstance(ended, Lost):
        return Returned({}, ended.reason, notes, lost=True)
    if ended.failure:
        return Returned({}, ended.failure, notes, no_room=ended.no_room)
    files, left_out = packed_files(folder, parcel.asked.keep)
    return Returned(files, notes=(*notes, *left_out))


def packed_files(folder: Path, keep: str) -> tuple[Files, tuple[str, ...]]:
    """The files of a folder that the coordinator keeps, and what is said of those left out."""
    wanted = keep == "all" or (keep == "findings" and has_findings(read_results(folder)))
    files, left_out = {}, []
    for file in sorted(folder.iterdir()):
        if file.name in {FACTS_FILE, RUN_FILE}:
            files[file.name] = zlib.compress(file.read_bytes())
        elif wanted and is_capture(file.name):
            if file.stat().st_size <= MOST_CAPTURE:
                files[file.name] = zlib.compress(file.read_bytes(), 1)
            else:
                left_out.append(f"{file.name} is not kept: more than {MOST_CAPTURE >> 20} MB")
    return files, tuple(left_out)


def unpack(files: Files, folder: Path) -> None:
    """Write packed files into a folder; no folder is made for none."""
    for name, data in files.items():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / Path(name).name).write_bytes(zlib.decompress(data))


# --- What probes ----------------------------------------------------------------------------------

_STOPPED: set[str] = set()
"""The keys of attempts that are to end soon."""

_LOCK = threading.Lock()
_CREWS: list[Crew] = []
"""What probes for this worker; the last one, if it has not ended."""


def _crew() -> Crew:
    """What probes for all threads of this worker; the scheduler is told how many targets at once.

    That travels with the worker's heartbeats.
    """
    with _LOCK:
        if not _CREWS or _CREWS[-1].is_over:
            threads = get_worker().state.nthreads
            crew = Crew(workers=min(threads, len(os.sched_getaffinity(0))), most=threads)
            _CREWS[:] = [crew]
            get_worker().metrics[ALLOWED] = lambda _: crew.allowed
        return _CREWS[-1]
