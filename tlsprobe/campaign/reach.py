"""The preflight: can this target be measured at all, at which address, in which TLS versions?"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple, cast

import trio

from tlsprobe.campaign.pace import Pace
from tlsprobe.campaign.settings import Settings
from tlsprobe.drive.forwarders import ENDED, Seen, forwarder, sockets_at, tls_ender
from tlsprobe.drive.script import Route, drive
from tlsprobe.drive.sockets import Endpoint, is_own
from tlsprobe.drive.tcp import Address, SocketAddress
from tlsprobe.drive.translation import Translated, translation
from tlsprobe.errors import CannotMeasure
from tlsprobe.language import parse
from tlsprobe.model.facts import ReachedFact
from tlsprobe.model.protocols import UNKNOWN
from tlsprobe.model.target import Target, TlsVersion, endpoint, goes_to, is_loopback
from tlsprobe.model.trace import ALERTS, Drive, RecordKind, Side, Stage
from tlsprobe.netns import inside
from tlsprobe.protocols import Conversations
from tlsprobe.tls import TlsContext, client_context

CHECK = parse("request; close_notify; fin; drain 200ms", "path check")
"""One whole, orderly connection: the preflight, and the proof that a path is alive."""

TIMES_AGAIN, AGAIN_S = 3, 1.0
"""How often a version is asked for again that was not taken at first, and seconds before that."""

_HANDSHAKE_FAILURE = 40  # RFC 8446, section 4.1.1

RATE_ELSEWHERE = 20.0
"""New connections a second, unless the user says otherwise; on loopback as many as come."""


@dataclass(frozen=True, slots=True)
class Reached:
    """An address that answers, a route for each version that works, a failure for each other.

    ``server_says`` is what the server calls itself, empty if nothing; ``checks`` are the
    connections that it took. ``behind`` says which program on this machine passes them on, or may;
    ``passed_on``: one does. ``ended_by`` as in `ReachedFact`.
    ``translated`` are the ends that its kernel's NAT gave them instead of ours, where it did.
    """

    address: Address
    routes: dict[TlsVersion, Route]
    refused: dict[TlsVersion, Drive]
    server_says: str = ""
    checks: tuple[Drive, ...] = ()
    behind: str = ""
    passed_on: bool = False
    ended_by: str = ""
    translated: tuple[Translated, ...] = ()

    @property
    def fact(self) -> ReachedFact:
        """What of it is written down for whoever judges."""
        refused = {str(version): found.failure or "" for version, found in self.refused.items()}
        where = endpoint(*numeric(self.address))
        return ReachedFact(where, refused, self.server_says, self.passed_on, self.ended_by)

    @property
    def is_renumbered(self) -> bool:
        """Whether that NAT changes our ports as well, by which connections would be known."""
        ours = {check.client[1] for check in self.checks if check.client}
        return any(one.client[1] not in ours for one in self.translated)

    @property
    def led_to(self) -> tuple[str, ...]:
        """The addresses that NAT on this machine takes the connections to."""
        return tuple(dict.fromkeys(one.server[0] for one in self.translated))

    @property
    def is_near(self) -> bool:
        """Whether the server is on this machine, or a program there that passes on to it."""
        here = numeric(self.address)
        checks = (check for check in self.checks if check.server == here)
        return is_loopback(here[0]) or any(check.is_near for check in checks)


def rate_to(reached: Iterable[Reached], settings: Settings) -> float | None:
    """New connections a second to these servers together, None for as many as come."""
    return _rate(settings, near=all(one.is_near for one in reached))


def _rate_at_first(addresses: Iterable[Address], settings: Settings) -> float | None:
    """The same before any of them took a connection, which may be this machine's own."""
    near = all(is_loopback(numeric(address)[0]) for address in addresses)
    return _rate(settings, near=near)


def _rate(settings: Settings, *, near: bool) -> float | None:
    return settings.rate or (None if near else RATE_ELSEWHERE)


async def reach(target: Target, converse: Conversations, settings: Settings) -> Reached:
    """Find an address that answers and learn how each TLS version fares there.

    Raises CannotMeasure, with the reason and a hint, when no version gets through.
    """
    reached = await look(target, converse, settings)
    if not reached.routes:
        raise _cannot(target, reached.checks)
    return reached


