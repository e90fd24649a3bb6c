"""The results folder: made before the first connection, filled while trials end."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from time import time
from typing import BinaryIO

from tlsprobe.campaign.judging import JudgedRun
from tlsprobe.campaign.reading import fact_of, holds_results
from tlsprobe.errors import UsageError, cannot_write
from tlsprobe.expected import known_behaviours
from tlsprobe.facts.file import FACTS_FILE, FactsFile, pack
from tlsprobe.model.facts import FactsHeader
from tlsprobe.model.run import JudgedTrial, Run
from tlsprobe.model.target import Target
from tlsprobe.report.document import (
    RUN_FILE,
    TRIALS_FILE,
    encode_run,
    encode_run_line,
    encode_trial,
    trial_line,
)
from tlsprobe.report.formats import HTML_PAGE, page_for_folder, page_to_share
from tlsprobe.report.known import KNOWN_FILE, encode_known
from tlsprobe.report.pages.run import run_page

CAPTURE_FILE = "capture.pcapng"
RUN_PAGE = "matrix.md"
"""The page of a run in its folder, for a ticket; HTML_PAGE is beside it."""


_OURS = frozenset({RUN_FILE, TRIALS_FILE, FACTS_FILE, RUN_PAGE, HTML_PAGE, KNOWN_FILE})
_CAPTURE = re.compile(r"capture(-\d+)?\.pcapng")
"""The files of a run, and of its captures."""

GRAIN_S = 1.0
"""The clock of a file system lags behind ours by less."""


class ResultsFolder:
    """One target's folder. Every trial is on disk when ``add`` returns.

    Resuming an earlier run keeps its facts, and captures into a second file.
    """

    def __init__(self, path: Path, header: FactsHeader, *, resume: bool = False) -> None:
        self.path = path
        self._resumed = resume
        self._since = time() - GRAIN_S
        self._made = [folder for folder in (path, *path.parents) if not folder.exists()]
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
            self._trials = (path / TRIALS_FILE).open("ab", buffering=0)
            _lock(self._trials, path)
            _cut_torn_line(path / TRIALS_FILE)
        facts = path / FACTS_FILE
        self.facts = FactsFile.resume(facts) if resume else FactsFile.create(facts, header)
        capture = path / CAPTURE_FILE
        self.capture = unused(capture) if resume else capture

    def add(self, judged: JudgedTrial) -> None:
        """Append one trial."""
        with writing(self.path):
            self._trials.write(encode_trial(trial_line(judged)))

    def save(self, run: Run) -> None:
        """Write the run document as it stands: whole or not at all, whenever we are killed."""
        replace_file(self.path / RUN_FILE, encode_run_line(run))

    def finish(self, run: Run, judged: JudgedRun, typed: str, *, pages: bool = True) -> None:
        """Write the run document and its pages, and the trials as they were judged last.

        ``typed`` is the command line that measured. Without ``pages``: the run document alone.
        """
        self.facts.append(fact_of(run, typed))
        if not pages:
            self.save(run)
            return
        trials = judged.trials if judged.revised or self._resumed else None
        write_documents(self.path, run, trials, typed)

    def close(self) -> None:
        """Close the files; give the folder to the user who called sudo."""
        self._trials.close()
        self.facts.close()
        give_back([*self._made, self.path, *_ours_in(self.path)], self._since)

    def remove(self) -> None:
        """Remove what was made, where nothing came of it; what cannot be removed stays."""
        for entry in _ours_in(self.path):
            with suppress(OSError):
                entry.unlink()
        for folder in self._made:
            with suppress(OSError):  # somebody else has put something there
                folder.rmdir()


def write_documents(
    folder: Path, run: Run, trials: Iterable[JudgedTrial] | None, typed: str
) -> None:
    """The run document and its page, and the trial lines, if these are to be written anew.

    The page names ``typed`` as the command line that it comes from.
    """
    replace_file(folder / RUN_FILE, encode_run(run))
    if trials is not None:
        replace_file(folder / TRIALS_FILE, b"".join(encode_trial(trial_line(t)) for t in trials))
    known = known_behaviours(run, run.behaviours)
    replace_file(folder / KNOWN_FILE, encode_known(known))
    page = run_page([run], typed)
    replace_file(folder / RUN_PAGE, page_for_folder(page).encode())
    replace_file(folder / HTML_PAGE, page_to_share(page).encode())


def keep_summary(measured: Path, kept: Path, run: Run, typed: str) -> None:
    """Keep the facts of a run and its page, in the place of what is kept already.

    The run document follows from the facts: whoever reads the folder judges them. A comparison
    with a baseline does not, and is not kept.
    """
    keep_facts(measured, kept)
    replace_file(kept / RUN_PAGE, page_of(replace(run, deviations=None), typed))


def keep_facts(measured: Path, kept: Path) -> None:
    """Keep the facts of a measurement, in the place of everything that a measurement writes."""
    with writing(kept):
        kept.mkdir(parents=True, exist_ok=True)
        pack(measured / FACTS_FILE, kept / FACTS_FILE)
        for name in (RUN_FILE, TRIALS_FILE, HTML_PAGE, KNOWN_FILE):
            (kept / name).unlink(missing_ok=True)
        for capture in kept.glob("*.pcapng"):
            capture.unlink()


def page_of(run: Run, typed: str) -> bytes:
    """The page of a run; it names ``typed`` as the command line that it comes from."""
    return page_for_folder(run_page([run], typed)).encode()


def replace_file(path: Path, document: bytes) -> None:
    """Write a file: whole or not at all, whenever we are killed. Raises UsageError."""
    unfinished = path.with_name(f"{path.name}.new")
    with writing(path.parent):
        unfinished.unlink(missing_ok=True)
        with unfinished.open("xb") as file:  # never through a link that somebody has put there
            file.write(document)
        unfinished.replace(path)


@contextmanager
def results_folder(
    path: Path, header: FactsHeader, *, resume: bool = False
) -> Iterator[ResultsFolder]:
    """A folder for one target's results, a new one unless its run is to be resumed.

    The ``header`` is that of a new one's facts. Raises UsageError if it cannot be written, or holds
    a run already.
    """
    if not resume and holds_results(path):
        hint = "choose another folder, or continue that run with --resume instead of --out"
        raise UsageError(f"{path} already holds the results of a run", hint)
    must_be_ours(path, _is_ours, anything_else=resume)
    folder = ResultsFolder(path, header, resume=resume)
    try:
        yield folder
    except BaseException:
        folder.close()
        if not resume and not (path / RUN_FILE).exists():
            folder.remove()
        raise
    folder.close()


def must_be_ours(
    path: Path, is_ours: Callable[[str], bool], *, anything_else: bool = False
) -> None:
    """Raises UsageError for a folder that holds what is not ours, or a link in place of a file.

    ``is_ours`` knows the names of our files; ``anything_else`` may lie beside them.
    """
    with writing(path):
        entries = sorted(path.iterdir()) if path.is_dir() else []
    for entry in entries:
        if is_ours(entry.name) and entry.is_symlink():
            hint = "remove it, or name another folder with --out DIR"
            raise UsageError(f"{entry} is a link: nothing is written through it", hint)
        if not is_ours(entry.name) and not anything_else:
            hint = "name a new or an empty folder with --out DIR"
            raise UsageError(f"{path} is not empty: it holds {entry.name}", hint)


def is_capture(name: str) -> bool:
    """Whether a file of a results folder is a capture: a resumed run has several."""
    return bool(_CAPTURE.fullmatch(name))


def _is_ours(name: str) -> bool:
    stem = name.removesuffix(".new")
    return stem in _OURS or is_capture(stem)


def _ours_in(folder: Path) -> list[Path]:
    """The files of a run in a folder, if it is still there."""
    entries = folder.iterdir() if folder.is_dir() else ()
    return [entry for entry in entries if _is_ours(entry.name) and not entry.is_symlink()]


def default_folder(target: Target) -> Path:
    """``results/<UTC time>-<target>``, with nothing in it that a file system dislikes."""
    return unused(dated_folder(slug(str(target))))


def dated_folder(name: str) -> Path:
    """``results/<UTC time>-<name>``."""
    return Path("results", f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{name}")


def slug(text: str) -> str:
    """A name for a file or folder."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "target"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the file system refuses into a UsageError."""
    try:
        yield
    except OSError as error:
        hint = "name a writable folder with --out DIR"
        message = f"cannot write results to {path}: {error.strerror}"
        raise cannot_write(error, message, hint) from error


