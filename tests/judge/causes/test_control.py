"""What a control tells apart: unread data, or a deliberate abort.

ARCHITECTURE.md, "Reading an RST": what evidence is allowed to separate the two.
"""

from __future__ import annotations

import pytest

from tests.judge.playbook import FIRST, C, Line, S, play, step, stranger
from tests.judge.scenarios import driven, results
from tlsprobe.judge.causes import is_doubtful, is_open, resets_of
from tlsprobe.judge.digest import Tally, digest_of
from tlsprobe.judge.verdict import judge
from tlsprobe.model.causes import Cause
from tlsprobe.model.judgement import Confidence, Control, Judgement, Reset, Result
from tlsprobe.model.knowledge import CellEnds, Knowledge, Visible
from tlsprobe.model.trace import Coverage, Remark, RemarkKind, Stage, Trace

UNREAD = (C.goodbye(), C.notify(), S.notify(), S.rst(active=True))
ANSWERED = (S.notify(), S.rst(active=True))
CLEAN = (C.goodbye(), S.notify() + S.fin(), C.fin())
AFTER_FIN = (S.notify() + S.fin(), C.notify(), S.rst())


def judged(*lines: Line, control: Control | None = None) -> Judgement:
    return judge(play(*lines), Knowledge(control=control))


def reset(*lines: Line, control: Control | None = None) -> Reset:
    (found,) = judged(*lines, control=control).resets
    return found


def ends_of_cell(sequence: str, *, trials: int = 3, resets: int = 0, aborts: int = 0) -> CellEnds:
    """How a server ended a cell, in which a box saw everything: with a FIN if it did not reset."""
    alone = trials if sequence == ALONE else 0
    fins = trials - resets
    return CellEnds(sequence, "1.3", trials, resets, 0, fins, aborts, alone, frozenset(Visible))


ANYBODYS = (Cause.UNREAD_AT_CLOSE, Cause.MIDDLEBOX)
ALONE = "close-notify-only"
OWN = ends_of_cell("own", resets=3)
CONTROL = Control("terminate", 0, 3)


def reset_in_a_run(*lines: Line, control: Control | None, cell_ends: tuple[CellEnds, ...]) -> Reset:
    """An RST in a run with these cell profiles, the first of them that of its own cell."""
    known = Knowledge(control=control, cell_ends=cell_ends, own=cell_ends[0])
    (found,) = judge(play(*lines), known).resets
    return found


def test_a_control_that_ends_without_a_reset_says_unread() -> None:
    control = CONTROL
    before = reset(*UNREAD)
    after = reset_in_a_run(*UNREAD, control=control, cell_ends=(OWN, ends_of_cell(ALONE)))
    assert (after.cause, after.confidence) == (Cause.UNREAD_AT_CLOSE, Confidence.HIGH)
    assert after.alternatives == ()
    assert (before.control, after.control) == (None, control)
    assert after.evidence[:-1] == before.evidence[:-1]  # whose last says that nobody vouches
    assert "'terminate'" in after.evidence[-1]
    assert "3 of 3" in after.evidence[-1]


def test_what_was_answered_was_not_unread_whatever_the_control_does() -> None:
    """RabbitMQ resets behind its answer to our alert, and not behind its answer to our FIN."""
    assert judged(*ANSWERED, control=Control("fin-only", 0, 3)) == judged(*ANSWERED)


def test_a_control_that_is_reset_as_well_says_deliberate() -> None:
    after = reset(*UNREAD, control=Control("terminate", 3, 3))
    assert (after.cause, after.confidence) == (Cause.DELIBERATE, Confidence.MEDIUM)
    assert after.alternatives == ANYBODYS  # unread may hold besides


