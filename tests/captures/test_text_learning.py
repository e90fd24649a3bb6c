"""The quick looks that spare most lines of a log the patterns change nothing that is found."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.captures.pasting import PLAIN, facts
from tests.captures.test_logs import ROWS
from tlsprobe.captures import text_learning, text_lines, text_reading
from tlsprobe.captures.reader import open_capture_file
from tlsprobe.captures.reading import CaptureUnreadable

LISTED = [
    "1 0.000000 192.0.2.1 192.0.2.2 TCP 66 40000 > 443 [SYN] Seq=0 Win=512 Len=0",
    "2 0.000100 192.0.2.2 192.0.2.1 TCP 66 443 > 40000 [SYN, ACK] Seq=0 Ack=1 Win=512 Len=0",
    "3 0.000200 192.0.2.1 192.0.2.2 TLSv1.2 97 Encrypted Alert",
    "<section>1</section>",
    "</packet>",
    "Frame 1: 60 bytes on wire (480 bits), 60 bytes captured (480 bits)",
    "    Transmission Control Protocol, Src Port: 443, Dst Port: 40000, Seq: 1, Ack: 1, Len: 0",
    "ARP, Request who-has 192.0.2.1 tell 192.0.2.2, length 28",
    "    at com.example.Foo.bar(Foo.java:7)",
]
HIDDEN = [
    "4 0.003 192.0.2.2 192.0.2.1 TCP 66 443 > 40000 [FIN, ACK] Seq=1 Ack=1 Win=1 Len=0 TSval=1",
    "5 0.004 192.0.2.1 192.0.2.2 HTTP 166 POST / HTTP/1.1",
    "6 0.005 192.0.2.2 192.0.2.1 TCP 54 443 > 40000 [RST] Seq=2 Win=0 Len=0",
]
"""Of the request it is the RST behind it that tells what it acknowledged."""
LINES = [*PLAIN, *LISTED, *(row[1] for row in ROWS)]
ODD = [
    "",
    "`",
    "\\*",
    "**",
    "\x1b[31m",
    "\r",
    "\t",
    "\f",
    "\u2192",
    "&gt;",
    "<br>",
    "\u017f",
    " ",
    "\n",
]
lines = st.builds(
    lambda text, odd, at: text[: at % (len(text) + 1)] + odd + text[at % (len(text) + 1) :],
    st.sampled_from(LINES),
    st.sampled_from(ODD),
    st.integers(0, 200),
)


def answer(text: str) -> object:
    try:
        with open_capture_file(io.BytesIO(text.encode())) as reading:
            found = facts(list(reading.packets()))
            return found, reading.total, reading.other, reading.skipped, reading.notes
    except CaptureUnreadable as error:
        return error.message, error.hint


@given(st.lists(lines, min_size=1, max_size=6))
def test_they_change_nothing(chosen: list[str]) -> None:
    text = "\n".join(chosen)
    quick = answer(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_learning, "_OF_PACKETS", (re.compile(""),))
        patch.setattr(text_lines, "_is_ordinary", lambda _: False)
        assert answer(text) == quick


@pytest.mark.slow
def test_a_packet_that_two_pieces_share_is_found() -> None:
    """Where the one piece ends in the middle of the word by which it is known."""
    before = "x" * 60 + "\n"
    text = before * ((1 << 18) // len(before))
    for cut in (1, 4):
        line = f"{'y' * 27}{PLAIN[0]}\n"
        whole = text[: (1 << 18) - line.index("Flags") - cut] + "\n" + line
        with open_capture_file(io.BytesIO(whole.encode())) as reading:
            assert reading.total == 1


@given(st.lists(lines, min_size=1, max_size=12))
def test_packets_that_were_kept_are_those_that_a_second_reading_finds(
    given_lines: list[str],
) -> None:
    text = "\n".join([*LISTED[:2], *given_lines, *HIDDEN])
    kept = answer(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_reading, "KEPT_LIMIT", 0)
        assert answer(text) == kept


@pytest.mark.parametrize("limit", [0, 100])
def test_a_text_says_the_same_each_time_it_is_asked(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_reading, "KEPT_LIMIT", limit)
    text = "\n".join([*LISTED[:3], *PLAIN, *reversed(LISTED[:2])])
    with open_capture_file(io.BytesIO(text.encode())) as reading:
        said = [
            (facts(list(reading.packets())), reading.total, reading.disordered, [*reading.notes])
            for _ in range(3)
        ]
    assert said[0] == said[1] == said[2]
    assert any("put them in order" in note for note in said[0][3])
