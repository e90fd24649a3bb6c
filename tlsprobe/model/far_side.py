"""What a capture behind a router tells of a connection that one before it has seen, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class ResetNumbers(NamedTuple):
    """What names an RST on both sides of a router: its offsets, as a segment has them."""

    start: int
    ack: int | None


class Renaming(NamedTuple):
    """That a connection went on under another name on the far side of a router.

    It reached the server as ``before``; packet ``packet`` of the far capture came from ``after``,
    which had never shaken hands, and drew the RST in packet ``reset`` (None: nothing did).
    """

    before: str
    after: str
    packet: int
    reset: int | None


@dataclass(frozen=True, slots=True)
class FarFact:
    """What captures on both sides of a router tell of one connection.

    ``client`` is its end on our side, ``began_ns`` the time of its SYN there. ``sent`` are RSTs of
    the server that passed both sides, ``made`` those that came out on ours alone: the server never
    sent them. ``swallowed`` counts packets of the client that did not come out on the far side.
    """

    client: str
    began_ns: int
    sent: tuple[ResetNumbers, ...] = ()
    made: tuple[ResetNumbers, ...] = ()
    renaming: Renaming | None = None
    swallowed: int = 0
