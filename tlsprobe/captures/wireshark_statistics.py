"""What Wireshark and tshark print of a capture other than its packets: statistics, and graphs.

People paste them in place of a packet list. Nothing of them can be judged: the numbers that tell
what provoked an RST are left out, or the packets are.

Source: tshark(1), ``-z``; what tshark 4.0 prints for it.
"""

from __future__ import annotations

import re

from tlsprobe.captures.log_kinds import LogKind

_GIVE = "give tlsprobe the capture that it was made of"

STATISTICS = (
    LogKind(
        "Wireshark's flow graph",
        ("--->", "<---", "|"),
        re.compile(
            r"\(\d{1,5}\) {1,20}(?:-{4,60}>|<-{4,60}) {1,20}\(\d{1,5}\)"
            r"|\d[.,]\d{3,9} {0,9}\|[^|]{0,300}\|(?: {0,80}\|){0,4} {0,9}"
            r"(?:Seq ?= ?\d|[A-Za-z][\w./]{1,30}: )"
        ),
        f"who sent what to whom, without windows, and mostly without lengths; {_GIVE}",
        "which segment an RST answers",
    ),
    LogKind(
        "Wireshark's expert information",
        ("sequence", "connection reset (rst)"),
        re.compile(
            r"^ {0,20}\d{1,9} {1,20}Sequence {1,30}\w{1,20} {1,20}\S"
            r"|\bSequence\b.{0,40}\bTCP\b.{0,40}\bConnection reset \(RST\)"
        ),
        f"how many packets of a kind there are, resets among them; {_GIVE}",
        "which connections they belong to",
    ),
    LogKind(
        "Wireshark's conversations and other statistics",
        ("<->", "address a", "frames:", "tcp conversations", "tcp endpoints", "io statistics"),
        re.compile(
            r":[\w-]{1,40} {1,60}<-> {1,20}\S{1,80}:[\w-]{1,40} {1,40}\d"
            r"|\bAddress A\b.{0,20}\bPort A\b|\bframes:\d{1,12} bytes:\d"
            r"|^TCP (?:Conversations|Endpoints)\b|\bIO Statistics\b"
        ),
        f"how much went between whom, and for how long; {_GIVE}",
        "how a connection ended",
    ),
    LogKind(
        "Wireshark's followed stream",
        ("follow: ", "node 0: "),
        re.compile(r"^Follow: (?:tcp|tls|http2?|quic),|^Node 0: \S{1,80}:\d{1,5}"),
        f"the bytes of one connection; {_GIVE}",
        "its packets",
    ),
)
"""Asked for before the kinds of logs."""


def is_flow_graph(line: str) -> bool:
    """Whether the line is of a flow graph, some of whose rows look like those of a packet list."""
    return "|" in line and STATISTICS[0].pattern.search(line) is not None
