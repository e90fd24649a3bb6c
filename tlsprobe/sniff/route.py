"""Which interface a destination is reached through, asked of the kernel itself.

One ``RTM_GETROUTE`` request over netlink: what ``ip route get`` does, without the program, and
needing no privilege. Interfaces are described with the two ioctls that every kernel has.

Source: ``include/uapi/linux/rtnetlink.h``, ``include/uapi/linux/if_arp.h``.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import socket
import struct
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from tlsprobe.model.target import Ports
from tlsprobe.packets import frames
from tlsprobe.sniff.bpf import LOOPBACK_INDEX

_RTM_GETROUTE, _REQUEST = 26, 1
_RTN_LOCAL = 2
_RTA_DST, _RTA_OIF = 1, 4
_NLMSG_ERROR = 2

_NETLINK_HEADER = struct.Struct("=IHHII")
_ROUTE_HEADER = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")

_SIOCGIFFLAGS, _SIOCGIFHWADDR = 0x8913, 0x8927
_IFF_LOOPBACK = 0x8

_LINK_TYPES = {
    1: frames.ETHERNET,  # ARPHRD_ETHER
    772: frames.ETHERNET,  # ARPHRD_LOOPBACK: an Ethernet header of zeroes
    519: frames.RAW,  # ARPHRD_RAWIP
    768: frames.RAW,  # ARPHRD_TUNNEL
    776: frames.RAW,  # ARPHRD_SIT
    65534: frames.RAW,  # ARPHRD_NONE: tun devices, WireGuard
}


_LOCAL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_USUAL_PORTS = Ports(32768, 60999)

EVERY = "any"
"""Stands for all interfaces at once, as with tcpdump."""


class Interface(NamedTuple):
    """``link`` is the capture-file link type of its frames, None if we cannot read them.

    ``loopback``: the loopback interface is it, or among them.
    """

    name: str
    loopback: bool
    link: int | None


@lru_cache(maxsize=64)
def packed(address: str) -> bytes:
    """The address as it stands in packets, 4 or 16 bytes.

    An IPv4 address mapped into IPv6 travels as IPv4; the unspecified address is the kernel's
    word for this machine. Raises ValueError for a name: resolve it first.
    """
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    if parsed.is_unspecified:
        parsed = ipaddress.ip_address("127.0.0.1" if parsed.version == 4 else "::1")
    return parsed.packed


def interface_to(address: str) -> str:
    """The name of the interface that packets to this address leave through.

    An address of this machine is reached through loopback, whichever interface owns it. Raises
    OSError when there is no route (ENETUNREACH and its kin).
    """
    scope = address.partition("%")[2]
    if scope:
        return socket.if_indextoname(int(scope)) if scope.isdigit() else scope
    return socket.if_indextoname(_ask(packed(address)))


def local_ports() -> Ports:
    """The ports that the kernel gives out by itself, in this thread's namespace."""
    try:
        first, last = _LOCAL_PORTS.read_text(encoding="ascii").split()
        return Ports(int(first), int(last))
    except (OSError, ValueError):
        return _USUAL_PORTS


def describe(name: str) -> Interface:
    """What kind of interface it is. Raises OSError (ENODEV) when there is none of that name."""
    if name == EVERY:
        return Interface(EVERY, loopback=True, link=frames.LINUX_COOKED_2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("@16s16x8x", name.encode()[:15])
        flags = fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request)
        hardware = fcntl.ioctl(any_socket, _SIOCGIFHWADDR, request)
    loopback = bool(struct.unpack_from("@H", flags, 16)[0] & _IFF_LOOPBACK)
    return Interface(name, loopback, _LINK_TYPES.get(struct.unpack_from("@H", hardware, 16)[0]))


def _ask(address: bytes) -> int:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.settimeout(5)
        netlink.bind((0, 0))
        netlink.send(_request(address))
        return _interface_index(netlink.recv(16384))


def _request(address: bytes) -> bytes:
    family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
    route = _ROUTE_HEADER.pack(family, len(address) * 8, 0, 0, 0, 0, 0, 0, 0)
    body = route + _ATTRIBUTE.pack(_ATTRIBUTE.size + len(address), _RTA_DST) + address
    size = _NETLINK_HEADER.size + len(body)
    return _NETLINK_HEADER.pack(size, _RTM_GETROUTE, _REQUEST, 1, 0) + body


def _interface_index(answer: bytes) -> int:
    size, kind, *_ = _NETLINK_HEADER.unpack_from(answer)
    at = _NETLINK_HEADER.size
    if kind == _NLMSG_ERROR:
        error = -struct.unpack_from("=i", answer, at)[0]
        raise OSError(error, os.strerror(error))
    if _ROUTE_HEADER.unpack_from(answer, at)[7] == _RTN_LOCAL:
        return LOOPBACK_INDEX
    at += _ROUTE_HEADER.size
    while at + _ATTRIBUTE.size <= size:
        length, attribute = _ATTRIBUTE.unpack_from(answer, at)
        if attribute == _RTA_OIF:
            return int(struct.unpack_from("=I", answer, at + _ATTRIBUTE.size)[0])
        at += max((length + 3) & ~3, _ATTRIBUTE.size)
    raise OSError("the kernel named no interface for this route")
