"""Addresses, ports and times as texts print them, whichever program printed the text."""

from __future__ import annotations

import socket
from datetime import datetime
from functools import lru_cache
from ipaddress import ip_address

from tlsprobe.captures.services import port_of_service

SECOND = 10**9
"""One second in nanoseconds."""


def packed(address: str) -> bytes | None:
    """The bytes of an address, None if the word is none."""
    try:
        return ip_address(address).packed
    except ValueError:
        return None


@lru_cache(maxsize=1024)
def port_of(name: str) -> int | None:
    """The port that a number or a service's name stands for; None if it is neither."""
    if name.isascii() and name.isdigit():
        return int(name) if len(name) <= 5 and int(name) <= 0xFFFF else None
    known = port_of_service(name)
    if known is not None:
        return known
    try:
        return socket.getservbyname(name, "tcp")
    except (OSError, UnicodeError, ValueError):
        return None


def nanoseconds(seconds: str, fraction: str) -> int:
    """Whole seconds and the digits behind their point, in nanoseconds."""
    return int(seconds) * SECOND + int(fraction[:9].ljust(9, "0"))


def clock_time(
    hour: str, minute: str, second: str, fraction: str, day: datetime | None
) -> tuple[str | None, int]:
    """What a time of day counts from and the time: "epoch" with its day, else "day" (midnight).

    None, and 0, for what no clock shows.
    """
    if int(hour) > 23 or int(minute) > 59 or int(second) > 60:
        return None, 0
    of_day = (int(hour) * 60 + int(minute)) * 60 * SECOND + nanoseconds(second, fraction)
    if day is None:
        return "day", of_day
    return "epoch", max(int(day.timestamp()) * SECOND + of_day, 0)
