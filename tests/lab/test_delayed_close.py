"""The tracer finds a whole family, and says what it cannot trace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.children import child
from tlsprobe.errors import UsageError
from tlsprobe.lab.delayed_close import delayed_close, family


def test_a_family_is_a_process_and_all_below_it() -> None:
    with child(["sh", "-c", "sleep 30 & wait"], stdout=subprocess.PIPE) as shell:
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


TRACING = """
import sys, trio
from tlsprobe.lab.delayed_close import delayed_close

async def main():
    async with delayed_close(int(sys.argv[1])):
        print("traced", flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


def tracer_of(pid: int) -> str:
    status = Path("/proc", str(pid), "status").read_text(encoding="ascii")
    return next(line.split()[1] for line in status.splitlines() if line.startswith("TracerPid:"))


@pytest.mark.root
@pytest.mark.server("strace")
def test_a_server_is_let_go_of_when_we_are_killed() -> None:
    with child(["sleep", "60"]) as server:
        with child(
            [sys.executable, "-c", TRACING, str(server.pid)], stdout=subprocess.PIPE
        ) as probing:
            assert probing.stdout is not None
            assert probing.stdout.readline() == b"traced\n"
            assert tracer_of(server.pid) != "0"
            probing.send_signal(signal.SIGKILL)
        while tracer_of(server.pid) != "0":
            pass
        assert server.poll() is None
        server.kill()
