"""What is said of a server that we told to stop, to drain or to reload, and what is not."""

from __future__ import annotations

import pytest

from tests.judge.playbook import C, Line, S, crossing, gives_up, play, silence, step, told
from tests.judge.scenarios import FAIL, INFO, PASS, WARN, driven, goaway, result, results
from tlsprobe.judge.verdict import judge
from tlsprobe.model.judgement import Result
from tlsprobe.model.trace import Remark, RemarkKind

NOTHING = Result.NOT_APPLICABLE
ENDS = S.notify() + S.fin()
CUT = (C.request(), step("send"), S.partial(), told(), S.fin())


def test_a_response_that_is_cut_off_by_a_stop_at_once_is_nobodys_fault() -> None:
    found = results(play(*CUT[:3], told("stop SIGTERM"), S.fin()))
    assert found["STOP-IN-FLIGHT"].result is INFO
    assert found["INTEROP-DATA-LOST"].result is INFO


@pytest.mark.parametrize("what", ["graceful SIGQUIT", "reload SIGHUP"])
def test_one_that_is_cut_off_by_a_drain_is_the_servers(what: str) -> None:
    found = results(play(*CUT[:3], told(what), S.fin()))
    assert found["STOP-IN-FLIGHT"].result is WARN
    assert found["INTEROP-DATA-LOST"].result is WARN


def test_nobody_knows_what_a_signal_by_its_name_asks_for() -> None:
    found = results(play(*CUT[:3], told("USR1 SIGUSR1"), S.fin()))
    assert found["STOP-IN-FLIGHT"].result is INFO


def test_a_response_that_was_whole_before_the_signal_was_not_under_way() -> None:
    story = (C.request(), step("send"), S.response(), told(), ENDS)
    assert result("STOP-IN-FLIGHT", play(*story)) is NOTHING


def test_a_reload_may_leave_the_connection_open() -> None:
    story = (C.request(), step("send"), told("reload SIGHUP"), S.response(), gives_up("drain"))
    found = results(play(*story))
    assert found["STOP-IN-FLIGHT"].result is PASS
    assert found["STOP-ENDS"].result is NOTHING


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
def test_what_becomes_of_a_request_behind_the_signal(end: tuple[Line, ...], said: Result) -> None:
    assert result("STOP-RACE", play(told(), C.request(), step("send"), *end)) is said


def test_a_request_that_crosses_the_end_is_one() -> None:
    """It left before the signal, and the server ended without having had it."""
    story = (crossing(C.request(), ENDS), step("send"), told(), S.rst())
    assert result("STOP-RACE", play(told(), *story)) is INFO


def test_words_refuse_a_request() -> None:
    why = Remark(RemarkKind.ERROR, "FATAL 57P01: terminating connection")
    story = play(told(), C.request(), step("send"), S.partial(), ENDS)
    assert result("STOP-RACE", driven(story, remarks=(why,))) is PASS


@pytest.mark.parametrize(("last", "said"), [(1, PASS), (3, INFO)])
def test_a_goaway_refuses_the_streams_above_the_last_that_it_names(last: int, said: Result) -> None:
    story = play(told(), C.request(), step("send"), S.data(), ENDS, protocol="http2")
    assert result("STOP-RACE", driven(story, remarks=(goaway(last),))) is said


def test_a_goaway_that_refuses_nothing_of_ours_has_cost_nothing() -> None:
    alone = play(told(), step("drain"), ENDS, protocol="http2")
    assert result("H2-TWO-STAGES", driven(alone, remarks=(goaway(1),))) is INFO
    assert result("H2-TWO-STAGES", driven(alone, remarks=(goaway(1, 2),))) is NOTHING
    aware = play(told(), S.data(), C.request(), step("send"), ENDS, protocol="http2")
    assert result("H2-TWO-STAGES", driven(aware, remarks=(goaway(1),))) is INFO
    at_once = play(told("stop SIGTERM"), C.request(), step("send"), ENDS, protocol="http2")
    assert result("H2-TWO-STAGES", driven(at_once, remarks=(goaway(1),))) is NOTHING


def test_who_ends_first_has_no_request_behind_it() -> None:
    story = (told(), C.notify(), C.request(), step("close_notify"), ENDS)
    assert result("STOP-RACE", play(*story)) is NOTHING


@pytest.mark.parametrize(
    ("what", "seconds", "said"),
    [("stop SIGTERM", 11, WARN), ("stop SIGTERM", 2, INFO), ("graceful SIGQUIT", 11, INFO)],
)
def test_to_wait_for_ones_clients_is_a_fault_of_who_is_to_stop_at_once(
    what: str, seconds: float, said: Result
) -> None:
    """Not before its supervisor would kill it."""
    story = (told(what), step("drain"), silence(seconds), gives_up("drain"))
    assert result("STOP-ENDS", play(*story)) is said


def test_to_exit_without_a_close_notify_breaks_tls_whatever_the_reason() -> None:
    found = results(play(told("stop SIGTERM"), step("drain"), S.fin()))
    assert (found["TLS13-NOTIFY"].result, found["STOP-ENDS"].result) == (FAIL, PASS)


def test_a_stop_is_no_idle_timeout() -> None:
    story = (told("stop SIGTERM"), step("drain"), S.fin())
    assert result("HTTP-IDLE-GRACEFUL", play(*story, protocol="http1")) is NOTHING


def test_a_server_that_was_told_to_end_has_not_overtaken_our_sequence() -> None:
    story = (step("signal"), told(), ENDS, C.request(), step("send"), S.rst())
    assert judge(play(*story)).doubt is None
    assert judge(play(step("send"), ENDS, C.request(), S.rst())).doubt is not None


def test_our_own_reset_takes_the_answer_away() -> None:
    found = results(play(told(), silence(0.01), C.rst(active=True), S.fin()))
    assert {found[rule].result for rule in found if rule.startswith("STOP-")} == {NOTHING}
