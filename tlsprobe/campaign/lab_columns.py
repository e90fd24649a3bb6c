"""How a vendor of the lab is probed: in which protocols, with which sequences, how patiently."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

import trio

from tlsprobe.campaign.pace import unless_stopped
from tlsprobe.catalogue import default_sequences, find_sequences, lacks
from tlsprobe.drive.script import Patience
from tlsprobe.errors import UsageError, plain_errors
from tlsprobe.lab.availability import lab_of
from tlsprobe.lab.signalled import known
from tlsprobe.lab.vendor import Started
from tlsprobe.lab.workspace import SERVER_NAME, Workspace
from tlsprobe.model.profile import Lab, Profile
from tlsprobe.model.run import ServerFacts
from tlsprobe.model.sequence import ConnectionLimit
from tlsprobe.model.sequence import Sequence as Steps
from tlsprobe.model.target import Login, Target, TlsIdentity
from tlsprobe.profiles import list_profiles, load_profile
from tlsprobe.protocols import (
    Conversations,
    has_goodbye,
    is_commanded,
    make_conversation,
    offers,
    protocol_of,
)

PATIENCE = 2.0
"""Seconds to wait for a server that is near; less where it would end an idle connection by then."""

ANSWER = 5.0
"""Seconds for a handshake or a response, which any of these servers gives unless it is busy."""


@dataclass(frozen=True, slots=True)
class Column:
    """One way to probe a running server; ``name`` is that of its results folder."""

    name: str
    title: str
    profile: Profile
    sequences: tuple[str, ...]
    has_idle: bool
    limits: frozenset[ConnectionLimit] = frozenset(ConnectionLimit)

    def target(self, server: Started) -> Target:
        """The running server, in this protocol."""
        profile = self.profile
        kind = profile.like or profile.name
        return Target(self.title, server.host, server.port, kind, profile.protocol)

    def converse(self, server: Started) -> Conversations:
        """How to speak with it."""
        login = lab_of(server.profile).login
        return make_conversation(self.profile, SERVER_NAME, login, server.port)

    def steps(self, asked: Sequence[str]) -> tuple[Steps, ...]:
        """What was asked for, else the profile's choice for the lab, else all; what applies of it.

        Raises UsageError for a name that nobody knows.
        """
        converse = make_conversation(self.profile, SERVER_NAME, Login())
        offered, commanded = offers(converse), is_commanded(converse)
        goodbye = has_goodbye(self.profile)
        names = asked or self.sequences
        found = [sequence for name in names for sequence in find_sequences(name)]
        knows = known(self.profile.signals)
        every = dict.fromkeys(found) if names else default_sequences(offered, has_goodbye=goodbye)
        return tuple(
            sequence
            for sequence in every
            if lacks(sequence, offered, has_goodbye=goodbye, knows=knows, is_commanded=commanded)
            is None
            and (self.has_idle or not sequence.is_idle)
            and sequence.connection_limit in {None, *self.limits}
        )


def columns_of(profile: Profile) -> Iterator[Column]:
    """The vendor's own protocol, then the others that it is to be probed with."""
    lab = lab_of(profile)
    title = lab.title or profile.title
    other_title = title.removesuffix(" (HTTP)").removesuffix(" (FTP)")
    own = load_profile(str(lab.folder), lab.protocol)
    has_idle = lab.idle > 0
    own = replace(own, alpn=lab.alpn or own.alpn)
    yield Column(profile.name, title, own, lab.sequences, has_idle, _limits(lab, own))
    for name in lab.also:
        folder = str(lab.folder.parent / name)
        known = protocol_of(load_profile(folder)).keys
        shared = {key: value for key, value in lab.protocol.items() if key in known}
        other = load_profile(folder, shared)
        other = replace(other, signals=profile.signals)
        own_name, its_title = f"{profile.name}-{name}", f"{other_title} ({_short(other)})"
        limits = _limits(lab, other)
        yield Column(own_name, its_title, other, other.sequences, has_idle, limits)


def _limits(lab: Lab, profile: Profile) -> frozenset[ConnectionLimit]:
    """The limits that the server has in this protocol; all of them where nobody says."""
    if lab.limits is None:
        return frozenset(ConnectionLimit)
    return lab.limits.get(profile.protocol, frozenset())


def shipped_columns() -> dict[str, Profile]:
    """The vendors that ship with tlsprobe, by the names of their columns."""
    found: dict[str, Profile] = {}
    for name in list_profiles():
        try:
            profile = load_profile(name)
        except UsageError:
            continue  # an error once somebody wants to measure it
        if profile.lab is not None:
            columns = (name, *(f"{name}-{other}" for other in profile.lab.also))
            found |= dict.fromkeys(columns, profile)
    return found


def _short(profile: Profile) -> str:
    return profile.title.removesuffix(" server")


def identity_of(profile: Profile, here: Workspace) -> TlsIdentity:
    """How we present ourselves to a vendor of the lab."""
    who = TlsIdentity(sni=SERVER_NAME)
    if lab_of(profile).client_cert:
        return replace(who, cert=here.client_cert, key=here.client_key)
    return who


def patience_with(
    profile: Profile, asked: float | None = None, idle_limit: float | None = None
) -> Patience:
    """Short of the idle timeout, so that what is left open is not taken for ended by it.

    ``asked`` and ``idle_limit``, in seconds, have the say where they are given.
    """
    lab = lab_of(profile)
    short = min(PATIENCE, 0.8 * lab.idle) if lab.idle else PATIENCE
    server = asked or lab.patience or short
    return Patience(server, idle_limit or 1.5 * lab.idle + 3, answer=ANSWER)


def server_facts(server: Started, vendor: str, title: str) -> ServerFacts:
    """What the lab knows of a server that it has started."""
    lab = lab_of(server.profile)
    return ServerFacts(
        vendor=vendor,
        title=title,
        version=server.version,
        tls_library=server.tls_library,
        user=server.user,
        idle_s=float(lab.idle) or None,
        notes=lab.notes or None,
    )


@asynccontextmanager
async def started(
    server: AbstractAsyncContextManager[Started], stop: trio.Event
) -> AsyncIterator[Started]:
    """The server, once it runs. Raises Interrupted, with nothing left, if stopped before that."""
    async with AsyncExitStack() as until_the_end:
        with plain_errors():
            running_now = await unless_stopped(
                stop,
                lambda: until_the_end.enter_async_context(server),
                "while a server was starting",
            )
        yield running_now
