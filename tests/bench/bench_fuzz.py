"""How much of what is there the fuzzer finds, after how many connections, and how short it gets it.

    .venv/bin/python -m tests.bench.bench_fuzz [--seeds N] [--seconds S] [--log FILE] [FAULT...]
    .venv/bin/python -m tests.bench.bench_fuzz --page FILE --log FILE [--controls FILE]

Each seeded fault of ``tests/fuzz/faults/`` is looked for with each seed at the default budget; a
run ends as soon as a failure of its kind is confirmed. The same number of connections is spent on
examples drawn evenly from the same alphabet, and on the named sequences, over and over. Each result
is a line of the log, from which the page is made; what the log holds of the same code is not
measured again, and the page says which code that was. Faults come from seeds in turn, so that a run
that is ended has something of everything.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack
from dataclasses import asdict
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from tests.bench.fuzz_controls import code_here, read_controls
from tests.bench.fuzz_page import SECONDS, Found, page, read_found
from tests.fuzz.faults import FAULTS
from tests.fuzz.faults.peer import Fault
from tests.fuzz.seeded import seeded
from tlsprobe.campaign.reach import reach
from tlsprobe.campaign.settings import Settings
from tlsprobe.catalogue import default_sequences
from tlsprobe.drive.script import Patience
from tlsprobe.fuzz.alphabet import alphabet, decode
from tlsprobe.fuzz.campaign import fuzz
from tlsprobe.fuzz.observation import Observation
from tlsprobe.fuzz.properties import PROPERTIES, violations
from tlsprobe.fuzz.settings import Fuzzed, FuzzSettings, FuzzWatcher
from tlsprobe.fuzz.shared import Shared
from tlsprobe.language import format_groups, parse
from tlsprobe.model.fuzz import Example
from tlsprobe.model.sequence import Limit, Sequence
from tlsprobe.model.target import Login, Target
from tlsprobe.model.verbs import Form
from tlsprobe.profiles import load_profile
from tlsprobe.protocols import Conversations, make_conversation, offers, phrases
from tlsprobe.reference.peer import IDLE_TIMEOUT

if TYPE_CHECKING:
    from tlsprobe.fuzz.trying import Prober

VERSIONS = ("1.3", "1.2")
SEEDS = 5
OWN = Settings(patience=Patience(5.0, 5.0), require_capture=True)


def place(port: int) -> tuple[Target, Conversations]:
    profile = load_profile("reference")
    target = Target("seeded", "127.0.0.1", port, profile.name, profile.protocol)
    return target, make_conversation(profile, target.host, Login(), port)


async def search(port: int, fault: Fault, seed: int, seconds: float) -> tuple[Fuzzed, int | None]:
    """A fuzz run that ends with the first failure of the fault's kind."""
    stop, seen = trio.Event(), [0, 0]

    def tried(_: Observation, __: str, broke: tuple[str, ...]) -> None:
        seen[0] += 1
        if not seen[1] and set(broke) & set(fault.breaks):
            seen[1] = seen[0]

    def failed(so_far: Fuzzed) -> None:
        if any(one.property in fault.breaks for one in so_far.failures):
            seen[1] = seen[1] or seen[0]  # no single connection shows that a server died
            stop.set()

    settings = FuzzSettings(OWN, seconds=seconds, over=seconds / 10, seed=seed, goodbye=True)
    fuzzed = await fuzz(*place(port), settings, FuzzWatcher(tried=tried, failed=failed), stop)
    return fuzzed, seen[1] or None


async def spend(
    port: int, fault: Fault, examples: Iterable[Example], most: int, seconds: float
) -> int | None:
    """After how many connections of these examples the fault is seen, sixteen at a time."""
    target, converse = place(port)
    reached = await reach(target, converse, OWN)
    asked = [PROPERTIES[name] for name in fault.breaks]
    shared = Shared(FuzzSettings(OWN), [reached], FuzzWatcher())
    left, done, found = iter(examples), [0], list[int]()

    async def work(prober: Prober) -> None:
        for example in left:
            if found:
                return
            seen = await prober.each(example, "explore", patient=True)
            done[0] += len(seen)
            works = "next-connection" not in fault.breaks or await prober.works(attempts=1)
            if not works or any(violations(one, asked) for one in seen):
                found.append(done[0])
            if done[0] >= most:
                return

    async with AsyncExitStack() as captures:
        prober = await shared.prober(target, reached, captures)
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                for _ in range(OWN.concurrency):
                    nursery.start_soon(work, prober)
    return found[0] if found else None


def plain_random(seed: int) -> Iterator[Example]:
    """Examples of the same alphabet, drawn evenly by a random number generator."""
    converse = place(0)[1]
    can = VERSIONS, offers(converse)
    letters = alphabet(*can, has_goodbye=True, idle=IDLE_TIMEOUT, phrases=phrases(converse))
    chance = random.Random(seed)
    while True:
        yield decode(letters, lambda most: chance.randint(0, most))


def named() -> Iterator[Example]:
    """The named sequences in both versions, over and over."""
    every = default_sequences(frozenset({Form.LARGE}), has_goodbye=True)
    quick = [s for s in every if not s.is_race and all(x.wait is not Limit.IDLE for x in s.steps)]
    steps = [Sequence(format_groups(s.groups), s.groups) for s in quick]
    return cycle([Example(sequence, tls) for sequence in steps for tls in VERSIONS])


def measure(fault: Fault, seed: int, seconds: float) -> Found:
    begun = time.monotonic()
    with seeded(fault.name) as port:
        fuzzed, first = trio.run(partial(search, port, fault, seed, seconds))
    took = time.monotonic() - begun
    ours = [one for one in fuzzed.failures if one.property in fault.breaks]
    best = min(ours, key=lambda one: len(parse(one.steps).steps), default=None)
    others = []
    for examples in (plain_random(seed), named()):
        with seeded(fault.name) as port:
            others.append(
                trio.run(partial(spend, port, fault, examples, fuzzed.connections, seconds))
            )
    return Found(
        fault=fault.name,
        about=fault.about,
        seed=seed,
        confirmed=best.confirmed if best is not None else None,
        steps=best.steps if best is not None else None,
        shortest=fault.shortest,
        connections=first,
        spent=fuzzed.connections,
        seconds=round(took, 1),
        random=others[0],
        named=others[1],
        code=code_here(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faults", nargs="*", metavar="FAULT")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--log", type=Path, default=Path("fuzz-bench.jsonl"))
    parser.add_argument("--page", type=Path)
    parser.add_argument("--controls", type=Path, help="the log of fuzz_controls, for the page")
    parser.add_argument("--note", default="", help="what else is to be known, for the page")
    given = parser.parse_args()
    if given.page is not None:
        controls = read_controls(given.controls) if given.controls is not None else []
        text = page(read_found(given.log), controls, given.note)
        given.page.write_text(text, encoding="utf-8")
        return
    code = code_here()
    done = {(one.fault, one.seed) for one in read_found(given.log) if one.code == code}
    for seed in range(1, given.seeds + 1):
        for name in given.faults or FAULTS:
            if (name, seed) not in done:
                found = measure(FAULTS[name], seed, given.seconds)
                print(json.dumps(asdict(found)), flush=True)
                with given.log.open("a", encoding="utf-8") as log:
                    log.write(json.dumps(asdict(found)) + "\n")


if __name__ == "__main__":
    main()
