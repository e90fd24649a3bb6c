"""What a control experiment settles: unread data, or a deliberate abort."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.judge.playbook import FIRST, C, Line, S, play, stranger
from tlsprobe.judge.cause import resets_of, settled
from tlsprobe.judge.cell import control_resets, is_open, settle
from tlsprobe.judge.verdict import judge
from tlsprobe.model.judgement import Cause, Confidence, Judgement
from tlsprobe.model.trace import Coverage, Stage

UNREAD = (C.goodbye(), C.notify(), S.notify(), S.rst(active=True))
ANSWERED = (S.notify(), S.rst(active=True))
CLEAN = (C.goodbye(), S.notify() + S.fin(), C.fin())
AFTER_FIN = (S.notify() + S.fin(), C.notify(), S.rst())


def judged(*lines: Line) -> Judgement:
    return judge(play(*lines))


def test_a_control_that_ends_without_a_reset_says_unread() -> None:
    before = judged(*UNREAD)
    (reset,) = settle(before, "terminate", 0, 3).resets
    assert (reset.cause, reset.confidence) == (Cause.UNREAD_AT_CLOSE, Confidence.HIGH)
    assert reset.alternatives == ()
    assert reset.evidence[:-1] == before.resets[0].evidence
    assert "'terminate'" in reset.evidence[-1]
    assert "3 of 3" in reset.evidence[-1]


def test_what_was_answered_was_not_unread_whatever_the_control_does() -> None:
    """RabbitMQ resets behind its answer to our alert, and not behind its answer to our FIN."""
    before = judged(*ANSWERED)
    assert settle(before, "fin-only", 0, 3) == before


@pytest.mark.parametrize("lines", [UNREAD, ANSWERED])
def test_a_control_that_is_reset_as_well_says_deliberate(lines: tuple[Line, ...]) -> None:
    (reset,) = settle(judged(*lines), "terminate", 3, 3).resets
    assert (reset.cause, reset.confidence) == (Cause.DELIBERATE, Confidence.HIGH)
    assert reset.alternatives == (Cause.UNREAD_AT_CLOSE,)  # which may hold besides


@pytest.mark.parametrize(("resets", "trials"), [(1, 3), (2, 3), (0, 0)])
def test_a_mixed_or_missing_control_settles_nothing(resets: int, trials: int) -> None:
    before = judged(*UNREAD)
    assert settle(before, "terminate", resets, trials) == before


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(AFTER_FIN, id="data after close"),
        pytest.param((S.fin(), C.notify(), S.rst(active=True)), id="unread after FIN"),
        pytest.param((C.notify(), S.rst()), id="no state"),
        pytest.param((S.rst(active=True).but(ttl=9, ip_id=9),), id="middlebox"),
        pytest.param((C.abort(),), id="our own"),
    ],
)
def test_other_causes_are_none_of_the_controls_business(lines: tuple[Line, ...]) -> None:
    before = judged(*lines)
    assert settle(before, "terminate", 3, 3) == before
    assert settle(before, "terminate", 0, 3) == before
    assert not is_open([before])


def test_the_clients_resets_are_left_alone() -> None:
    before = judged(C.goodbye() + C.notify(), S.notify(), C.rst(active=True))
    assert before.resets[0].cause is Cause.UNREAD_AT_CLOSE
    assert settle(before, "terminate", 3, 3) == before
    assert not is_open([before])


def test_an_rst_is_settled_once() -> None:
    (reset,) = settle(judged(*UNREAD), "terminate", 0, 3).resets
    assert settled(reset, "another", True, 3) == reset


def test_a_capture_alone_leaves_it_open() -> None:
    (reset,) = resets_of(stranger(play(*UNREAD)))
    assert reset.alternatives == (Cause.DELIBERATE,)


def test_a_control_is_wanted_while_a_cause_is_open() -> None:
    clean, unread = judged(*CLEAN), judged(*UNREAD)
    assert is_open([clean, unread])
    assert not is_open([clean, judged(*AFTER_FIN)])
    assert not is_open([settle(unread, "terminate", 0, 3)])
    assert not is_open([])


def test_a_controls_resets_are_those_in_place_of_a_fin() -> None:
    control = [judged(*CLEAN), judged(*AFTER_FIN), judged(*ANSWERED)]
    assert control_resets(control) == (1, 3)


def test_a_control_that_failed_or_was_seen_badly_does_not_count() -> None:
    failed = judge(play(S.fin(), failure="no", stage=Stage.HANDSHAKE))
    holes = judge(play(*ANSWERED, coverage=Coverage.HOLES))
    assert control_resets([failed, holes, judged(*CLEAN)]) == (0, 1)


def test_only_the_servers_resets_count_in_a_control() -> None:
    late = judged(C.goodbye() + C.close(), S.notify(), C.rst(), S.fin())
    assert control_resets([late]) == (0, 1)
    moved = replace(late, resets=tuple(replace(r, before_fin=True) for r in late.resets))
    assert control_resets([moved]) == (0, 1)


def test_the_evidence_still_names_the_packets() -> None:
    (reset,) = settle(judged(*UNREAD), "terminate", 0, 3).resets
    assert f"packet {FIRST + 3}" in " ".join(reset.evidence)
