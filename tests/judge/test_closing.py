"""Signatures, axes, outcomes and durations, from stories told on the wire and without it.

ARCHITECTURE.md, "Orders that matter" and "What a reader gets".
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.judge.playbook import FIRST, STEP_NS, C, Line, S, crossing, gives_up, play, silence
from tlsprobe.judge.closing import axes_of, closing_of, outcome_of, timing_of, words_of
from tlsprobe.model.judgement import Axes, DataEnd, Outcome, Reader, TcpEnd, TlsEnd
from tlsprobe.model.judgement import signature as text
from tlsprobe.model.trace import Coverage, DriverEvent, EventKind, Stage, Trace

ANSWERED = (C.notify(), S.notify())


def signature(trace: Trace) -> str:
    return text(words_of(closing_of(trace)))


def axes(trace: Trace) -> Axes:
    return axes_of(trace, closing_of(trace))


def outcome(trace: Trace) -> Outcome:
    return outcome_of(trace, closing_of(trace), axes(trace))


def timing(trace: Trace) -> dict[str, float]:
    return timing_of(trace, closing_of(trace))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param((), "", id="nothing after the opening"),
        pytest.param((C.notify() + C.fin(),), "NF", id="shared segment"),
        pytest.param((C.notify(), C.fin()), "N F", id="two segments"),
        pytest.param((C.goodbye() + C.notify() + C.fin(),), "GNF", id="three in one"),
        pytest.param((S.notify() + S.fin(), C.ack()), "nf", id="server in lower case"),
        pytest.param((S.fin() + S.notify(),), "nf", id="bytes come before their FIN"),
        pytest.param((C.goodbye(), C.notify(), S.notify(), S.rst()), "G N n r", id="psql"),
        pytest.param((S.alert(80), S.fin()), "a f", id="other alert"),
        pytest.param((C.abort(),), "R", id="our reset"),
        pytest.param((S.rst(), S.rst()), "r r", id="every RST counts"),
    ],
)
def test_signature_of_events(lines: tuple[Line, ...], expected: str) -> None:
    assert signature(play(*lines)) == expected


def orders() -> list[str]:
    """The signatures that ARCHITECTURE.md explains, "Orders that matter"."""
    text = (Path(__file__).parents[2] / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = text.partition("### Orders that matter")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([DGNAFRdgnafr ]+)` \|", table, re.MULTILINE)


def played(letter: str) -> Line:
    side = C if letter.isupper() else S
    kinds = {"d": side.data, "g": side.goodbye, "n": side.notify, "f": side.fin, "r": side.rst}
    return kinds[letter.lower()]()


@pytest.mark.parametrize("order", orders())
def test_the_orders_that_the_theory_explains_are_told_like_this(order: str) -> None:
    assert signature(play(*map(played, order.split()))) == order


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param((S.data(), S.data(), S.data()), "d", id="across segments"),
        pytest.param((S.data() + S.data(),), "d", id="in one segment"),
        pytest.param((S.data(), C.ack(), S.data()), "d", id="across a pure ACK"),
        pytest.param((S.data(), S.data() + S.notify()), "d n", id="run ends in a joined segment"),
        pytest.param((S.data() + S.data() + S.notify() + S.fin(),), "dnf", id="run starts one"),
        pytest.param((C.data(), S.data(), C.data()), "D d D", id="sides are kept apart"),
        pytest.param((S.data(), S.notify(), S.data()), "d n d", id="another event ends a run"),
        pytest.param((C.goodbye(), C.goodbye()), "G G", id="only data runs collapse"),
    ],
)
def test_runs_of_data_are_one_letter(lines: tuple[Line, ...], expected: str) -> None:
    assert signature(play(*lines)) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param((C.notify(), C.again(FIRST), S.notify()), "N n", id="record"),
        pytest.param((S.fin(), S.again(FIRST), C.ack()), "f", id="FIN"),
        pytest.param((C.notify() + C.fin(), C.again(FIRST)), "NF", id="record with FIN"),
        pytest.param((C.notify(), C.again(6)), "N", id="the opening's request"),
        pytest.param((S.fin(), C.ack(), S.ack()), "f", id="pure ACK after the FIN"),
        pytest.param((C.fin(), S.ack(), C.ack(), S.fin()), "F f", id="ACKs between two FINs"),
    ],
)
def test_what_passes_twice_counts_once(lines: tuple[Line, ...], expected: str) -> None:
    assert signature(play(*lines)) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param(S.split(S.data(), 40), "d", id="data"),
        pytest.param(S.split(S.notify(), 5), "n", id="close_notify: header, then body"),
        pytest.param((*C.split(C.notify(), 5), C.fin()), "N F", id="ours"),
        pytest.param((S.split(S.notify(), 5)[0], S.rst()), "d r", id="never whole: just bytes"),
        pytest.param((S.ticket(), S.fin()), "f", id="ticket"),
        pytest.param((S.handshake(), S.notify()), "h n", id="handshake message"),
        pytest.param((S.ticket() + S.notify(),), "n", id="ticket in a joined segment"),
        pytest.param((S.unknown(), S.fin()), "d f", id="bytes that nobody could name"),
        pytest.param((S.unknown(), S.unknown()), "d", id="runs of those too"),
        pytest.param((S.plain(), S.fin()), "d f", id="bytes outside TLS"),
    ],
)
def test_letters_are_of_whole_records(lines: tuple[Line, ...], expected: str) -> None:
    assert signature(play(*lines)) == expected


def test_a_split_close_notify_passes_with_its_last_byte() -> None:
    closing = closing_of(play(*S.split(S.notify(), 5)))
    assert [h.packet for h in closing.wire_events] == [FIRST + 1]


@pytest.mark.parametrize(
    ("lines", "tls", "tcp", "reader"),
    [
        ((S.notify() + S.fin(),), TlsEnd.NOTIFIED, TcpEnd.FIN, Reader.EOF),
        ((S.fin(),), TlsEnd.SILENT, TcpEnd.FIN, Reader.EOF),
        ((S.alert(80), S.fin()), TlsEnd.ALERT, TcpEnd.FIN, Reader.EOF),
        ((S.alert(90, level=1), S.notify(), S.fin()), TlsEnd.NOTIFIED, TcpEnd.FIN, Reader.EOF),
        ((S.notify(), S.rst(active=True)), TlsEnd.NOTIFIED, TcpEnd.RESET, Reader.RESET),
        ((S.rst(active=True),), TlsEnd.SILENT, TcpEnd.RESET, Reader.RESET),
        ((S.fin(), C.notify(), S.rst()), TlsEnd.SILENT, TcpEnd.FIN_RESET, Reader.EOF),
        ((C.notify(),), TlsEnd.SILENT, TcpEnd.OPEN, Reader.TIMEOUT),
        ((C.notify(), S.notify()), TlsEnd.NOTIFIED, TcpEnd.OPEN, Reader.TIMEOUT),
    ],
)
def test_axes_of_the_end(lines: tuple[Line, ...], tls: TlsEnd, tcp: TcpEnd, reader: Reader) -> None:
    found = axes(play(*lines))
    assert (found.tls, found.tcp, found.reader) == (tls, tcp, reader)


@pytest.mark.parametrize(
    ("trace", "expected"),
    [
        (play(S.fin(), asked=False), DataEnd.NONE),
        (play(S.fin()), DataEnd.COMPLETE),
        (play(C.request(), S.response(), S.fin()), DataEnd.COMPLETE),
        (play(C.request(), S.partial(), S.fin()), DataEnd.TRUNCATED),
        (play(C.request(), S.fin()), DataEnd.TRUNCATED),
        (play(S.partial(), S.fin()), DataEnd.COMPLETE),  # nobody had asked for it
    ],
)
def test_axis_of_the_data(trace: Trace, expected: DataEnd) -> None:
    assert axes(trace).data is expected


OUTCOMES = {
    Outcome.CLEAN: play(*ANSWERED, S.fin(), C.fin()),
    Outcome.NO_CLOSE_NOTIFY: play(C.notify(), S.fin()),
    Outcome.RESET_AFTER_FIN: play(S.notify() + S.fin(), C.notify(), S.rst()),
    Outcome.RESET_BEFORE_FIN: play(*ANSWERED, S.rst(active=True)),
    Outcome.DATA_LOST: play(C.request(), S.partial(), *ANSWERED, S.fin()),
    Outcome.OPEN: play(C.notify()),
    Outcome.CLIENT_RESET: play(C.abort()),
    Outcome.REFUSED: play(
        C.syn(), S.refuse(), opened=False, failure="refused", refused=True, stage=Stage.CONNECT
    ),
    Outcome.HANDSHAKE_FAILED: play(S.fin(), failure="closed", stage=Stage.HANDSHAKE),
    Outcome.ERROR: play(S.fin(), failure="login refused", stage=Stage.GREETING),
    Outcome.ENDED_BEFORE_START: play(S.notify(), S.fin(), ended_early=True),
}


@pytest.mark.parametrize("expected", Outcome)
def test_every_outcome_has_its_story(expected: Outcome) -> None:
    assert outcome(OUTCOMES[expected]) is expected


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param((S.notify(), S.fin()), id="cleanly"),
        pytest.param((S.fin(),), id="without close_notify"),
        pytest.param((S.fin(), C.notify(), S.rst()), id="by a reset after the FIN"),
        pytest.param((S.rst(active=True),), id="by a reset"),
    ],
)
def test_lost_data_outranks_how_it_was_lost(lines: tuple[Line, ...]) -> None:
    assert outcome(play(C.request(), S.partial(), *lines)) is Outcome.DATA_LOST


def test_our_reset_counts_only_where_the_server_never_ended() -> None:
    assert outcome(play(*ANSWERED, C.abort())) is Outcome.CLIENT_RESET
    assert outcome(play(*ANSWERED, S.fin(), C.abort())) is Outcome.CLEAN
    late = play(C.close(), S.notify(), C.rst(), S.fin())
    assert outcome(late) is Outcome.CLEAN


def test_a_trial_that_never_began_is_not_judged_by_its_end() -> None:
    clean_end = play(S.notify(), S.fin(), failure="no", stage=Stage.CONNECT)
    assert outcome(clean_end) is Outcome.ERROR


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((C.notify(), S.notify(), S.fin(), C.fin()), "N n f F"),
        ((C.data(), C.goodbye(), S.alert(80), S.fin()), "D G a f"),
        ((C.abort(),), "R"),
        ((C.notify(), C.close()), "N F"),
        ((S.notify(), S.rst(active=True)), "n r"),
        ((C.notify(), S.ticket(), S.fin()), "N f"),
        ((S.fin(), C.notify(), S.rst()), "f N"),  # what the read loop cannot know of
    ],
)
def test_without_a_capture_our_socket_tells(lines: tuple[Line, ...], expected: str) -> None:
    assert signature(play(*lines, asked=False, coverage=Coverage.NONE)) == expected


def test_without_a_capture_the_outcome_is_what_a_reader_saw() -> None:
    seen = OUTCOMES[Outcome.RESET_AFTER_FIN]
    told = Trace(seen.drive, (), Coverage.NONE, seen.protocol)
    assert outcome(told) is Outcome.CLEAN
    reset = play(S.notify(), S.rst(active=True), coverage=Coverage.NONE)
    assert axes(reset) == Axes(TlsEnd.NOTIFIED, TcpEnd.RESET, DataEnd.COMPLETE, Reader.RESET)
    assert outcome(play(C.abort(), coverage=Coverage.NONE)) is Outcome.CLIENT_RESET


def test_happenings_without_a_capture_name_no_packet() -> None:
    trace = play(C.notify() + C.fin(), S.fin(), asked=False, coverage=Coverage.NONE)
    assert {h.packet for h in closing_of(trace).wire_events} == {None}


def test_a_broken_pipe_is_the_servers_reset() -> None:
    trace = play(S.rst(active=True), asked=False, coverage=Coverage.NONE)
    piped = tuple(
        event._replace(kind=EventKind.BROKEN_PIPE) if event.kind is EventKind.RESET else event
        for event in trace.drive.events
    )
    assert piped != trace.drive.events
    told = replace(trace, drive=replace(trace.drive, events=piped))
    assert outcome(told) is Outcome.RESET_BEFORE_FIN


STEP_US = STEP_NS / 1000


def test_a_write_that_fails_is_told_behind_what_was_read_after_it() -> None:
    """The server's close_notify lay in our socket when its RST made our FIN fail."""
    lines = (C.goodbye(), C.notify(), S.notify(), S.rst(active=True))
    trace = play(*lines, coverage=Coverage.NONE)
    notified = trace.drive.records[-1]
    failed = DriverEvent(notified.time_ns - 1, EventKind.BROKEN_PIPE, "fin")
    told = replace(trace, drive=replace(trace.drive, events=(failed, *trace.drive.events)))
    assert signature(told) == "G N n r"
    assert axes(told).tls is TlsEnd.NOTIFIED


