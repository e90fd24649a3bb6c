"""How long a run may go on."""

from __future__ import annotations

import pytest

from tests.fuzz.test_settings import RUN
from tlsprobe.fuzz.run import within
from tlsprobe.fuzz.settings import FuzzSettings


@pytest.mark.parametrize("asked", [10.0, 60.0])
@pytest.mark.parametrize("starting", [0.5, 7.0])
def test_ending_may_take_twice_what_was_thought(asked: float, starting: float) -> None:
    settings = within(FuzzSettings(RUN, seconds=asked), starting)
    ending = asked - starting - settings.seconds
    assert ending > starting / 5
    assert starting + settings.seconds + settings.over + ending <= 1.05 * asked


def test_a_run_that_took_all_its_time_to_start_ends_soon() -> None:
    assert within(FuzzSettings(RUN, seconds=10), 12).seconds <= 1
