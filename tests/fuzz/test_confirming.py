"""What counts when a fault is run again: in time, often enough, and the same."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest
import trio

from tests.fuzz.test_properties import ALL, seen
from tlsprobe.fuzz.confirming import REPEATS, Confirmer
from tlsprobe.fuzz.observation import Observation
from tlsprobe.fuzz.properties import Needs, violations
from tlsprobe.fuzz.suspects import Sighting, Suspect
from tlsprobe.model.fuzz import Example

if TYPE_CHECKING:
    from tlsprobe.fuzz.comparing import Comparer
    from tlsprobe.fuzz.trying import Prober

BROKEN = seen("fin; drain", "INTEROP-RESET-BEFORE-FIN")
FINE = seen("fin; drain")


class Scripted:
    """A server that ends as the script says, over and over."""

    def __init__(self, *script: Observation) -> None:
        self.script = script
        self.asked = 0

    async def once(self, _: Example, __: str, **___: object) -> Observation:
        await trio.lowlevel.checkpoint()
        self.asked += 1
        return self.script[self.asked % len(self.script)]


def suspect() -> Suspect:
    (violation, *_) = violations(BROKEN, ALL)
    return Suspect(Sighting(violation, BROKEN), violation.kind(BROKEN), 1)


def raced(*script: Observation) -> tuple[bool, Suspect]:
    server, one = Scripted(*script), suspect()
    confirmer = Confirmer(cast("Prober", server), cast("Comparer", None), ALL, 5, lambda: True)
    return trio.run(confirmer.is_race, one, Needs.ONE), one


def test_what_is_lost_often_is_a_race_with_its_rate() -> None:
    is_race, one = raced(BROKEN, *(4 * [FINE]))
    assert is_race
    assert one.rate is not None
    assert one.rate[:2] == (10, 50)


def test_what_is_lost_seldom_is_run_more_often_before_it_is_one() -> None:
    is_race, one = raced(BROKEN, *(48 * [FINE]))
    assert is_race
    assert one.runs == REPEATS[-1]
    assert one.broke >= 3


@pytest.mark.parametrize("script", [(FINE,), (replace(BROKEN, late_s=0.1), FINE)])
def test_what_is_never_lost_in_time_is_none(script: tuple[Observation, ...]) -> None:
    is_race, one = raced(*script)
    assert not is_race
    assert one.rate is None
    assert one.broke == 0