def test_timing_of_a_close_that_we_led() -> None:
    found = timing(play(C.notify(), C.fin(), S.notify(), S.ack(), S.fin()))
    assert found == {
        "close_notify_to_answer": 2 * STEP_US,
        "close_notify_to_fin": 4 * STEP_US,
        "server_close_notify_to_fin": 2 * STEP_US,
    }


def test_timing_of_a_goodbye() -> None:
    assert timing(play(C.goodbye(), silence(1), S.rst(active=True))) == {
        "goodbye_to_end": 1e6 + STEP_US
    }


def test_what_was_never_seen_has_no_duration() -> None:
    assert timing(play(C.fin())) == {}
    after = timing(play(S.notify(), C.notify(), S.fin()))
    assert "close_notify_to_answer" not in after


def test_crossing_ends_keep_their_order_on_the_wire() -> None:
    assert signature(play(crossing(S.notify() + S.fin(), C.notify()), S.rst())) == "nf N r"


def test_an_rst_with_a_number_that_our_socket_did_not_wait_for_ended_nothing() -> None:
    """A SYN proxy passes a server's RST on with the number of its own side: we went on sending."""
    stray = S.rst(active=True).but(start=-70_000)
    for behind in ((silence(0.3), C.again(FIRST)), (silence(0.3), gives_up())):
        told = play(C.notify(), stray, *behind)
        trace = replace(told, drive=replace(told.drive, events=_not_told(told)))
        closing = closing_of(trace)
        assert closing.server_end is None
        assert axes_of(trace, closing).reader is Reader.TIMEOUT


def _not_told(trace: Trace) -> tuple[DriverEvent, ...]:
    return tuple(e for e in trace.drive.events if e.kind is not EventKind.RESET)
