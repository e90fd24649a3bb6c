"""The options of a TCP header: which there are, and the one whose value matters here.

Source: RFC 9293 section 3.1, RFC 7323 (window scale, timestamps).
"""

from __future__ import annotations

END, PADDING, WINDOW_SCALE, TIMESTAMPS = 0, 1, 3, 8

USUAL_START, USUAL_BYTES = b"\x01\x01\x08\x0a", 12
USUAL = bytes((PADDING, PADDING, TIMESTAMPS))
"""What nearly every segment carries that carries any: timestamps, and padding to twelve bytes."""


def read_options(options: bytes) -> tuple[bytes, int | None]:
    """The kinds in their order, padding included, and the shift count of a window scale.

    A list that is broken is read up to where it breaks.
    """
    kinds = bytearray()
    scale = None
    at, behind = 0, len(options)
    while at < behind:
        kind = options[at]
        kinds.append(kind)
        if kind == END:
            break
        if kind == PADDING:
            at += 1
            continue
        size = options[at + 1] if at + 1 < behind else 0
        if size < 2:
            break
        if kind == WINDOW_SCALE and size == 3 and at + 2 < behind:
            scale = options[at + 2]
        at += size
    return bytes(kinds), scale
