"""What the Info column says that a segment carries, for what tells how a TLS connection ends.

Source: Wireshark's packet-tls.c, the record types and messages that it lists in the Info column.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tlsprobe.model.alerts import alert_number
from tlsprobe.model.trace import RecordKind

_TLS = re.compile(r"(?:TLS|SSL)(?:v(?P<version>1(?:\.[0-3])?|2|3))?", re.IGNORECASE)
_ALERT = re.compile(
    r"\bAlert \(Level: (?P<level>Warning|Fatal), Description: (?P<description>[A-Za-z ]{3,60})\)",
    re.IGNORECASE,
)
_SEALED_ALERT = re.compile(r"\bEncrypted Alert\b", re.IGNORECASE)
_LEVELS = {"warning": 1, "fatal": 2}
_DATA = re.compile(r"\bApplication Data\b", re.IGNORECASE)
_HELLO = re.compile(r"\b(?:Client|Server) Hello\b|\bHello Retry Request\b", re.IGNORECASE)
_HANDSHAKE = re.compile(
    r"\bCertificate\b|\bKey Exchange\b|\bChange Cipher Spec\b|\bHandshake Message\b|\bFinished\b"
    r"|\bNew Session Ticket\b|\bEncrypted Extensions\b|\bHello Request\b",
    re.IGNORECASE,
)


class Carried(NamedTuple):
    """What a text calls the contents of a segment.

    ``kind`` is HANDSHAKE, DATA or ALERT, the latter also for a close_notify; ``alert`` is
    ``(level, description)`` where the text names it. ``behind`` says that an alert stands behind
    other records in the same segment. ``tls`` is the version, "1.2" or "1.3", if it is told.
    """

    kind: RecordKind
    alert: tuple[int, int] | None = None
    behind: bool = False
    tls: str | None = None


def carried(protocol: str, info: str) -> Carried | None:
    """What a line of a packet list says of its contents, None if nothing that TLS knows."""
    speaks = _TLS.fullmatch(protocol)
    if speaks is None:
        return None
    tls = speaks["version"] if speaks["version"] in {"1.2", "1.3"} else None
    data, named = _DATA.search(info), _ALERT.search(info)
    if named is not None:
        number = alert_number(named["description"])
        alert = None if number is None else (_LEVELS[named["level"].lower()], number)
        return Carried(RecordKind.ALERT, alert, data is not None, tls)
    if _SEALED_ALERT.search(info):
        return Carried(RecordKind.ALERT, None, data is not None, tls)
    if _HELLO.search(info) or (_HANDSHAKE.search(info) and data is None):
        return Carried(RecordKind.HANDSHAKE, tls=tls)
    return Carried(RecordKind.DATA, tls=tls) if data is not None else None
