"""What is said of a list before anything is opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlsprobe.campaign.settings import Settings
from tlsprobe.errors import UsageError
from tlsprobe.fleet.asked import FleetSettings
from tlsprobe.fleet.planning import jobs_of
from tlsprobe.fleet.targets import read_targets


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
