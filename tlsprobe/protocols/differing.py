"""What is different on each connection: a number, and letters that nobody has used before."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from itertools import count
from typing import TypeVar

OWN = ("n", "random")
"""The placeholders: ``{n}`` counts connections, ``{random}`` is 16 hexadecimal digits."""

T = TypeVar("T")


def on_each(made: Callable[[dict[str, str]], T]) -> Callable[[], T]:
    """What is ``made`` with new values for OWN each time. Made once before, for its errors."""
    numbers = count(1)
    made(dict.fromkeys(OWN, "0"))
    return lambda: made({"n": str(next(numbers)), "random": secrets.token_hex(8)})
