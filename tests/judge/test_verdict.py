"""A whole trial judged in one go, as real servers were seen to end.

ARCHITECTURE.md, "What we may not conclude": from a capture that lost packets, what is missing.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.judge.playbook import FIRST, C, Line, S, crossing, play, silence
from tlsprobe.judge.verdict import judge
from tlsprobe.model.causes import Cause
from tlsprobe.model.judgement import DataEnd, Outcome, Reader, Result, TcpEnd, TlsEnd
from tlsprobe.model.trace import Coverage, Record, RecordKind, Side

POSTGRES = (C.goodbye(), C.notify(), S.notify(), S.rst(active=True))
PSQL = (C.goodbye() + C.notify() + C.close(), S.notify() + S.fin(), C.rst())
APISIX = (silence(60), S.notify() + S.fin(), C.notify(), S.rst())
APISIX_RACE = (silence(60), S.notify(), C.notify(), S.rst(active=True))
NAT_LOST = (silence(350), C.request(), S.rst())


@pytest.mark.parametrize(
    ("lines", "signature", "outcome", "side", "cause"),
    [
        pytest.param(
            POSTGRES,
            "G N n r",
            Outcome.RESET_BEFORE_FIN,
            Side.SERVER,
            Cause.UNREAD_AT_CLOSE,
            id="postgres behind a port-forward",
        ),
        pytest.param(
            PSQL, "GNF nf R", Outcome.CLEAN, Side.CLIENT, Cause.DATA_AFTER_CLOSE, id="psql"
        ),
        pytest.param(
            APISIX,
            "nf N r",
            Outcome.RESET_AFTER_FIN,
            Side.SERVER,
            Cause.DATA_AFTER_CLOSE,
            id="keepalive timeout",
        ),
        pytest.param(
            APISIX_RACE,
            "n N r",
            Outcome.RESET_BEFORE_FIN,
            Side.SERVER,
            Cause.UNREAD_AT_CLOSE,
            id="the race in it",
        ),
        pytest.param(
            NAT_LOST, "D r", Outcome.DATA_LOST, Side.SERVER, Cause.NO_STATE, id="NAT state lost"
        ),
    ],
)
def test_what_was_seen_in_the_field(
    lines: tuple[Line, ...], signature: str, outcome: Outcome, side: Side, cause: Cause
) -> None:
    judgement = judge(play(*lines))
    assert (judgement.signature, judgement.outcome) == (signature, outcome)
    (reset,) = judgement.resets
    assert (reset.side, reset.cause) == (side, cause)
    assert judgement.conclusive
    assert judgement.notes == ()


def test_a_judgement_holds_every_part() -> None:
    judgement = judge(play(*POSTGRES))
    axes = judgement.axes
    assert (axes.tls, axes.tcp) == (TlsEnd.NOTIFIED, TcpEnd.RESET)
    assert (axes.data, axes.reader) == (DataEnd.COMPLETE, Reader.RESET)
    assert judgement.timing_us["goodbye_to_end"] > 0
    assert [reset.packet for reset in judgement.resets] == [FIRST + 3]


def test_only_rules_that_apply_are_told() -> None:
    results = judge(play(*POSTGRES)).results
    assert results
    assert Result.NOT_APPLICABLE not in {r.result for r in results}
    assert all(r.text for r in results)


def test_holes_make_it_inconclusive() -> None:
    assert not judge(play(*POSTGRES, coverage=Coverage.HOLES)).conclusive


def test_without_a_capture_it_says_who_tells() -> None:
    judgement = judge(play(*APISIX, coverage=Coverage.NONE))
    assert judgement.conclusive
    assert judgement.outcome is Outcome.CLEAN
    assert judgement.resets == ()
    (note,) = judgement.notes
    assert "no capture" in note


def test_bytes_behind_the_end_of_tls_are_noted() -> None:
    judgement = judge(play(S.notify(), S.plain(11), S.fin()))
    (note,) = judgement.notes
    assert "11 bytes" in note


def test_bytes_before_tls_began_are_not_noted() -> None:
    """PostgreSQL's SSLRequest and its answer, or SMTP's STARTTLS, belong to the opening."""
    trace = play(S.fin())
    greeting = Record(Side.SERVER, 0, 1, RecordKind.PLAIN, trace.drive.records[0].time_ns)
    drive = replace(trace.drive, records=(greeting, *trace.drive.records))
    assert judge(replace(trace, drive=drive)).notes == ()


def test_what_was_left_out_is_noted() -> None:
    (note,) = judge(replace(play(*POSTGRES), left_out=7)).notes
    assert "7 segments" in note


def test_crossing_closes_are_judged_alike() -> None:
    """Both sides close at the same moment; the alerts and FINs cross and nobody resets."""
    both = crossing(S.notify() + S.fin(), C.notify() + C.fin())
    judgement = judge(play(both, S.ack(), C.ack()))
    assert (judgement.signature, judgement.outcome) == ("nf NF", Outcome.CLEAN)
    assert judgement.resets == ()
