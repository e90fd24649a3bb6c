"""What a campaign says beforehand that it will cost, if the server is quick or ends nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsprobe.campaign.controls import CONTROL_TRIALS
from tlsprobe.campaign.learned import FIN_VOUCHER, VOUCHER
from tlsprobe.campaign.planning import Pacing, Room, bound_of, plan_of
from tlsprobe.campaign.progress import cost_of
from tlsprobe.campaign.repeats import PATH_TRIES
from tlsprobe.campaign.settings import Settings
from tlsprobe.catalogue import catalogue
from tlsprobe.drive.script import Patience
from tlsprobe.language import format_groups
from tlsprobe.model.run import CellPlan, Plan

QUICK = Pacing(opening=0.01, ending=0.01)
SETTINGS = Settings(patience=Patience(server=5.0, idle=10.0), idle_s=3.0)


def cells(*names: str, trials: int = 3) -> dict[CellPlan, int]:
    planned = {}
    for name in names:
        sequence = catalogue()[name].sequence
        plan = CellPlan(sequence, format_groups(sequence.groups), "1.3", trials)
        planned[plan] = trials
    return planned


def planned(*names: str, settings: Settings = SETTINGS, trials: int = 3) -> Plan:
    return plan_of(cells(*names, trials=trials), settings, QUICK, Room(32, 16), begun=2)


def patient(plan: Plan) -> float:
    assert plan.patient_seconds is not None
    return plan.patient_seconds


def test_a_server_that_ends_nothing_costs_our_patience_in_every_cell() -> None:
    plan = planned("close-notify-only", "terminate", "close-notify-after-hello")
    assert plan.seconds < 1
    assert 20 <= patient(plan) < 21  # one of them may want a control


def test_controls_take_their_time() -> None:
    """The goodbye alone and the alert alone, as long as the cell itself if the server ends none."""
    plan = planned("terminate-close-notify")
    assert plan.seconds < 1
    assert 15 <= patient(plan) < 16


def test_closes_that_vouch_for_a_server_take_their_time_where_a_proxy_may_be() -> None:
    plain = replace(SETTINGS, rate=1000.0)
    near, far = (planned("terminate", settings=settings) for settings in (SETTINGS, plain))
    assert near.with_repeats is not None
    assert far.with_repeats == near.with_repeats + 2 * (CONTROL_TRIALS + PATH_TRIES)
    assert patient(far) > patient(near)
    both = VOUCHER, FIN_VOUCHER
    near, far = (planned(*both, settings=settings) for settings in (SETTINGS, plain))
    assert far.with_repeats == near.with_repeats  # they are asked for anyway


def test_what_our_own_end_closes_costs_no_patience() -> None:
    plan = planned("abort", "abort-after-hello", "partial-request-abort")
    assert patient(plan) == plan.seconds < 1


def test_a_stop_costs_a_start_and_a_connection_that_sees_it() -> None:
    """One at a time, however many may be open at once."""
    plan = planned("stop-idle", "reload-idle")
    assert plan.connections == 2 + 2 * 2 * 3
    assert 2 * 3 * 0.5 < plan.seconds < 2 * 3 * 1


def test_an_idle_timer_that_never_fires_costs_the_whole_wait() -> None:
    plan = planned("idle-expiry")
    assert 2 * 3 <= plan.seconds < 2 * 4  # once, and once alone
    assert 2 * (10 + 5) <= patient(plan) < 2 * 16


def test_rounds_of_races_follow_each_other() -> None:
    one, three = (planned("idle-expiry-meet", trials=n) for n in (10, 30))
    assert 2.5 * one.seconds < three.seconds < 3.5 * one.seconds


def test_racers_are_open_beside_their_pacemaker() -> None:
    assert planned("idle-expiry-race", trials=3).most_open == 4
    assert planned("idle-expiry-race", trials=30).most_open == 11  # a round is of ten


def test_a_rate_is_a_bound_for_both() -> None:
    plan = planned("abort", settings=replace(SETTINGS, rate=0.5))
    assert plan.seconds == patient(plan) == plan.connections / 0.5


@pytest.mark.slow
@given(
    st.lists(st.sampled_from(sorted(catalogue())), min_size=1, unique=True),
    st.integers(1, 50),
    st.floats(0.1, 60),
)
def test_patience_never_shortens_a_run(names: list[str], trials: int, idle: float) -> None:
    settings = replace(SETTINGS, patience=Patience(server=1.0, idle=idle))
    plan = planned(*names, settings=settings, trials=trials)
    assert 0 < plan.seconds <= patient(plan)


LOOKS = 5 + 3
"""Whether the server has room for us, and whether the path is alive with nothing else open."""


def test_what_may_come_on_top_is_bounded() -> None:
    """Nothing to control, and nothing to repeat beyond the trials: twice, and the paths."""
    plan = planned("abort")
    assert plan.connections == 2 + 3 + 1
    assert plan.with_repeats == plan.connections + 2 * 3 + 2 + LOOKS
    assert plan.if_crowded == plan.with_repeats + 3 * (3 + 3 + 5)  # with 8, 2, 1 open


def test_each_control_that_may_be_wanted_is_counted_once() -> None:
    """The goodbye alone for both, and the alert alone; what is asked for is no control."""
    one, two, asked = (
        planned(*names)
        for names in (
            ("terminate-close-notify",),
            ("terminate-close-notify", "terminate-close-notify-fin"),
            ("terminate-close-notify", "terminate"),
        )
    )
    repeats = 2 * 3 + 2
    assert on_top(one) == repeats + LOOKS + 2 * (3 + 3)
    assert on_top(two) == 2 * repeats + LOOKS + 2 * (3 + 3)
    assert on_top(asked) == 2 * repeats + LOOKS + 1 * (3 + 3)


def on_top(plan: Plan) -> int:
    assert plan.with_repeats is not None
    return plan.with_repeats - plan.connections


@given(st.sampled_from(sorted(catalogue())), st.integers(1, 300), st.integers(1, 64))
def test_the_bounds_are_in_order(name: str, trials: int, most: int) -> None:
    room = Room(most, max(1, most // 2))
    plan = plan_of(cells(name, trials=trials), SETTINGS, QUICK, room, begun=0)
    assert plan.with_repeats is not None and plan.if_crowded is not None
    assert plan.connections < plan.with_repeats <= plan.if_crowded


def test_smaller_rounds_take_more_connections() -> None:
    """Each has one that sees the expiry come."""
    tens, twos = (
        plan_of(cells("idle-expiry-meet", trials=20), SETTINGS, QUICK, Room(32, 16, size), begun=0)
        for size in (10, 2)
    )
    assert twos.connections == tens.connections - 2 + 10


def test_both_are_told_where_they_differ() -> None:
    assert cost_of(Plan(12, 4, 3.2, 3.4)) == "12 connections, at most 4 open at once, about 3 s"
    assert cost_of(Plan(12, 4, 26.0, 95.2)) == (
        "12 connections, at most 4 open at once, about 26 s, or 1 min 35 s if the server leaves"
        " connections open"
    )


def test_what_may_come_on_top_is_told() -> None:
    plan = Plan(12, 4, 3.2, 3.4, with_repeats=40, if_crowded=90)
    assert cost_of(plan) == (
        "12 connections (at most 40 with controls and repeats, 90 if the server has no room for"
        " them), at most 4 open at once, about 3 s"
    )


@pytest.mark.parametrize(
    ("opening", "plan", "took_s"),
    [
        (0.0, Plan(368, 32, 186.8, 454.8), 561.8),
        (3.0, Plan(368, 32, 532.8, 965.1), 684.5),
        (3.5, Plan(368, 32, 652.9, 1071.1), 1117.2),
        (3.5, Plan(368, 32, 652.6, 1070.8), 2284.9),
    ],
    ids=["ends nothing", "slow", "slow in all it does", "slow, and ends nothing"],
)
def test_no_honest_server_is_left_before_its_end(opening: float, plan: Plan, took_s: float) -> None:
    """Servers that were measured with nothing to bound them, and what their preflight promised."""
    assert bound_of(plan, Pacing(opening, 0.0)) > took_s
