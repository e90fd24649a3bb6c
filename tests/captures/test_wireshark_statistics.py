"""What tshark prints of a capture other than packets is recognised, counted, and sent back for it.

The lines are tshark's own, of connections made on loopback; addresses are replaced.
"""

from __future__ import annotations

import pytest

from tests.captures.pasting import EXPECTED, PLAIN, facts, read
from tlsprobe.captures.reading import CaptureUnreadable
from tlsprobe.captures.wireshark_statistics import STATISTICS

FLOWS = """\
|Time     | 192.0.2.1                             |
|         |                   | 192.0.2.2         |
|0.000000 |         SYN       |                   |Seq = 0
|         |(39800)  ------------------>  (443)    |
|0.000021 |         RST, ACK  |                   |Seq = 0 Ack = 1
|         |(39800)  <------------------  (443)    |
"""
ANY_FLOWS = """\
|0.000000 |         39800 → 443 [SYN]             |TCP: 39800 → 443 [SYN] Seq=0 Win=65495 Len=0
|         |(39800)  ------------------>  (443)    |
|0.000021 |         443 → 39800 [RST,             |TCP: 443 → 39800 [RST, ACK] Seq=0 Ack=1 Win=0
|         |(443)    ------------------>  (39800)  |
"""
ROWS: list[tuple[str, int, str]] = [
    ("Wireshark's flow graph", 4, FLOWS),
    ("Wireshark's flow graph", 4, ANY_FLOWS),
    (
        "Wireshark's expert information",
        2,
        """\
Warns (1)
   Frequency      Group           Protocol  Summary
           1   Sequence                TCP  Connection reset (RST)

Chats (1)
           2   Sequence                TCP  Connection finish (FIN)
""",
    ),
    (
        "Wireshark's conversations and other statistics",
        2,
        """\
TCP Conversations
                                  | Frames  Bytes | | Frames  Bytes | | Frames  Bytes |
192.0.2.1:39800            <-> 192.0.2.2:443          9 2526 bytes      11 2279 bytes      20
""",
    ),
    (
        "Wireshark's conversations and other statistics",
        1,
        '"Address A","Port A","Address B","Port B","Packets","Bytes","Stream ID"\n'
        '"192.0.2.1","39800","192.0.2.2","443","20","4805","0"\n',
    ),
    (
        "Wireshark's conversations and other statistics",
        2,
        "eth                       frames:20 bytes:4805\n  ip       frames:20 bytes:4805\n",
    ),
    (
        "Wireshark's followed stream",
        2,
        "Follow: tcp,ascii\nFilter: tcp.stream eq 0\nNode 0: 192.0.2.1:39800\n",
    ),
]


@pytest.mark.parametrize(("kind", "count", "text"), ROWS)
def test_each_is_counted_and_the_capture_asked_for(kind: str, count: int, text: str) -> None:
    with pytest.raises(CaptureUnreadable) as caught:
        read(text)
    told = caught.value.message
    times = f"{count} lines" if count > 1 else "1 line"
    assert f"\n{kind} ({times}, the first is line " in told
    assert "give tlsprobe the capture" in told


def test_every_kind_has_a_row() -> None:
    assert {kind.name for kind in STATISTICS} == {row[0] for row in ROWS}


@pytest.mark.parametrize("graph", [FLOWS, ANY_FLOWS])
def test_packets_beside_a_flow_graph_are_read_and_its_rows_counted(graph: str) -> None:
    reading, found = read("\n".join([*PLAIN, graph]))
    assert facts(found) == EXPECTED
    assert not reading.skipped
    assert any("lines of logs, too: Wireshark's flow graph 4" in note for note in reading.notes)


@pytest.mark.parametrize("unit", ["|", "0.000|", "(1) --", "<-> ", "Sequence ", "Address A "])
def test_a_long_line_takes_time_in_proportion(unit: str) -> None:
    with pytest.raises(CaptureUnreadable):
        read(unit * (60_000 // len(unit)))
