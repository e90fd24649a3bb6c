"""What counts when a fault is run again: in time, often enough, and the same."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest
import trio

from tests.fuzz.test_properties import ALL, seen
from tlsprobe.catalogue import control_of
from tlsprobe.fuzz.confirming import REPEATS, Confirmer, name_of_control
from tlsprobe.fuzz.observation import Observation
from tlsprobe.fuzz.properties import Needs, violations
from tlsprobe.fuzz.rates import rate_told
from tlsprobe.fuzz.suspects import Sighting, Suspect
from tlsprobe.language import parse
from tlsprobe.model.fuzz import Example

if TYPE_CHECKING:
    from tlsprobe.fuzz.comparing import Comparer
    from tlsprobe.fuzz.trying import Prober

BROKEN = seen("fin; drain", "INTEROP-RESET-BEFORE-FIN")
FINE = seen("fin; drain")


class Scripted:
    """A server that ends as the script says, over and over, and speaks one TLS version."""

    routes = (BROKEN.example.tls,)

    def __init__(self, *script: Observation) -> None:
        self.script = script
        self.asked = 0
        self.is_fine_alone = False

    async def once(self, _: Example, __: str, **___: object) -> Observation:
        await trio.lowlevel.checkpoint()
        self.asked += 1
        return FINE if self.is_fine_alone else self.script[self.asked % len(self.script)]

    async def each(self, example: Example, _: str, **__: object) -> list[Observation]:
        self.asked += 1
        numbers = range(self.asked, self.asked + example.together)
        self.asked += example.together
        return [self.script[number % len(self.script)] for number in numbers]


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


def in_crowds(beside: int, *script: Observation) -> tuple[bool, Suspect]:
    """A race that was seen beside so many others, by a server that shows it in crowds alone."""
    server, one = Scripted(*script), suspect()
    server.is_fine_alone = True
    one.is_race, one.observed = True, replace(BROKEN, beside=beside)
    confirmer = Confirmer(cast("Prober", server), cast("Comparer", server), ALL, 5, lambda: True)
    return trio.run(confirmer.confirm, one), one


def test_what_only_some_of_a_crowd_show_is_a_race_that_takes_a_crowd() -> None:
    found, one = in_crowds(16, BROKEN, *(9 * [FINE]))
    assert found
    assert (one.shortest.together, one.runs >= REPEATS[0]) == (16, True)
    assert one.rate is not None


def test_what_was_seen_beside_few_is_not_looked_for_in_a_crowd() -> None:
    found, one = in_crowds(2, BROKEN)
    assert not found
    assert one.shortest.together == 1


def test_a_race_that_takes_a_crowd_still_shows_in_one() -> None:
    server, one = Scripted(BROKEN, *(9 * [FINE])), suspect()
    one.shortest = replace(one.shortest, together=16)
    confirmer = Confirmer(cast("Prober", server), cast("Comparer", None), ALL, 5, lambda: True)
    assert trio.run(confirmer.still_shows, one)


def replayed(expect: str, *script: Observation, together: int = 1) -> tuple[bool | None, Suspect]:
    """A failure that showed so often when it was found, driven again."""
    server, one = Scripted(*script), suspect()
    one.shortest, one.known = replace(one.shortest, together=together), rate_told(expect)
    confirmer = Confirmer(cast("Prober", server), cast("Comparer", None), ALL, 5, lambda: True)
    return trio.run(confirmer.still_shows, one), one


@pytest.mark.parametrize("together", [1, 16])
def test_what_is_known_need_show_only_once_to_be_there_still(together: int) -> None:
    shows, one = replayed("4/50", BROKEN, *(59 * [FINE]), together=together)
    assert shows
    assert one.broke in {1, 2}


@pytest.mark.parametrize(("expect", "runs"), [("5/5", 6), ("4/50", 96), ("3/200", 200)])
def test_what_showed_seldom_has_to_stay_away_for_longer(expect: str, runs: int) -> None:
    shows, one = replayed(expect, FINE)
    assert shows is False
    assert one.runs == runs


def test_of_runs_that_came_too_late_nobody_says_that_a_failure_is_cured() -> None:
    shows, _ = replayed("5/5", replace(FINE, late_s=0.1))
    assert shows is None


def test_half_of_a_crowd_shows_what_takes_a_crowd() -> None:
    server, one = Scripted(BROKEN, FINE), suspect()
    one.observed = replace(BROKEN, beside=3)
    confirmer = Confirmer(cast("Prober", server), cast("Comparer", None), ALL, 5, lambda: True)
    assert trio.run(confirmer.takes_company, one)
    assert one.shortest.together == 2
    seldom = Scripted(BROKEN, *(9 * [FINE]))
    confirmer = Confirmer(cast("Prober", seldom), cast("Comparer", None), ALL, 5, lambda: True)
    assert not trio.run(confirmer.takes_company, suspect())


@pytest.mark.parametrize(
    ("steps", "name"),
    [
        ('close_notify; send "x"; drain', "close_notify; drain"),
        ("request; terminate; close_notify; drain", "terminate"),
    ],
)
def test_a_control_is_called_by_its_own_steps_and_not_by_those_that_it_is_to_explain(
    steps: str, name: str
) -> None:
    control = control_of(parse(steps))
    assert control is not None
    assert name_of_control(control) == name


def in_company(*script: Observation, is_fine_alone: bool) -> tuple[bool, Suspect]:
    """What less than half of a crowd showed, looked into further."""
    server, one = Scripted(*script), suspect()
    server.is_fine_alone, one.observed = is_fine_alone, replace(BROKEN, beside=16)
    confirmer = Confirmer(cast("Prober", server), cast("Comparer", server), ALL, 5, lambda: True)
    assert not trio.run(confirmer.takes_company, one)
    if trio.run(confirmer.shows_alone, one) is not False:
        return False, one
    return trio.run(confirmer.is_race_in_company, one), one


def test_what_a_connection_does_to_another_shows_in_crowds_alone() -> None:
    found, one = in_company(BROKEN, FINE, FINE, is_fine_alone=True)
    assert found
    assert (one.shortest.together, one.runs >= REPEATS[0]) == (16, True)
    assert one.rate is not None


def test_what_shows_now_and_then_by_itself_takes_no_company() -> None:
    found, one = in_company(BROKEN, FINE, FINE, is_fine_alone=False)
    assert not found
    assert one.shortest.together == 1
    assert one.shows_alone


@pytest.mark.parametrize("is_fine_alone", [False, True])
def test_another_close_of_a_crowd_is_asked_by_itself_before_it_is_the_same(
    *, is_fine_alone: bool
) -> None:
    server, one = Scripted(BROKEN, FINE, FINE), suspect()
    server.is_fine_alone = is_fine_alone
    confirmer = Confirmer(cast("Prober", server), cast("Comparer", None), ALL, 5, lambda: True)
    assert trio.run(confirmer.takes_crowd, one) is is_fine_alone
    assert one.shortest.together == 1


@pytest.mark.parametrize("in_peace", [False, True])
def test_what_connections_do_to_each_other_is_no_race_of_one(*, in_peace: bool) -> None:
    """Runs side by side reset each other, and the report said that it shows by itself."""
    open_at_once = 0

    class Harming(Scripted):
        async def once(self, _: Example, __: str, **___: object) -> Observation:
            nonlocal open_at_once
            open_at_once += 1
            await trio.lowlevel.checkpoint()
            seen_now = BROKEN if open_at_once > 1 else FINE
            open_at_once -= 1
            return seen_now

    one, prober = suspect(), cast("Prober", Harming())
    confirmer = Confirmer(prober, cast("Comparer", None), ALL, 5, lambda: True)
    confirmer.in_peace = in_peace
    assert trio.run(confirmer.is_race, one, Needs.ONE) is not in_peace
    trio.run(confirmer.run_few, one, Needs.ONE)
    assert (one.broke == 0) is in_peace
