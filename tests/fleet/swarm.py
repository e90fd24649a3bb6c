"""A scheduler of Dask and its workers, as processes on loopback that can be killed one by one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers import free_port

VANTAGE = "here"


@dataclass
class Swarm:
    """The processes: the scheduler, and workers by their addresses."""

    log: Path
    port: int = field(default_factory=free_port)
    scheduler: subprocess.Popen[bytes] | None = None
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def work(self) -> Path:
        """Where the workers keep what they measure, for as long as they do."""
        return self.log.parent / "work"

    def start_scheduler(self) -> None:
        """Start it, at the same address as before."""
        self.scheduler = self._start("scheduler", "--port", str(self.port), "--no-show")

    def wait_for_scheduler(self) -> None:
        """Wait until it can be reached, which on a busy machine takes longer than anybody waits."""
        assert self.scheduler is not None
        while self.scheduler.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def start_worker(self, room: int = 1) -> str:
        """Start a worker with room for so many targets of the vantage point; its address."""
        port = free_port()
        words = (f"tcp://127.0.0.1:{self.port}", "--worker-port", str(port), "--no-nanny")
        resources = ("--nthreads", str(room + 1), "--resources", f"vantage_{VANTAGE}={room}")
        address = f"tcp://127.0.0.1:{port}"
        self.workers[address] = self._start("worker", *words, *resources)
        return address

    def _start(self, what: str, *words: str) -> subprocess.Popen[bytes]:
        module = f"distributed.cli.dask_{what}"
        command = [sys.executable, "-m", module, "--host", "127.0.0.1", "--no-dashboard", *words]
        self.work.mkdir(exist_ok=True)
        own = {**os.environ, "TMPDIR": str(self.work)}
        with self.log.open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, cwd=self.log.parent, env=own)

    def end(self) -> None:
        """Kill whatever still runs, also what was stopped."""
        for process in [*self.workers.values(), self.scheduler]:
            if process is not None:
                process.kill()
                process.wait()


@contextmanager
def swarm(folder: Path, workers: int, room: int = 1) -> Iterator[Swarm]:
    """A scheduler with so many workers, each with so much room, while the block runs."""
    made = Swarm(folder / "dask.log")
    try:
        made.start_scheduler()
        made.wait_for_scheduler()
        for _ in range(workers):
            made.start_worker(room)
        yield made
    except BaseException:
        print(made.log.read_text())  # pytest shows it: what died, and when
        raise
    finally:
        made.end()
