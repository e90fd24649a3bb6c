"""What is said of a list before anything is opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlsprobe.campaign.planning import bound_of
from tlsprobe.campaign.settings import Settings
from tlsprobe.errors import UsageError
from tlsprobe.fleet.asked import FleetSettings, target_settings
from tlsprobe.fleet.planning import AT_ONCE, Bounds, cost_of, jobs_of, planned, slowest
from tlsprobe.fleet.targets import read_targets
from tlsprobe.model.fleet import FleetTarget


def refusal(text: str, **options: object) -> str:
    asked = FleetSettings(Path(), Settings(), options, 1, 9)
    with pytest.raises(UsageError) as raised:
        jobs_of(read_targets(text, "x"), asked, "x")
    return raised.value.message


def test_what_a_protocol_does_not_have_is_told_for_every_target_at_once() -> None:
    text = (
        "a.example:443 sequence=reload-idle\n"
        "b.example:443\n"
        "c.example:443 sni=b\u00fccher.example\n"
        "d.example:443 sequence=reload-idle\n"
    )
    _, *told = refusal(text).splitlines()
    assert [line.partition(": ")[0] for line in told] == ["x:1", "x:3", "x:4"]


def test_what_is_wrong_with_all_of_them_is_told_once() -> None:
    assert refusal("a.example:443\nb.example:443\n", sequence=["none"]) == "no sequence 'none'"


def test_a_target_may_take_longer_than_one_that_ends_nothing_and_the_plan_says_how_long() -> None:
    asked = FleetSettings(Path(), Settings(), {"sequence": ["fin; drain"]}, 1, 9)
    job, patient = (
        target_settings(FleetTarget("127.0.0.1:443", options=options), asked)
        for options in ({}, {"patience": 50.0})
    )
    bounds = Bounds()
    for one in (job, patient):
        quick, pacing = cost_of(one, None), slowest(one)
        allowed_s = bound_of(cost_of(one, None, pacing), pacing)
        assert quick.patient_seconds is not None
        assert bounds.of(one, None) == allowed_s > bound_of(quick, AT_ONCE) > quick.patient_seconds
    plan = planned([job, patient], asked)
    assert plan.slowest_s == bounds.of(patient, None) > bounds.of(job, None)
    assert plan.within_s == bound_of(cost_of(patient, None), AT_ONCE)
