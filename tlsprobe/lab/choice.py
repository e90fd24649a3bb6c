"""Which vendors the lab deals with, and which of them are here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import trio

from tlsprobe.errors import UsageError
from tlsprobe.lab.availability import Availability, Presence, availability, lab_of
from tlsprobe.lab.paths_forward import is_forward
from tlsprobe.lab.vendor import versions
from tlsprobe.lab.versions import AT, folder_size, versions_named, versions_of
from tlsprobe.lab.workspace import tools_folder
from tlsprobe.model.profile import Profile
from tlsprobe.profiles import list_profiles, load_profile

AT_A_TIME = 4
"""How many servers are asked for their version at the same time."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The vendors to deal with, and those whose profiles cannot be read."""

    profiles: list[Profile]
    broken: dict[str, UsageError] = field(default_factory=dict)


def chosen(names: Sequence[str] | None, *, tunnels: bool = True) -> Chosen:
    """The vendors of these names, or all. Raises UsageError for what is no vendor.

    ``tunnels``: include vendors that are a path to another one. Where all are meant, a mistake in
    one profile does not stop the others.
    """
    if names:
        named = (one for name in names for one in _named(name))
        profiles = list({profile.name: profile for profile in named}.values())
        for profile in profiles:
            lab_of(profile)
        return Chosen(profiles)
    every = Chosen([])
    for name in list_profiles():
        try:
            profile = load_profile(name)
        except UsageError as error:
            every.broken[name] = error
            continue
        if profile.lab is not None and (tunnels or not is_forward(profile)):
            every.profiles.append(profile)
    return every


def with_versions(picked: Chosen) -> Chosen:
    """The same vendors, each with the versions that the lab can get of it."""
    profiles = [one for p in picked.profiles for one in (p, *versions_of(p))]
    return Chosen(profiles, picked.broken)


def _named(name: str) -> list[Profile]:
    return versions_named(name) if AT in name else [load_profile(name)]


@dataclass(frozen=True, slots=True)
class Listed:
    """A vendor, whether it can be started, and its version if so.

    ``size`` are the bytes that the lab keeps for it.
    """

    profile: Profile
    found: Availability
    version: str | None
    tls_library: str | None
    size: int = 0


async def listed(profiles: Sequence[Profile]) -> list[Listed]:
    """The vendors with their presence, in the order in which they were given."""
    found: dict[str, Listed] = {}
    at_a_time = trio.CapacityLimiter(AT_A_TIME)

    async def look(profile: Profile) -> None:
        async with at_a_time:
            known = _availability(profile)
            known_versions: tuple[str | None, str | None] = (None, None)
            if known.presence is Presence.HERE:
                known_versions = await versions(profile, known.program, tools_folder())
            size = folder_size(tools_folder() / profile.name)
            found[profile.name] = Listed(profile, known, *known_versions, size)

    async with trio.open_nursery() as nursery:
        for profile in profiles:
            nursery.start_soon(look, profile)
    return [found[profile.name] for profile in profiles]


def _availability(profile: Profile) -> Availability:
    try:
        return availability(profile, tools_folder())
    except UsageError as error:  # what it stands in front of is no vendor
        return Availability(Presence.MISSING, words=error.message)
