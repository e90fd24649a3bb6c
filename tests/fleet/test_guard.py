"""How many targets at once: more while all is on time, fewer as soon as something is late."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tlsprobe.fleet.guard import CALM_S, LATE_S, SETTLES_S, Guard


def test_it_grows_by_one_while_it_is_full_and_calm() -> None:
    guard = Guard(4, 8)
    assert guard.after(0.0, running=4, now=10).allowed == 5
    assert guard.after(0.0, running=3, now=10).allowed == 4
    assert Guard(8, 8).after(0.0, running=8, now=10).allowed == 8


def test_between_calm_and_late_it_stays() -> None:
    between = (CALM_S + LATE_S) / 2
    assert Guard(4, 8).after(between, running=4, now=10) == Guard(4, 8)


def test_it_falls_once_and_then_waits_to_see_what_that_does() -> None:
    lowered = Guard(100, 200).after(LATE_S, running=40, now=10)
    assert lowered.allowed == 30
    assert lowered.after(1.0, running=40, now=10 + SETTLES_S / 2) == lowered
    assert lowered.after(1.0, running=40, now=10 + SETTLES_S).allowed == 22


@given(
    st.integers(1, 500),
    st.lists(st.tuples(st.floats(0, 2), st.integers(0, 500), st.floats(0, 5)), max_size=60),
)
def test_one_is_always_allowed_and_never_more_than_the_most(
    most: int, seen: list[tuple[float, int, float]]
) -> None:
    guard, now = Guard(1, most), 0.0
    for lag, running, later in seen:
        now += later
        guard = guard.after(lag, running, now)
        assert 1 <= guard.allowed <= most
