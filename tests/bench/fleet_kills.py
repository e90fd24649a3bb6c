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
UP_TO_S = 12.0
"""A kill comes at most so long after the ledger is there, or is opened again."""

Attempts = dict[int, tuple[Attempt, ...]]


def attempts(folder: Path) -> Attempts:
    """What the ledger says of every target."""
    with closing(Ledger.open(folder)) as ledger:
        return ledger.attempts()


def killed_after(words: tuple[str, ...], folder: Path, seconds: float) -> bool:
    """Start, and kill after so long; False if it was done before."""
    with subprocess.Popen(
        [*TLSPROBE, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as coordinator:
        while not (folder / LEDGER_FILE).exists():
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


def main(kills: int, targets: int, seed: int) -> int:
    """Kill so often; 0 if nothing went wrong."""
    chance = random.Random(seed)
    found: list[str] = []
    with TemporaryDirectory() as place, crowd(targets) as lines:
        listed, folder = Path(place, "list"), Path(place, "fleet")
        listed.write_text(lines)
        words: tuple[str, ...] = ("run", str(listed), "--out", str(folder), "--quiet", *WORDS)
        for number in range(1, kills + 1):
            moment = chance.uniform(0, UP_TO_S)
            before = attempts(folder) if (folder / LEDGER_FILE).exists() else {}
            was_killed = killed_after(words, folder, moment)
            try:
                after = attempts(folder)
            except UsageError:  # killed before the first target was in it: nothing had begun
                (folder / LEDGER_FILE).unlink()
                continue
            found += wrong(before, after)
            done = sum(known[-1].state is State.DONE for known in after.values())
            print(
                f"{number}: {'killed' if was_killed else 'ended'} after {moment:.1f} s, {done} done"
            )
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
    sys.exit(main(*asked, *(20, 24, 1)[len(asked) :]))
