"""What a tunnel's header is followed by: one step from the outer packet towards the inner one.

Each function knows one kind of header and nothing of what is around it: it takes the frame and
where the header begins, and tells what follows, in the terms of Ethernet types, and what the tunnel
is called. What it cannot follow is a `Closed`, with the name under which that is counted.

Sources: RFC 2784 and 2890 (GRE), RFC 2637 (PPTP), RFC 7348 (VXLAN), RFC 8926 (Geneve), 3GPP TS
29.281 (GTP-U), RFC 3032 and 4385 (MPLS), RFC 7510 (MPLS in UDP), RFC 2516 (PPPoE), RFC 4380
(Teredo), RFC 3378 (EtherIP), draft-foschiano-erspan.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from tlsprobe.packets.frames import (
    IP,
    IPV4,
    IPV6,
    IS_ETHERNET,
    IS_MPLS,
    IS_PPP,
    IS_PPPOE,
    NOTHING,
    behind_ethernet,
    behind_ppp,
    type_at,
)

UDP = 17
_VXLAN_FOLLOWS = {1: IPV4, 2: IPV6, 3: IS_ETHERNET, 5: IS_MPLS}
_ERSPAN_2, _ERSPAN_3, _MPLS_MULTICAST, _WCCP = 0x88BE, 0x22EB, 0x8848, 0x883E
_LABELS = 16
_GTP_EXTENSIONS = 8
_TEREDO_HEADERS = 3


class Inner(NamedTuple):
    """What follows, by its Ethernet type, at which offset, and the tunnel that it came through.

    Where ``name`` is empty no tunnel was passed, only a header between two others.
    """

    kind: int
    at: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Closed:
    """Something that is not looked into, by the name of its kind."""

    kind: str


Step = Inner | Closed | None
"""None: nothing that could hold a TCP segment."""


def _word(frame: bytes, at: int, size: int = 4) -> int:
    return int.from_bytes(frame[at : at + size], "big")


def _hold(frame: bytes, end: int) -> None:
    """Raises IndexError where a frame was cut off before this offset."""
    if len(frame) < end:
        raise IndexError


# --- by Ethernet type -----------------------------------------------------------------------------


def _ethernet(frame: bytes, at: int) -> Step:
    return Inner(*behind_ethernet(frame, at))


def _ppp(frame: bytes, at: int) -> Step:
    return Inner(*behind_ppp(frame, at))


def _pppoe(frame: bytes, at: int) -> Step:
    """Version 1, type 1, code 0: a session's frame; the session's id; a length; PPP."""
    if frame[at : at + 2] != b"\x11\0":
        return None
    kind, behind = behind_ppp(frame, at + 6)
    return Inner(kind, behind, f"PPPoE session {_word(frame, at + 2, 2)}")


def _mpls(frame: bytes, at: int) -> Step:
    """Labels up to the last one; what follows has no type, and is told by its first bits.

    Behind a control word, whose first bits are zero, comes Ethernet; it may also come without one.
    """
    labels: list[str] = []
    for _ in range(_LABELS):
        word = _word(frame, at)
        labels.append(str(word >> 12))
        at += 4
        if word & 0x100:
            break
    else:
        return Closed("MPLS")
    if at >= len(frame):
        return Closed("MPLS")
    name = f"MPLS {'/'.join(labels)}"
    if frame[at] >> 4 in {4, 6} and _begins_ip(frame, at):
        return Inner(IPV4, at, name)
    for behind in (at + 4, at) if frame[at] >> 4 == 0 else (at,):
        if behind_ethernet(frame, behind)[0] in IP:
            return Inner(IS_ETHERNET, behind, name)
    return None


def _begins_ip(frame: bytes, at: int) -> bool:
    """Whether this may be an IP header, where Ethernet could begin with the same bits."""
    if frame[at] >> 4 == 4:
        return frame[at] & 0x0F >= 5 and type_at(frame, at + 2) >= 20
    return behind_ethernet(frame, at)[0] not in IP


def _erspan_2(frame: bytes, at: int) -> Step:
    return Inner(IS_ETHERNET, at + 8, f"ERSPAN II session {_word(frame, at + 2, 2) & 0x3FF}")


def _erspan_3(frame: bytes, at: int) -> Step:
    """Twelve bytes, eight more of the platform if the last bit says so; Ethernet or IP follows."""
    kind = {0: IS_ETHERNET, 2: IPV4}.get(_word(frame, at + 10, 2) >> 10 & 0x1F)
    name = f"ERSPAN III session {_word(frame, at + 2, 2) & 0x3FF}"
    if kind is None:
        return Closed("ERSPAN III")
    return Inner(kind, at + (20 if _word(frame, at + 11, 1) & 1 else 12), name)


_BY_TYPE: dict[int, Callable[[bytes, int], Step]] = {
    IS_ETHERNET: _ethernet,
    IS_PPP: _ppp,
    IS_PPPOE: _pppoe,
    IS_MPLS: _mpls,
    _MPLS_MULTICAST: _mpls,
    _ERSPAN_2: _erspan_2,
    _ERSPAN_3: _erspan_3,
}
_CLOSED_TYPES = {0x88E5: "MACsec", 0x894F: "NSH", 0x88E7: "PBB (802.1ah)", 0x8926: "VN-Tag"}


def behind_type(frame: bytes, kind: int, at: int) -> Step:
    """What follows a header of this Ethernet type, which is not IP."""
    step = _BY_TYPE.get(kind)
    if step is not None:
        return step(frame, at)
    closed = _CLOSED_TYPES.get(kind)
    return None if closed is None else Closed(closed)


# --- by protocol of IP ----------------------------------------------------------------------------


def _gre(frame: bytes, at: int) -> Step:
    """Two bytes of flags, the type, then those fields that the flags announce."""
    _hold(frame, at + 4)
    flags, kind = _word(frame, at, 2), type_at(frame, at + 2)
    if flags & 0x4000 or flags & 7 > 1:  # source routes, which nobody uses, or no GRE
        return Closed("GRE")
    behind = at + 4 + (4 if flags & 0x8000 else 0)
    name = "GRE"
    if flags & 0x2000:
        key = _word(frame, behind)
        # In PPTP's GRE the key is a length and a call.
        name = f"PPTP call {key & 0xFFFF}" if flags & 7 else f"GRE key {key}"
        behind += 4
    behind += 4 if flags & 0x1000 else 0
    behind += 4 if flags & 7 and flags & 0x80 else 0
    if kind == _ERSPAN_2 and not flags & 0x1000:  # the first version has no header of its own
        return Inner(IS_ETHERNET, behind, "ERSPAN I")
    if kind in {_ERSPAN_2, _ERSPAN_3}:
        return behind_type(frame, kind, behind)
    if kind == _WCCP:  # four bytes of its own in the second version, where IP cannot begin
        kind, behind = IPV4, behind if _word(frame, behind, 1) >> 4 == 4 else behind + 4
    if kind in IP or kind in _BY_TYPE:
        return Inner(kind, behind, name)
    return Closed(_CLOSED_TYPES.get(kind, f"GRE of type {kind:#06x}"))


def _etherip(_frame: bytes, at: int) -> Step:
    return Inner(IS_ETHERNET, at + 2, "EtherIP")


def _ip_in_ip(frame: bytes, at: int) -> Step:
    # How the tunnel is called depends on what it is in, and that its caller knows.
    return Inner(IPV6 if frame[at] >> 4 == 6 else IPV4, at, "IP")


_BY_PROTOCOL: dict[int, Callable[[bytes, int], Step]] = {
    4: _ip_in_ip,
    41: _ip_in_ip,
    47: _gre,
    97: _etherip,
    137: _mpls,
}
_CLOSED_PROTOCOLS = {50: "ESP", 51: "AH", 115: "L2TP"}

CARRIERS = frozenset({UDP, *_BY_PROTOCOL})
"""Protocols of IP that may have TCP in them."""

_IP_IN_IP = {(4, 4): "IP-in-IP", (4, 6): "6in4", (6, 4): "4in6", (6, 6): "IPv6-in-IPv6"}


def behind_protocol(frame: bytes, protocol: int, outer: int, at: int, end: int) -> Step:
    """What is in an IP packet of version ``outer``, whose payload lies between two offsets."""
    if protocol == UDP:
        return _udp(frame, at, end)
    step = _BY_PROTOCOL.get(protocol)
    if step is None:
        closed = _CLOSED_PROTOCOLS.get(protocol)
        return None if closed is None else Closed(closed)
    inner = step(frame, at)
    if isinstance(inner, Inner) and inner.name == "IP":
        return inner._replace(name=_IP_IN_IP[outer, 6 if inner.kind == IPV6 else 4])
    return inner


# --- by port of UDP -------------------------------------------------------------------------------


def _vxlan(frame: bytes, at: int) -> Step:
    """Flags of which one says that there is a network's number; Ethernet follows."""
    if _word(frame, at, 1) & 0xF8 != 0x08:
        return None
    kind = IS_ETHERNET
    if frame[at] & 0x04:  # VXLAN-GPE says what follows
        kind = _VXLAN_FOLLOWS.get(frame[at + 3], NOTHING)
    return Inner(kind, at + 8, f"VXLAN {_word(frame, at + 4, 3)}")