@pytest.mark.parametrize(
    ("ends_by_itself", "cause"), [(True, Cause.UNREAD_AT_CLOSE), (False, Cause.DELIBERATE)]
)
def test_a_control_may_leave_our_alert_unread_where_the_server_ends_by_itself(
    ends_by_itself: bool, cause: Cause
) -> None:
    """A download over FTPS: the alert alone, and whatever is behind it, has no reader."""
    told = (C.notify(), step("close_notify"), C.data(), step("send"))
    trace = play(*told, S.response(), S.rst(active=True), asked=False, protocol="ftps")
    implied = Remark(RemarkKind.CLOSE_IMPLIED, "a file that ends with the connection")
    remarks = (implied,) if ends_by_itself else ()
    resets_too = Knowledge(control=Control("close-notify-only", 3, 3))
    (found,) = judge(driven(trace, remarks=remarks, owed=1), resets_too).resets
    assert found.cause is cause
    assert Cause.DELIBERATE in {found.cause, *found.alternatives}


@pytest.mark.parametrize(
    ("ends_by_itself", "cause"), [(True, Cause.UNREAD_AT_CLOSE), (False, Cause.DELIBERATE)]
)
def test_a_control_may_leave_our_goodbye_unread_where_the_server_ends_by_itself(
    ends_by_itself: bool, cause: Cause
) -> None:
    """tlslite-ng behind its response of HTTP/1.0: it reads no goodbye, that of the control neither.

    The kernel said unread data of 20 resets that were called deliberate.
    """
    told = (C.goodbye(), step("terminate"), C.notify(), step("close_notify"))
    trace = play(*told, S.notify(), S.rst(active=True))
    implied = Remark(RemarkKind.CLOSE_IMPLIED, "HTTP/1.0")
    remarks = (implied,) if ends_by_itself else ()
    resets_too = Knowledge(control=Control("terminate", 3, 3))
    (found,) = judge(driven(trace, remarks=remarks), resets_too).resets
    assert found.cause is cause
    assert Cause.DELIBERATE in {found.cause, *found.alternatives}


def test_data_that_another_connection_asked_for_answers_nothing_of_ours() -> None:
    """Bytes of ours on a download are no request, though a response was begun behind them."""
    lines = (C.data(30), C.fin(), S.partial(), S.rst(active=True))
    trace = play(*lines, asked=False, protocol="ftps")
    (found,) = judge(driven(trace, owed=1, cut_short=True)).resets
    assert found.cause is Cause.UNREAD_AT_CLOSE
    asked = play(*lines, asked=False, protocol="http1")
    (answered,) = judge(driven(asked, owed=1, cut_short=True)).resets
    assert answered.cause is Cause.DELIBERATE


def test_it_is_sure_where_a_response_answers_all_that_was_said() -> None:
    """And where it is sure that the server reset: a box may reset whatever it sees."""
    control = Control("terminate", 3, 3)
    known = Knowledge(control=control, gave_up=True)
    (after,) = judge(play(*ANSWERED), known).resets
    assert (after.cause, after.confidence) == (Cause.DELIBERATE, Confidence.HIGH)
    assert after.alternatives == ()
    unsure = reset(*ANSWERED, control=control)
    assert (unsure.confidence, unsure.alternatives) == (Confidence.MEDIUM, (Cause.MIDDLEBOX,))


def test_a_server_that_resets_every_close_does_so_on_purpose() -> None:
    """coturn: linger 0 on every close, the FIN alone and the idle expiry included."""
    always = (OWN, ends_of_cell("fin-only", resets=3, aborts=3))
    after = reset_in_a_run(*UNREAD, control=None, cell_ends=always)
    assert (after.cause, after.confidence) == (Cause.DELIBERATE, Confidence.MEDIUM)
    assert after.alternatives == ANYBODYS
    assert any("every connection that it closes" in said for said in after.evidence)
    once_not = (*always, ends_of_cell("terminate"))
    assert reset_in_a_run(*UNREAD, control=None, cell_ends=once_not).cause is Cause.UNREAD_AT_CLOSE


