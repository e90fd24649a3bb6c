"""What is said of a server that ends a connection at a limit of its own, and what is not."""

from __future__ import annotations

import pytest

from tests.judge.playbook import C, Line, S, gives_up, play, silence, step
from tests.judge.scenarios import INFO, PASS, WARN, driven, goaway, result, results
from tlsprobe.judge.verdict import judge
from tlsprobe.model.judgement import Doubt, Result
from tlsprobe.model.trace import Remark, RemarkKind

NOTHING = Result.NOT_APPLICABLE
ENDS = S.notify() + S.fin()
LAST = (step("exhaust"), C.request(), S.response())
CLOSE = Remark(RemarkKind.CLOSE_ANNOUNCED, "connection: close")


def test_who_met_no_limit_has_no_answer() -> None:
    story = play(*LAST, gives_up("exhaust"), protocol="http1")
    assert result("LIMIT-ANNOUNCED", story) is NOTHING
    assert judge(story).doubt is Doubt.NO_LIMIT


def test_a_goaway_is_an_announcement() -> None:
    story = play(*LAST, ENDS, protocol="http2")
    assert result("LIMIT-ANNOUNCED", driven(story, remarks=(goaway(3),))) is PASS
    assert result("LIMIT-ANNOUNCED", story) is WARN


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ((S.response(), ENDS), PASS),
        ((ENDS,), INFO),
        ((ENDS, S.rst()), INFO),
        ((S.rst(active=True),), WARN),
        ((step("drain"), gives_up("drain")), WARN),
    ],
)
def test_what_becomes_of_one_request_more(end: tuple[Line, ...], said: Result) -> None:
    assert result("LIMIT-RACE", play(*LAST, C.request(), step("send"), *end)) is said


def test_a_request_behind_an_announced_end_is_its_clients_own_affair() -> None:
    story = play(*LAST, C.request(), step("send"), ENDS, S.rst(), protocol="http1")
    assert result("LIMIT-RACE", driven(story, remarks=(CLOSE,))) is PASS


def test_the_last_of_many_may_be_the_one_that_crosses() -> None:
    """Nobody announced the end, so that our side went on asking."""
    assert result("LIMIT-RACE", play(step("exhaust"), C.request(), S.rst(active=True))) is WARN


def test_a_response_that_nobody_read_is_nobodys_loss() -> None:
    story = (C.request(), step("send"), S.partial(), step("stall"), silence(5), S.fin())
    found = results(play(*story))
    assert (found["LIMIT-STALL"].result, found["INTEROP-DATA-LOST"].result) == (PASS, INFO)


def test_a_server_that_waits_for_its_reader_met_no_limit() -> None:
    story = (C.request(), step("send"), S.partial(), step("stall"), silence(5), S.response(), ENDS)
    assert result("LIMIT-STALL", play(*story)) is NOTHING
    assert judge(play(*story)).doubt is Doubt.NO_LIMIT
