"""How fast faults are found and shrunk, next to plain random generation without shrinking.

``make bench`` prints it. The proofs are asserted: over ten seeds each faulty reference server's
fault is found and shrunk to its shortest form within 200 examples; the polite one keeps every
property, asked for or not, for 2,000; and PostgreSQL and nginx give their faults away.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from statistics import mean

import pytest
import trio

from tests.servers import Nginx, Postgres
from tlsprobe.campaign.settings import Settings
from tlsprobe.drive.script import Patience
from tlsprobe.fuzz.alphabet import alphabet, decode
from tlsprobe.fuzz.campaign import fuzz
from tlsprobe.fuzz.properties import PROPERTIES, Needs, Observation
from tlsprobe.fuzz.settings import Fuzzed, FuzzSettings, FuzzWatcher
from tlsprobe.language import parse
from tlsprobe.model.fuzz import Example
from tlsprobe.model.sequence import Form, Verb
from tlsprobe.model.target import Login, Target
from tlsprobe.profiles import load_profile
from tlsprobe.protocols import Conversations, make_conversation
from tlsprobe.reference.server import running

pytestmark = pytest.mark.packet_socket

SEEDS = range(10)
EXAMPLES = 200

FAULTS = {
    "silent": ("notify-before-fin", 2),
    "hasty": ("no-reset-before-fin", 3),
    "rude": ("no-reset-before-fin", 3),
    "aborting": ("no-deliberate-abort", 2),
    "mute": ("ends", 2),
    "truncating": ("no-data-lost", 3),
    "half-closing": ("no-reset-after-fin", 3),
    "answering": ("no-answer-after-alert", 3),
    "failing-open": ("ends", 2),
    "canceling-only": ("notify-before-fin", 2),
    "grave": ("rules", 2),
}
"""Each server's fault as a property, and the steps of the shortest close that shows it."""


@dataclass(slots=True)
class Run:
    """A fuzz run with the time it took, and when the first violation was seen."""

    fuzzed: Fuzzed
    seconds: float
    tried: list[tuple[Observation, str, tuple[str, ...]]] = field(default_factory=list)

    def steps_of(self, name: str) -> list[str]:
        """The shortest closes of the failures that break a property."""
        return [
            failure.steps
            for failure in self.fuzzed.failures
            if failure.property == name
            or any(also.startswith(f"{name} (") for also in failure.also)
        ]

    def examples_to(self, name: str) -> int | None:
        """Different examples tried until one broke the property."""
        seen: set[Example] = set()
        for observation, _, broke in self.tried:
            seen.add(observation.example)
            if name in broke:
                return len(seen)
        return None


async def run(  # noqa: PLR0917 - a benchmark's parameters, in their order
    target: Target,
    converse: Conversations,
    seed: int,
    properties: tuple[str, ...],
    known: tuple[Example, ...] = (),
    examples: int = EXAMPLES,
    seconds: float = 600.0,
) -> Run:
    settings = FuzzSettings(
        Settings(patience=Patience(5.0, 5.0), require_capture=True),
        examples=examples,
        seconds=seconds,
        seed=seed,
        properties=properties,
        goodbye=True,
        known=known,
    )
    tried: list[tuple[Observation, str, tuple[str, ...]]] = []
    begun = time.monotonic()
    stop = trio.Event()

    def failed(so_far: Fuzzed) -> None:
        """What was asked for is there: the rest of the examples would only take time."""
        if len(properties) == 1 and all(f.confirmed != "0/0" for f in so_far.failures):
            stop.set()

    watcher = FuzzWatcher(tried=lambda *told: tried.append(told), failed=failed)
    fuzzed = await fuzz(target, converse, settings, watcher, stop)
    return Run(fuzzed, time.monotonic() - begun, tried)


def reference(name: str, port: int) -> tuple[Target, Conversations]:
    profile = load_profile("reference")
    target = Target(name, "127.0.0.1", port, profile.name, profile.protocol)
    return target, make_conversation(profile, target.host, Login(), port)


def plain_random(seed: int, count: int) -> tuple[Example, ...]:
    """Examples of the same alphabet, drawn evenly by a random number generator."""
    letters = alphabet(("1.3", "1.2"), frozenset({Form.LARGE}), has_goodbye=True)
    source = random.Random(seed)
    made = (decode(letters, lambda most: source.randint(0, most)) for _ in range(20 * count))
    return tuple(dict.fromkeys(made))[:count]


def steps(text: str) -> int:
    return len(parse(text).steps)