def _geneve(frame: bytes, at: int) -> Step:
    """Version 0 and the length of the options in words, the type, the network's number."""
    if _word(frame, at, 1) & 0xC0:
        return None
    behind = at + 8 + _word(frame, at, 1) * 4
    return Inner(type_at(frame, at + 2), behind, f"Geneve {_word(frame, at + 4, 3)}")


def _gtp_u(frame: bytes, at: int) -> Step:
    """Version 1, a user's packet (message 255), the tunnel's end; perhaps extension headers."""
    flags, kind = _word(frame, at, 1), _word(frame, at + 1, 1)
    if flags & 0xF0 != 0x30 or kind != 0xFF:
        return None
    behind = at + 8
    if flags & 0x07:
        extension, behind = _word(frame, behind + 3, 1), behind + 4
        for _ in range(_GTP_EXTENSIONS):
            if not (flags & 0x04 and extension):
                break
            size = 4 * _word(frame, behind, 1)
            extension, behind = _word(frame, behind + size - 1, 1), behind + size
            if not size:
                return Closed("GTP-U")
        else:
            return Closed("GTP-U")
    return Inner(IPV4, behind, f"GTP-U {_word(frame, at + 4):#x}")


def _teredo(frame: bytes, at: int) -> Step:
    """IPv6, behind what the servers of Teredo put in front of it."""
    for _ in range(_TEREDO_HEADERS):
        kind = type_at(frame, at)
        if kind == 1:  # authentication: two lengths, and eight bytes and one more besides
            at += 13 + _word(frame, at + 2, 1) + _word(frame, at + 3, 1)
        elif kind == 0:  # where the packet came from
            at += 8
        else:
            break
    return Inner(IPV6, at, "Teredo") if _word(frame, at, 1) >> 4 == 6 else None


