"""Runs a command of tlsprobe in this process: tests of what it says need not wait for imports.

What a process of its own shows (signals, pipes, what is imported) is tested with one.
"""

from __future__ import annotations

import gc
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryFile
from typing import TextIO

import pytest

from tests.e2e.probing import Ran
from tlsprobe.cli import main


def tlsprobe(*words: str, cwd: Path) -> Ran:
    """``tlsprobe WORDS`` with ``cwd/out`` as its results folder."""
    collected = gc.get_threshold()
    with (
        TemporaryFile("w+", encoding="utf-8") as out,
        TemporaryFile("w+", encoding="utf-8") as err,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(sys, "argv", ["tlsprobe", *words])
        patch.setenv("NO_COLOR", "1")
        with chdir(cwd), redirect_stdout(out), redirect_stderr(err):
            with pytest.raises(SystemExit) as left:
                main()
            sys.stdout.flush()
            sys.stderr.flush()
        gc.set_threshold(*collected)
        code = left.value.code
        return Ran(code if isinstance(code, int) else 0, _whole(out), _whole(err), cwd / "out")


def _whole(file: TextIO) -> str:
    file.seek(0)
    return file.read()
