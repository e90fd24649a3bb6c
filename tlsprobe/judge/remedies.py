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


CAUSES = {
    Cause.UNREAD_AT_CLOSE: Remedy(
        "Whoever reads between client and server: the read fails with ECONNRESET where EOF"
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
        "No reader, for EOF came first; firewalls and reset metrics count it.",
        ("Server: after shutting down the write side, read until the client is done, then close.",),
    ),
    Cause.DATA_AFTER_CLOSE: Remedy(
        "No reader, for EOF came first; but the client's answering alert draws the reset, so"
        " reset metrics climb with every orderly close.",
        (
            "Server: linger for the client's alert (nginx: 'lingering_close always').",
            "Client: set its idle timeout below the server's, so that it closes first.",
            "Metrics: do not alarm on resets that follow a FIN.",
        ),
    ),
    Cause.NO_STATE: Remedy(
        "Every user of the connection: it is gone without a word, and what was in flight with it.",
        (
            "Path: look for NAT or load balancer state dropped while the connection idled.",
            "Client: TCP keepalive, or an idle timeout, shorter than the path's.",
        ),
    ),
    Cause.DELIBERATE: Remedy(
        "Whoever still reads: ECONNRESET in place of EOF, and data in flight is discarded.",
        (
            "Server: look for linger 0, a kill at timeout or a reset option"
            " (nginx: 'reset_timedout_connection').",
        ),
    ),
    Cause.REFUSED: Remedy(
        "Every client: nothing listens on the port.",
        ("Check address, port and whether the server runs.",),
    ),
    Cause.MIDDLEBOX: Remedy(
        "Both ends: something between them ended the connection, and the server may not know.",
        ("Capture on both sides of each hop: the one where the RST is born ends it.",),
    ),
    Cause.UNKNOWN: Remedy("Not to be told from the packets.", ("Capture nearer to the server.",)),
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
    "TLS13-IGNORE-AFTER": Remedy(
        "Whoever relies on the alert as the end: what comes behind it may not be the client's.",
        ("Server: stop reading requests once the TLS library has reported close_notify.",),
    ),
    "TLS13-WARNING-LEVEL": Remedy(
        "Clients that go by the level, and take an orderly end for an error.",
        ("Server: update the TLS library, or report it there.",),
    ),
    "TLS13-CANCELED": Remedy(
        "A reader that cannot tell whether anything will follow.",
        ("Server: send close_notify behind user_canceled, or close_notify alone.",),
    ),
    "TLS-FATAL-CLOSES": Remedy(
        "The client waits on a connection that can carry nothing more.",
        ("Server: close the socket when the TLS library reports a fatal error.",),
    ),
    "HTTP-CLOSE": Remedy(
        "A client that asked for the end waits for it until its own timeout.",
        ("Server: close when the response to 'Connection: close' is out; answer nothing more.",),
    ),
    "HTTP-CLOSE-HEADER": Remedy(
        "A client that keeps the connection for its next request, and loses that one.",
        ("Server: say 'Connection: close' in the last response.",),
    ),
    "HTTP-LINGER": Remedy(
        "A slow reader: the reset can erase a response that has arrived and is not read yet.",
        (
            "Server: half-close, read on until the client is done, then close"
            " (nginx: 'lingering_close always').",
        ),
    ),
    "HTTP-BODY": Remedy(
        "The client, which hangs in the middle of its upload, or has it taken for a request.",
        ("Server: read the rest of the body and discard it, or close.",),
    ),
    "HTTP-IDLE-GRACEFUL": Remedy(
        "Pools, which cannot tell an idle timeout from a broken path.",
        (
            "Server: on idle timeout send close_notify and FIN.",
            "Client: set its idle timeout below the server's, so that it closes first.",
        ),
    ),
    "HTTP-TLS-ALERT": Remedy(
        "A reader of a response without a length cannot tell whether it is whole.",
        ("Server: call the TLS library's shutdown before closing the socket.",),
    ),
    "HTTP-TLS-INCOMPLETE": Remedy(
        "Clients that close without waiting, which are most: their error counts climb.",
        ("Server: take the client's alert and FIN for the end that they are.",),
    ),
    "H2-GOAWAY": Remedy(
        "A client whose request crossed the close: it cannot know whether that is safe to repeat.",
        ("Server: send GOAWAY before closing, also when the connection is idle.",),
    ),
    "H2-LAST-ID": Remedy(
        "A client that has repeated a request elsewhere, and now it is done twice.",
        ("Server: announce the highest stream first, and lower it in later GOAWAY frames.",),
    ),
    "H2-ERROR-CLOSES": Remedy(
        "Both sides: each keeps a connection that neither may use.",
        ("Server: close TCP once the GOAWAY with the error is out.",),
    ),
    "LDAP-ALERT": Remedy(
        "A client that waits to go on in plain text, or for the end, and gets neither.",
        ("Server: answer the alert with one, or close the connection.",),
    ),
    "PG-TERMINATE": Remedy(
        "The server's own connection slots, which run out.",
        ("Pooler or proxy in between: pass Terminate on, and close behind it.",),
    ),
    "SMTP-221": Remedy(
        "Sending mail servers, which may take the message for undelivered and send it again.",
        ("Server: answer QUIT with 221 before closing.",),
    ),
    "IMAP-BYE": Remedy(
        "Mail clients that tell an end that was asked for from one that was not by it.",
        ("Server: send BYE before the completion of LOGOUT, then close.",),
    ),
    "MQTT-DISCONNECT": Remedy(
        "The broker's own connection slots, held by clients that have said goodbye.",
        ("Broker: close when DISCONNECT arrives.",),
    ),
    "INTEROP-DATA-LOST": Remedy(
        "The client has part of a response and cannot know whether it is safe to ask again.",
        ("Server: half-close, read on, and close only when the client has.",),
    ),
    "INTEROP-LEAK": Remedy(
        "Descriptors and memory of the server are held by clients that have gone.",
        ("Server: act on EOF and set an idle timeout.",),
    ),
    "INTEROP-IDLE-RACE": Remedy(
        "The request that met the expiry: nobody knows whether it was done, and a proxy says 502.",
        (
            "Client: set its idle timeout below the server's, so that no request meets the expiry.",
            "Server: send close_notify and FIN, then read for a moment before closing.",
        ),
    ),
    "INTEROP-PLAINTEXT": Remedy(
        "Clients report a protocol error (wrong version number) in place of what the server said.",
        ("Server: end TLS only behind its last words, not before them.",),
    ),
    "INTEROP-PATH": Remedy(
        "Everybody behind the same forwarder loses the connection.",
        ("Restart the forwarder automatically, or avoid the close that kills it.",),
    ),
}
"""By the rule that was broken, where there is more to say than the cause of a reset does."""
