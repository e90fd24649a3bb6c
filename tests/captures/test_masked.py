"""Addresses that were masked before a trace was shown."""

from __future__ import annotations

import pytest

from tests.captures.pasting import PLAIN, facts, read
from tlsprobe.captures.masked import unmasked

CLIENT, SERVER = "192.0.2.1", "192.0.2.2"
LIST = [
    f"12 88.330748 {CLIENT} → {SERVER} TCP 103 40000 → 5432 [PSH, ACK] Seq=1 Ack=25 Win=512 Len=37",
    f"14 88.331087 {SERVER} → {CLIENT} TLSv1.2 97 Encrypted Alert",
    f"15 88.333718 {SERVER} → {CLIENT} TCP 60 5432 → 40000 [RST, ACK] Seq=68 Ack=38 Win=512 Len=0",
]
MASKS = [
    ("<client-ip>", "<server-ip>"),
    ("<my client>", "<the server>"),
    ("{client}", "{server}"),
    ("{{client}}", "{{server}}"),
    ("[client]", "[server]"),
    ("(client)", "(server)"),
    ("$CLIENT", "${SERVER}"),
    ("10.0.*.*", "10.1.*.*"),
    ("***.***.***.1", "***.***.***.2"),
    ("10.x.x.x", "10.y.y.y"),
    ("██", "192.0.2.2"),
]


def _masked(lines: list[str], client: str, server: str) -> str:
    return "\n".join(lines).replace(SERVER, server).replace(CLIENT, client)


@pytest.mark.parametrize(("client", "server"), MASKS)
@pytest.mark.parametrize("lines", [PLAIN, LIST], ids=["tcpdump", "Wireshark"])
def test_masks_are_names(lines: list[str], client: str, server: str) -> None:
    reading, found = read(_masked(lines, client, server))
    plain = facts(read("\n".join(lines))[1])
    assert (reading.skipped, len({p.src for p in found})) == (0, 2)
    assert [fact[2:] for fact in facts(found)] == [fact[2:] for fact in plain]


def test_two_ends_of_one_mask_are_told_apart_by_their_ports() -> None:
    """A line that has no ports could be of either."""
    reading, found = read(_masked(LIST, "***.***.***.***", "***.***.***.***"))
    assert [p.src[1] for p in found] == [40000, 5432]
    assert "both ends have one address" in str(reading.first_skipped)


@pytest.mark.parametrize(
    "line",
    [
        "1.2.3.4.5 > 1.2.3.5.6: S 1:1(0) win 512 <mss 1460,nop>",
        "13 0.1 192.0.2.1 > 192.0.2.2 TCP 60 1 > 2 [<None>] Seq=1 Win=0 Len=0",
        "13 0.1 192.0.2.1 > 192.0.2.2 TCP 60 1 > 2 [RST, ACK] Seq=1 Ack=1 Win=0 Len=0",
        "IP 192.0.2.1.1 > 192.0.2.2.2: Flags [R], seq 1 (correct), length 0",
    ],
)
def test_what_is_no_mask_stays(line: str) -> None:
    assert unmasked(line) == line
