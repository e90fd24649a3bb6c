"""What a control tells apart: unread data, or a deliberate abort."""

from __future__ import annotations

import pytest

from tests.judge.playbook import FIRST, C, Line, S, play, stranger
from tests.judge.scenarios import results
from tlsprobe.judge.causes import is_open, resets_of
from tlsprobe.judge.digest import Tally, digest_of
from tlsprobe.judge.verdict import judge
from tlsprobe.model.causes import Cause
from tlsprobe.model.judgement import Confidence, Control, Judgement, Reset, Result
from tlsprobe.model.knowledge import Knowledge
from tlsprobe.model.trace import Coverage, Stage, Trace

UNREAD = (C.goodbye(), C.notify(), S.notify(), S.rst(active=True))
ANSWERED = (S.notify(), S.rst(active=True))
CLEAN = (C.goodbye(), S.notify() + S.fin(), C.fin())
AFTER_FIN = (S.notify() + S.fin(), C.notify(), S.rst())


def judged(*lines: Line, control: Control | None = None) -> Judgement:
    return judge(play(*lines), Knowledge(control=control))


def reset(*lines: Line, control: Control | None = None) -> Reset:
    (found,) = judged(*lines, control=control).resets
    return found


def test_a_control_that_ends_without_a_reset_says_unread() -> None:
    control = Control("terminate", 0, 3)
    before, after = reset(*UNREAD), reset(*UNREAD, control=control)
    assert (after.cause, after.confidence) == (Cause.UNREAD_AT_CLOSE, Confidence.HIGH)
    assert after.alternatives == ()
    assert (before.control, after.control) == (None, control)
    assert after.evidence[:-1] == before.evidence
    assert "'terminate'" in after.evidence[-1]
    assert "3 of 3" in after.evidence[-1]


def test_what_was_answered_was_not_unread_whatever_the_control_does() -> None:
    """RabbitMQ resets behind its answer to our alert, and not behind its answer to our FIN."""
    assert judged(*ANSWERED, control=Control("fin-only", 0, 3)) == judged(*ANSWERED)


@pytest.mark.parametrize("lines", [UNREAD, ANSWERED])
def test_a_control_that_is_reset_as_well_says_deliberate(lines: tuple[Line, ...]) -> None:
    after = reset(*lines, control=Control("terminate", 3, 3))
    assert (after.cause, after.confidence) == (Cause.DELIBERATE, Confidence.HIGH)
    assert after.alternatives == (Cause.UNREAD_AT_CLOSE,)  # which may hold besides


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
    after = reset(*UNREAD, control=Control("terminate", 0, trials))
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
    assert found.alternatives == (Cause.DELIBERATE,)


def test_a_control_is_wanted_while_a_cause_is_open() -> None:
    assert is_open(reset(*UNREAD))
    assert not is_open(reset(*AFTER_FIN))
    assert not is_open(reset(*UNREAD, control=Control("terminate", 0, 3)))


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
