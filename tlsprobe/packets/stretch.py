"""Packets of one connection, in order, as columns of numbers: what a large capture is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

from tlsprobe.packets.options import USUAL
from tlsprobe.packets.packet import Packet

if TYPE_CHECKING:
    from numpy.typing import NDArray

KINDS = b"", USUAL
"""The TCP options of a plain packet, without and with timestamps."""

_new = tuple.__new__


class Fields(NamedTuple):
    """The fields of plain packets by name; a row is a packet.

    The payload lies from ``begin`` to ``behind`` in a buffer. ``way`` tells the packets of the two
    directions of a connection apart, ``stamped`` those with the usual options.
    """

    number: NDArray[Any]
    time_ns: NDArray[Any]
    key: NDArray[Any]
    seq: NDArray[Any]
    ack: NDArray[Any]
    flags: NDArray[Any]
    window: NDArray[Any]
    length: NDArray[Any]
    begin: NDArray[Any]
    behind: NDArray[Any]
    ttl: NDArray[Any]
    ip_id: NDArray[Any]
    df: NDArray[Any]
    stamped: NDArray[Any]
    way: NDArray[Any]

    def at(self, rows: NDArray[Any] | slice) -> Fields:
        """These rows."""
        return Fields(*(column[rows] for column in self))


@dataclass(slots=True, eq=False)
class Stretch:
    """Packets of a connection that follow each other and have nothing about them.

    They are plain, captured whole and once, and neither open nor end anything.
    """

    fields: Fields
    buffer: bytes
    _payloads: list[bytes] = field(default_factory=list)

    @property
    def key(self) -> bytes:
        """The `flow_key` of the first one."""
        key: bytes = self.fields.key[0].tobytes()
        return key

    @property
    def payloads(self) -> list[bytes]:
        """The payload of each."""
        if not self._payloads:
            places = zip(self.fields.begin.tolist(), self.fields.behind.tolist(), strict=True)
            self._payloads = [self.buffer[begin:behind] for begin, behind in places]
        return self._payloads

    def packets(self) -> Iterator[Packet]:
        """One by one."""
        return packets(self.fields, self.buffer, repeat(object=False))


def packets(fields: Fields, buffer: bytes, copies: Iterable[bool]) -> Iterator[Packet]:
    """The packets of all rows, of which some are ``copies``."""
    columns = (column.tolist() for column in fields[:-1])
    for (
        number, time_ns, key, seq, ack, flags, window, length, begin, behind, ttl, ip_id, df,
        stamped, copy,
    ) in zip(*columns, copies, strict=False):  # fmt: skip
        yield _new(Packet, (
            number, time_ns, key, seq, ack, flags, window, length, buffer[begin:behind], ttl,
            ip_id, stamped, df, None, KINDS[stamped], 0, False, copy, "",
        ))  # fmt: skip
