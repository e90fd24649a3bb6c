"""A target as people write it, and the profile that its port stands for."""

from __future__ import annotations

import re

from tlsprobe.errors import UsageError
from tlsprobe.model.profile import Profile
from tlsprobe.model.protocols import UNKNOWN
from tlsprobe.model.target import Target, endpoint
from tlsprobe.profiles.guess import profile_for_port


def parse_target(text: str, profile: Profile, name: str = "") -> Target:
    """``HOST:PORT``, ``[IPv6]:PORT`` or a host alone; called by a ``name``, if it has one.

    Raises UsageError.
    """
    match = re.fullmatch(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:\[\]]+))(?::(?P<port>\d+))?", text)
    if match is None or not text.isprintable() or len(text.split()) > 1:
        hint = "write HOST:PORT, with an IPv6 address in brackets: [::1]:5432"
        raise UsageError(f"cannot read the target {text!r}", hint)
    host = match["v6"] or match["host"]
    port = int(match["port"] or profile.port)
    if not 0 < port < 2**16:
        raise UsageError(f"the port in '{text}' is not between 1 and 65535")
    return Target(name or endpoint(host, port), host, port, profile.name, profile.protocol)


def guess_profile(text: str) -> str:
    """The profile of a target's port, see `profile_for_port`; ``https`` where it names none."""
    port = text.rpartition(":")[2] if ":" in text and not text.endswith("]") else "443"
    return profile_for_port(int(port)) if port.isdecimal() else UNKNOWN
