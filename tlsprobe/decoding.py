"""Decodes JSON into our types, from any number of threads.

msgspec learns a type when it is first asked to decode into it, and leaves what it has learnt at the
class while it is still at it. A thread that decodes into a part of that type meanwhile ends the
process (SIGSEGV). So nothing is learnt but here, by one thread at a time.
"""

from __future__ import annotations

import threading
from functools import cache
from typing import Any

import msgspec

_LEARNING = threading.RLock()


def decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """What decodes JSON into a type; one for each type."""
    with _LEARNING:
        return _learnt(kind)


def converted(value: object, kind: Any) -> Any:
    """A value of JSON as one of a type. Raises msgspec.ValidationError."""
    decoder(kind)
    return msgspec.convert(value, kind)


@cache
def _learnt(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)
