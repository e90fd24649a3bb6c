"""Distances and groups: measured by hand on small cases, and the same for any order."""

from __future__ import annotations

from itertools import permutations

import pytest

from tests.report.builders import make_run
from tests.report.vendors import BARE, BARE_RESETTING, CLOSED, HASTY, cell, run_of
from tlsprobe.report.alike import distance, distances, fingerprint, grouped

HABITS = {"closed": CLOSED, "bare": BARE, "hasty": HASTY, "resetting": BARE_RESETTING}


def test_the_distance_is_the_share_that_differs() -> None:
    closed, bare = fingerprint(run_of("a", CLOSED)), fingerprint(run_of("b", BARE))
    assert distance(closed, closed) == 0
    assert distance(closed, bare) == pytest.approx(3 / 8)
    assert distance(closed, bare) == distance(bare, closed)


def test_only_what_both_were_asked_counts() -> None:
    one = fingerprint(run_of("a", {"terminate": "n f", "fin-only": "f"}))
    other = fingerprint(run_of("b", {"terminate": "n f", "half-close": "f"}, versions=("1.3",)))
    assert distance(one, other) == 0
    assert distance(one, fingerprint(make_run())) == 1


def test_races_and_controls_do_not_count() -> None:
    run = make_run(cell("idle-expiry-race", "n r"), cell("terminate", "n f"))
    assert list(fingerprint(run)) == [("terminate", "1.3")]


def test_what_came_out_on_top_of_a_race_is_no_difference() -> None:
    mostly_before = fingerprint(make_run(cell("server-close-reply", "n r", rare="n f r")))
    mostly_after = fingerprint(make_run(cell("server-close-reply", "n f r", rare="n r")))
    always_after = fingerprint(make_run(cell("server-close-reply", "n f r")))
    never = fingerprint(make_run(cell("server-close-reply", "n f")))
    assert distance(mostly_before, mostly_after) == 0
    assert distance(mostly_before, always_after) == 0
    assert distance(mostly_before, never) == distance(always_after, never) == 1


def test_what_closes_alike_stands_together() -> None:
    names = ["closed", "bare", "closed", "hasty", "bare", "closed"]
    table = distances([fingerprint(run_of(name, HABITS[name])) for name in names])
    groups = [[names[number] for number in group] for group in grouped(table)]
    assert sorted(groups) == [["bare"] * 2, ["closed"] * 3, ["hasty"]]


def test_the_order_of_the_arguments_changes_no_group() -> None:
    prints = {name: fingerprint(run_of(name, habit)) for name, habit in HABITS.items()}
    found = set()
    for names in permutations(prints):
        groups = grouped(distances([prints[name] for name in names]), within=0.3)
        found.add(frozenset(frozenset(names[number] for number in group) for group in groups))
    assert len(found) == 1


def test_neighbours_are_near() -> None:
    line = [0.0, 0.9, 0.3, 0.6]  # points on a line, told in another order
    table = tuple(tuple(abs(one - other) for other in line) for one in line)
    ((*first,), (*second,), (*third,), (*fourth,)) = grouped(table, within=0.1)
    order = [line[number] for (number,) in (first, second, third, fourth)]
    assert order in ([0.0, 0.3, 0.6, 0.9], [0.9, 0.6, 0.3, 0.0])


def test_many_are_quickly_grouped_and_each_once() -> None:
    table = tuple(tuple(abs(a % 7 - b % 7) / 7 for b in range(60)) for a in range(60))
    groups = grouped(table)
    assert sorted(number for group in groups for number in group) == list(range(60))
    assert len(groups) == 7


@pytest.mark.parametrize("count", [0, 1])
def test_few_are_no_trouble(count: int) -> None:
    assert grouped(((0.0,),) * count) == [[0]] * count