def test_a_server_that_resets_upon_an_alert_that_it_has_read_may_have_read_this_one() -> None:
    cell_ends = (OWN, ends_of_cell("fin-only"), ends_of_cell(ALONE, resets=3, aborts=3))
    after = reset_in_a_run(*UNREAD, control=CONTROL, cell_ends=cell_ends)
    assert (after.cause, after.confidence) == (Cause.DELIBERATE, Confidence.MEDIUM)
    assert after.alternatives == (Cause.UNREAD_AT_CLOSE,)


@pytest.mark.parametrize(
    ("control", "cell_ends"),
    [
        pytest.param(CONTROL, (OWN,), id="an alert alone was not tried"),
        pytest.param(CONTROL, (OWN, ends_of_cell(ALONE, resets=1)), id="it was reset once"),
        pytest.param(CONTROL, (OWN, ends_of_cell(ALONE, trials=2)), id="it was tried twice"),
        pytest.param(
            CONTROL,
            (ends_of_cell("own", trials=20, resets=1), ends_of_cell(ALONE, trials=100)),
            id="three controls of a reset in twenty",
        ),
        pytest.param(
            Control("terminate", 0, 100),
            (ends_of_cell("own", trials=20, resets=1), ends_of_cell(ALONE)),
            id="three alerts of a reset in twenty",
        ),
    ],
)
def test_a_clean_control_alone_does_not_make_it_sure(
    control: Control, cell_ends: tuple[CellEnds, ...]
) -> None:
    after = reset_in_a_run(*UNREAD, control=control, cell_ends=cell_ends)
    assert (after.cause, after.confidence) == (Cause.UNREAD_AT_CLOSE, Confidence.MEDIUM)
    assert after.alternatives == (Cause.DELIBERATE, Cause.MIDDLEBOX)
    assert after.control is not None


def test_enough_controls_of_a_rare_reset_make_it_sure() -> None:
    cell_ends = (ends_of_cell("own", trials=20, resets=1), ends_of_cell(ALONE, trials=60))
    after = reset_in_a_run(*UNREAD, control=Control("terminate", 0, 60), cell_ends=cell_ends)
    assert (after.cause, after.confidence) == (Cause.UNREAD_AT_CLOSE, Confidence.HIGH)


def test_unread_behind_a_fin_is_not_sure_of_a_server_that_resets_there_anyway() -> None:
    lines = (S.notify() + S.fin(), C.notify(), S.rst(active=True))
    (sure,) = judge(play(*lines), Knowledge(near=True)).resets
    (anybodys,) = judge(play(*lines)).resets  # a box may reset upon the server's FIN
    (found,) = judge(play(*lines), Knowledge(near=True, aborts_after=True)).resets
    assert (sure.cause, sure.confidence) == (Cause.UNREAD_AFTER_FIN, Confidence.HIGH)
    assert (anybodys.cause, anybodys.confidence) == (sure.cause, Confidence.MEDIUM)
    assert anybodys.alternatives == (Cause.MIDDLEBOX,)
    assert (found.cause, found.confidence) == (Cause.UNREAD_AFTER_FIN, Confidence.MEDIUM)
    assert found.alternatives == (Cause.DELIBERATE,)
    assert digest_of(play(S.fin(), S.rst(active=True))).aborts_after
    assert not digest_of(play(*lines)).aborts_after


def test_what_came_before_any_end_may_have_been_reset_for_what_it_is() -> None:
    """A request that is left without an answer: nobody knows whether it was read."""
    alone = ends_of_cell(ALONE)
    after = reset_in_a_run(C.data(), S.rst(active=True), control=CONTROL, cell_ends=(OWN, alone))
    assert (after.cause, after.confidence) == (Cause.UNREAD_AT_CLOSE, Confidence.MEDIUM)


def test_the_rules_are_asked_about_the_cause_that_the_control_tells() -> None:
    """The control changed the cause, and TCP-RST-ON-UNREAD still said that data was unread."""
    trace = play(*UNREAD)
    assert results(trace)["TCP-RST-ON-UNREAD"].result is Result.PASS
    told = judge(trace, Knowledge(control=Control("terminate", 3, 3)))
    assert told.resets[0].cause is Cause.DELIBERATE
    assert "TCP-RST-ON-UNREAD" not in {result.rule for result in told.results}


