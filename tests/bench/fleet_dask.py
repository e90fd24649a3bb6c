"""A fleet over Dask whose workers and scheduler die meanwhile: one answer or one reason each.

    python -m tests.bench.fleet_dask [TARGETS [ROOM]]

As root. Three workers have ROOM targets each at a time. When a quarter of the targets have an
answer one worker is killed; at a half the next one is stopped, and neither dies nor answers; at
three quarters the scheduler is killed and started again, with two new workers. In the end every
target must have one answer or one stated reason, and every attempt after the first must say why
there was one.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.fleet_kills import TLSPROBE, WORDS, Attempts, attempts
from tests.fleet.crowd import crowd
from tests.fleet.swarm import VANTAGE, Swarm, swarm
from tlsprobe.errors import UsageError
from tlsprobe.model.fleet import State

WORKERS = 3


def answered(folder: Path) -> int:
    """How many targets have an answer."""
    try:
        known = attempts(folder).values()
    except UsageError:
        return 0
    return sum(one[-1].state is State.DONE for one in known)


def mishaps(dask: Swarm, targets: int, room: int) -> Iterator[tuple[int, str]]:
    """What happens at how many answers; each happens when the next one is asked for."""
    killed, stopped, _ = dask.workers
    yield targets // 4, "a worker is killed"
    dask.workers[killed].kill()
    yield targets // 2, "a worker is stopped"
    dask.workers[stopped].send_signal(signal.SIGSTOP)
    yield targets * 3 // 4, "the scheduler is started again, with two new workers"
    assert dask.scheduler is not None
    dask.scheduler.kill()
    dask.scheduler.wait()
    dask.start_scheduler()
    for _ in range(2):
        dask.start_worker(room)


def wrong(known: Attempts, targets: int) -> list[str]:
    """Targets without one answer or one reason, and repeats in silence."""
    found = [f"target {number}: lost" for number in range(1, targets + 1) if number not in known]
    for number, tried in known.items():
        last = tried[-1]
        if last.state is not State.DONE and not (last.state is State.FAILED and last.reason):
            found.append(f"target {number}: {last.state}, {last.reason or 'without a reason'}")
        if any(not one.because for one in tried[1:]):
            found.append(f"target {number}: a repeat does not say why")
    return found


def measured(targets: int, room: int) -> int:
    """Run it; 0 if nothing went wrong."""
    with (
        TemporaryDirectory() as place,
        crowd(targets) as lines,
        swarm(Path(place), WORKERS, room) as dask,
    ):
        listed, folder = Path(place, "list"), Path(place, "fleet")
        listed.write_text(lines)
        began = time.monotonic()
        words = ("run", str(listed), "--out", str(folder), "--vantage", VANTAGE, *WORDS)
        engine = ("--engine", f"dask://127.0.0.1:{dask.port}")
        with subprocess.Popen([*TLSPROBE, *words, *engine], stdout=subprocess.DEVNULL) as fleet:
            for count, what in mishaps(dask, targets, room):
                while fleet.poll() is None and answered(folder) < count:
                    time.sleep(0.2)
                print(f"{time.monotonic() - began:.0f} s, {count} answers: {what}", flush=True)
            fleet.wait()
        known = attempts(folder)
        states = Counter(str(tried[-1].state) for tried in known.values())
        again = Counter(one.because for tried in known.values() for one in tried[1:])
        reasons = Counter(t[-1].reason for t in known.values() if t[-1].state is not State.DONE)
        found = wrong(known, targets)
        took = time.monotonic() - began
        print(f"{took:.0f} s, exit {fleet.returncode}; {dict(states)}; again: {dict(again)}")
        print(f"not measured: {dict(reasons)}; {len(found)} wrong")
    print("\n".join(found))
    return int(bool(found))


if __name__ == "__main__":
    asked = [int(word) for word in sys.argv[1:]]
    sys.exit(measured(*asked, *(200, 4)[len(asked) :]))
