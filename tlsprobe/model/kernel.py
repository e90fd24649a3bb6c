"""An RST in the words of the kernel that sent it: what a witness on the server's machine tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from tlsprobe.model.causes import Cause
from tlsprobe.model.trace import Side

Endpoint = tuple[str, int]
"""IP address and port. The kernel's "I do not know" is an unspecified address and port 0."""


@dataclass(frozen=True, slots=True)
class Reason:
    """What is known of a reason of the kernel for a reset.

    ``state`` is the only state of the socket in which it means what the causes say of it; None:
    any. ``decides``: it is one of ``tcp_send_active_reset``; all others are of the functions that
    answer a segment.
    """

    state: str | None = None
    decides: bool = False


# Which cause has which reason is a column of the table of causes. Each was provoked on Linux 6.18
# with plain sockets (the tests do it), but for TCP_ABORT_ON_MEMORY.
REASONS: Mapping[str, Reason] = {
    # __tcp_close with a receive queue. The socket is TCP_CLOSE by then, so whether its FIN had
    # gone out before cannot be told. Checked before linger, which is never reached.
    "TCP_ABORT_ON_CLOSE": Reason(decides=True),
    # tcp_disconnect: linger 0, connect(AF_UNSPEC), a listener's connections that nobody accepted
    # (with data or without), and `ss --kill`.
    "TCP_STATE": Reason(decides=True),
    # The same when the peer had closed and so had we, with data still unsent.
    "TCP_DISCONNECT_WITH_DATA": Reason(decides=True),
    # TCP_LINGER2 below 0 when close() finds FIN_WAIT2.
    "TCP_ABORT_ON_LINGER": Reason(decides=True),
    # The kernel tears down with nothing unread: too many orphans, or keepalive probes that nobody
    # answers. No word of their own, since packets do not tell them apart.
    "TCP_ABORT_ON_MEMORY": Reason(decides=True),
    "TCP_KEEPALIVE_TIMEOUT": Reason(decides=True),
    # FIN acknowledged, then our data: close() has left a minisocket that takes none.
    "TCP_TIMEWAIT_SOCKET": Reason(state="TCP_TIME_WAIT"),
    # Our data before the FIN was acknowledged; or, with TCP_LINGER2 below 0, a mere
    # acknowledgement of it, which is an abort that the server asked for.
    "TCP_ABORT_ON_DATA": Reason(),
    # Nothing has these four numbers and nothing listens; the answer to a SYN looks no different
    # here. After data-after-close the first RST removes the socket, so a second one says this.
    "NO_SOCKET": Reason(state="UNKNOWN"),
    # An ACK reached the listening socket, for want of a connection with these four numbers.
    "TCP_FLAGS": Reason(state="TCP_LISTEN"),
}
"""The reasons that have a meaning here."""


def causes_of(reason: str, state: str) -> frozenset[Cause]:
    """The causes that a reason leaves open, ``UNKNOWN`` alone if it has no meaning here."""
    known = REASONS.get(reason)
    if known is None or known.state not in {None, state}:
        return frozenset({Cause.UNKNOWN})
    return frozenset(cause for cause in Cause if reason in cause.row.kernel)


@dataclass(frozen=True, slots=True)
class KernelReset:
    """One RST as the kernel that sent it tells it.

    ``time_ns`` is on the real-time clock, the clock of packet timestamps, to the nearest
    microsecond; it lies some microseconds before the packet's for an answer to a segment, and up to
    a hundred after it for a decision (measured on loopback: 1 to 11 before, 1 to 102 after).
    ``state`` and ``reason`` are the kernel's words; ``state`` is ``UNKNOWN`` where no socket was
    found, and ``TCP_CLOSE`` for a socket that the kernel closed before it sent the RST, whatever
    its state was until then.

    A RST that a listening socket answers with carries that socket's addresses: ``dst`` is
    unspecified with port 0, and so is the address of ``src`` if it listens on all of them.
    """

    time_ns: int
    src: Endpoint
    dst: Endpoint
    state: str
    reason: str

    @property
    def passive(self) -> bool:
        """Whether it answers a segment, rather than carry out a decision of this side."""
        known = REASONS.get(self.reason)
        return known is None or not known.decides

    def sent_by(self, endpoint: Endpoint) -> bool:
        """Whether this endpoint sent it, a socket listening on all addresses included."""
        return _may_be(self.src, endpoint)

    def side(self, server: Endpoint) -> Side | None:
        """Which side of a connection to ``server`` sent it; None if it belongs to another."""
        if self.sent_by(server):
            return Side.SERVER
        return Side.CLIENT if self.dst == server else None

    def concerns(self, server: Endpoint) -> bool:
        """Whether it can be of a connection to this server, in either direction."""
        return self.side(server) is not None

    def belongs_to(self, client: Endpoint, server: Endpoint) -> bool:
        """Whether it can be of this connection, in either direction.

        A listener's RST does not name its client, and so can be of any connection to the server.
        """
        forth = _may_be(self.src, server) and _may_be(self.dst, client)
        back = _may_be(self.src, client) and _may_be(self.dst, server)
        return forth or back


def _may_be(printed: Endpoint, asked: Endpoint) -> bool:
    """Whether what the kernel printed is, or leaves open that it is, the endpoint asked for."""
    same_port = printed[1] in (asked[1], 0)
    same_address = printed[0] == asked[0] or ip_address(printed[0]).is_unspecified
    return same_port and same_address