@pytest.mark.parametrize(("resets", "trials"), [(1, 3), (2, 3), (0, 0)])
def test_a_mixed_or_missing_control_tells_nothing(resets: int, trials: int) -> None:
    assert judged(*UNREAD, control=Control("terminate", resets, trials)) == judged(*UNREAD)


@pytest.mark.parametrize("trials", [1, 2, 3])
def test_few_trials_tell_the_cause_and_make_it_no_surer(trials: int) -> None:
    control = Control("terminate", 0, trials)
    after = reset_in_a_run(*UNREAD, control=control, cell_ends=(OWN, ends_of_cell(ALONE)))
    assert after.cause is Cause.UNREAD_AT_CLOSE
    assert (after.confidence is Confidence.HIGH) is (trials == 3)


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(AFTER_FIN, id="data after close"),
        pytest.param((S.fin(), C.notify(), S.rst(active=True)), id="unread after FIN"),
        pytest.param((C.notify(), S.rst()), id="no state"),
        pytest.param((S.rst(active=True).but(ttl=9, ip_id=9),), id="middlebox"),
        pytest.param((C.abort(),), id="our own"),
        pytest.param((C.goodbye() + C.notify(), S.notify(), C.rst(active=True)), id="a client's"),
    ],
)
def test_other_causes_are_none_of_the_controls_business(lines: tuple[Line, ...]) -> None:
    before = judged(*lines)
    assert judged(*lines, control=Control("terminate", 3, 3)) == before
    assert judged(*lines, control=Control("terminate", 0, 3)) == before
    assert not any(map(is_open, before.resets))


def test_a_capture_alone_leaves_it_open() -> None:
    (found,) = resets_of(stranger(play(*UNREAD)))
    assert found.alternatives == (Cause.DELIBERATE, Cause.MIDDLEBOX)


def test_a_control_is_wanted_while_a_cause_is_open() -> None:
    assert is_open(reset(*UNREAD))
    assert not is_open(reset(*AFTER_FIN))
    assert not is_open(reset(*UNREAD, control=Control("terminate", 0, 3)))


def test_what_may_have_been_meant_all_the_same_wants_the_alert_alone() -> None:
    clean = Control("terminate", 0, 3)
    assert is_doubtful(reset(*UNREAD, control=clean))
    assert not is_doubtful(reset(*AFTER_FIN))
    proven = reset_in_a_run(*UNREAD, control=clean, cell_ends=(OWN, ends_of_cell(ALONE)))
    assert not is_doubtful(proven)


def as_control(*traces: Trace) -> Control | None:
    tally = Tally()
    for trace in traces:
        tally.count(digest_of(trace))
    return tally.as_control("terminate")


def test_a_controls_resets_are_those_in_place_of_a_fin() -> None:
    stories = (play(*lines) for lines in (CLEAN, AFTER_FIN, ANSWERED))
    assert as_control(*stories) == Control("terminate", 1, 3)


def test_a_control_that_failed_or_was_seen_badly_does_not_count() -> None:
    failed = play(S.fin(), failure="no", stage=Stage.HANDSHAKE)
    holes = play(*ANSWERED, coverage=Coverage.HOLES)
    assert as_control(failed, holes, play(*CLEAN)) == Control("terminate", 0, 1)
    assert as_control(failed, holes) is None


def test_only_the_servers_resets_count_in_a_control() -> None:
    late = play(C.goodbye() + C.close(), S.notify(), C.rst(), S.fin())
    assert as_control(late) == Control("terminate", 0, 1)


def test_the_evidence_still_names_the_packets() -> None:
    after = reset(*UNREAD, control=Control("terminate", 0, 3))
    assert f"packet {FIRST + 3}" in " ".join(after.evidence)
