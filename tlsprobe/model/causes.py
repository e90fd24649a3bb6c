"""Why an RST was sent: the table of causes.

A cause is one row here: its word, what it means, whom it hurts and what helps on either side, the
kernel's own reasons for it, and the causes that it can be taken for. How it is recognised from
packets is a row of ``judge.causes.table``; a test holds that every cause has one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from tlsprobe.model.trace import Side


class Party(StrEnum):
    """Whom a piece of advice is for."""

    SERVER = "Server"
    CLIENT = "Client"
    BROKER = "Broker"
    POOLER = "Pooler or proxy in between"
    FORWARDER = "Forwarder"
    PATH = "Path"
    METRICS = "Metrics"
    ANYBODY = ""


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing that helps, as a sentence for one party.

    ``tried_by`` names sequences of the catalogue whose client does as it says: how the server takes
    them tells whether it helps.
    """

    party: Party
    text: str
    tried_by: tuple[str, ...] = ()

    def __str__(self) -> str:
        """With the party in front, where it is for one."""
        return f"{self.party}: {self.text}" if self.party else self.text


def is_for(party: Party, sentence: str) -> bool:
    """Whether a piece of advice, as a sentence, is for this party."""
    return sentence.startswith(f"{party}: ")


@dataclass(frozen=True, slots=True)
class Remedy:
    """Whom something hurts, and what helps."""

    hurts: str
    advice: tuple[Advice, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """The advice as sentences."""
        return tuple(map(str, self.advice))


@dataclass(frozen=True, slots=True)
class CauseRow:
    """What there is to know of a cause.

    ``server`` and ``client`` are the remedies by the side that sent the RST. ``kernel`` holds the
    reasons of Linux for such an RST, as the tracepoint ``tcp:tcp_send_reset`` names them: those
    that ``lab.kernel_reasons`` provokes. ``alike`` are the words of causes that cannot always be
    distinguished from this one. ``before_fin``: such an RST comes only before its sender's FIN
    (True), only behind it (False), or either (None). ``by_sender``: the end in whose name it came
    made it, and no box in between or host without the connection. ``prescribed``: TCP asks for it
    (RFC 9293 section 3.6.1).
    """

    meaning: str
    server: Remedy
    client: Remedy
    kernel: tuple[str, ...] = ()
    alike: tuple[str, ...] = ()
    before_fin: bool | None = None
    by_sender: bool = True
    prescribed: bool = False


_SEE = Advice(
    Party.ANYBODY, "Capture on both sides of each hop: the one where the RST is born ends it."
)
_BOX = Remedy(
    "Both ends: something between them ended the connection, and the server may not know.", (_SEE,)
)
_GONE = Remedy(
    "Every user of the connection: it is gone without a word, and what was in flight with it.",
    (
        Advice(
            Party.PATH, "look for NAT or load balancer state dropped while the connection idled."
        ),
        Advice(Party.CLIENT, "TCP keepalive, or an idle timeout, shorter than the path's."),
    ),
)
_OVER = Remedy(
    "Nobody: the connection had ended before; reset metrics count it.",
    (Advice(Party.METRICS, "do not alarm on resets that follow a FIN."),),
)


def _vanished(sender: Party, peer: Party) -> Remedy:
    return Remedy(
        f"Nobody who is still there: the {peer.lower()} had not answered for a while.",
        (
            Advice(
                Party.PATH,
                "look for what cut them off: a host that went down, a route, NAT or load balancer"
                " state dropped while the connection idled.",
            ),
            Advice(sender, "send keepalives more often than the path forgets."),
        ),
    )


_NOBODY_LISTENS = Remedy(
    "Every client: connect() fails with ECONNREFUSED.",
    (
        Advice(
            Party.ANYBODY,
            "Check address, port, whether the server runs, and whether a firewall rejects it.",
        ),
    ),
)
_NO_ALARM = Advice(Party.METRICS, "do not alarm on resets that follow a FIN.")


class Cause(StrEnum):
    """Why an RST was sent."""

    row: CauseRow

    UNREAD_AT_CLOSE = (
        "unread-data-at-close",
        CauseRow(
            "its sender closed the socket with data unread",
            server=Remedy(
                "Anyone who reads between client and server: the read fails with ECONNRESET where"
                " EOF belongs, and a forwarder that takes a read error for a dead tunnel closes it"
                " for all.",
                (
                    Advice(
                        Party.SERVER,
                        "read until the client's close_notify or FIN before closing"
                        " (shutdown the write side, read on for a moment, close).",
                    ),
                    Advice(
                        Party.CLIENT,
                        "send the goodbye without a close_notify after it.",
                        tried_by=("terminate",),
                    ),
                    Advice(
                        Party.CLIENT,
                        "wait for the server's close_notify before sending its own.",
                        tried_by=("server-close-reply",),
                    ),
                    Advice(
                        Party.FORWARDER,
                        "treat ECONNRESET after the server's last byte as the end of one"
                        " connection, not of the tunnel.",
                    ),
                ),
            ),
            client=Remedy(
                "The server, and anyone who reads in between: a read fails with ECONNRESET where"
                " EOF belongs.",
                (
                    Advice(
                        Party.CLIENT,
                        "read until the server's close_notify or FIN before closing"
                        " (shutdown the write side, read on for a moment, close).",
                    ),
                ),
            ),
            kernel=("TCP_ABORT_ON_CLOSE",),
            alike=("deliberate-abort",),
            before_fin=True,
            prescribed=True,
        ),
    )
    UNREAD_AFTER_FIN = (
        "unread-data-after-fin",
        CauseRow(
            "its sender had half-closed, and then closed the socket with data unread",
            server=Remedy(
                "No reader, for EOF came first; firewalls and reset metrics count it.",
                (
                    Advice(
                        Party.SERVER,
                        "after shutting down the write side, read until the client is done, then"
                        " close.",
                    ),
                ),
            ),
            client=Remedy(
                "No reader, for EOF came first; firewalls and reset metrics count it.",
                (
                    Advice(
                        Party.CLIENT,
                        "after shutting down the write side, read until the server is done, then"
                        " close.",
                    ),
                ),
            ),
            kernel=("TCP_ABORT_ON_CLOSE",),
            alike=("data-after-close", "deliberate-abort"),
            before_fin=False,
            prescribed=True,
        ),
    )
    DATA_AFTER_CLOSE = (
        "data-after-close",
        CauseRow(
            "data reached a socket that its sender had closed",
            server=Remedy(
                "No reader, for EOF came first; but the client's answering alert draws the reset,"
                " so reset metrics climb with every orderly close.",
                (
                    Advice(
                        Party.SERVER,
                        "after its FIN read on until the client is done, then close.",
                    ),
                    Advice(
                        Party.CLIENT,
                        "set its idle timeout below the server's, so that it closes first.",
                        tried_by=("close-notify-fin",),
                    ),
                    _NO_ALARM,
                ),
            ),
            client=Remedy(
                "Nobody who reads on the client's side, for it had closed; what the server sent"
                " last is lost, and reset metrics count it.",
                (Advice(Party.CLIENT, "read until the server's FIN before closing."), _NO_ALARM),
            ),
            kernel=("TCP_TIMEWAIT_SOCKET", "TCP_ABORT_ON_DATA", "NO_SOCKET", "TCP_FLAGS"),
            alike=("closed-already", "no-connection-state"),
            before_fin=False,
            prescribed=True,
        ),
    )
    CLOSED_ALREADY = (
        "closed-already",
        CauseRow(
            "a late packet reached a sender that had closed and forgotten the connection",
            server=_OVER,
            client=_OVER,
            kernel=("NO_SOCKET", "TCP_FLAGS"),
            alike=("data-after-close", "no-connection-state"),
            before_fin=False,
            by_sender=False,
            prescribed=True,
        ),
    )
    KEEPALIVE = (
        "keepalive-timeout",
        CauseRow(
            "its sender's probes, or what it sent again, were not answered: the peer had vanished",
            server=_vanished(Party.SERVER, Party.CLIENT),
            client=_vanished(Party.CLIENT, Party.SERVER),
            kernel=("TCP_KEEPALIVE_TIMEOUT",),
            alike=("deliberate-abort",),
        ),
    )
    NO_STATE = (
        "no-connection-state",
        CauseRow(
            "its sender knew no such connection: a restart, a failover, a NAT entry that was lost",
            server=_GONE,
            client=_GONE,
            kernel=("NO_SOCKET", "TCP_FLAGS"),
            alike=("data-after-close", "closed-already", "deliberate-abort", "middlebox"),
            before_fin=True,
            by_sender=False,
        ),
    )
    DELIBERATE = (
        "deliberate-abort",
        CauseRow(
            "its sender aborted with nothing unread: linger 0, or a teardown",
            server=Remedy(
                "Anyone who still reads: ECONNRESET in place of EOF, and data in flight is lost.",
                (
                    Advice(
                        Party.SERVER,
                        "look for linger 0, a kill at timeout, or an option that resets.",
                    ),
                ),
            ),
            client=Remedy(
                "The server, and anyone who reads in between: ECONNRESET in place of EOF, and data"
                " in flight is lost.",
                (Advice(Party.CLIENT, "look for linger 0, or a kill at timeout."),),
            ),
            kernel=(
                *("TCP_STATE", "TCP_DISCONNECT_WITH_DATA", "TCP_ABORT_ON_LINGER"),
                *("TCP_ABORT_ON_MEMORY", "TCP_ABORT_ON_DATA"),
            ),
            alike=(
                *("unread-data-at-close", "unread-data-after-fin", "no-connection-state"),
                *(
                    "closed-already",
                    "data-after-close",
                    "refused",
                    "keepalive-timeout",
                    "middlebox",
                ),
            ),
        ),
    )
    REFUSED = (
        "refused",
        CauseRow(
            "nothing listened where the SYN went, or a firewall rejected it",
            server=_NOBODY_LISTENS,
            client=_NOBODY_LISTENS,
            kernel=("NO_SOCKET",),
            alike=("middlebox",),
            before_fin=True,
            by_sender=False,
        ),
    )
    MIDDLEBOX = (
        "middlebox",
        CauseRow(
            "something in between made it, in the name of one end",
            server=_BOX,
            client=_BOX,
            alike=("deliberate-abort", "refused"),
            by_sender=False,
        ),
    )
    UNKNOWN = (
        "unknown",
        CauseRow(
            "the packets do not show why",
            server=Remedy(
                "Unclear: the packets do not show why it was sent.",
                (Advice(Party.ANYBODY, "Capture nearer to the server."),),
            ),
            client=Remedy(
                "Unclear: the packets do not show why it was sent.",
                (Advice(Party.ANYBODY, "Capture nearer to the client."),),
            ),
            alike=("middlebox", "deliberate-abort", "refused"),
        ),
    )

    def __new__(cls, word: str, row: CauseRow) -> Self:
        """A member of the table; its value is the word."""
        cause = str.__new__(cls, word)
        cause._value_ = word
        cause.row = row
        return cause

    def remedy(self, sender: Side) -> Remedy:
        """Whom such an RST of this side hurts, and what helps."""
        return self.row.server if sender is Side.SERVER else self.row.client


def cause_named(word: str) -> Cause | None:
    """The cause with this word; None for one that only another tlsprobe knows."""
    return next((cause for cause in Cause if cause == word), None)
