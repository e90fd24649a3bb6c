"""What is said of a server once our side has made TLS fail, and what is not."""

from __future__ import annotations

import pytest

from tests.judge.playbook import C, Line, S, crossing, gives_up, play, silence, step
from tests.judge.scenarios import FAIL, INFO, PASS, WARN, result, results
from tlsprobe.model.judgement import Result
from tlsprobe.model.trace import Coverage, RecordKind

NOTHING = Result.NOT_APPLICABLE
BOTH = pytest.mark.parametrize("tls", ["1.2", "1.3"])
ALERT = (silence(0.02), C.alert(80), step("alert"))
BROKEN = (silence(0.02), C.malformed(), step("alert corrupt"))
AFTER_FATAL = {"1.2": "TLS12-AFTER-FATAL", "1.3": "TLS13-AFTER-FATAL"}


@BOTH
@pytest.mark.parametrize("opening", [ALERT, BROKEN])
@pytest.mark.parametrize(
    "end", [(S.fin(),), (S.notify() + S.fin(),), (S.rst(active=True),), (S.rst(),)]
)
def test_no_orderly_close_is_owed_once_tls_has_failed(
    tls: str, opening: tuple[Line, ...], end: tuple[Line, ...]
) -> None:
    found = results(play(*opening, *end, tls=tls))
    owed = [rule for rule in found if "NOTIFY" in rule or "RESET" in rule or "ANSWER" in rule]
    said = {found[rule].result for rule in owed if rule != "SELF-NOTIFY"}
    assert said == {NOTHING}
    assert found["SELF-NOTIFY"].result is PASS


@BOTH
def test_a_response_is_not_owed_either(tls: str) -> None:
    found = results(play(C.request() + C.alert(80), step("send + alert"), S.fin(), tls=tls))
    assert found["INTEROP-DATA-LOST"].result is NOTHING


@BOTH
def test_an_alert_that_crossed_the_servers_end_made_nothing_fail(tls: str) -> None:
    story = (crossing(S.fin(), C.alert(80)), step("alert"))
    assert result(f"TLS{tls.replace('.', '')}-NOTIFY", play(*story, tls=tls)) is FAIL
    assert result(AFTER_FATAL[tls], play(*story, tls=tls)) is NOTHING


@BOTH
def test_an_alert_of_our_librarys_own_is_no_step(tls: str) -> None:
    """It answers something that the server did."""
    story = (C.request(), step("send"), S.plain(), C.alert(10), S.fin())
    assert result(AFTER_FATAL[tls], play(*story, tls=tls)) is NOTHING
    assert result(f"TLS{tls.replace('.', '')}-NOTIFY", play(*story, tls=tls)) is FAIL


@pytest.mark.parametrize(("tls", "level", "ends"), [("1.2", 1, False), ("1.3", 1, True)])
def test_in_tls_1_3_the_level_means_nothing(tls: str, level: int, ends: bool) -> None:
    found = result("TLS-FATAL-CLOSES", play(C.alert(80, level=level), step("alert"), tls=tls))
    assert found is (FAIL if ends else NOTHING)


def test_a_fatal_close_notify_may_be_taken_for_either_in_tls_1_3() -> None:
    story = (C.alert(0, kind=RecordKind.CLOSE_NOTIFY), step("alert"))
    assert result("TLS13-NOTIFY", play(*story, S.fin())) is NOTHING
    assert result("TLS-FATAL-CLOSES", play(*story)) is NOTHING
    assert result("TLS-FATAL-CLOSES", play(*story, tls="1.2")) is FAIL


@BOTH
def test_after_a_fatal_alert_the_server_closes(tls: str) -> None:
    assert result("TLS-FATAL-CLOSES", play(*ALERT, S.fin(), tls=tls)) is PASS
    assert result("TLS-FATAL-CLOSES", play(*ALERT, gives_up("drain"), tls=tls)) is FAIL
    assert result("TLS-FATAL-CLOSES", play(*ALERT, C.abort(), tls=tls)) is NOTHING


@BOTH
@pytest.mark.parametrize(
    "story",
    [
        # it may have been about to say that anyway
        (C.alert(80), step("alert"), S.data(), S.fin()),
        (C.request() + C.alert(80), step("send + alert"), S.response(), S.fin()),
        (C.request(), silence(0.02), C.alert(80), step("alert"), S.response(), S.fin()),
    ],
)
def test_data_that_was_under_way_breaks_nothing(tls: str, story: tuple[Line, ...]) -> None:
    assert result(AFTER_FATAL[tls], play(*story, tls=tls)) is INFO


@BOTH
def test_data_that_crossed_our_alert_breaks_nothing(tls: str) -> None:
    story = (silence(0.02), crossing(S.data(), C.alert(80)), step("alert"), S.fin())
    assert result(AFTER_FATAL[tls], play(*story, tls=tls)) is PASS


@BOTH
def test_without_packets_nobody_knows_what_crossed(tls: str) -> None:
    story = play(*ALERT, S.data(), S.fin(), tls=tls, coverage=Coverage.NONE)
    assert result(AFTER_FATAL[tls], story) is NOTHING


@pytest.mark.parametrize(("tls", "silent"), [("1.2", FAIL), ("1.3", WARN)])
def test_a_broken_record_is_answered_with_an_alert(tls: str, silent: Result) -> None:
    """RFC 5246 asks for it, RFC 8446 section 6.2 leaves it at a SHOULD."""
    rule = "TLS-BAD-RECORD"
    assert result(rule, play(*BROKEN, S.alert(20), S.fin(), tls=tls)) is PASS
    assert result(rule, play(*BROKEN, S.alert(10) + S.fin(), tls=tls)) is PASS
    assert result(rule, play(*BROKEN, S.fin(), tls=tls)) is silent
    assert result(rule, play(*BROKEN, S.notify() + S.fin(), tls=tls)) is silent
    assert result(rule, play(*BROKEN, S.rst(active=True), tls=tls)) is INFO


@BOTH
def test_behind_our_goodbye_or_close_notify_nobody_has_to_read_a_broken_record(tls: str) -> None:
    for ours in (C.goodbye(), C.notify(), C.goodbye() + C.notify()):
        for end in (S.notify() + S.fin(), S.fin()):
            story = play(ours, *BROKEN, end, tls=tls)
            assert result("TLS-BAD-RECORD", story) is NOTHING


@BOTH
@pytest.mark.parametrize("form", ["fragmented", "double"])
def test_nobody_says_what_becomes_of_an_alert_that_is_cut(tls: str, form: str) -> None:
    for end in ((), (S.notify() + S.fin(),), (S.alert(10), S.fin()), (S.rst(active=True),)):
        story = play(C.malformed(), step(f"alert {form}"), *end, tls=tls)
        assert result("TLS-BAD-RECORD", story) is INFO


def test_a_key_update_is_owed_before_more_data_only() -> None:
    asked = (C.key_update() + C.notify(), step("key_update request + close_notify"))
    assert result("TLS13-KEY-UPDATE", play(*asked, S.notify() + S.fin())) is NOTHING
    assert result("TLS13-KEY-UPDATE", play(*asked, S.data(), S.notify() + S.fin())) is NOTHING
