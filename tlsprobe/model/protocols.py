"""What the judge, the reports and the readers of captures ask of a protocol that they do not speak.

They know it by its name in the registry. Everything else about a protocol is in its entry there,
beside its adapter, which imports more than they may.
"""

from __future__ import annotations

UNKNOWN = "raw"
"""The protocol, and the profile, of a server of which nobody knows what it speaks."""

HTTP = frozenset({"http1", "http2"})
"""The versions of HTTP, which have proxies in between, and ask again over a fresh connection."""

ASKED_ELSEWHERE = frozenset({"ftps"})
"""Whose data nothing on the same connection asks for: it answers none of the peer's bytes."""

SENDER_ENDS = frozenset({"http2"})
"""Whose goodbye leaves it to its sender to end the connection (GOAWAY: RFC 9113 section 6.8)."""

ASKS_FOR_TLS = {"postgres": (8, 1)}
"""Those that ask for TLS in bytes of a known number, and how many bytes answer them."""

GOODBYE_PORTS = frozenset({25, 110, 143, 389, 465, 587, 636, 993, 995, 1883, 3306, 5432})
"""Ports of protocols that are not HTTP and say goodbye before they end."""

NO_HTTP_PORTS = GOODBYE_PORTS | {21, 22, 23, 88, 119, 139, 445, 1433, 1521, 1723, 3268, 3269, 3389}
"""Those, and ports of others that no proxy of HTTP stands in front of."""


def may_be_http(protocol: str) -> bool:
    """Whether it is HTTP, or nothing is known of it."""
    return protocol in HTTP or protocol in {"", UNKNOWN}
