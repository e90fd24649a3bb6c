"""What comes of confirmed suspects in the report."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.fuzz.test_properties import ALL, seen
from tests.fuzz.test_suspects import confirmed, noted, reset
from tlsprobe.fuzz.failures import Whose, failures_of
from tlsprobe.fuzz.properties import violations
from tlsprobe.fuzz.suspects import Sighting, Suspect, Suspects
from tlsprobe.judge.families import family_of
from tlsprobe.model.causes import Cause
from tlsprobe.model.judgement import Provoked, TcpEnd


def test_what_is_broken_in_the_same_way_by_another_close_is_like_the_first() -> None:
    suspects = noted(
        reset("request; terminate; drain"),
        reset("send; send; terminate; drain", tls="1.2"),
        reset("close_notify; send; drain", "N D n r"),
    )
    for _ in range(3):
        confirmed(suspects)
    found = failures_of([Whose(suspects)])
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
    found = failures_of([Whose(each[0], "old"), Whose(each[1], "new")])
    assert [one.like for one in found] == [0, 0]


def test_what_helps_is_for_the_program_that_passes_the_connections_on() -> None:
    """The server behind it was told to mend what it cannot have done."""
    shown = seen(
        "terminate; close_notify; drain",
        "INTEROP-RESET-BEFORE-FIN",
        tcp=TcpEnd.RESET,
        cause=Cause.UNREAD_AT_CLOSE,
        provoked=Provoked.BEHIND_END,
    )
    suspects = noted(shown)
    confirmed(suspects)
    helps = {}
    for passed_on in (False, True):
        family = family_of("nginx/1.22.1", passed_on=passed_on)
        (failure,) = failures_of([Whose(suspects, protocol="http1", family=family)])
        assert failure.cause is not None
        helps[passed_on] = failure.cause.remedy
    assert any("lingering_close" in one for one in helps[False])
    assert not any(one.startswith("Server") for one in helps[True])
    assert helps[True][0].startswith("Forwarder: it has the TCP connection")


@pytest.mark.parametrize("fine", [True, False])
def test_a_fault_that_came_with_the_time_says_so(*, fine: bool) -> None:
    """The replay on a server that was just started does not show it."""
    shown, before = seen("fin; drain", "INTEROP-RESET-BEFORE-FIN"), seen("fin; drain")
    suspects = Suspects(ALL, lambda: 1, lambda _: (1, 1, 1, [], []), lambda: None)
    (violation, *_) = violations(shown, ALL)
    suspect = Suspect(Sighting(violation, shown), violation.kind(shown), 1)
    suspect.compare_with_first(replace(before if fine else shown, number=7), ALL)
    suspects.settle(suspect, confirmed=True)
    (failure,) = failures_of([Whose(suspects)])
    assert ("ended well in connection 7" in failure.text) is fine


def test_a_race_ends_well_at_times() -> None:
    shown = seen("fin; drain", "INTEROP-RESET-BEFORE-FIN")
    (violation, *_) = violations(shown, ALL)
    suspect = Suspect(Sighting(violation, shown), violation.kind(shown), 1)
    suspect.runs, suspect.broke = 50, 10
    suspect.compare_with_first(seen("fin; drain"), ALL)
    assert suspect.well is None
