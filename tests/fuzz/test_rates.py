"""How often a race is lost, and between which rates that lies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsprobe.fuzz.rates import rate_of, rate_told


@pytest.mark.parametrize(
    ("broke", "runs", "least", "most"),
    [(10, 50, 0.112, 0.330), (50, 50, 0.929, 1.0), (0, 50, 0.0, 0.071), (3, 200, 0.005, 0.043)],
)
def test_the_interval_is_wilson_s(broke: int, runs: int, least: float, most: float) -> None:
    rate = rate_of(broke, runs)
    assert rate is not None
    assert (round(rate.least, 3), round(rate.most, 3)) == (least, most)


def test_nothing_is_said_of_no_runs() -> None:
    assert rate_of(0, 0) is None


def test_a_file_tells_the_rate() -> None:
    assert rate_told("4/50") == rate_of(4, 50)


@pytest.mark.parametrize("text", ["", "often", "5/4", "0/5", "1/2/3", "\u0663/5"])
def test_a_text_that_tells_none_is_none(text: str) -> None:
    assert rate_told(text) is None


@given(st.integers(1, 300).flatmap(lambda runs: st.tuples(st.integers(0, runs), st.just(runs))))
def test_the_interval_holds_the_rate(counted: tuple[int, int]) -> None:
    broke, runs = counted
    rate = rate_of(broke, runs)
    assert rate is not None
    assert 0 <= rate.least <= broke / runs <= rate.most <= 1
