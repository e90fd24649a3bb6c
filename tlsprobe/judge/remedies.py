"""What people do about a finding: whom it hurts, and the remedies on either side.

Data, keyed by the cause of a reset or by a rule; reports print it, nothing computes with it.
"""

from __future__ import annotations

from dataclasses import dataclass

from tlsprobe.model.judgement import Cause


@dataclass(frozen=True, slots=True)
class Remedy:
    """Whom something hurts, and what helps, as sentences."""

    hurts: str
    remedies: tuple[str, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """All of it, whom it hurts first."""
        return (self.hurts, *self.remedies)


CAUSES = {
    Cause.UNREAD_AT_CLOSE: Remedy(
        "Hurts whoever reads between client and server: the read fails with ECONNRESET where EOF"
        " belongs, and a forwarder that takes a read error for a dead tunnel closes it for all.",
        (
            "Server: read until the client's close_notify or FIN before closing"
            " (shutdown the write side, read on for a moment, close).",
            "Client: send the goodbye without a close_notify behind it, or wait for the server's"
            " alert before answering.",
            "Forwarder: treat ECONNRESET after the server's last byte as the end of one"
            " connection, not of the tunnel.",
        ),
    ),
    Cause.UNREAD_AFTER_FIN: Remedy(
        "Readers saw EOF first and are not hurt; firewalls and reset metrics count it.",
        ("Server: after shutting down the write side, read until the client is done, then close.",),
    ),
    Cause.DATA_AFTER_CLOSE: Remedy(
        "Readers saw EOF first and are not hurt; the client's answering alert draws the reset, so"
        " reset metrics climb with every orderly close.",
        (
            "Server: linger for the client's alert (nginx: 'lingering_close always').",
            "Client: set its idle timeout below the server's, so that it closes first.",
            "Metrics: do not alarm on resets that follow a FIN.",
        ),
    ),
    Cause.NO_STATE: Remedy(
        "Hurts every user of the connection: it is gone without a word, and what was in flight"
        " with it.",
        (
            "Path: look for NAT or load balancer state dropped while the connection idled.",
            "Client: TCP keepalive, or an idle timeout, shorter than the path's.",
        ),
    ),
    Cause.DELIBERATE: Remedy(
        "Hurts whoever still reads: ECONNRESET in place of EOF, and data in flight is discarded.",
        (
            "Server: look for linger 0, a kill at timeout or a reset option"
            " (nginx: 'reset_timedout_connection').",
        ),
    ),
    Cause.REFUSED: Remedy(
        "Nothing listens on the port.", ("Check address, port and whether the server runs.",)
    ),
    Cause.MIDDLEBOX: Remedy(
        "Something between client and server ended the connection; the server may not know.",
        ("Capture on both sides of each hop: the one where the RST is born ends it.",),
    ),
    Cause.UNKNOWN: Remedy("The packets do not tell.", ("Capture nearer to the server.",)),
}
"""By the cause of a reset."""

RULES = {
    "TLS12-NOTIFY": Remedy(
        "A reader cannot tell the end from a truncation attack.",
        ("Server: call the TLS library's shutdown before closing the socket.",),
    ),
    "TLS12-ANSWER": Remedy(
        "A client that waits for the answer sees a truncated stream, or waits until its timeout.",
        ("Client: do not wait for the answer before closing.",),
    ),
    "TLS13-NOTIFY": Remedy(
        "A reader cannot tell the end from a truncation attack; strict libraries report an error.",
        ("Server: call the TLS library's shutdown before closing, also when the client led.",),
    ),
    "INTEROP-DATA-LOST": Remedy(
        "The client has part of a response and cannot know whether it is safe to ask again.",
        ("Server: half-close, read on, and close only when the client has.",),
    ),
    "INTEROP-LEAK": Remedy(
        "Descriptors and memory of the server are held by clients that have gone.",
        ("Server: act on EOF and set an idle timeout.",),
    ),
    "INTEROP-PATH": Remedy(
        "Everybody behind the same forwarder loses the connection.",
        ("Restart the forwarder automatically, or avoid the close that kills it.",),
    ),
}
"""By the rule that was broken, where there is more to say than the cause of a reset does."""
