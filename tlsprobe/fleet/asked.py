"""What is asked of a fleet, and of each target in it."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Ordered
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, cast

from tlsprobe.campaign.settings import Settings, TargetSettings
from tlsprobe.campaign.targets import guess_profile, parse_target
from tlsprobe.drive.script import Patience
from tlsprobe.errors import CannotMeasure, UsageError
from tlsprobe.model.fleet import FleetTarget
from tlsprobe.model.sequence import Sequence
from tlsprobe.model.target import Login, TlsVersion, goes_to, is_loopback
from tlsprobe.model.waiver import Waiver
from tlsprobe.profiles import load_profile

Network = IPv4Network | IPv6Network

HOST_RATE = 5.0
"""New connections a second to one host, unless the user says otherwise; on loopback as many as
come."""


LOOKUPS = 32
"""Names that are resolved at a time."""


@dataclass(frozen=True, slots=True)
class FleetSettings:
    """How a fleet is measured. None: as many as suit.

    ``workers`` is the number of processes, ``most`` that of targets probed at once. ``allow`` and
    ``deny`` are networks: a target is probed if some allowed one holds all its addresses (none
    given: any), and no denied one holds any of them. ``keep`` says which captures are kept:
    ``findings``, ``all`` or ``none``. ``waivers`` say what is accepted.
    """

    folder: Path
    how: Settings
    options: Mapping[str, Any]
    workers: int
    most: int
    rate: float | None = None
    host_rate: float = HOST_RATE
    allow: tuple[Network, ...] = ()
    deny: tuple[Network, ...] = ()
    keep: str = "findings"
    waivers: tuple[Waiver, ...] = ()
    typed: str = ""


def target_settings(target: FleetTarget, asked: FleetSettings) -> TargetSettings:
    """How one target is probed: what its list says beats the command line.

    Raises UsageError.
    """
    said = {**asked.options, **target.options}
    profile = load_profile(said.get("profile") or guess_profile(target.address))
    patience = said.get("patience")
    identity = replace(
        asked.how.identity,
        sni=said.get("sni", asked.how.identity.sni),
        alpn=tuple(said.get("alpn", asked.how.identity.alpn)),
    )
    how = replace(
        asked.how,
        trials=said.get("trials", asked.how.trials),
        tls=tuple(TlsVersion(one) for one in said.get("tls", asked.how.tls)),
        patience=Patience(patience) if patience else asked.how.patience,
        identity=identity,
    )
    return TargetSettings(
        parse_target(target.address, profile, target.name),
        profile,
        how,
        sequences=tuple(said.get("sequence", ())),
        login=Login(said.get("user"), said.get("database"), said.get("password")),
        idle_s=said.get("idle-limit"),
        is_guessed="profile" not in said,
    )


def in_fleets(sequences: Iterable[Sequence], asked: TargetSettings) -> tuple[Sequence, ...]:
    """Without races against the idle expiry, unless somebody named the sequences of a target.

    While a race is watched nothing else runs in its process.
    """
    return tuple(one for one in sequences if asked.sequences or not one.is_race)


def addresses_of(settings: TargetSettings) -> tuple[str, ...]:
    """The addresses behind a target, as `goes_to` has them. Raises CannotMeasure without any."""
    host, port = settings.target.host, settings.target.port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise CannotMeasure(f"cannot resolve '{host}': {error.strerror or error}") from None
    return tuple(dict.fromkeys(goes_to(cast(str, where[0])) for *_, where in found))


def why_not(addresses: Ordered[str], asked: FleetSettings) -> str:
    """Why a target with these addresses must not be probed; empty if it may be."""
    for text in addresses:
        address = ip_address(text.partition("%")[0])
        denied = next((net for net in asked.deny if address in net), None)
        if denied is not None:
            return f"{text} is in {denied}, which --deny names"
        if asked.allow and not any(address in net for net in asked.allow):
            return f"{text} is in none of the networks that --allow names"
    return ""


def rate_of(addresses: Ordered[str], asked: FleetSettings) -> float | None:
    """New connections a second to a target: its host's, and its part of what all may open."""
    is_near = all(map(is_loopback, addresses))
    limits = [] if is_near else [asked.host_rate]
    if asked.how.rate is not None:
        limits.append(asked.how.rate)
    if asked.rate is not None:
        limits.append(asked.rate / asked.most)
    return min(limits, default=None)


def networks(option: str, words: Ordered[str]) -> tuple[Network, ...]:
    """Networks in CIDR notation. Raises UsageError."""
    try:
        return tuple(_unmapped(ip_network(word)) for word in words)
    except ValueError as error:
        raise UsageError(f"{option}: {error}", "write a network such as 10.0.0.0/8") from None


def _unmapped(network: Network) -> Network:
    """A network of IPv4 that is written as one of IPv6, as what it is."""
    first = network.network_address
    if isinstance(first, IPv6Address) and first.ipv4_mapped and network.prefixlen >= _MAPPED_BITS:
        return ip_network(f"{first.ipv4_mapped}/{network.prefixlen - _MAPPED_BITS}")
    return network


_MAPPED_BITS = 96


@dataclass(frozen=True, slots=True)
class Shard:
    """The ``number``-th of ``count`` parts of a list, counted from 1."""

    number: int
    count: int

    def of(self, targets: Ordered[FleetTarget]) -> tuple[FleetTarget, ...]:
        """Every ``count``-th target: together the parts are the list."""
        return tuple(targets[self.number - 1 :: self.count])


def shard(text: str) -> Shard:
    """``i/n``. Raises UsageError."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--shard '{text}' is no part of a list", "write 2/8 for the second of 8")
    return Shard(int(match[1]), int(match[2]))
