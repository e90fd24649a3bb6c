"""What is said of a session that a second connection offered, by how the first one ended."""

from __future__ import annotations

import pytest

from tests.judge.playbook import C, Line, Note, S, crossing, play, silence, step
from tests.judge.scenarios import FAIL, INFO, PASS, result, results
from tlsprobe.model.judgement import Result
from tlsprobe.model.trace import By, EventKind

NOTHING = Result.NOT_APPLICABLE
ALERT = (silence(0.02), C.alert(80), step("alert"))


def found(by: By, *, resumed: bool = True) -> Note:
    return Note(EventKind.RESUMED if resumed else EventKind.NOT_RESUMED, by)


@pytest.mark.parametrize(
    ("story", "by", "expected"),
    [
        ((*ALERT, S.fin()), By.ID, FAIL),
        ((*ALERT, S.notify() + S.fin()), By.ID, FAIL),
        ((*ALERT, S.rst(active=True)), By.ID, INFO),  # the alert may be unread
        ((*ALERT, S.alert(80) + S.fin()), By.ID, FAIL),
        ((*ALERT, S.fin()), By.TICKET, NOTHING),  # nothing that a server need keep a list of
        (ALERT, By.ID, NOTHING),  # it has not said that it knows
        ((crossing(S.fin(), C.alert(80)), step("alert")), By.ID, NOTHING),
        ((S.alert(80) + S.fin(),), By.ID, FAIL),  # its own alert
        ((C.fin(), S.fin()), By.ID, NOTHING),
        ((C.rst(),), By.ID, NOTHING),
    ],
)
def test_a_session_is_to_be_forgotten_behind_a_fatal_alert(
    story: tuple[Line, ...], by: By, expected: Result
) -> None:
    assert result("TLS12-FORGET", play(*story, found(by), tls="1.2")) is expected


def test_no_ticket_of_tls_1_3_has_to_be_forgotten() -> None:
    trace = play(*ALERT, S.fin(), found(By.TICKET))
    assert result("TLS12-FORGET", trace) is NOTHING
    assert result("TLS-RESUME", trace) is INFO


@pytest.mark.parametrize(
    ("story", "ending"),
    [
        ((C.notify(), S.notify() + S.fin(), C.fin()), "a close_notify of each side"),
        ((C.notify(), S.fin()), "our close_notify alone"),
        ((C.goodbye(), S.notify() + S.fin()), "the server's close_notify alone"),
        ((C.fin(), S.fin()), "an end without an alert"),
        ((C.rst(),), "our RST"),
    ],
)
@pytest.mark.parametrize("resumed", [True, False])
def test_how_the_connection_ended_is_said(
    story: tuple[Line, ...], ending: str, resumed: bool
) -> None:
    found_out = found(By.TICKET, resumed=resumed)
    said = results(play(*story, found_out))["TLS-RESUME"]
    assert said.result is (PASS if resumed else INFO)
    assert said.text.endswith(f"by its ticket after {ending}")
    assert ("was not" in said.text) is not resumed


def test_nothing_is_said_of_a_way_to_resume_that_nobody_knows() -> None:
    later = Note(EventKind.RESUMED, "by post")  # as the facts of a later tlsprobe may have it
    found_out = results(play(*ALERT, S.fin(), later, tls="1.2"))
    assert {found_out[rule].result for rule in ("TLS-RESUME", "TLS12-FORGET")} == {NOTHING}


def test_nothing_is_said_where_nothing_was_found_out() -> None:
    nothing = Note(EventKind.UNRESUMABLE, "the server gave nothing to resume the session by")
    found_out = results(play(*ALERT, S.fin(), nothing, tls="1.2"))
    assert {found_out[rule].result for rule in ("TLS-RESUME", "TLS12-FORGET")} == {NOTHING}
