"""How few it takes to show a fault."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from tests.fuzz.test_properties import ALL, seen
from tlsprobe.fuzz.alphabet import alphabet
from tlsprobe.fuzz.confirming import Confirmer
from tlsprobe.fuzz.death import DEATH
from tlsprobe.fuzz.observation import Observation
from tlsprobe.fuzz.properties import violations
from tlsprobe.fuzz.rates import rate_told
from tlsprobe.fuzz.shrinking import Shrinker
from tlsprobe.fuzz.suspects import Sighting, Suspect
from tlsprobe.fuzz.trying import Counts
from tlsprobe.language import parse
from tlsprobe.model.causes import Cause
from tlsprobe.model.fuzz import Example
from tlsprobe.model.judgement import Confidence, Provoked, Reset
from tlsprobe.model.trace import Side

FINE = seen("connect; fin; drain")
LONG = 'send "x"; fin; drain'


class Mortal:
    """A server that dies when it has been left so often since it was started."""

    patience = 1.0
    routes = ("1.3",)

    def __init__(self, lives: int) -> None:
        self.lives = lives
        self.left = lives

    async def once(self, example: Example, _: str, **__: object) -> Observation:
        await trio.lowlevel.checkpoint()
        self.left -= example.together
        return replace(FINE, example=example)

    async def works(self, **_: object) -> bool:
        await trio.lowlevel.checkpoint()
        is_there = self.left > 0
        self.left = self.left if is_there else self.lives
        return is_there


@pytest.mark.parametrize(("lives", "shows"), [(3, True), (1000, False)])
def test_what_several_bring_down_is_replayed_with_as_many(lives: int, shows: bool) -> None:
    suspect = Suspect(Sighting(DEATH, FINE), DEATH.kind(FINE), 1)
    suspect.shortest, suspect.known = replace(FINE.example, together=4), rate_told("5/5")
    nothing: Any = None
    mortal: Any = Mortal(lives)
    confirmer = Confirmer(mortal, nothing, (), 5, lambda: True)
    assert trio.run(confirmer.still_shows, suspect) is shows


@pytest.mark.parametrize(("lives", "together"), [(3, 4), (16, 16)])
def test_a_server_that_several_bring_down_is_brought_down_by_so_many(
    lives: int, together: int
) -> None:
    suspect = Suspect(Sighting(DEATH, FINE), DEATH.kind(FINE), 1)
    nothing: Any = None
    bounds: Any = SimpleNamespace(may=lambda _: True)
    mortal: Any = Mortal(lives)
    shrinker = Shrinker(nothing, mortal, nothing, nothing, nothing, bounds)
    trio.run(shrinker.try_twice, suspect)
    assert (suspect.shortest.together, suspect.is_race) == (together, False)


def test_a_server_that_none_brings_down_stays_a_race() -> None:
    suspect = Suspect(Sighting(DEATH, FINE), DEATH.kind(FINE), 1)
    nothing: Any = None
    bounds: Any = SimpleNamespace(may=lambda _: True)
    mortal: Any = Mortal(1000)
    shrinker = Shrinker(nothing, mortal, nothing, nothing, nothing, bounds)
    trio.run(shrinker.try_twice, suspect)
    assert (suspect.shortest, suspect.is_race) == (FINE.example, True)


class Dead(Mortal):
    """A server that nobody starts again."""

    patience = 0.01

    async def works(self, **_: object) -> bool:
        await trio.lowlevel.checkpoint()
        return self.left > 0


@pytest.mark.parametrize(("left", "shows"), [(0, True), (1, False)])
def test_a_server_that_is_gone_for_good_has_shown_what_is_known(left: int, shows: bool) -> None:
    suspect = Suspect(Sighting(DEATH, FINE), DEATH.kind(FINE), 1)
    nothing: Any = None
    server: Any = Dead(left)
    confirmer = Confirmer(server, nothing, (), 5, lambda: True)
    assert trio.run(confirmer.died_for_good, suspect) is shows
    assert suspect.broke == int(shows)


class Unread:
    """A server that leaves whatever came last unread in each third connection, and resets."""

    routes = ("1.3",)

    def __init__(self, phase: str) -> None:
        self.phase = phase
        self.left = 0

    async def once(self, example: Example, _: str, **__: object) -> Observation:
        await trio.lowlevel.checkpoint()
        self.left += 1
        shown = FINE if self.left % 3 else aborted(example, self.phase)
        return replace(shown, example=example)


def aborted(example: Example, phase: str) -> Observation:
    """A reset, behind data that nobody answered if the sequence has some."""
    provoked = Provoked.DATA if len(example.sequence.steps) > 2 else Provoked.FIN
    shown = seen(example.steps, "INTEROP-RESET-BEFORE-FIN", signature=f"{phase} r")
    reset = Reset(Side.SERVER, 1, 1, True, Cause.DELIBERATE, Confidence.HIGH, (), provoked=provoked)
    return replace(shown, judgement=replace(shown.judgement, resets=(reset,)))


@pytest.mark.parametrize(("phase", "shortest"), [("F", "fin; drain"), ("N", LONG)])
def test_what_a_part_leaves_unread_makes_no_other_race_of_it(phase: str, shortest: str) -> None:
    """But that it answers another end of ours does."""
    whole = aborted(Example(parse(LONG), "1.3"), "F")
    (violation, *_) = violations(whole, ALL)
    suspect = Suspect(Sighting(violation, whole), violation.kind(whole), 1)
    suspect.is_race = True
    nothing: Any = None
    bounds: Any = SimpleNamespace(may=lambda _: True, counts=Counts())
    suspects: Any = SimpleNamespace(asked=ALL)
    losses: Any = SimpleNamespace(lost=[])
    letters = alphabet(("1.3",), frozenset(), has_goodbye=True)
    server: Any = Unread(phase)
    shrinker = Shrinker(letters, server, nothing, suspects, losses, bounds)

    async def shorten() -> None:
        if phase != "F":
            suspect.faces.add(violation.kind(aborted(whole.example, phase)))
        await shrinker.shorten(suspect)

    trio.run(shorten)
    assert (suspect.shortest.steps, suspect.shrunk) == (shortest, True)
