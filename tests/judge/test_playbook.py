"""The test language itself: offsets, acknowledgements and the driver's diary come out right."""

from __future__ import annotations

import pytest

from tests.judge.playbook import ALERT, FIRST, MESSAGE, C, S, crossing, play, silence, stranger
from tlsprobe.model.trace import Coverage, EventKind, RecordKind, Segment, Side, Trace


def story(trace: Trace) -> list[Segment]:
    return [segment for segment in trace.segments if segment.number >= FIRST]


def test_packets_count_from_one_and_the_story_from_first() -> None:
    trace = play(C.ack())
    assert [s.number for s in trace.segments] == list(range(1, FIRST + 1))
    assert [s.number for s in play(asked=False).segments] == list(range(1, FIRST - 2))
    assert play(C.syn(), opened=False).segments[0].number == 1


def test_the_opening_is_a_handshake_and_an_exchange() -> None:
    syn, syn_ack, ack, _, _, request, response = play().segments
    assert (syn.side, syn.start, syn.ack, syn.syn) == (Side.CLIENT, -1, None, True)
    assert (syn_ack.start, syn_ack.ack, syn_ack.syn) == (-1, 0, True)
    assert (ack.start, ack.ack, ack.length) == (0, 0, 0)
    assert (request.length, response.ack) == (MESSAGE, request.end)


def test_the_mark_lies_behind_the_opening() -> None:
    trace = play(C.notify())
    mark = trace.drive.mark
    assert mark is not None
    assert (mark.client, mark.server) == (trace.segments[5].end, trace.segments[6].end)
    assert trace.drive.answered_to == mark.client
    assert story(trace)[0].start == mark.client


def test_each_segment_acknowledges_what_came_before_a_fin_included() -> None:
    data, fin, ack = story(play(C.data(10), S.fin(), C.ack()))
    assert fin.ack == data.end
    assert ack.ack == fin.end + 1
    assert ack.start == data.end


def test_crossing_segments_do_not_know_of_each_other() -> None:
    fin, notify, after = story(play(crossing(S.fin(), C.notify()), C.ack()))
    assert notify.ack == fin.start
    assert after.ack == fin.start + 1


def test_plus_makes_one_segment_of_two_records() -> None:
    trace = play(C.goodbye() + C.notify() + C.fin())
    (segment,) = story(trace)
    assert (segment.length, segment.fin) == (MESSAGE + ALERT, True)
    goodbye, notify = trace.drive.records[-2:]
    assert (goodbye.kind, notify.kind) == (RecordKind.GOODBYE, RecordKind.CLOSE_NOTIFY)
    assert (notify.start, notify.end) == (goodbye.end, segment.end)


def test_a_split_record_lies_in_two_segments() -> None:
    trace = play(*S.split(S.data(100), 40))
    head, tail = story(trace)
    assert (head.length, tail.length) == (40, 60)
    assert trace.drive.records[-1][1:3] == (head.start, tail.end)


def test_an_active_rst_is_the_senders_next_segment() -> None:
    notify, rst = story(play(S.notify(), S.rst(active=True)))
    assert (rst.start, rst.ack, rst.window > 0) == (notify.end, notify.ack, True)
    assert notify.ip_id is not None
    assert (rst.ip_id, rst.timestamps) == (notify.ip_id + 1, True)


def test_a_passive_rst_repeats_the_ack_of_its_trigger() -> None:
    _, notify, rst = story(play(crossing(S.fin(), C.notify()), S.rst()))
    assert (rst.start, rst.ack, rst.window) == (notify.ack, None, 0)
    assert (rst.ip_id, rst.timestamps) == (0, False)


def test_a_retransmission_is_the_old_segment_under_a_new_number() -> None:
    once, again = story(play(C.data(), C.again(FIRST)))
    assert again.number == once.number + 1
    assert (again.start, again.length, again.ack) == (once.start, once.length, once.ack)
    with pytest.raises(AssertionError):
        play(C.data(), S.again(FIRST))


def test_ipv6_has_no_ip_id() -> None:
    trace = play(C.notify(), S.rst(), ipv6=True)
    assert {s.ip_id for s in trace.segments} == {None}


def test_header_fields_can_be_bent() -> None:
    (rst,) = story(play(S.rst(active=True).but(ttl=250, start=7)))
    assert (rst.ttl, rst.start) == (250, 7)


def test_silence_passes_between_packets() -> None:
    one, other = story(play(C.data(), silence(60), S.fin()))
    assert other.time_ns - one.time_ns == pytest.approx(60e9, rel=1e-4)


def test_responses_are_counted_and_cut_short() -> None:
    whole = play(C.request(), S.partial(), S.response()).drive
    assert (whole.owed, whole.answered, whole.cut_short) == (2, 2, False)
    cut = play(C.request(), S.partial()).drive
    assert (cut.owed, cut.answered, cut.cut_short) == (2, 1, True)
    assert cut.mark is not None
    assert cut.answered_to == cut.mark.client


def test_the_driver_keeps_a_diary() -> None:
    drive = play(C.fin(), S.fin(), S.rst()).drive
    deeds = [event.kind for event in drive.events]
    assert deeds[-3:] == [EventKind.FIN_SENT, EventKind.EOF, EventKind.LEFT]
    assert play(S.rst(active=True)).drive.did(EventKind.RESET)
    assert play(C.abort()).drive.did(EventKind.ABORTED)
    assert play(C.close()).drive.did(EventKind.CLOSED)
    assert play(C.notify()).drive.did(EventKind.GAVE_UP)


def test_without_coverage_only_the_diary_is_left() -> None:
    trace = play(C.notify(), coverage=Coverage.NONE)
    assert trace.segments == ()
    assert trace.drive.records[-1].kind is RecordKind.CLOSE_NOTIFY


def test_a_stranger_has_only_packets() -> None:
    trace = play(C.notify(), S.fin())
    assert stranger(trace).segments == trace.segments
    assert stranger(trace).drive.mark is None
    assert stranger(trace).drive.records == ()
