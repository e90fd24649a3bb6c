"""Recognises a connection whose client was rewritten on the way: lost NAT state.

A box that translates addresses and forgets a connection gives its next packet another source. The
server then sees a segment from a port that never did a handshake, and answers with a bare RST. But
sequence numbers are drawn at random from 2**32 for each direction, so a stranger that carries on
with both numbers of a known connection *is* that connection, under another name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from tlsprobe.model.knowledge import NatEntry, Rewritten

_WRAP = 1 << 32
_HALF = 1 << 31
REACH = 1 << 16
"""So far behind what is known the stranger's numbers may lie: a retransmission, a probe."""


class NatIndex:
    """Connections that a stranger may turn out to be, found by either of their numbers."""

    def __init__(self, known: Iterable[NatEntry] = ()) -> None:
        self._by_server_next: defaultdict[tuple[str, int], list[NatEntry]] = defaultdict(list)
        self._by_client_next: defaultdict[tuple[str, int], list[NatEntry]] = defaultdict(list)
        for entry in known:
            self.add(entry)

    def add(self, entry: NatEntry) -> None:
        """Makes a connection known."""
        server = entry.server
        self._by_server_next[server, entry.server_next % _WRAP].append(entry)
        self._by_client_next[server, entry.client_next % _WRAP].append(entry)

    def continued_by(self, client: str, server: str, seq: int, ack: int) -> Rewritten | None:
        """Whose connection a segment from ``client`` goes on with, if anybody else's.

        One number must match to the byte (a keepalive probe is one behind), the other within
        ``REACH``: by chance that happens once in 2**47.
        """
        candidates = (
            *self._by_server_next.get((server, ack % _WRAP), ()),
            *self._by_client_next.get((server, seq % _WRAP), ()),
            *self._by_client_next.get((server, (seq + 1) % _WRAP), ()),
        )
        for known in candidates:
            if known.client != client and _continues(known, seq, ack):
                return Rewritten(known, client)
        return None


def continued(
    client: str, server: str, seq: int, ack: int, known: Iterable[NatEntry]
) -> Rewritten | None:
    """`NatIndex.continued_by` for a handful of connections."""
    return NatIndex(known).continued_by(client, server, seq, ack)


def _continues(known: NatEntry, seq: int, ack: int) -> bool:
    return all(
        -REACH <= _distance(number, following) <= REACH
        for number, following in ((seq, known.client_next), (ack, known.server_next))
    )


def _distance(number: int, other: int) -> int:
    """How far ``number`` is ahead of ``other``, the short way round."""
    return (number - other + _HALF) % _WRAP - _HALF
