"""The ladder: which packets it shows, under which letters, and in which words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.judge.playbook import ALERT, FIRST, MESSAGE, STEP_NS, C, Line, S, play
from tlsprobe.judge.causes import resets_of
from tlsprobe.judge.closing import closing_of
from tlsprobe.judge.ladder import MAX_LINES, ladder_of
from tlsprobe.model.judgement import LadderLine
from tlsprobe.model.trace import Coverage, Side, Trace


def ladder(trace: Trace) -> tuple[LadderLine, ...]:
    return ladder_of(trace, closing_of(trace), resets_of(trace))


def letters(*lines: Line) -> list[str]:
    return [line.letters for line in ladder(play(*lines))]


def test_a_line_a_packet_with_side_letters_and_time() -> None:
    first, second = ladder(play(C.notify() + C.fin(), S.notify() + S.fin()))
    assert (first.side, first.letters, first.packet) == (Side.CLIENT, "NF", FIRST)
    assert (second.side, second.letters, second.packet) == (Side.SERVER, "nf", FIRST + 1)
    assert second.time_us - first.time_us == STEP_NS / 1000


def test_time_counts_from_the_end_of_the_opening() -> None:
    (line,) = ladder(play(C.notify()))
    assert line.time_us == STEP_NS / 1000


def test_the_opening_and_pure_acks_are_left_out() -> None:
    assert letters(C.ack(), C.notify(), S.ack(), S.fin(), C.ack()) == ["N", "f"]
    assert letters() == []


def test_packets_without_a_letter_are_shown() -> None:
    (line,) = ladder(play(S.ticket()))
    assert line.letters == ""
    assert "ticket" in line.text


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (C.notify(), ("close_notify", f"{ALERT} bytes")),
        (C.goodbye() + C.notify(), ("goodbye", "close_notify", f"{MESSAGE + ALERT} bytes")),
        (S.notify() + S.fin(), ("close_notify", "FIN")),
        (S.fin(), ("FIN",)),
        (S.plain(), ("outside TLS",)),
        (S.unknown(70), ("70 bytes",)),
    ],
)
def test_the_text_names_what_a_packet_carries(line: Line, words: tuple[str, ...]) -> None:
    (told,) = ladder(play(line))
    assert all(word in told.text for word in words), told.text


def test_both_halves_of_a_split_record_are_shown_and_the_last_has_the_letter() -> None:
    head, tail = ladder(play(*S.split(S.notify(), 5)))
    assert (head.letters, tail.letters) == ("", "n")
    assert "close_notify" in head.text


def test_a_retransmission_says_so() -> None:
    lines = ladder(play(C.notify() + C.fin(), C.again(FIRST)))
    assert "retransmission" not in lines[0].text
    assert "retransmission" in lines[1].text
    assert lines[1].letters == ""


def test_what_comes_out_of_order_is_no_retransmission() -> None:
    """Our FIN came first, and carries nothing; the alert before it comes for the first time."""
    trace = play(C.notify(), C.fin(), C.again(FIRST))
    notify, fin, again = trace.segments[-3:]
    swapped = fin._replace(time_ns=notify.time_ns), notify._replace(time_ns=fin.time_ns)
    lines = ladder(replace(trace, segments=(*trace.segments[:-3], *swapped, again)))
    assert [line.text for line in lines] == [
        "FIN",
        f"close_notify, {ALERT} bytes",
        f"retransmission, {ALERT} bytes",
    ]


def test_an_rst_tells_its_form_and_cause() -> None:
    bare = ladder(play(S.fin(), C.notify(), S.rst()))[-1]
    assert "no ACK" in bare.text
    assert "data-after-close" in bare.text
    active = ladder(play(C.notify(), S.rst(active=True)))[-1]
    assert "with ACK" in active.text
    assert "unread-data-at-close" in active.text


def test_letters_of_all_lines_are_the_signatures() -> None:
    story = (C.goodbye() + C.notify(), S.notify(), C.fin(), S.rst(active=True))
    assert "".join(letters(*story)) == "GNnFr"


def test_a_long_transfer_keeps_its_two_ends() -> None:
    lines = ladder(play(*(S.data() for _ in range(100)), S.fin()))
    assert len(lines) == MAX_LINES
    assert lines[0].packet == FIRST
    assert lines[-1].letters == "f"


def test_a_syn_is_never_a_line() -> None:
    trace = play(C.notify())
    fast_open = trace.segments[0]._replace(length=trace.segments[-1].end + 2)
    bent = replace(trace, segments=(fast_open, *trace.segments[1:]))
    assert [line.packet for line in ladder(bent)] == [FIRST]


def test_without_a_mark_there_is_nothing_to_tell() -> None:
    assert ladder(play(C.syn(), S.refuse(), opened=False)) == ()


def test_without_a_capture_our_socket_tells() -> None:
    lines = ladder(play(C.notify(), C.fin(), S.fin(), asked=False, coverage=Coverage.NONE))
    assert [line.letters for line in lines] == ["N", "F", "f"]
    assert {line.packet for line in lines} == {None}
    assert "close_notify" in lines[0].text
    assert "FIN" in lines[1].text
    assert all("our socket" in line.text for line in lines)


def test_a_response_from_before_whose_packet_bears_the_fin_was_not_sent_twice() -> None:
    """The FIN is told, and with it come bytes that belong to the opening."""
    trace = play(S.response() + S.fin())
    mark = trace.drive.mark
    assert mark is not None
    after = mark._replace(server=trace.segments[-1].end)
    (told,) = ladder(replace(trace, drive=replace(trace.drive, mark=after)))
    assert told.letters == "f"
    assert "retransmission" not in told.text
    assert told.text.endswith(f"{MESSAGE} bytes, FIN")
