"""How few it takes to show a fault."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from tests.fuzz.test_properties import seen
from tlsprobe.fuzz.confirming import Confirmer
from tlsprobe.fuzz.death import DEATH
from tlsprobe.fuzz.observation import Observation
from tlsprobe.fuzz.rates import rate_told
from tlsprobe.fuzz.shrinking import Shrinker
from tlsprobe.fuzz.suspects import Sighting, Suspect
from tlsprobe.model.fuzz import Example

FINE = seen("connect; fin; drain")


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
