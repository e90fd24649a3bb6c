"""Whether the fuzzer blames a correct server: each failure here is one of ours.

    .venv/bin/python -m tests.bench.fuzz_controls [--seeds N] [--examples N] [--log FILE] [NAME...]

Every control (``tests/fuzz/controls.py``, and the reference servers that end well, in each protocol
that they speak) is fuzzed with each seed. A line of the log holds what came of it; what the log
holds of the same code is not measured again. The exit code is 1 if anything was called a failure.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import trio

from tests.fuzz.controls import CONTROLS
from tests.fuzz.seeded import seeded
from tlsprobe.campaign.settings import Settings
from tlsprobe.drive.script import Patience
from tlsprobe.fuzz.campaign import fuzz
from tlsprobe.fuzz.settings import FuzzSettings, FuzzWatcher
from tlsprobe.model.target import Login, Target
from tlsprobe.profiles import load_profile
from tlsprobe.protocols import has_goodbye, make_conversation

PROFILES = ("reference", "reference-http", "reference-http2")
CHAT = "pop3s"
REFERENCE = ("polite", "lingering")
EXAMPLES, SEEDS = 2000, 5
_ROOT = Path(__file__).parent
_TIMES_SLOWER = 10
_OWN = Settings(patience=Patience(5.0, 5.0), require_capture=True)


@dataclass(frozen=True, slots=True)
class Controlled:
    """One control, one protocol, one seed: how much was tried, and what it was blamed for.

    ``failures`` and ``unrepeated`` are sentences. ``load`` is the machine's load average after it,
    ``code`` what was measured (``code_here``).
    """

    control: str
    profile: str
    seed: int
    examples: int
    connections: int
    unmeasured: int
    seconds: float
    load: float
    failures: tuple[str, ...]
    unrepeated: tuple[str, ...]
    code: str = ""


def code_here() -> str:
    """Which code is measured: its commit, with a ``+`` if something was changed since."""
    said = ("git", "describe", "--always", "--abbrev=8", "--dirty=+", "--exclude=*")
    ran = subprocess.run(said, capture_output=True, text=True, check=False, cwd=_ROOT)
    return ran.stdout.strip()


def every() -> list[tuple[str, str]]:
    """Which control is spoken to in which protocol."""
    pairs = [(name, profile) for profile in PROFILES for name in REFERENCE]
    return pairs + [(name, CHAT if name == "chat" else PROFILES[0]) for name in CONTROLS]


def measure(name: str, profile_name: str, seed: int, examples: int) -> Controlled:
    begun, profile = time.monotonic(), load_profile(profile_name)
    seconds = examples / 1000 * 60 * _TIMES_SLOWER
    with seeded(name) as port:
        target = Target("control", "127.0.0.1", port, profile.name, profile.protocol)
        converse = make_conversation(profile, target.host, Login(), port)
        settings = FuzzSettings(
            *(_OWN, examples, seconds, seconds / 10, seed), goodbye=has_goodbye(profile)
        )
        found = trio.run(partial(fuzz, target, converse, settings, FuzzWatcher(), trio.Event()))
    failures = [
        f"{one.property} ({one.rule}) TLS {one.tls}, {one.together}: {one.steps}"
        f" [{one.signature}] {one.confirmed}"
        for one in found.failures
    ]
    unrepeated = [
        f"{one.property} ({one.rule}) TLS {one.tls}: {one.steps} [{one.signature}]"
        f" tried {one.tried}"
        for one in found.unrepeated
    ]
    return Controlled(
        control=name,
        profile=profile_name,
        seed=seed,
        examples=found.examples,
        connections=found.connections,
        unmeasured=found.unmeasured,
        seconds=round(time.monotonic() - begun, 1),
        load=round(os.getloadavg()[0], 1),
        failures=tuple(failures),
        unrepeated=tuple(unrepeated),
        code=code_here(),
    )


def read_controls(log: Path) -> list[Controlled]:
    """What a log holds; nothing, if there is none."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return [Controlled(**json.loads(line)) for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--examples", type=int, default=EXAMPLES)
    parser.add_argument("--log", type=Path, default=Path("fuzz-controls.jsonl"))
    given = parser.parse_args()
    known = read_controls(given.log)
    code = code_here()
    done = {(one.control, one.profile, one.seed) for one in known if one.code == code}
    for seed in range(1, given.seeds + 1):
        for name, profile in every():
            if (name, profile, seed) in done or name not in (given.names or [name]):
                continue
            found = measure(name, profile, seed, given.examples)
            known.append(found)
            print(json.dumps(asdict(found)), flush=True)
            with given.log.open("a", encoding="utf-8") as log:
                log.write(json.dumps(asdict(found)) + "\n")
    raise SystemExit(any(one.failures for one in known))


if __name__ == "__main__":
    main()
