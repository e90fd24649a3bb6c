"""Packet lists that a terminal or a mailer wrapped are put together, or counted as unread."""

from __future__ import annotations

import textwrap

import pytest

from tests.captures.pasting import facts, read

C, S = "192.0.2.7", "198.51.100.9"
LIST = [
    f"1 0.000 {C} {S} TCP 74 40000 > 443 [SYN] Seq=0 Win=64240 Len=0 TSval=1 TSecr=0 WS=128",
    f"2 0.001 {S} {C} TCP 74 443 > 40000 [SYN, ACK] Seq=0 Ack=1 Win=65160 Len=0 TSval=1 TSecr=1",
    f"3 0.002 {C} {S} TCP 66 40000 > 443 [ACK] Seq=1 Ack=1 Win=64256 Len=0 TSval=1 TSecr=1",
    f"4 0.003 {C} {S} TLSv1.2 1066 Application Data, Application Data, Encrypted Alert",
    f"5 0.004 {S} {C} TCP 66 443 > 40000 [ACK] Seq=1 Ack=1001 Win=64256 Len=0 TSval=1 TSecr=1",
    f"6 0.005 {S} {C} TCP 54 443 > 40000 [RST, ACK] Seq=1 Ack=1001 Win=0 Len=0",
]
EXPECTED = facts(read("\n".join(LIST))[1])


@pytest.mark.parametrize("width", range(50, 96))
@pytest.mark.parametrize("hard", [True, False])
def test_a_wrapped_list(width: int, hard: bool) -> None:
    if hard:
        pieces = [line[at : at + width] for line in LIST for at in range(0, len(line), width)]
    else:
        pieces = [textwrap.fill(line, width, break_long_words=False) for line in LIST]
    reading, found = read("\n".join(pieces))
    carried = {number: what.kind for number, what in reading.carried.items()}
    assert reading.total == len(LIST)
    if hard and reading.skipped:
        # Broken at every joint between a blank and a word: both readings make sense.
        assert "is not clear" in (reading.first_skipped or "")
    else:
        assert (reading.skipped, facts(found)) == (0, EXPECTED)
        assert len(carried) == 1


@pytest.mark.parametrize("behind", [True, False])
def test_a_list_wrapped_at_each_arrow_alone(behind: bool) -> None:
    """Which of the blanks around it were there does not matter: either reading is the same."""
    joint = (" > ", " >\n") if behind else (" > ", "\n> ")
    reading, found = read("\n".join(line.replace(*joint) for line in LIST))
    assert (reading.skipped, facts(found)) == (0, EXPECTED)


def test_cells_between_semicolons_have_decimal_commas() -> None:
    rows = []
    for line in LIST:
        *cells, info = line.split(" ", 6)
        rows.append(";".join([cells[0], cells[1].replace(".", ","), *cells[2:], info]))
    reading, found = read("\n".join(rows))
    assert (reading.skipped, facts(found)) == (0, EXPECTED)


def test_prose_behind_a_row_is_not_its_rest() -> None:
    reading, found = read("\n".join([*LIST, "and what does that mean? Ack=5 is odd"]))
    assert (reading.skipped, facts(found)) == (0, EXPECTED)


def test_a_long_line_of_blanks_takes_no_time_to_speak_of() -> None:
    """Steps of the reader grow with the length of a line, not with its square."""
    reading, found = read(" " * 60_000 + "\n" + "\n".join(LIST))
    assert (reading.skipped, facts(found)) == (0, EXPECTED)


@pytest.mark.parametrize("titled", [True, False])
@pytest.mark.parametrize("rest", [S, f"{S} {C[:5]}"])
def test_a_line_that_ends_with_its_hosts_is_counted_as_unread(rest: str, titled: bool) -> None:
    """How a paste ends; it was a packet of another protocol, or none."""
    title = "No. Time Source Destination Protocol Length Info".replace(" ", "\t")
    rows = ["\t".join(line.split(" ", 6)) for line in LIST] if titled else LIST
    last = f"7 0.006 {rest}".replace(" ", "\t" if titled else " ")
    reading, found = read("\n".join([*([title] if titled else []), *rows, last]))
    assert (reading.skipped, reading.other, facts(found)) == (1, 0, EXPECTED)
    assert "cut off" in (reading.first_skipped or "")
