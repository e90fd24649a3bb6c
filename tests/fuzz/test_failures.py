"""What comes of confirmed suspects in the report."""

from __future__ import annotations

from tests.fuzz.test_suspects import confirmed, noted, reset
from tlsprobe.fuzz.failures import failures_of


def test_what_is_broken_in_the_same_way_by_another_close_is_like_the_first() -> None:
    suspects = noted(
        reset("request; terminate; drain"),
        reset("send; send; terminate; drain", tls="1.2"),
        reset("close_notify; send; drain", "N D n r"),
    )
    for _ in range(3):
        confirmed(suspects)
    found = failures_of([(suspects, "")])
    assert len(found) == 3
    likes = {one.steps: one.like for one in found}
    first = next(one for one in found if "terminate" in one.steps)
    number = found.index(first) + 1
    assert sorted(likes.values()) == [0, 0, number]
    assert likes["close_notify; send; drain"] == 0
    assert likes[first.steps] == 0


def test_at_another_target_it_is_another_kind() -> None:
    each = [noted(reset("terminate; drain")) for _ in range(2)]
    for suspects in each:
        confirmed(suspects)
    found = failures_of([(each[0], "old"), (each[1], "new")])
    assert [one.like for one in found] == [0, 0]
