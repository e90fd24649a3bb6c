"""How much of what is there the fuzzer finds, after how many connections, and how short it gets it.

    .venv/bin/python -m tests.bench.bench_fuzz [--seeds N] [--seconds S] [--log FILE] [FAULT...]
    .venv/bin/python -m tests.bench.bench_fuzz --page FILE --log FILE

Each seeded fault of ``tests/fuzz/faults/`` is looked for with each seed at the default budget; a
run ends as soon as a failure of its kind is confirmed. The same number of connections is spent on
examples drawn evenly from the same alphabet, and on the named sequences, over and over. Each result
is a line of the log, from which the page is made; what the log holds is not measured again. Faults
come from seeds in turn, so that a run that is ended has something of everything.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from functools import partial
from itertools import cycle, islice
from os import cpu_count
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import trio

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
from tlsprobe.model.sequence import Form, Limit, Sequence
from tlsprobe.model.target import Login, Target
from tlsprobe.profiles import load_profile
from tlsprobe.protocols import Conversations, make_conversation
from tlsprobe.report.plurals import counted

if TYPE_CHECKING:
    from tlsprobe.fuzz.trying import Prober

VERSIONS = ("1.3", "1.2")
SEEDS, SECONDS = 5, 60.0
OWN = Settings(patience=Patience(5.0, 5.0), require_capture=True)


@dataclass(frozen=True, slots=True)
class Found:
    """One fault and one seed: whether it was found, at what cost, and how short it was made.

    ``connections`` had been made when the fault was first seen (None: it was not), ``spent`` when
    it was confirmed or the time was over. ``random`` and ``named`` say after how many connections
    plain random and the named sequences saw it, of ``spent``; None: not.
    """

    fault: str
    about: str
    seed: int
    confirmed: str | None
    steps: str | None
    shortest: str
    connections: int | None
    spent: int
    seconds: float
    random: int | None
    named: int | None


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
            stop.set()

    settings = FuzzSettings(OWN, seconds=seconds, over=seconds / 10, seed=seed, goodbye=True)
    fuzzed = await fuzz(*place(port), settings, FuzzWatcher(tried=tried, failed=failed), stop)
    return fuzzed, seen[1] or None


async def spend(port: int, fault: Fault, examples: Iterable[Example], seconds: float) -> int | None:
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
            seen = await prober.once(example, "explore", patient=True)
            done[0] += 1
            works = "next-connection" not in fault.breaks or await prober.works(attempts=1)
            if not works or violations(seen, asked):
                found.append(done[0])

    async with AsyncExitStack() as captures:
        prober = await shared.prober(target, reached, captures)
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                for _ in range(OWN.concurrency):
                    nursery.start_soon(work, prober)
    return found[0] if found else None


def plain_random(seed: int) -> Iterator[Example]:
    """Examples of the same alphabet, drawn evenly by a random number generator."""
    letters = alphabet(VERSIONS, frozenset({Form.LARGE}), has_goodbye=True)
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
            part = islice(examples, fuzzed.connections)
            others.append(trio.run(partial(spend, port, fault, part, seconds)))
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
    )


# --- The page -------------------------------------------------------------------------------------


def page(found: list[Found], note: str) -> str:
    """The results as Markdown: what was found over all, then fault by fault."""
    share = _share(found, lambda one: one.confirmed is not None)
    seeds = counted(len({one.seed for one in found}), "seed")
    lines = [
        "# What the fuzzer finds",
        "",
        f"{len({one.fault for one in found})} servers with one seeded fault each"
        f" (`tests/fuzz/faults/`), {seeds}, {SECONDS:.0f} s at most, as"
        f" `python -m tests.bench.bench_fuzz` measured it on {platform.machine()} with"
        f" {cpu_count()} processors. *Found*: confirmed as a failure of the property that the fault"
        " breaks. *Seen after*, *random* and *named*: the median number of connections until it was"
        " seen first; plain random over the same alphabet and the named sequences had as many"
        " connections as the fuzzer had spent when it was done, and need not confirm anything."
        " *Steps*: the median of the shortest close that was reported, beside the known minimum.",
        *(("", note) if note else ()),
        "",
        "| | fuzzer | plain random | named sequences |",
        "|---|---|---|---|",
        f"| found, of {len(found)} pairs of fault and seed | {share} |"
        f" {_share(found, lambda one: one.random is not None)} |"
        f" {_share(found, lambda one: one.named is not None)} |",
        f"| connections until it was seen, median | {_median(one.connections for one in found)} |"
        f" {_median(one.random for one in found)} | {_median(one.named for one in found)} |",
        "",
        "| fault | about | found | seen after | random | named | steps | minimum | reported as |",
        "|---|---|---|---|---|---|---|---|---|",
        *(
            _row([one for one in found if one.fault == name])
            for name in FAULTS
            if _has(found, name)
        ),
        "",
    ]
    return "\n".join(lines)


def _has(found: list[Found], name: str) -> bool:
    return any(one.fault == name for one in found)


def _row(runs: list[Found]) -> str:
    one = runs[0]
    reported = sorted({run.steps for run in runs if run.steps}, key=len)
    cells = (
        *(f"`{one.fault}`", one.about, _share(runs, lambda run: run.confirmed is not None)),
        _median(run.connections for run in runs),
        *(_seen(run.random for run in runs), _seen(run.named for run in runs)),
        _median(len(parse(run.steps).steps) for run in runs if run.steps),
        str(len(parse(one.shortest).steps)),
        f"`{reported[0]}`" if reported else "",
    )
    return f"| {' | '.join(cells)} |"


def _share(runs: list[Found], is_found: Callable[[Found], bool]) -> str:
    count = sum(map(is_found, runs))
    return f"{count}/{len(runs)}" + (f" ({100 * count / len(runs):.0f} %)" if len(runs) > 9 else "")


def _seen(counts: Iterable[int | None]) -> str:
    every = list(counts)
    seen = sum(count is not None for count in every)
    return f"{_median(every)} ({seen}/{len(every)})" if seen else f"- (0/{len(every)})"


def _median(counts: Iterable[int | None]) -> str:
    known = [count for count in counts if count is not None]
    return f"{median(known):.0f}" if known else "-"


def _read(log: Path) -> list[Found]:
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return [Found(**json.loads(line)) for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faults", nargs="*", metavar="FAULT")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--log", type=Path, default=Path("fuzz-bench.jsonl"))
    parser.add_argument("--page", type=Path)
    parser.add_argument("--note", default="", help="what else is to be known, for the page")
    given = parser.parse_args()
    if given.page is not None:
        given.page.write_text(page(_read(given.log), given.note), encoding="utf-8")
        return
    done = {(one.fault, one.seed) for one in _read(given.log)}
    for seed in range(1, given.seeds + 1):
        for name in given.faults or FAULTS:
            if (name, seed) not in done:
                found = measure(FAULTS[name], seed, given.seconds)
                print(json.dumps(asdict(found)), flush=True)
                with given.log.open("a", encoding="utf-8") as log:
                    log.write(json.dumps(asdict(found)) + "\n")


if __name__ == "__main__":
    main()
