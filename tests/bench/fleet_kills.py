"""Kills the coordinator of a fleet at random moments, and resumes it: nothing lost, nothing twice.

    python -m tests.bench.fleet_kills [KILLS [TARGETS [SEED]]]

As root. The coordinator is killed with SIGKILL, its processes find that out by themselves. In the
end every target must have one answer, every attempt after the first must say why there was one, and
what had an answer at a kill must never have been measured again.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fleet.crowd import crowd
from tlsprobe.errors import UsageError
from tlsprobe.fleet.ledger import LEDGER_FILE, Ledger
from tlsprobe.model.fleet import Attempt, State

WORDS = ("--sequence", "terminate", "--sequence", "request; drain 1s", "--trials", "1")
TLSPROBE = (sys.executable, "-m", "tlsprobe", "fleet")
EVENTS, MOMENT_S = 6, 1.0
"""A kill comes after so many claims and answers and so many seconds, at most. By the clock alone, a
busy machine would always be killed before it had begun.
"""

Attempts = dict[int, tuple[Attempt, ...]]


def attempts(folder: Path) -> Attempts:
    """What the ledger says of every target."""
    with closing(Ledger.open(folder)) as ledger:
        return ledger.attempts()


def events(folder: Path) -> int:
    """How many claims and answers the ledger has seen."""
    try:
        known = attempts(folder).values()
    except UsageError:
        return 0
    return sum(1 + (one.ended is not None) for all_ in known for one in all_)


def killed_after(words: tuple[str, ...], folder: Path, count: int, seconds: float) -> bool:
    """Start, and kill after so many events and so long; False if it was done before."""
    due = events(folder) + count
    with subprocess.Popen(
        [*TLSPROBE, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as coordinator:
        while events(folder) < due and coordinator.poll() is None:
            time.sleep(0.05)
        try:
            coordinator.wait(seconds)
        except subprocess.TimeoutExpired:
            coordinator.send_signal(signal.SIGKILL)
            return True
    return False


def wrong(before: Attempts, after: Attempts) -> list[str]:
    """What a resumed fleet did that it must not do."""
    found = []
    for target, known in before.items():
        now = after[target]
        if known[-1].state is State.DONE and now != known and len(now) == len(known):
            found.append(f"target {target}: its answer was changed")
        if known[-1].state is State.DONE and len(now) > len(known) and not now[-1].because:
            found.append(f"target {target}: measured twice in silence")
        if now[: len(known) - 1] != known[:-1]:
            found.append(f"target {target}: an attempt was forgotten")
    for target, now in after.items():
        if any(not one.because for one in now[1:]):
            found.append(f"target {target}: a repeat does not say why")
    return found


def kill_and_resume(kills: int, targets: int, seed: int) -> int:
    """Kill so often; 0 if nothing went wrong."""
    chance = random.Random(seed)
    found: list[str] = []
    with TemporaryDirectory() as place, crowd(targets) as lines:
        listed, folder = Path(place, "list"), Path(place, "fleet")
        listed.write_text(lines)
        words: tuple[str, ...] = ("run", str(listed), "--out", str(folder), "--quiet", *WORDS)
        for number in range(1, kills + 1):
            count, seconds = chance.randrange(1, EVENTS), MOMENT_S * chance.random()
            before = attempts(folder) if (folder / LEDGER_FILE).exists() else {}
            was_killed = killed_after(words, folder, count, seconds)
            try:
                after = attempts(folder)
            except UsageError:  # killed before the ledger was whole: nothing had begun
                (folder / LEDGER_FILE).unlink(missing_ok=True)
                continue
            found += wrong(before, after)
            done = sum(known[-1].state is State.DONE for known in after.values())
            how = f"killed after {count} events and {seconds:.1f} s" if was_killed else "ended"
            print(f"{number}: {how}, {done} done", flush=True)
            words = ("resume", str(folder))
        subprocess.run(
            [*TLSPROBE, *words], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = attempts(folder)
        found += [f"target {n}: {k[-1].state}" for n, k in end.items() if k[-1].state != State.DONE]
        found += [f"target {n}: lost" for n in range(1, targets + 1) if n not in end]
        repeats = sum(len(known) - 1 for known in end.values())
        print(f"{len(end)} targets, {repeats} attempts after the first, {len(found)} wrong")
    print("\n".join(found))
    return int(bool(found))


if __name__ == "__main__":
    asked = [int(word) for word in sys.argv[1:]]
    sys.exit(kill_and_resume(*asked, *(20, 24, 1)[len(asked) :]))
