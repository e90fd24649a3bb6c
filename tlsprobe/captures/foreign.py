"""Inputs that others read: what they are, and the command that makes them readable here."""

from __future__ import annotations

_REWRITE = "`editcap -F pcapng FILE NEW.pcapng` rewrites it"

FOREIGN = {
    b"PK\x03\x04": "it is a zip archive: unpack it first (`unzip`)",
    b"\xa1\xb2\xcd\x34": f"it is a modified pcap: {_REWRITE}",
    b"\x34\xcd\xb2\xa1": f"it is a modified pcap: {_REWRITE}",
    b"snoop\0": f"it is a snoop file: {_REWRITE}",
    b"GMBU": f"it is of Microsoft's Network Monitor: {_REWRITE}",
    b"RTSS": f"it is of Microsoft's Network Monitor: {_REWRITE}",
    b"XCP\0": f"it is of a NetXRay sniffer: {_REWRITE}",
    b"TRSNIFF data": f"it is of a DOS Sniffer: {_REWRITE}",
    b"iptrace ": f"it is of AIX's iptrace: {_REWRITE}",
}
"""How inputs of another kind begin, and what to do about each."""

CONVERT = "`tshark -r FILE -T pdml | tlsprobe explain -` reads what tshark understands of it"
"""For a link type that is not read here: tshark's own words are."""

_LINKS = {
    6: "Token Ring",
    8: "SLIP",
    10: "FDDI",
    105: "802.11",
    119: "802.11 with Prism's header",
    127: "802.11 with radiotap",
    163: "802.11 with AVS's header",
    187: "Bluetooth",
    189: "USB",
    192: "PPI, most often 802.11",
    195: "802.15.4",
    197: "ERF",
    201: "Bluetooth",
    220: "USB",
    253: "netlink",
    271: "vsock",
}


def link_text(link: int) -> str:
    """The link type by its number, and by its name where it is a common one."""
    name = _LINKS.get(link)
    return f"link type {link} ({name})" if name else f"link type {link}"
