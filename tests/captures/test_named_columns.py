"""Tables whose columns a line names: each row is read, or counted with why it is not."""

from __future__ import annotations

import pytest

from tests.captures.pasting import ACK, FIN, RST, read
from tlsprobe.captures.printed_times import time_of

C, S = "192.0.2.7", "198.51.100.9"
NAMES = [
    *("frame.number", "frame.time_relative", "ip.src", "tcp.srcport", "ip.dst", "tcp.dstport"),
    *("tcp.flags", "tcp.seq", "tcp.ack", "tcp.len", "tcp.window_size_value"),
]
ROWS = [
    ["1", "0.5", C, "40000", S, "443", "0x0018", "1", "1", "37", "501"],
    ["2", "0.6", S, "443", C, "40000", "0x0011", "1", "38", "0", "501"],
    ["3", "0.7", S, "443", C, "40000", "0x0004", "2", "0", "0", "0"],
]
COMMAND = "$ tshark -r x.pcap -T fields " + " ".join(f"-e {name}" for name in NAMES)


def table(separator: str, head: str | None = None) -> str:
    lines = [separator.join(NAMES) if head is None else head]
    return "\n".join(lines + [separator.join(row) for row in ROWS])


@pytest.mark.parametrize(
    "text",
    [
        *(table(separator) for separator in ("\t", ",", ";", "|", " ", "@")),
        table("\t", COMMAND),
        table(";", f"{COMMAND} -E separator=;"),
        table("\t").replace("\t", "    "),
        "so I ran it:\n\n" + table("\t") + "\nand what now?",
    ],
)
def test_fields_with_names(text: str) -> None:
    reading, packets = read(text)
    assert (reading.total, reading.skipped, reading.lacking) == (3, 0, 0)
    assert [p.flags for p in packets] == [0x18, FIN | ACK, RST]
    assert [(p.seq, p.ack, p.length) for p in packets] == [(1, 1, 37), (1, 38, 0), (2, None, 0)]
    assert packets[0].src[1] == 40000


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"tcp.len": ""}, "no tcp.len"),
        ({"tcp.ack": ""}, "an acknowledgement is announced"),
        ({"ip.src": "10.0.0.1;192.0.2.7"}, "do not fit the 11 columns"),
        ({"tcp.seq": "x"}, "no number"),
    ],
)
def test_a_row_that_lacks_something_is_counted(changes: dict[str, str], why: str) -> None:
    row = [changes.get(name, cell) for name, cell in zip(NAMES, ROWS[0], strict=True)]
    reading, packets = read(table(";") + "\n" + ";".join(row))
    assert (len(packets), reading.skipped) == (3, 1)
    assert why in (reading.first_skipped or "")


def test_a_row_of_another_protocol_is_no_tcp() -> None:
    other = ["4", "0.8", C, *[""] * 8]
    reading, _ = read(table(";") + "\n" + ";".join(other))
    assert (reading.total, reading.other, reading.skipped) == (4, 1, 0)


def test_an_rst_without_its_window_makes_nothing_sure() -> None:
    """Whether it answered a segment is told by its window, too."""
    rows = [";".join(row[:-1]) for row in [NAMES, *ROWS]]
    reading, packets = read("\n".join(rows))
    assert (reading.lacking, packets[2].window) == (1, 0)
    assert any("without a window" in note for note in reading.notes)


def test_exported_csv_with_columns_of_ones_own() -> None:
    reading, packets = read(
        '"No.","Time","Delta","Source","Src Port","Destination","Dst Port","Protocol","Info"\n'
        f'"4","2026-11-21 01:00:00.5","0.1","{C}","40000","{S}","443","TCP",'
        '"40000  >  443 [FIN, ACK] Seq=1 Ack=2 Win=3 Len=0"\n'
    )
    assert (reading.skipped, [p.flags for p in packets]) == (0, [FIN | ACK])
    assert packets[0].time_ns == 1_795_222_800_500_000_000


@pytest.mark.parametrize(
    ("text", "clock", "time_ns"),
    [
        ("2026/325 01:00:00.5", "epoch", 1_795_222_800_500_000_000),
        ("21. Nov. 2026 01:00:00,5", "epoch", 1_795_222_800_500_000_000),
        ("nov. 21, 2026 01:00:00.500000000 CET", "epoch", 1_795_222_800_500_000_000),
        ("Dez 21, 2026 01:00:00.5", "epoch", 1_797_814_800_500_000_000),
        ("11월 21, 2026 01:00:00.5", "epoch", 1_795_222_800_500_000_000),
        ("xyz 21, 2026 01:00:00.5", "day", 3_600_500_000_000),
        ("1600000000.5", "epoch", 1_600_000_000_500_000_000),
        ("40", None, 0),
    ],
)
def test_times_of_every_kind(text: str, clock: str | None, time_ns: int) -> None:
    assert time_of(text) == (clock, time_ns)
