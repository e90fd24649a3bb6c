"""Which profile a server gets of which nobody said one: the one of the protocol of its port."""

from __future__ import annotations

from functools import cache

from tlsprobe.model.protocols import HTTP, UNKNOWN
from tlsprobe.profiles import load_profile, profiles_with_port

_HTTPS = frozenset({443, 8443})


@cache
def profile_for_port(port: int) -> str:
    """The protocol whose port this is, by its profile; ``raw`` where the port tells nothing.

    A port names a protocol and no vendor: one that is like another does not count, nor one of the
    many servers of HTTP, which may listen anywhere.
    """
    if port in _HTTPS:
        return "https"
    known = [load_profile(name) for name in profiles_with_port(port)]
    others = [profile for profile in known if profile.protocol not in HTTP]
    names = [profile.name for profile in others if profile.like is None]
    return names[0] if len(names) == 1 else UNKNOWN
