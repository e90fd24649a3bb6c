"""The name of the server that a client asks for in its ClientHello (RFC 6066 section 3)."""

from __future__ import annotations

_CLIENT_HELLO = 1
_SERVER_NAME, _HOST_NAME = 0, 0


def server_name(body: bytes) -> str | None:
    """The host name in a ClientHello at the start of a handshake record; None without one.

    What is not a host name as one writes it (letters, digits, dots, hyphens, underscores) is
    nobody's name.
    """
    if body[:1] != bytes((_CLIENT_HELLO,)):
        return None
    at = 38
    for width in (1, 2, 1):  # session id, cipher suites, compression methods
        at += width + int.from_bytes(body[at : at + width], "big")
    at += 2
    while at + 4 <= len(body):
        kind, size = (int.from_bytes(body[i : i + 2], "big") for i in (at, at + 2))
        at += 4
        if kind == _SERVER_NAME:
            return _host_name(body[at : at + size])
        at += size
    return None


def _host_name(extension: bytes) -> str | None:
    """The first entry of the list, which has but one."""
    size = int.from_bytes(extension[3:5], "big")
    name = extension[5 : 5 + size]
    if extension[2:3] != bytes((_HOST_NAME,)) or len(name) != size or not name:
        return None
    allowed = all(chr(c).isalnum() or c in b"-._" for c in name)
    return name.decode("ascii").lower() if name.isascii() and allowed else None
