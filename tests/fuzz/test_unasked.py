"""What is said of a reset behind the FIN that nobody asked about."""

from __future__ import annotations

from tests.fuzz.test_properties import ALL, seen
from tlsprobe.fuzz.alphabet import Simplicity
from tlsprobe.fuzz.properties import PROPERTIES, by_default
from tlsprobe.fuzz.unasked import Unasked
from tlsprobe.model.causes import Cause
from tlsprobe.model.fuzz import Example
from tlsprobe.model.judgement import TcpEnd

USUAL = tuple(PROPERTIES[name] for name in by_default(two_targets=False))


def length(example: Example) -> Simplicity:
    return len(example.sequence.steps), example.together, 0, [], []


def test_that_a_reset_behind_the_fin_was_seen_is_said_with_the_simplest_that_shows_it() -> None:
    unasked, asked = Unasked(USUAL, length), Unasked(ALL, length)
    for steps in ("send; terminate; send; drain", "terminate; send; drain"):
        after = seen(steps, tcp=TcpEnd.FIN_RESET, cause=Cause.DATA_AFTER_CLOSE)
        for each in (unasked, asked):
            each.note(after)
            each.note(seen("fin; drain"))
    (said,) = unasked.notes
    assert said.startswith("in 2 connections the server reset after its FIN")
    assert "TLS 1.3: terminate; send; drain" in said
    assert "--property no-reset-after-fin" in said
    assert not asked.notes
    assert not Unasked(USUAL, length).notes
