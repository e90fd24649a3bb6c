"""The tracer finds a whole family, and says what it cannot trace."""

from __future__ import annotations

import os
import subprocess

import pytest
import trio

from tlsprobe.errors import UsageError
from tlsprobe.lab.delayed_close import delayed_close, family


def test_a_family_is_a_process_and_all_below_it() -> None:
    with subprocess.Popen(["sh", "-c", "sleep 30 & wait"], stdout=subprocess.PIPE) as shell:
        try:
            while len(found := family(shell.pid)) < 2:
                pass
            assert found[0] == shell.pid
            assert set(found) <= set(family(os.getpid()))
        finally:
            for pid in reversed(found):
                os.kill(pid, 15)


def test_a_process_that_is_not_there_has_no_family() -> None:
    assert family(4194303) == []


def test_a_process_that_is_not_there_cannot_be_delayed() -> None:
    async def delay() -> None:
        async with delayed_close(4194303):
            pass

    with pytest.raises(UsageError, match="4194303"):
        trio.run(delay)
