"""The ladder's rows and their alignment."""

from __future__ import annotations

from tests.report.builders import LADDER
from tlsprobe.model.judgement import LadderLine
from tlsprobe.model.trace import Side
from tlsprobe.report.glyphs import ASCII
from tlsprobe.report.ladder import aligned, rungs_of


def test_the_ladder_reads_like_the_connection() -> None:
    assert list(aligned(rungs_of(LADDER))) == [
        "    0 µs  client ──▶ server  G  #21  Terminate (5 bytes)",
        "   14 µs  client ──▶ server  N  #22  close_notify (24 bytes)",
        "  812 µs  client ◀── server  n  #23  close_notify (24 bytes)",
        "> 1.2 ms  client ◀── server  r  #24  RST+ACK, window 512",
    ]


def test_it_can_be_drawn_in_ascii() -> None:
    text = "\n".join(aligned(rungs_of(LADDER, ASCII)))
    assert text.isascii()
    assert "812 us  client <-- server  n" in text


def test_a_long_response_is_shortened_but_no_reset_is() -> None:
    data = [LadderLine(float(n), Side.SERVER, "d", f"data {n}", n + 1) for n in range(500)]
    resets = [LadderLine(600.0 + n, Side.SERVER, "r", "RST", 600 + n) for n in range(5)]
    rungs = rungs_of((*data, *resets))
    assert [rung.text for rung in rungs[:3]] == ["data 0", "… 498 more like it", "data 499"]
    assert sum(rung.reset for rung in rungs) == 5


def test_without_a_capture_there_are_no_packet_numbers() -> None:
    (rung,) = rungs_of((LadderLine(0.0, Side.SERVER, "r", "ECONNRESET"),))
    assert rung.packet == ""
    assert list(aligned([rung])) == ["> 0 µs  client ◀── server  r    ECONNRESET"]


def test_an_empty_ladder_has_no_rows() -> None:
    assert list(aligned(rungs_of(()))) == []
