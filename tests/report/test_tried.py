"""What came of a remedy stands beside it wherever it is given, unless behaviours disagree on it."""

from __future__ import annotations

from tlsprobe.model.behaviour import Behaviour, Harm, Seen, Tried, WhatToDo, Who
from tlsprobe.model.judgement import Verdict
from tlsprobe.model.trace import Side
from tlsprobe.report.blocks import Strong
from tlsprobe.report.tried import tried_remedies

CAUSE = "unread-data-at-close"
WAIT = "Client: wait."


def behaviour(*to_do: WhatToDo, cause: str = CAUSE) -> Behaviour:
    return Behaviour(
        "reset-before-fin",
        "RST in place of a FIN",
        Harm.BREAKS,
        Who.MOST,
        "",
        Side.SERVER,
        (),
        cause=cause,
        to_do=to_do,
    )


def tried(how: Tried, count: int) -> WhatToDo:
    seen = (Seen("reply", "1.2", count, 3), Seen("reply", "1.3", count, 3))
    return WhatToDo(WAIT, how, seen)


def test_what_was_tried_is_told_with_its_counts() -> None:
    one = behaviour(tried(Tried.HELPS_NOT, 3), WhatToDo("Server: read on."))
    words = (WAIT, " ", Strong("Tried here: does not help", Verdict.FAIL))
    assert tried_remedies([one], CAUSE) == {WAIT: (*words, " (reply: seen in 6 of 6).")}


def test_another_cause_says_nothing() -> None:
    assert tried_remedies([behaviour(tried(Tried.HELPS, 0), cause="refused")], CAUSE) == {}


def test_a_remedy_on_which_behaviours_disagree_is_given_without() -> None:
    found = [behaviour(tried(Tried.HELPS, 0)), behaviour(tried(Tried.HELPS_NOT, 3))]
    assert tried_remedies(found, CAUSE) == {}
