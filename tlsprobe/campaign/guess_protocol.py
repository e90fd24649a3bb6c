"""What a server speaks, where its port does not tell.

Most of what listens on odd ports speaks HTTP. One connection shows it: a server that gives a whole
response to a GET is probed as one of HTTP; any other is probed for its TLS alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tlsprobe.campaign.reach import CHECK, reach
from tlsprobe.campaign.settings import RunSettings, Settings
from tlsprobe.drive.script import drive
from tlsprobe.errors import CannotMeasure
from tlsprobe.model.profile import Profile
from tlsprobe.model.protocols import UNKNOWN
from tlsprobe.model.target import Login, Target
from tlsprobe.profiles import load_profile
from tlsprobe.protocols import make_conversation

HTTP = "https"
"""The profile of servers of which no more is known than that it is HTTP."""

_PATIENCE_S = 3.0
"""Seconds for the answer to a GET, at most; a server of another protocol may never give one."""


async def recognised(asked: RunSettings, tell: Callable[[str], None]) -> RunSettings:
    """The same with the profile of HTTP for unknown servers that speak it.

    It is named in the command, so that a run that is gone on with need not look again.
    """
    targets = [await recognise(*pair, asked.each, tell) for pair in asked.targets]
    named = len(targets) == 1 and targets[0] != asked.targets[0]
    command = (*asked.command, "--profile", HTTP) if named else asked.command
    return replace(asked, targets=tuple(targets), command=command)


async def recognise(
    target: Target, profile: Profile, settings: Settings, tell: Callable[[str], None]
) -> tuple[Target, Profile]:
    """A target with the profile that fits it."""
    if profile.name != UNKNOWN or not await speaks_http(target, settings):
        return target, profile
    tell(f"{target.name} answered a GET: it is probed as a server of HTTP")
    http = load_profile(HTTP)
    return replace(target, profile=http.name, protocol=http.protocol), http


async def speaks_http(target: Target, settings: Settings) -> bool:
    """Whether the server gives a whole response to a GET, in some TLS version."""
    http = load_profile(HTTP)
    name = settings.identity.sni or target.host
    converse = make_conversation(http, name, Login(), target.port)
    patience = replace(settings.patience, server=min(settings.patience.server, _PATIENCE_S))
    try:
        reached = await reach(target, converse, replace(settings, patience=patience))
    except CannotMeasure:
        return False
    for route in reached.routes.values():
        found = await drive(route, CHECK)
        if found.answered:
            return True
    return False