_BY_PORT: dict[int, Callable[[bytes, int], Step]] = {
    2152: _gtp_u,
    4789: _vxlan,
    4790: _vxlan,
    6081: _geneve,
    6635: _mpls,
    8472: _vxlan,
}
_TEREDO_PORT = 3544
_LEAST = 8
"""No header of a tunnel in UDP is shorter, but a label of MPLS, which a packet follows."""
_CLOSED_PORTS = {443: "QUIC", 1194: "OpenVPN", 1701: "L2TP", 51820: "WireGuard"}
_ESP_PORT, _CAPWAP_DATA = 4500, 5247


def _udp(frame: bytes, at: int, end: int) -> Step:
    source, destination = type_at(frame, at), type_at(frame, at + 2)
    behind = at + 8
    if end < behind + _LEAST:
        return None
    step = _BY_PORT.get(destination)
    if step is not None:
        _hold(frame, behind + _LEAST)
        return step(frame, behind)
    ports = (source, destination)
    if _TEREDO_PORT in ports:
        return _teredo(frame, behind)
    if _ESP_PORT in ports:  # four zeros are IKE, and one byte keeps a NAT awake
        return Closed("ESP") if end - behind > 1 and _word(frame, behind) else None
    if _CAPWAP_DATA in ports:
        return Closed("802.11 in CAPWAP")
    closed = _CLOSED_PORTS.get(destination) or _CLOSED_PORTS.get(source)
    return None if closed is None else Closed(closed)


def is_tunnels_port(frame: bytes, at: int) -> bool:
    """Whether the UDP header at this offset is for a tunnel."""
    source, destination = type_at(frame, at), type_at(frame, at + 2)
    return destination in _BY_PORT or _TEREDO_PORT in {source, destination}
