"""Whom a run probes, and as whom."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv6Address, ip_address
from pathlib import Path


class TlsVersion(StrEnum):
    """The versions that tlsprobe speaks; a run names the one it asks for, and only that."""

    TLS12 = "1.2"
    TLS13 = "1.3"


@dataclass(frozen=True, slots=True)
class Target:
    """One server as the user named it: ``host`` may be a name or an address."""

    name: str
    host: str
    port: int
    profile: str
    protocol: str

    def __str__(self) -> str:
        """``host:port``, an IPv6 address in brackets."""
        return endpoint(self.host, self.port)


@dataclass(frozen=True, slots=True)
class Ports:
    """A range of TCP ports of our own, both ends included."""

    first: int
    last: int

    def __str__(self) -> str:
        """``first-last``."""
        return f"{self.first}-{self.last}"


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """How we present ourselves in the handshake. Without ``ca`` nothing is verified.

    ``verify_name``: whether the server's certificate has to be for the name that was asked for.
    ``passphrase`` opens an encrypted key.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    sni: str | None = None
    alpn: tuple[str, ...] = ()
    keylog: Path | None = None
    verify_name: bool = True
    passphrase: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Login:
    """Who we are inside the protocol, where it asks."""

    user: str | None = None
    database: str | None = None
    password: str | None = None


def is_loopback(host: str) -> bool:
    """Whether it is an address, perhaps with a zone, that never leaves the machine."""
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def is_on_one_host(one: str, other: str) -> bool:
    """Whether a connection between these addresses never leaves the machine.

    It is over the loopback, or to an address of the machine's own: from there the kernel speaks
    under the same one. Source: RFC 6724, section 5, rule 1.
    """
    same = one.partition("%")[0] == other.partition("%")[0]
    return same or (is_loopback(one) and is_loopback(other))


def goes_to(text: str) -> str:
    """The address that a connection to this one comes to: several have two spellings.

    ``::ffff:192.0.2.1`` is 192.0.2.1, and Linux takes the unspecified address for its loopback.
    Source: RFC 4291, 2.5.5.2; ip(7), INADDR_ANY.
    """
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    elif not address.is_unspecified:
        return text
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "::1"
    return str(address)


def endpoint(host: str, port: int) -> str:
    """``host:port`` as users type it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
