"""What is asked about a suspect, and how often."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import cast

import trio

from tests.fuzz.test_confirming import suspect
from tests.fuzz.test_properties import ALL, seen
from tlsprobe.fuzz.inquiry import EARLY, Inquiry
from tlsprobe.fuzz.observation import Observation
from tlsprobe.fuzz.properties import shows_like
from tlsprobe.fuzz.suspects import TRIES, Suspect
from tlsprobe.model.fuzz import NEVER_RUN_AGAIN, Example, Replay
from tlsprobe.model.judgement import TcpEnd


async def is_none(_: Suspect) -> bool:
    await trio.lowlevel.checkpoint()
    return False


def test_others_of_a_kind_are_asked_in_company_when_the_first_shows_nothing() -> None:
    """A connection that another one ends shows it in no crowd of its own."""
    asked, looked_for = list[Suspect](), list[Suspect]()

    async def shows_nothing(one: Suspect) -> bool:
        await trio.lowlevel.checkpoint()
        asked.append(one)
        return False

    async def finds_nobody(one: Suspect) -> bool:
        await trio.lowlevel.checkpoint()
        looked_for.append(one)
        return False

    confirmer = SimpleNamespace(takes_company=shows_nothing, shows_alone=is_none)
    stub = SimpleNamespace(
        asked_in_company=Counter(),
        confirmer=confirmer,
        neighbours=SimpleNamespace(find=finds_nobody),
        is_harmed_as_known=is_none,
    )
    confirmer.is_race_in_company = is_none
    stub.is_harmed_by_others = partial(Inquiry.is_harmed_by_others, cast("Inquiry", stub))
    for _ in range(TRIES + 2):
        assert not trio.run(Inquiry.takes_company, cast("Inquiry", stub), suspect())
    assert 1 < len(asked) == len(looked_for) == TRIES


def settled(one: Suspect, *, alone: int, raced_s: float = 0.0) -> list[str]:
    """What is done with a race that so many of two runs by itself showed."""
    done = list[str]()

    async def try_twice(suspect: Suspect) -> None:
        await trio.lowlevel.checkpoint()
        suspect.is_race, suspect.shows_alone = True, alone > 0

    async def takes_company(_: Suspect) -> bool:
        await trio.lowlevel.checkpoint()
        done.append("asked in company")
        return False

    async def confirm(_: Suspect) -> bool:
        await trio.lowlevel.checkpoint()
        done.append("raced")
        return True

    stub = SimpleNamespace(
        raced_s=raced_s,
        shrinker=SimpleNamespace(try_twice=try_twice),
        suspects=SimpleNamespace(postpone=lambda _: done.append("waits")),
        losses=SimpleNamespace(lost=[]),
        bounds=SimpleNamespace(seconds=60.0),
        time_to_confirm=trio.CancelScope,
        takes_company=takes_company,
        confirm=confirm,
    )
    inquiry = cast("Inquiry", stub)
    stub.waits, stub.may_race = partial(Inquiry.waits, inquiry), partial(Inquiry.may_race, inquiry)
    stub.race = partial(Inquiry.race, inquiry)
    trio.run(Inquiry.settle, inquiry, one)
    return done


def test_a_race_that_shows_by_itself_is_run_at_once() -> None:
    assert settled(suspect(), alone=1) == ["raced"]


def test_a_race_that_may_take_others_is_asked_in_company_first() -> None:
    assert settled(suspect(), alone=0) == ["asked in company", "waits"]


def test_races_wait_once_they_had_their_part_of_the_time() -> None:
    assert settled(suspect(), alone=1, raced_s=EARLY * 60.0) == ["waits"]


def test_a_race_that_takes_long_waits() -> None:
    one = suspect()
    one.observed = seen("fin; drain", "INTEROP-LEAK", tcp=TcpEnd.OPEN)
    assert settled(one, alone=1) == ["waits"]


async def is_so(_: Suspect) -> bool:
    await trio.lowlevel.checkpoint()
    return True


def test_a_server_that_dies_of_what_is_replayed_died_of_nothing_else() -> None:
    """The connection that found it dead was a second failure."""
    given_up = list[bool]()

    async def observe(example: Example, _: str) -> Observation:
        await trio.lowlevel.checkpoint()
        return replace(seen("fin; drain"), example=example)

    async def wears_nothing(*_: object) -> None:
        await trio.lowlevel.checkpoint()

    stub = SimpleNamespace(
        prober=SimpleNamespace(observe=observe),
        wear=wears_nothing,
        confirmer=SimpleNamespace(died_for_good=is_so),
        losses=SimpleNamespace(give_up=lambda: given_up.append(True)),
        suspects=SimpleNamespace(settle=lambda *_, **__: None),
    )
    what = "next-connection", "INTEROP-PATH"
    known = Replay(seen("fin; drain").example, *what, expect=NEVER_RUN_AGAIN)
    assert trio.run(Inquiry.replay, cast("Inquiry", stub), known)
    assert given_up == [True]


def replayed(*, shows_after: int, since: int) -> tuple[bool, int]:
    """Whether a replay is settled, and how many connections it took, at most 16 at a time."""
    driven = 0

    class Worn:
        async def once(self, example: Example, *_: object, **__: object) -> Observation:
            nonlocal driven
            await trio.lowlevel.checkpoint()
            driven += 1
            breaks = ["INTEROP-RESET-BEFORE-FIN"] if driven > shows_after else []
            return replace(seen("fin; drain", *breaks), example=example)

        observe = once

    async def still_shows(one: Suspect) -> bool:
        now = await prober.once(one.shortest)
        return shows_like(now, one.kind, ALL)

    prober = Worn()
    confirmer = SimpleNamespace(died_for_good=is_none, still_shows=still_shows)
    stub = SimpleNamespace(
        prober=prober,
        confirmer=confirmer,
        asked=ALL,
        bounds=SimpleNamespace(may_finish=True),
        settings=SimpleNamespace(run=SimpleNamespace(concurrency=16)),
        suspects=SimpleNamespace(settle=lambda *_, **__: None),
    )
    stub.wear = partial(Inquiry.wear, cast("Inquiry", stub))
    known = Replay(
        seen("fin; drain").example,
        *("no-reset-before-fin", "INTEROP-RESET-BEFORE-FIN"),
        expect="5/5",
        since=since,
    )
    return trio.run(Inquiry.replay, cast("Inquiry", stub), known), driven


def test_what_came_only_after_others_is_driven_as_often_before_it_is_asked() -> None:
    """A flaw that takes 120 connections before was said to be cured: exit 0."""
    assert replayed(shows_after=120, since=130) == (True, 1 + 128 + 1)
    settled, driven = replayed(shows_after=10**6, since=130)
    assert not settled  # it may take what else the server had met
    assert driven == 1 + 130 + 1
    assert replayed(shows_after=10**6, since=0) == (True, 2)
