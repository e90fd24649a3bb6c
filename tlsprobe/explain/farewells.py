"""Last words that are in the open: a protocol's goodbye, which nobody waits to be answered.

The words are those of the line protocols (QUIT of SMTP, FTP, POP3, NNTP, IRC and Redis, LOGOUT of
IMAP, and what servers of these say last), the end of an XMPP stream (RFC 6120 section 4.4),
WebSocket's Close (RFC 6455 section 5.5.1), GOAWAY of HTTP/2 (RFC 9113 section 6.8), PostgreSQL's
Terminate, MySQL's COM_QUIT, MQTT's DISCONNECT and LDAP's unbind request.
"""

from __future__ import annotations

import re

_LINE = re.compile(
    rb"(?:(?:\*1\r\n\$4\r\n)?QUIT(?: [^\r\n]{0,100})?|[\w.]{1,20} LOGOUT|</stream:stream>"
    rb"|(?:(?:205|221|421)[ -]|\* BYE)[^\r\n]{0,100})\s{0,2}",
    re.IGNORECASE,
)
_BINARY = re.compile(
    rb"X\0\0\0\x04|\x01\0\0\0\x01|\xe0\0"
    rb"|0(?:\x84\0\0\0)?[\x05-\x08]\x02[\x01-\x04][\0-\x7f].{0,3}\x42\0",
    re.DOTALL,
)
"""Terminate, COM_QUIT, DISCONNECT, and an unbind request, whose length Windows writes at length."""
_CLOSE, _MASKED = 0x88, 0x80
_CLOSE_HEAD, _MASK_BYTES = 2, 4
_FRAME_HEAD, _GOAWAY_TYPE, _GOAWAY_BYTES = 9, 7, 8


def says_farewell(words: bytes) -> bool:
    """Whether a segment's bytes are a goodbye, and nothing else."""
    told = _LINE.fullmatch(words) or _BINARY.fullmatch(words)
    return told is not None or _is_close(words) or _is_goaway(words)


def _is_close(words: bytes) -> bool:
    """WebSocket's Close, masked where a client sends it; its reason is short."""
    if len(words) < _CLOSE_HEAD or words[0] != _CLOSE:
        return False
    mask = _MASK_BYTES if words[1] & _MASKED else 0
    return len(words) == _CLOSE_HEAD + mask + (words[1] & ~_MASKED)


def _is_goaway(words: bytes) -> bool:
    if len(words) < _FRAME_HEAD + _GOAWAY_BYTES or words[3] != _GOAWAY_TYPE:
        return False
    return int.from_bytes(words[:3], "big") == len(words) - _FRAME_HEAD and not any(words[4:9])
