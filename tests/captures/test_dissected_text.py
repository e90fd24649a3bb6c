"""Packets printed in full: what is picked of the fields, and what is refused."""

from __future__ import annotations

import pytest

from tests.captures.pasting import ACK, PSH, RST, read
from tlsprobe.packets.packet import text

VERBOSE = """\
Frame 7: 97 bytes on wire (776 bits), 97 bytes captured (776 bits)
    Epoch Time: 1600000000.500000000 seconds
Internet Protocol Version 4, Src: 192.0.2.7, Dst: 198.51.100.9
    Identification: 0x002a (42)
        .1.. .... = Don't fragment: Set
    Time to Live: 63
Transmission Control Protocol, Src Port: 40000, Dst Port: 443, Seq: 11, Ack: 22, Len: 31
    Source Port: 40000
    Destination Port: 443
    [TCP Segment Len: 31]
    Sequence Number: 11    (relative sequence number)
    Sequence Number (raw): 4000000011
    Acknowledgment Number: 22    (relative ack number)
    Acknowledgment number (raw): 22
    Flags: 0x018 (PSH, ACK)
    Window: 501
"""

FIELDS = {
    "frame.number": "9",
    "ipv6.src": "2001:db8::7",
    "ipv6.dst": "2001:db8::9",
    "tcp.srcport": "443",
    "tcp.dstport": "40000",
    "tcp.len": "0",
    "tcp.seq": "5",
    "tcp.flags": "0x0004",
}


def as_json(fields: dict[str, str]) -> str:
    lines = ['    "_index": "packets-2026-01-01",']
    return "\n".join([*lines, *(f'      "{name}": "{value}",' for name, value in fields.items())])


def as_pdml(fields: dict[str, str]) -> str:
    told = [f'<field name="{name}" pos="0" show="{value}"/>' for name, value in fields.items()]
    return "\n".join(["<packet>", *told, "</packet>"])


def test_every_field_that_a_packet_needs() -> None:
    reading, (packet,) = read(VERBOSE)
    assert (packet.number, packet.time_ns) == (7, 1_600_000_000_500_000_000)
    assert (text(packet.src), text(packet.dst)) == ("192.0.2.7:40000", "198.51.100.9:443")
    assert (packet.seq, packet.ack, packet.length) == (4_000_000_011, 22, 31)
    assert (packet.flags, packet.window) == (PSH | ACK, 501)
    assert (packet.ttl, packet.ip_id, packet.df) == (63, 42, True)
    assert (reading.total, reading.other, reading.skipped) == (1, 0, 0)


@pytest.mark.parametrize("mask", ["***.***.***.***", "server.example.net", "10.x.x.x"])
def test_an_address_may_be_masked_or_a_name(mask: str) -> None:
    reading, (packet,) = read(VERBOSE.replace("198.51.100.9", mask))
    assert (reading.skipped, text(packet.dst)) == (0, f"{mask.replace('***', 'x')}:443")


@pytest.mark.parametrize("form", [as_json, as_pdml])
def test_the_number_and_both_ends(form: object) -> None:
    assert callable(form)
    _, (packet,) = read(form(FIELDS))
    assert (packet.number, packet.flags, packet.seq, packet.ack) == (9, RST, 5, None)
    assert text(packet.src) == "[2001:db8::7]:443"


@pytest.mark.parametrize("name", sorted(FIELDS.keys() - {"frame.number"}))
def test_a_packet_that_lacks_a_field_is_counted(name: str) -> None:
    lacking = {key: value for key, value in FIELDS.items() if key != name}
    reading, packets = read("\n".join([VERBOSE, as_json(lacking), as_pdml(FIELDS)]))
    assert [packet.number for packet in packets] == [7, 9]
    assert (reading.total, reading.skipped) == (3, 1)
    assert reading.first_skipped is not None and "the packet" in reading.first_skipped


def test_chosen_fields_in_lists_are_read() -> None:
    """As ``tshark -T json -e`` prints them."""
    lists = (f'"{name}": [\n  "{value}"\n],' for name, value in FIELDS.items())
    _, (packet,) = read("\n".join(['"_index": "packets-2026-01-01",', *lists]))
    assert (packet.number, packet.flags, packet.seq) == (9, RST, 5)


