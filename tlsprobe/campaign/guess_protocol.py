"""What a server speaks, where its port does not tell.

Most of what listens on odd ports speaks HTTP. A connection in each TLS version shows it: a server
that gives a whole response to a GET is probed as one of HTTP; any other is probed for its TLS
alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from tlsprobe.campaign.reach import look
from tlsprobe.campaign.settings import RunSettings, Settings, TargetSettings
from tlsprobe.errors import CannotMeasure
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

    It is named in the command, so that a run that is gone on with need not look again. The
    connections that it took are counted.
    """
    targets = [await _recognised(one, tell) for one in asked.targets]
    named = len(targets) == 1 and targets[0].profile != asked.targets[0].profile
    command = (*asked.command, "--profile", HTTP) if named else asked.command
    return replace(asked, targets=tuple(targets), command=command)


async def _recognised(one: TargetSettings, tell: Callable[[str], None]) -> TargetSettings:
    if not one.is_guessed or one.profile.name != UNKNOWN:
        return one
    guessed = await guess(one.target, one.how)
    looked = replace(one, how=replace(one.how, spent=guessed.connections))
    return _as_http(looked, tell) if guessed.speaks_http else looked


def _as_http(one: TargetSettings, tell: Callable[[str], None]) -> TargetSettings:
    tell(f"{one.target.name} answered a GET: it is probed as a server of HTTP")
    http = load_profile(HTTP)
    target = replace(one.target, profile=http.name, protocol=http.protocol)
    return replace(one, target=target, profile=http)


class Guess(NamedTuple):
    """Whether a server gives a whole response to a GET in some TLS version, and what it took."""

    speaks_http: bool
    connections: int


async def guess(target: Target, settings: Settings) -> Guess:
    """Ask a server whether it speaks HTTP."""
    http = load_profile(HTTP)
    name = settings.identity.sni or target.host
    converse = make_conversation(http, name, Login(), target.port)
    patience = replace(settings.patience, server=min(settings.patience.server, _PATIENCE_S))
    try:
        reached = await look(target, converse, replace(settings, patience=patience))
    except CannotMeasure:
        return Guess(speaks_http=False, connections=0)
    answered = any(check.worked and check.answered for check in reached.checks)
    return Guess(answered, len(reached.checks))
