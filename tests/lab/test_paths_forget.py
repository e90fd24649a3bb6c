"""What a router's connection table tells of idle connections."""

from __future__ import annotations

from tlsprobe.lab.paths_forget import LIFETIME_S, Entry, entries

TABLE = """\
tcp      6 9997 ESTABLISHED src=10.77.1.2 dst=10.77.2.2 sport=46710 dport=443 src=10.77.2.2 \
dst=10.77.2.1 sport=443 dport=63860 [ASSURED] mark=0 use=1
tcp      6 117 TIME_WAIT src=10.77.1.2 dst=10.77.2.2 sport=46704 dport=443 src=10.77.2.2 \
dst=10.77.2.1 sport=443 dport=45192 [ASSURED] mark=0 use=1
tcp      6 10000 ESTABLISHED src=fd77:1::2 dst=fd77:2::2 sport=40000 dport=443 src=fd77:2::2 \
dst=fd77:2::1 sport=443 dport=9740 [ASSURED] mark=0 use=1
udp      17 9 src=10.77.1.2 dst=10.77.2.2 sport=5353 dport=53 [UNREPLIED] src=10.77.2.2 \
dst=10.77.2.1 sport=53 dport=5353 mark=0 use=1
"""


def test_established_connections_with_their_silence() -> None:
    assert entries(TABLE) == [
        Entry(LIFETIME_S - 9997, "10.77.1.2", "10.77.2.2", "46710", "443"),
        Entry(0, "fd77:1::2", "fd77:2::2", "40000", "443"),
    ]


def test_an_empty_table_has_none() -> None:
    assert entries("") == []
