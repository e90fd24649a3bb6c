"""What drew an RST, and whether the connection had been idle."""

from __future__ import annotations

import pytest

from tests.judge.playbook import C, Line, S, crossing, play, silence
from tlsprobe.judge.verdict import judge
from tlsprobe.model.judgement import Provoked, Reset


def reset_of(*lines: Line) -> Reset:
    return judge(play(*lines)).resets[0]


@pytest.mark.parametrize(
    ("lines", "provoked"),
    [
        ((S.notify() + S.fin(), C.notify(), S.rst()), Provoked.CLOSE_NOTIFY),
        ((S.notify() + S.fin(), C.request(), S.rst()), Provoked.DATA),
        ((S.fin(), C.goodbye(), S.rst()), Provoked.GOODBYE),
        ((C.notify(), C.data(), S.notify(), S.rst(active=True)), Provoked.BEHIND_END),
        ((C.goodbye() + C.request(), S.fin(), C.data(), S.rst()), Provoked.BEHIND_END),
        ((C.notify(), S.notify(), C.goodbye(), S.rst(active=True)), Provoked.BEHIND_END),
        ((S.fin(), C.request() + C.goodbye(), S.rst()), Provoked.DATA),
        ((S.fin(), C.request() + C.notify(), S.rst()), Provoked.DATA),
        ((S.fin(), C.alert(80), S.rst()), Provoked.ALERT),
        ((C.goodbye(), C.notify(), S.notify(), S.rst(active=True)), Provoked.CLOSE_NOTIFY),
        ((C.close(), S.notify(), C.rst()), Provoked.CLOSE_NOTIFY),
        ((C.close(), S.data(), C.rst()), Provoked.DATA),
        ((C.fin(), S.rst()), Provoked.FIN),
    ],
)
def test_what_the_trigger_carried(lines: tuple[Line, ...], provoked: Provoked) -> None:
    assert reset_of(*lines).provoked is provoked


@pytest.mark.parametrize(
    ("lines", "provoked"),
    [
        ((C.notify(), S.notify(), C.notify(), S.rst(active=True)), Provoked.BEHIND_END),
        ((C.notify() + C.notify(), S.notify(), S.rst(active=True)), Provoked.BEHIND_END),
        ((C.notify(), S.notify() + S.fin(), C.notify(), S.rst()), Provoked.BEHIND_END),
        ((C.goodbye() + C.notify(), S.notify(), S.rst(active=True)), Provoked.CLOSE_NOTIFY),
        ((C.request(), C.notify(), S.rst(active=True)), Provoked.DATA),
    ],
    ids=["twice", "twice in one packet", "to a closed socket", "behind a goodbye", "a request too"],
)
def test_what_was_left_unread_is_neither_what_was_read_nor_its_last_packet_alone(
    lines: tuple[Line, ...], provoked: Provoked
) -> None:
    """The client was told to leave out the goodbye's close_notify, and no request was lost."""
    assert reset_of(*lines).provoked is provoked


def test_who_gave_up_by_itself_was_provoked_by_nothing() -> None:
    assert reset_of(S.notify(), S.rst(active=True)).provoked is None


@pytest.mark.parametrize(
    ("lines", "idle"),
    [
        ((silence(60), S.notify() + S.fin(), C.notify(), S.rst()), True),
        ((silence(60), S.fin(), C.notify(), S.rst()), True),
        ((silence(60), S.rst(active=True)), True),
        ((C.goodbye(), S.notify() + S.fin(), C.notify(), S.rst()), False),
        ((C.goodbye(), S.notify() + S.fin(), silence(9), C.notify(), S.rst()), False),
        ((crossing(C.request(), S.fin()), S.rst()), False),
    ],
)
def test_idle_is_what_was_quiet_before_the_senders_end(lines: tuple[Line, ...], idle: bool) -> None:
    assert reset_of(*lines).after_idle is idle
