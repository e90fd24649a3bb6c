"""Addresses, ports and times as texts print them, whichever program printed the text."""

from __future__ import annotations

import socket
from datetime import datetime
from functools import lru_cache
from ipaddress import ip_address

SECOND = 10**9
"""One second in nanoseconds."""

# The names that a program prints depend on its machine's table; these are the same everywhere.
_SERVICES = {
    **{"ssh": 22, "smtp": 25, "domain": 53, "http": 80, "pop3": 110, "imap2": 143, "imap": 143},
    **{"ldap": 389, "https": 443, "submissions": 465, "urd": 465, "submission": 587, "ldaps": 636},
    **{"imaps": 993, "pop3s": 995, "mysql": 3306, "postgresql": 5432, "amqp": 5672, "amqps": 5671},
    **{"redis": 6379, "http-alt": 8080, "https-alt": 8443, "secure-mqtt": 8883, "mqtt": 1883},
    **{"ftp": 21, "ftps": 990, "sip-tls": 5061, "ms-sql-s": 1433, "webcache": 8080},
    **{"telnet": 23, "kerberos": 88, "sunrpc": 111, "nntp": 119, "netbios-ssn": 139, "bgp": 179},
    **{"microsoft-ds": 445, "nfs": 2049, "ms-wbt-server": 3389, "sip": 5060, "ircd": 6667},
    **{"http-proxy": 3128, "kafka": 9092, "mongodb": 27017},
}

SERVICE_PORTS = frozenset(_SERVICES.values())
"""Ports that hardly any client has."""


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
    if name in _SERVICES:
        return _SERVICES[name]
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
