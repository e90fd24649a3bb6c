"""How little is too little to say anything."""

from __future__ import annotations

import pytest

from tests.fuzz.test_report import REPLAY
from tlsprobe.campaign.settings import Settings
from tlsprobe.drive.script import Patience
from tlsprobe.fuzz.settings import FuzzSettings

RUN = Settings(patience=Patience(5.0, 5.0))


@pytest.mark.parametrize(("asked", "least"), [(1, 10), (12, 10), (40, 20), (200, 100), (1000, 100)])
def test_no_failure_in_one_example_is_a_false_comfort(asked: int, least: int) -> None:
    assert FuzzSettings(RUN, examples=asked).least == least


def test_a_failure_that_is_known_is_one_example() -> None:
    assert FuzzSettings(RUN, examples=1, replay=REPLAY).least == 1