def told(capsys: pytest.CaptureFixture[str], *lines: str) -> None:
    with capsys.disabled():
        print("\n" + "\n".join(lines))


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_found_and_shrunk(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked, length = FAULTS[name]
    properties = (asked,)

    async def all_seeds() -> list[Run]:
        async with running((name,)) as ports:
            return [await run(*reference(name, ports[name]), seed, properties) for seed in SEEDS]

    runs = trio.run(all_seeds)
    shortest = [min(one.steps_of(asked), key=steps, default="") for one in runs]
    found = [one.examples_to(asked) for one in runs]
    rate = sum(one.fuzzed.examples for one in runs) / sum(one.seconds for one in runs)
    told(
        capsys,
        f"{name}: {asked} after {found} examples, {rate:.0f} examples/s",
        f"  {sorted(set(shortest))}",
    )
    assert all(text and steps(text) <= length for text in shortest), shortest
    assert all(one.fuzzed.examples <= 1.1 * EXAMPLES for one in runs)
    if name == "rude":
        for text in shortest:
            first = parse(text).steps[0].verb
            assert first in {Verb.TERMINATE, Verb.CLOSE_NOTIFY}


def test_nothing_is_found_where_nothing_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    everything = tuple(n for n, asked in PROPERTIES.items() if asked.needs is not Needs.TARGETS)

    async def once() -> Run:
        async with running(("polite",)) as ports:
            where = reference("polite", ports["polite"])
            return await run(*where, 1, everything, examples=2000)

    one = trio.run(once)
    fuzzed = one.fuzzed
    told(
        capsys,
        f"polite: {fuzzed.examples} examples, {fuzzed.connections} connections,"
        f" {len(fuzzed.coverage.signatures)} signatures, {len(fuzzed.failures)} failures,"
        f" {fuzzed.examples / one.seconds:.0f} examples/s, {os.cpu_count()} CPUs",
    )
    assert fuzzed.failures == ()
    assert fuzzed.examples >= 2000


@pytest.mark.parametrize("name", ["rude", "answering", "truncating", "half-closing"])
def test_beside_plain_random(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked, _ = FAULTS[name]

    async def both() -> tuple[list[Run], list[Run]]:
        async with running((name,)) as ports:
            where = reference(name, ports[name])
            ours = [await run(*where, seed, (asked,)) for seed in SEEDS]
            theirs = [
                await run(*where, seed, (asked,), plain_random(seed, EXAMPLES)) for seed in SEEDS
            ]
        return ours, theirs

    ours, theirs = trio.run(both)
    lines = [f"{name}, {asked}, {len(SEEDS)} seeds:"]
    measures: dict[str, tuple[list[Run], Callable[[Run], list[str]]]] = {
        "hypothesis": (ours, lambda one: one.steps_of(asked)),
        "plain random": (theirs, lambda one: [f.found for f in one.fuzzed.failures]),
    }
    for who, (runs, words) in measures.items():
        found = [count for one in runs if (count := one.examples_to(asked)) is not None]
        sizes = [steps(text) for one in runs for text in words(one)[:1]]
        lines.append(
            f"  {who:13} found in {len(found)}/{len(runs)}, after {mean(found):.0f} examples"
            f" (most {max(found)}); steps to read {mean(sizes):.1f} (most {max(sizes)})"
        )
    told(capsys, *lines)


@pytest.mark.server("postgres")
def test_postgresql_within_a_minute(postgres: Postgres, capsys: pytest.CaptureFixture[str]) -> None:
    profile = load_profile("postgres")
    target = Target("postgres", "127.0.0.1", postgres.port, profile.name, profile.protocol)
    login = Login(postgres.trust_user, postgres.database)
    converse = make_conversation(profile, target.host, login, target.port)
    asked = ("no-reset-before-fin",)
    for seed in (1, 2):
        one = trio.run(partial(run, target, converse, seed, asked, seconds=60.0))
        (failure, *_) = one.fuzzed.failures
        told(
            capsys,
            f"postgres: '{failure.steps}' ({failure.confirmed}, {failure.cause})",
            f"  after {one.examples_to(asked[0])} examples of {one.fuzzed.examples},"
            f" {one.seconds:.1f} s in all",
        )
        assert one.seconds < 66
        assert steps(failure.steps) <= 3
        assert failure.cause is not None
        assert failure.cause.cause == "unread-data-at-close"


@pytest.mark.server("nginx")
def test_nginx_and_the_unanswered_close_notify(
    nginx: Nginx, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = load_profile("nginx")
    target = Target("nginx", "127.0.0.1", nginx.port, profile.name, profile.protocol)
    converse = make_conversation(profile, target.host, Login(), target.port)
    one = trio.run(run, target, converse, 1, ("notify-before-fin",))
    for failure in one.fuzzed.failures:
        told(capsys, f"nginx: {failure.rule} '{failure.steps}' TLS {failure.tls}")
    assert "close_notify; drain" in one.steps_of("notify-before-fin")