async def look(target: Target, converse: Conversations, settings: Settings) -> Reached:
    """The same, without any route if no version gets through.

    Raises CannotMeasure when the name cannot be resolved.
    """
    identity, name, alpn = settings.identity, server_name(target, settings), converse().alpn
    connect = partial(client_context, identity=identity, server_name=name, alpn=alpn)
    connect = partial(connect, certified=name or target.host)
    contexts = {version: connect(version) for version in settings.tls}
    checks: list[Drive] = []
    reached: Reached | None = None
    addresses = await _resolve(target, settings.only)
    pace = Pace(_rate_at_first(addresses, settings))
    for address in addresses:
        template = {
            version: Route(
                *(address, numeric(address), context, converse, settings.patience),
                namespace=settings.namespace,
                ports=settings.ports,
            )
            for version, context in contexts.items()
        }
        reached = await _try(address, template, partial(connect, large_key_shares=True), pace)
        checks += reached.checks
        if reached.routes:
            break
    assert reached is not None, "a name that resolves has an address"
    return replace(reached, checks=tuple(checks))


def numeric(address: Address) -> tuple[str, int]:
    """The address as numbers: host and port."""
    sockaddr = address[1]
    return sockaddr[0], sockaddr[1]


async def _try(
    address: Address,
    template: dict[TlsVersion, Route],
    with_large_shares: Callable[[TlsVersion], TlsContext],
    pace: Pace,
) -> Reached:
    reached = Reached(address, {}, {})
    for version, smallest in template.items():
        route = smallest
        found, way = await _check(route, pace)
        reached = _noted(reached, found, way)
        if version is TlsVersion.TLS13 and _finds_nothing_in_common(found):
            route = replace(smallest, tls=with_large_shares(version))
            found, way = await _check(route, pace)
            reached = _noted(reached, found, way)
        if not reached.server_says:
            says = found.server_says
            reached = replace(reached, server_says=says, ended_by=_in_front(way.ender, says))
        if found.worked:
            reached.routes[version] = replace(route, tickets=_tickets(found))
        elif found.stage is Stage.CONNECT and reached.routes:
            reached.routes[version] = route  # the server went away, which refuses no version
        else:
            reached.refused[version] = found
        if found.stage is Stage.CONNECT:
            break  # nothing answers here: the other version would not either
    reached = await _asked_again(reached, template, pace)
    routes = {v: replace(route, behind=reached.behind) for v, route in reached.routes.items()}
    return replace(reached, routes=routes)


async def _asked_again(reached: Reached, template: dict[TlsVersion, Route], pace: Pace) -> Reached:
    """The same where a version was not taken just then: the server may be starting, or recover.

    A fatal alert in the handshake refuses a version for good, and one that works alone tells that
    the server works at all.
    """
    doubtful = [v for v, found in reached.refused.items() if reached.routes and _may_pass(found)]
    for version in doubtful:
        for _ in range(TIMES_AGAIN):
            await trio.sleep(AGAIN_S)
            found, way = await _check(template[version], pace)
            reached = _noted(reached, found, way)
            if found.worked:
                del reached.refused[version]
                reached.routes[version] = replace(template[version], tickets=_tickets(found))
                break
            reached.refused[version] = found
            if not _may_pass(found):
                break
    return reached


def _may_pass(found: Drive) -> bool:
    """Whether a server that shook hands went no further, or ended the handshake without a word."""
    if found.stage is Stage.CONNECT or found.only_late:
        return False
    spoke = any(r.side is Side.SERVER and r.kind in ALERTS for r in found.records)
    return found.stage is not Stage.HANDSHAKE or not spoke


class _Way(NamedTuple):
    """Where a connection went behind our socket.

    ``behind`` as in `Reached`, ``led`` are the ends that NAT gave it, if it did. ``ender`` is the
    program on this machine that ends its TLS in front of a server, empty if none is known to.
    """

    behind: str = ""
    passed_on: bool = False
    led: Translated | None = None
    ender: str = ""


def _noted(reached: Reached, found: Drive, way: _Way) -> Reached:
    """The same with one more connection."""
    return replace(
        reached,
        checks=(*reached.checks, found),
        behind=reached.behind or way.behind,
        passed_on=reached.passed_on or way.passed_on,
        translated=reached.translated if way.led is None else (*reached.translated, way.led),
    )


