"""What the connections of one run have in common: where they go, and how long they wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from tlsprobe.drive.tcp import Address, Announce, unannounced
from tlsprobe.model.sequence import Signal
from tlsprobe.model.target import Ports
from tlsprobe.protocols.conversation import Conversation
from tlsprobe.shaper.link import Shaper
from tlsprobe.tls import TlsContext


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, in seconds: for the server, for its idle timeout, for stray packets.

    ``answer`` is for what a server that works always gives: its handshake, greeting and responses.
    Only for how it ends a connection is ``server`` enough, where that is less.
    """

    server: float = 10.0
    idle: float = 75.0
    tail: float = 0.05
    answer: float = 0.0


@dataclass(frozen=True, slots=True)
class Route:
    """Everything that the connections of one run in one TLS version have in common.

    ``announce`` is told our end of each connection, and the server's port, before its first packet
    can have been seen; ``tickets`` is how many TLS 1.3 tickets this server sends unasked;
    ``namespace`` is the network namespace to connect from, empty for our own; ``ports`` are those
    to connect from, None: any.
    With a ``shaper`` the connections go through it. ``signal`` tells the server's process something
    and gives the name of the signal that it was; it raises OSError where there is no such process.
    ``behind`` says which program on this machine passes the connections on, or may.
    """

    address: Address
    server: tuple[str, int]
    tls: TlsContext
    converse: Callable[[], Conversation]
    patience: Patience
    announce: Announce = unannounced
    tickets: int = 0
    namespace: str = ""
    ports: Ports | None = None
    shaper: Shaper | None = None
    signal: Callable[[Signal], str] | None = None
    behind: str = ""

    @property
    def aside(self) -> Route:
        """The same for a connection that is not judged: nobody looks at its packets."""
        return replace(self, announce=unannounced, shaper=None)