def test_a_line_of_a_list_for_a_packet_that_is_told_in_full_is_that_packet() -> None:
    """As ``tshark -P -V`` and Wireshark's export print them."""
    row = (
        "7 0.5 192.0.2.7 > 198.51.100.9 TCP 97 40000 > 443 [PSH, ACK] Seq=11 Ack=22 Win=501 Len=31"
    )
    reading, packets = read(f"{row}\n\n{VERBOSE}\n{row.replace('7', '8', 1)}\n")
    assert [packet.number for packet in packets] == [7, 8]
    assert reading.total == 2


FOLDED = """\

Frame {number}: 97 bytes on wire (776 bits), 97 bytes captured (776 bits) on interface 0
Ethernet II, Src: 02:00:00:00:00:01, Dst: 02:00:00:00:00:02
Internet Protocol Version 4, Src: 192.0.2.7, Dst: 198.51.100.9
Transmission Control Protocol, Src Port: 40000, Dst Port: 443, Seq: 11, Ack: 22, Len: 31

"""


@pytest.mark.parametrize("margin", ["", "    "])
def test_a_line_of_a_list_counts_above_protocols_that_are_folded(margin: str) -> None:
    """They show no flags: the packet, an RST perhaps, was dropped, and counted as unread."""
    row = "{} 0.5 192.0.2.7 198.51.100.9 TCP 97 40000 → 443 [RST, ACK] Seq=11 Ack=22 Win=0 Len=31"
    lines = "".join(f"{row.format(number)}\n{FOLDED.format(number=number)}" for number in (7, 8))
    reading, packets = read("\n".join(margin + line for line in lines.split("\n")))
    assert [(packet.number, packet.flags) for packet in packets] == [(7, RST | ACK), (8, RST | ACK)]
    assert (reading.total, reading.skipped) == (2, 0)


def test_folded_protocols_alone_are_counted_as_unread() -> None:
    reading, packets = read(FOLDED.format(number=7) + VERBOSE)
    assert (len(packets), reading.total, reading.skipped) == (1, 2, 1)


@pytest.mark.parametrize(
    ("was", "is_", "lacks"),
    [
        ("", "", "tcp.flags"),
        ("Src Port: 40000, Dst Port: 443", "Src Port: 40000 (40000), Dst Port: https (443)", None),
        (", Len: 31", "", "tcp.len"),
        ("Src: 192.0.2.7, Dst: 198.51.100.9", "", "addresses"),
    ],
)
def test_what_folded_protocols_lack_is_said_and_nothing_else(
    was: str, is_: str, lacks: str | None
) -> None:
    """The reason was that addresses or ports were not there, which stand in the folded lines."""
    reading, _ = read(FOLDED.format(number=6).replace(was, is_) + VERBOSE)
    assert reading.skipped == 1
    assert reading.first_skipped is not None
    assert (lacks or "tcp.flags") in reading.first_skipped
    assert ("addresses" in reading.first_skipped) is (lacks == "addresses")


def test_a_packet_in_full_may_stand_in_a_block_of_code() -> None:
    _, (packet,) = read("\n".join(f"    {line}" for line in VERBOSE.split("\n")))
    assert (text(packet.src), packet.flags, packet.length) == ("192.0.2.7:40000", PSH | ACK, 31)


def test_no_tcp_and_what_icmp_quotes_are_other_packets() -> None:
    told = {key: value for key, value in FIELDS.items() if not key.startswith("tcp.")}
    udp = told | {"frame.protocols": "eth:ethertype:ipv6:udp:dns"}
    reading, packets = read(
        "\n".join([VERBOSE, as_json(udp), as_json({"icmpv6.type": "1", **FIELDS})])
    )
    assert (len(packets), reading.total, reading.other) == (1, 3, 2)


def test_the_header_in_front_of_tcp_counts_and_not_that_of_the_tunnel() -> None:
    outer = {"ip.src": "10.0.0.1", "ip.dst": "10.0.0.2"}
    lines = as_json(outer).splitlines() + as_json(outer | {"ip.src": "192.0.2.7"}).splitlines()[1:]
    inner = as_json({key: value for key, value in FIELDS.items() if "ipv6" not in key})
    _, (packet,) = read("\n".join([*lines, *inner.splitlines()[1:]]))
    assert text(packet.src) == "192.0.2.7:443"


@pytest.mark.parametrize(
    "line",
    ['"tcp.seq": [' * 5_000, '<field name="tcp.seq" ' * 3_000, "    " + ".... " * 12_000],
    ids=["json", "pdml", "verbose"],
)
def test_a_long_line_takes_time_in_proportion(line: str) -> None:
    reading, packets = read("\n".join([VERBOSE, line, VERBOSE]))
    assert (len(packets), reading.skipped) == (2, 0)
