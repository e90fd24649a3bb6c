"""Whether an input is text, and how it is encoded, told from how it begins.

Apart from what reads text: a capture file is recognised without its many patterns.
"""

from __future__ import annotations

import codecs

_UTF16 = codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE


def is_text(head: bytes) -> bool:
    """Whether an input that begins like this is text."""
    if head.startswith(_UTF16):
        return True
    odd = sum(head.count(byte) for byte in range(32) if byte not in b"\t\n\r\f\b\x1b")
    return bool(head) and odd * 100 <= len(head) and b"\0" not in head


def encoding(head: bytes) -> str:
    """What a text that begins like this is encoded in."""
    return "utf-16" if head.startswith(_UTF16) else "utf-8"
