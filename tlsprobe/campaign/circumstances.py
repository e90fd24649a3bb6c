"""By what and on what a measurement is made."""

from __future__ import annotations

import platform

from tlsprobe.model.run import HostFacts, Tool
from tlsprobe.model.target import Target
from tlsprobe.tls import OPENSSL_VERSION
from tlsprobe.version import VERSION

TOOL = Tool("tlsprobe", VERSION)
"""What measures: this tlsprobe."""


def this_host() -> HostFacts:
    """The machine that measures, and the libraries that do it."""
    python = platform.python_version()
    return HostFacts(platform.system(), platform.release(), python, OPENSSL_VERSION)


def where_reached(target: Target, address: str) -> tuple[str, ...]:
    """A note of the address behind a name; none where the target is that address."""
    return (f"{target} was reached at {address}",) if address != str(target) else ()