def _lock(file: BinaryIO, path: Path) -> None:
    """Two runs must not write into one folder; the lock ends with the process, however it ends."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        hint = "wait for it, or choose another folder"
        raise UsageError(f"another tlsprobe is writing to {path}", hint) from error
    except OSError:
        pass  # a file system without locks


def is_being_written(folder: Path) -> bool:
    """Whether a process is measuring into a results folder just now."""
    try:
        with (folder / TRIALS_FILE).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass  # nothing is there, or it is a file system without locks
    return False


def _cut_torn_line(path: Path) -> None:
    """Take off a last line that was being written when the run was killed."""
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.truncate(path, whole)


def unused(path: Path) -> Path:
    """The path itself, or the first free of ``name-2``, ``name-3`` ..."""
    names = (path.with_stem(f"{path.stem}-{number}") for number in count(2))
    return next(name for name in chain([path], names) if not name.exists())


def give_back(entries: Iterable[Path], since: float) -> None:
    """Under sudo the files are root's; the person who asked should be able to delete them.

    What belongs to somebody else, or was there before ``since`` (seconds, Unix time) and has not
    been written, stays as it is.
    """
    owner, group = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if os.geteuid() != 0 or not owner.isdigit() or not group.isdigit():
        return
    for entry in entries:
        with suppress(OSError):  # what cannot be given back is still there
            facts = entry.lstat()
            if facts.st_uid == 0 and facts.st_ctime >= since:
                os.chown(entry, int(owner), int(group), follow_symlinks=False)
