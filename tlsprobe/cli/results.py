"""The results folder: made before the first connection, filled while trials end."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tlsprobe.errors import UsageError
from tlsprobe.model.judgement import Result
from tlsprobe.model.run import JudgedTrial, Run, TrialLine
from tlsprobe.model.target import endpoint
from tlsprobe.report.document import RUN_FILE, TRIALS_FILE, encode_run, encode_trial
from tlsprobe.report.markdown import render_markdown

CAPTURE_FILE = "capture.pcapng"
MATRIX_FILE = "matrix.md"


class ResultsFolder:
    """One target's folder. Every trial is on disk when ``add`` returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._trials = (path / TRIALS_FILE).open("ab", buffering=0)
        except OSError as error:
            hint = "give a folder that can be written with --out DIR"
            message = f"cannot write results to {path}: {error.strerror}"
            raise UsageError(message, hint) from error

    @property
    def capture(self) -> Path:
        """Where the capture goes."""
        return self.path / CAPTURE_FILE

    def add(self, judged: JudgedTrial) -> None:
        """Append one trial."""
        self._trials.write(encode_trial(trial_line(judged)))

    def finish(self, run: Run) -> None:
        """Write the run document and its matrix."""
        (self.path / RUN_FILE).write_bytes(encode_run(run))
        matrix = render_markdown([run], command_line())
        (self.path / MATRIX_FILE).write_text(matrix, encoding="utf-8")

    def close(self) -> None:
        """Close the trials file; give the folder to the user who called sudo."""
        self._trials.close()
        _give_back(self.path)


@contextmanager
def results_folder(path: Path) -> Iterator[ResultsFolder]:
    """A folder for one target's results. Raises UsageError if it cannot be, or holds a run."""
    if (path / RUN_FILE).exists():
        hint = "choose another folder; results are never written over"
        raise UsageError(f"{path} already holds the results of a run", hint)
    folder = ResultsFolder(path)
    try:
        yield folder
    finally:
        folder.close()


def default_folder(host: str, port: int) -> Path:
    """``results/<UTC time>-<target>``, with nothing in it that a file system dislikes."""
    return Path("results", f"{_now():%Y%m%dT%H%M%SZ}-{slug(endpoint(host, port))}")


def slug(text: str) -> str:
    """A name for a file or folder."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "target"


def stamp(moment: datetime) -> str:
    """A time as run documents write it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def command_line() -> str:
    """The command that is running, as it could be typed again."""
    words = ["tlsprobe", *sys.argv[1:]]
    return " ".join(_quoted(word) for word in words)


def trial_line(judged: JudgedTrial) -> TrialLine:
    """What ``trials.jsonl`` keeps of a trial."""
    drive, judgement = judged.drive, judged.judgement
    begun = drive.events[0].time_ns / 1e9 if drive.events else 0.0
    return TrialLine(
        sequence=judged.trial.sequence,
        tls=judged.trial.tls,
        trial=judged.trial.index,
        started=stamp(datetime.fromtimestamp(begun, UTC)),
        client=endpoint(*drive.client) if drive.client else "",
        outcome=judgement.outcome,
        axes=judgement.axes,
        signature=judgement.signature,
        resets=judgement.resets,
        findings={r.rule: r.result for r in judgement.results if r.result is not Result.PASS},
        timing_us=judgement.timing_us,
        conclusive=judgement.conclusive,
        failure=drive.failure,
        notes=judgement.notes,
    )


def _now() -> datetime:
    return datetime.now(UTC)


def _quoted(word: str) -> str:
    return (
        word
        if re.fullmatch(r"[\w@%+=:,./\[\]-]+", word)
        else "'" + word.replace("'", "'\\''") + "'"
    )


def _give_back(path: Path) -> None:
    """Under sudo the files are root's; the person who asked should be able to delete them."""
    owner, group = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if os.geteuid() != 0 or not owner.isdigit() or not group.isdigit():
        return
    for entry in (path, *path.iterdir()):
        os.chown(entry, int(owner), int(group), follow_symlinks=False)