async def _check(route: Route, pace: Pace) -> tuple[Drive, _Way]:
    """One orderly connection in its turn, and what on this machine passed it on, if anything.

    Whoever looks at sockets takes their time for it: the turn comes behind that.
    """
    before, after = sockets_at(route.server, route.namespace), Seen((), {})
    await pace.turn()

    def opened() -> None:
        nonlocal after
        after = sockets_at(route.server, route.namespace)

    found = await drive(route, CHECK, opened=opened)
    if found.client is None:
        return found, _Way()
    led = translation(found.client, found.server, route.namespace)
    if led is not None and not _is_own(led.server, route.namespace):
        return found, _Way(f"{endpoint(*led.server)} is not on this machine", led=led)
    behind = forwarder(before, after, found.client, found.server, led)
    ender = tls_ender(after, found.client, found.server, led)
    return found, _Way(behind, behind not in {"", ENDED}, led, ender)


def _in_front(ender: str, says: str) -> str:
    """The program that ends our TLS, if it is another than what names itself; else empty."""
    is_other = says and ender.rstrip("345") not in says.lower()
    return ender if is_other else ""


def _is_own(server: Endpoint, namespace: str) -> bool:
    with inside(namespace):
        return is_own(server[0])


def _finds_nothing_in_common(found: Drive) -> bool:
    """Whether the server refused our hello as it does one without a key exchange that it takes.

    There are servers that take the hybrid ones with ML-KEM alone, which we offer to no other.
    """
    alerts = {record.alert for record in found.records if record.side is Side.SERVER}
    return found.stage is Stage.HANDSHAKE and (2, _HANDSHAKE_FAILURE) in alerts


def server_name(target: Target, settings: Settings) -> str | None:
    """What to say in SNI: the name that was given, else the host unless it is an address."""
    if settings.identity.sni is not None:
        return settings.identity.sni or None
    return None if _is_address(target.host) else target.host


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host.partition("%")[0])
        except OSError:
            continue
        return True
    return False


async def _resolve(target: Target, only: Collection[str] = ()) -> list[Address]:
    try:
        found = await trio.socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except OSError as error:
        hint = "check the spelling; an IPv6 address is written [::1]:5432"
        message = f"cannot resolve '{target.host}': {error.strerror or error}"
        raise CannotMeasure(message, hint) from error
    addresses: list[Address] = [
        (family, cast(SocketAddress, where)) for family, _, _, _, where in found
    ]
    allowed = [one for one in addresses if not only or goes_to(numeric(one)[0]) in only]
    if not allowed:
        other = ", ".join(dict.fromkeys(numeric(one)[0] for one in addresses))
        hint = "look at who answers for the name, and probe it once more"
        raise CannotMeasure(f"'{target.host}' has moved to {other}, which nobody allowed", hint)
    return allowed


def _tickets(found: Drive) -> int:
    return sum(record.kind is RecordKind.TICKET for record in found.records)


def _cannot(target: Target, failures: tuple[Drive, ...]) -> CannotMeasure:
    """The failure that says most: the one that came furthest."""
    order = list(Stage)
    furthest = max(failures, key=lambda found: order.index(found.stage))
    failure = furthest.failure or "the server did not answer the request"
    hints = _HINTS_OF_UNKNOWN if target.profile == UNKNOWN else {}
    hint = furthest.hint or hints.get(furthest.stage) or _HINTS[furthest.stage]
    verb = "reach" if furthest.stage is Stage.CONNECT else "probe"
    return CannotMeasure(f"cannot {verb} {target}: {failure}", hint)


_HINTS = {
    Stage.CONNECT: "check host and port, and that the server runs; nothing was measured",
    Stage.HANDSHAKE: "try 'openssl s_client -connect' with the same names to see the handshake",
    Stage.GREETING: "check --profile, --user and --database",
    Stage.SEQUENCE: "check the profile's request, or wait longer with --patience",
}

_HINTS_OF_UNKNOWN = {
    Stage.HANDSHAKE: "it was taken for a server that speaks TLS from the first byte; if it speaks"
    " PostgreSQL, MySQL, SMTP or the like, name that with --profile ('tlsprobe profiles')",
}
