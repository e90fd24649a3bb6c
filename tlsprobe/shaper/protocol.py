"""What the shaper's process and its parent say to each other: a datagram a question and an answer.

The process is started with a `Setup` as its one argument, and answers an empty question when it is
ready. Then the parent asks, one `Order` at a time. A socket of the client's network comes with the
answer to OPEN; what the path has done to a connection with that to FORGET.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum

from tlsprobe.model.trace import PathDid, Shaped, Side

LARGEST = 1 << 17
"""Bytes that an answer has at most: all actions of a connection."""


class Do(StrEnum):
    """What the process can be asked to do, all but OPEN to a connection that it knows."""

    OPEN = "open"
    TREAT = "treat"
    HOLD_FIN = "hold-fin"
    RELEASE = "release"
    SHUT_WINDOW = "shut-window"
    OPEN_WINDOW = "open-window"
    MUTE = "mute"
    UNMUTE = "unmute"
    RESET = "reset"
    FORGET = "forget"


@dataclass(frozen=True, slots=True)
class Setup:
    """Between whom the shaper stands: ``server`` and ``ours`` are addresses, ``mtu`` in bytes.

    ``port`` is the server's; None: each connection goes to one of its own.
    """

    server: str
    port: int | None
    ours: str
    interface: str
    mtu: int


@dataclass(frozen=True, slots=True)
class Order:
    """One thing to do to the connection from ``port``.

    Of TREAT, ``how`` is the treatment of the offsets from ``start`` to ``end``, and ``count`` its
    number; of HOLD_FIN, ``count`` is a time in nanoseconds, of RESET a number of bytes.
    """

    do: Do
    port: int
    how: str = ""
    start: int = 0
    end: int = 0
    count: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an order; ``failure`` is empty where it was done."""

    failure: str = ""
    shaped: tuple[Shaped, ...] = ()


def written(value: Setup | Order | Answer) -> bytes:
    """A value as it is sent."""
    return json.dumps(asdict(value), separators=(",", ":")).encode()


def read_setup(data: str) -> Setup:
    """The Setup that was written so."""
    return Setup(**json.loads(data))


def read_order(data: bytes) -> Order:
    """The Order that was written so."""
    found = json.loads(data)
    return Order(**{**found, "do": Do(found["do"])})


def read_answer(data: bytes) -> Answer:
    """The Answer that was written so."""
    found = json.loads(data)
    return Answer(found["failure"], tuple(_shaped(found["shaped"])))


def _shaped(rows: Iterable[tuple[int, str, str, int, int]]) -> Iterator[Shaped]:
    for time_ns, did, side, start, end in rows:
        yield Shaped(time_ns, PathDid(did), Side(side), start, end)
