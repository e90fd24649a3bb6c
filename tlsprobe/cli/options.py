"""What the words of a command line mean, where several commands take the same ones."""

from __future__ import annotations

import os
import re

from tlsprobe.errors import UsageError
from tlsprobe.model.profile import Profile
from tlsprobe.model.target import Target, endpoint
from tlsprobe.profiles import list_profiles, load_profile


def parse_target(text: str, profile: Profile) -> Target:
    """``HOST:PORT``, ``[IPv6]:PORT`` or a host alone. Raises UsageError."""
    match = re.fullmatch(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:\[\]]+))(?::(?P<port>\d+))?", text)
    if match is None:
        hint = "write HOST:PORT, and an IPv6 address in brackets: [::1]:5432"
        raise UsageError(f"cannot read the target '{text}'", hint)
    host = match["v6"] or match["host"]
    port = int(match["port"] or profile.port)
    if not 0 < port < 2**16:
        raise UsageError(f"the port in '{text}' is not between 1 and 65535")
    return Target(endpoint(host, port), host, port, profile.name, profile.protocol)


def guess_profile(text: str) -> str:
    """The profile whose default port this is; ``https`` where several share it, else ``raw``.

    One that is like another does not count: nothing is known of the vendor.
    """
    port = text.rpartition(":")[2] if ":" in text and not text.endswith("]") else "443"
    known = [profile for profile in map(load_profile, list_profiles()) if profile.like is None]
    names = [profile.name for profile in known if str(profile.port) == port]
    if "https" in names or port in {"8443", "443"}:
        return "https"
    return names[0] if len(names) == 1 else "raw"


def password_in(variable: str | None) -> str | None:
    """The value of an environment variable that has to be there. Raises UsageError."""
    if variable is None:
        return None
    if variable not in os.environ:
        hint = f"set it for this command only: {variable}=... tlsprobe ..."
        raise UsageError(f"--password-env: there is no environment variable {variable}", hint)
    return os.environ[variable]


def must_be_one_of(option: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises UsageError for a value that is none of the choices."""
    if value not in choices:
        raise UsageError(f"{option} '{value}' is not one of {', '.join(choices)}")
