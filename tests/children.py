"""Processes that a test starts, which do not outlive it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any


@contextmanager
def child(command: Sequence[object], **how: Any) -> Iterator[subprocess.Popen[Any]]:
    """A process, waited for when the block ends; a block that fails kills it first.

    Else a failed assertion would wait for a process that nobody has told to end, and the test
    would hang instead of telling what is wrong. With it goes its session, if it leads one.
    """
    with subprocess.Popen([str(word) for word in command], **how) as process:
        try:
            yield process
        except BaseException:
            if how.get("start_new_session"):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            raise
