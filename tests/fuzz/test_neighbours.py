"""Which close of another connection it is that harms one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest
import trio

from tests.fuzz.test_properties import ALL, seen
from tlsprobe.fuzz.confirming import Confirmer
from tlsprobe.fuzz.neighbours import (
    MOST_BESIDE,
    MOST_KEPT,
    MOST_LADDERS,
    Company,
    Neighbours,
    _waiting,
)
from tlsprobe.fuzz.observation import Observation
from tlsprobe.fuzz.properties import violations
from tlsprobe.fuzz.suspects import Sighting, Suspect
from tlsprobe.language import parse
from tlsprobe.model.fuzz import Example
from tlsprobe.model.judgement import LadderLine
from tlsprobe.model.trace import Side
from tlsprobe.model.verbs import Verb

MS = 1_000_000
HARMED = replace(seen("fin; drain", "INTEROP-RESET-BEFORE-FIN"), ended_ns=1000 * MS)
FINE = seen("fin; drain")


def did(steps: str, *acts_ms: int, tls: str = "1.3") -> Observation:
    return replace(FINE, example=Example(parse(steps), tls), acts_ns=tuple(a * MS for a in acts_ms))


class Server:
    """A server in which a close that has a goodbye resets whoever is there; ``rarely``: at times.

    ``is_flaky``: it resets by itself, whatever others do. ``is_fickle``: of several connections
    beside the one that is harmed another one is.
    """

    routes = ("1.3",)

    def __init__(self, *, rarely: int = 1, is_flaky: bool = False, is_fickle: bool = False) -> None:
        self.is_fickle = is_fickle
        self.rarely = rarely
        self.is_flaky = is_flaky
        self.driven = 0
        self.said = 0

    async def beside(
        self, example: Example, others: Sequence[Example], *_: object, **__: object
    ) -> Observation:
        await trio.lowlevel.checkpoint()
        self.driven += 1
        bye = any(step.verb is Verb.TERMINATE for one in others for step in one.sequence.steps)
        self.said += bye
        bye = bye and not (self.is_fickle and len(others) > 1)
        harms = self.is_flaky or (bye and self.said % self.rarely == 0)
        seen = HARMED if harms else FINE
        return replace(seen, example=replace(example, beside=others[0]))

    async def once(self, example: Example, *_: object, **__: object) -> Observation:
        if example.beside is not None:
            return await self.beside(example, (example.beside,))
        await trio.lowlevel.checkpoint()
        self.driven += 1
        return replace(HARMED if self.is_flaky and self.driven % 2 else FINE, example=example)


def suspect(harmed: Observation = HARMED) -> Suspect:
    (violation,) = violations(harmed, ALL)
    return Suspect(Sighting(violation, harmed), violation.kind(harmed), 1)


def neighbours(server: Server, *beside: Observation) -> Neighbours:
    company = Company()
    for one in beside:
        company.add(one)
    prober, bounds = cast("object", server), SimpleNamespace(may=lambda _: True, seconds=60.0)
    confirmer = Confirmer(prober, cast("object", None), ALL, 5, lambda: True)  # type: ignore[arg-type]
    shorter = [Example(parse(steps), "1.3") for steps in ("fin; drain", "terminate; drain")]
    return Neighbours(prober, company, confirmer, lambda _: shorter, bounds)  # type: ignore[arg-type]


OTHERS = [did(f"sleep {n}ms; fin; drain", 990 - n) for n in range(1, 9)]
CULPRIT = did("send; terminate; fin; drain", 985)


@pytest.mark.parametrize("place", [0, 3, 8])
def test_the_close_that_harms_another_is_found_and_shortened(place: int) -> None:
    server, one = Server(), suspect()
    beside = [*OTHERS[:place], CULPRIT, *OTHERS[place:]]
    assert trio.run(neighbours(server, *beside).find, one)
    assert one.shortest.steps == "await end 0.5s; fin; drain"
    assert one.shortest.beside == Example(parse("terminate; drain"), "1.3")
    assert (one.broke, one.runs, one.rate) == (5, 5, None)


def test_one_that_harms_seldom_is_not_looked_into_for_long() -> None:
    """Which a server that is flaky by itself looks like: it is run often enough as a race."""
    server, one = Server(rarely=4), suspect()
    looking = neighbours(server, CULPRIT)
    assert not any(trio.run(looking.find, one) for _ in range(8))
    assert server.driven < 200


def test_those_that_did_something_last_are_tried_one_by_one_as_well() -> None:
    one = suspect()
    assert trio.run(neighbours(Server(is_fickle=True), CULPRIT, *OTHERS[5:]).find, one)
    assert one.shortest.beside == Example(parse("terminate; drain"), "1.3")


def test_what_shows_by_itself_is_not_laid_to_another_close() -> None:
    one = suspect()
    assert not trio.run(neighbours(Server(is_flaky=True), *OTHERS).find, one)
    assert one.shortest == HARMED.example


def test_a_close_that_harms_nobody_is_not_blamed_and_not_looked_for_for_ever() -> None:
    server = Server()
    looking = neighbours(server, *OTHERS)
    assert not trio.run(looking.find, suspect())
    driven = server.driven
    assert driven > 0
    looking.bounds.seconds = 0.0
    assert not trio.run(looking.find, suspect())
    assert server.driven == driven


def test_a_close_that_is_known_to_harm_explains_another_that_it_harms() -> None:
    looking, failure = neighbours(Server(), CULPRIT), suspect()
    assert trio.run(looking.find, failure)
    failure.kinds.add(failure.kind)
    other = replace(HARMED, example=Example(parse("request; fin; drain"), "1.3"))
    assert trio.run(looking.known, suspect(other), [failure]) is failure
    calm = neighbours(Server(rarely=1000))
    assert trio.run(calm.known, suspect(other), [failure]) is None


def test_who_did_something_just_before_the_end_is_beside_it_the_last_first() -> None:
    company = Company()
    far, near, later = did("abort; drain", 300), did("send; fin; drain", 999), did("fin; drain", 1)
    for one in (far, near, did("terminate; drain", 700, 990), did("close_notify; drain", 1001)):
        company.add(one)
    company.add(replace(later, example=HARMED.example))
    company.add(did("send; drain", 1200))
    assert [one.steps for one in company.beside(HARMED)] == ["send; fin; drain", "terminate; drain"]
    for number in range(2 * MOST_BESIDE):
        company.add(did(f"sleep {number}ms; fin; drain", 900))
    assert len(company.beside(HARMED)) == MOST_BESIDE


@pytest.mark.parametrize(
    ("steps", "waits"),
    [
        ("send; fin; drain", ["await end 0.5s; send; fin; drain"]),
        ("request; fin; drain", ["request; await end 0.5s; fin; drain"]),
        ("connect; hello; fin; drain", []),
        ("await end 3s; drain", []),
    ],
)
def test_a_connection_waits_where_it_can(steps: str, waits: list[str]) -> None:
    made = [one.steps for one in _waiting(Example(parse(steps), "1.2"))]
    assert made == ["await end 0.5s; fin; drain", *waits]


@pytest.mark.slow
def test_company_keeps_the_last_connections_only() -> None:
    company = Company()
    early = did("abort", 990)
    company.add(early)
    assert company.beside(HARMED) == (early.example,)
    line = LadderLine(0.0, Side.CLIENT, "F", "FIN")
    for number in range(MOST_KEPT):
        other = did("close_notify; drain", 1, tls=f"1.{number}")
        company.add(replace(other, ladder=(line,)))
    assert company.beside(HARMED) == ()
    assert len(company.latest) == MOST_LADDERS
    assert other.example in company.latest
