"""By what and on what a measurement is made."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

from tlsprobe.model.run import HostFacts, Tool
from tlsprobe.model.target import Target
from tlsprobe.tls import OPENSSL_VERSION
from tlsprobe.version import VERSION

TOOL = Tool("tlsprobe", VERSION)
"""What measures: this tlsprobe."""

_START_TIME = 19
"""The field of ``stat`` with the start time, counted from the one behind the process's name."""


def this_host() -> HostFacts:
    """The machine that measures, and the libraries that do it."""
    python = platform.python_version()
    return HostFacts(platform.system(), platform.release(), python, OPENSSL_VERSION)


def machine_load(minutes: int) -> str:
    """The load of this machine over 1, 5 or 15 minutes: ``0.6 on 2 processors``."""
    load = os.getloadavg()[(1, 5, 15).index(minutes)]
    return f"{load:.1f} on {os.cpu_count() or 1} processors"


def where_reached(target: Target, address: str) -> tuple[str, ...]:
    """A note of the address behind a name; none where the target is that address."""
    return (f"{target} was reached at {address}",) if address != str(target) else ()


def process_age() -> float:
    """Seconds since this process was started (proc(5), stat); 0 where the kernel does not tell."""
    try:
        fields = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        started = int(fields[_START_TIME]) / os.sysconf("SC_CLK_TCK")
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started)
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0
