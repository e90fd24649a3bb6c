"""Runs tlsprobe as a user does, and reads what it wrote."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.servers import GENEROUS_S
from tlsprobe.model.run import Cell, Run, TrialLine
from tlsprobe.report.document import decode_run, read_run, read_trials

PATIENCE = GENEROUS_S * 5
"""Seconds that a whole command may take: a campaign on a busy machine is no hang."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A finished command: exit code, both outputs, and the folder it was told to write."""

    code: int
    out: str
    err: str
    folder: Path

    @property
    def run(self) -> Run:
        """The run document in the folder."""
        return read_run(self.folder)

    @property
    def printed(self) -> Run:
        """The run document on standard output (``--json``)."""
        return decode_run(self.out.encode(), Path("standard output"))

    @property
    def trials(self) -> list[TrialLine]:
        """The trial lines."""
        return list(read_trials(self.folder))

    def cell(self, sequence: str, tls: str = "1.3") -> Cell:
        """One cell of the matrix."""
        (found,) = (c for c in self.run.cells if (c.sequence, c.tls) == (sequence, tls))
        return found


def tlsprobe(*words: str, cwd: Path, env: dict[str, str] | None = None) -> Ran:
    """``tlsprobe WORDS`` with ``cwd/out`` as its results folder."""
    command = [sys.executable, "-W", "error", "-m", "tlsprobe", *words]
    finished = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "NO_COLOR": "1", **(env or {})},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return Ran(finished.returncode, finished.stdout, finished.stderr, cwd / "out")


def probe(target: str, *words: str, cwd: Path, env: dict[str, str] | None = None) -> Ran:
    """``tlsprobe run`` against one target, with a capture or not at all."""
    asked = ("run", "--target", target, "--out", str(cwd / "out"), "--require-capture")
    return tlsprobe(*asked, *words, cwd=cwd, env=env)


def at(host: str, port: int) -> str:
    """HOST:PORT as the command line wants it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
