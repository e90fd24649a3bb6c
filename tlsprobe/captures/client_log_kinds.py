"""What programs of any kind say, in words alone, of a connection that was reset, ended or refused.

They are asked last: whose words they are is not known, and less follows from them.

Source: the programs' own words.
"""

from __future__ import annotations

import re

from tlsprobe.captures.log_kinds import EITHER, READER, RST_OR_FIN, LogKind, log_kind


def _in_words(name: str, words: tuple[str, ...], shows: str, hides: str) -> LogKind:
    """A kind whose lines hold one of these, and that is all there is to see."""
    return log_kind(name, words, "|".join(map(re.escape, words)), shows, hides)


CLIENT_KINDS: tuple[LogKind, ...] = (
    _in_words(
        "browser, reset",
        ("err_connection_reset", "pr_connect_reset_error"),
        READER.replace("the program", "the browser"),
        "what provoked it, nor whether a close_notify or a FIN came first",
    ),
    _in_words(
        "browser, ended early",
        (
            *("err_connection_closed", "err_empty_response", "pr_end_of_file_error"),
            *("err_http2_protocol_error", "connection closed before receiving a handshake"),
        ),
        EITHER.replace("the program", "the browser"),
        RST_OR_FIN,
    ),
    log_kind(
        "a program's log, reset",
        ("connection reset", "system error: 104", "connection was reset"),
        r"SSLException: Connection reset|system error: 104|Connection reset, restarting"
        r"|[:)] {0,3}Connection reset\W{0,3}$|\]: Connection reset by |\bconnection was reset\b",
        READER,
    ),
    _in_words(
        "a program's log, broken pipe",
        ("broken pipe", "epipe"),
        "the program wrote to a connection that the other end had reset, or closed before",
        "which of the two, nor whether what it had written before was read",
    ),
    log_kind(
        "a program's log, plain text for TLS",
        (
            *("does not look like a tls handshake", "wrong version number", "http request"),
            *("not an ssl/tls record", "unsupported or unrecognized ssl message"),
        ),
        r"does not look like a TLS handshake|(?:SSL|error).{0,80}wrong version number"
        r"|http request(?: to an https server|:)|not an SSL/TLS record"
        r"|Unsupported or unrecognized SSL message",
        "one of the two ends spoke TLS and the other did not: a port, a proxy or a scheme (http,"
        " https) is the wrong one",
        "which of them",
    ),
    log_kind(
        "a program's log, GOAWAY",
        ("goaway",),
        r"\bGOAWAY\b",
        "a server of HTTP/2 said that it takes no more requests on this connection: those with a"
        " number up to the last that it names are answered, others may be sent again",
        "how the connection ended after that",
    ),
    log_kind(
        "Go, EOF",
        ("eof",),
        r"(?:\": |caused by: |error from [^ ]{3,80}: |making call: |\(error \")EOF\b",
        "a Go program met a FIN, or a close_notify, where it waited for more",
        "whether a close_notify came before the FIN, nor what the other end had read",
    ),
    _in_words(
        "a program's log, refused",
        ("connection refused", "econnrefused"),
        "connect() was answered with an RST, or ICMP: nothing listens there, or something in"
        " between turned it away",
        "which of them it was",
    ),
    _in_words(
        "a program's log, ended early",
        (
            *("server closed the connection unexpectedly", "end-of-file on communication channel"),
            *("server disconnected", "serverdisconnectederror", "other side closed"),
            *("prematurely closed", "incompletemessage", "closed before message completed"),
            *("end of file reached", "tns:lost contact", "tns:connection closed"),
            *(
                "lost connection to mysql server",
                "communications link failure",
                "failed to respond",
            ),
            *("unexpectedly closed tcp connection", "terminated during authentication"),
            *("lost connection after ", "http first read error", "error reading from server: eof"),
            *("an unexpected eof or 0 bytes", "gnutls recv error", "non-properly terminated"),
            *("closed connection during handshake", "sslzeroreturnerror", "ssl_error_syscall"),
            *(
                "closed (connection lost)",
                "invalidchunklength",
                "unable to upgrade connection: eof",
            ),
            *(
                "got an error reading communication packets",
                "server closed idle connection",
                "closed in the middle of operation",
            ),
            *("http2: client connection lost", "transport is closing", "tls handshake eof"),
            *("network closed for unknown reason", "unavailable: io exception"),
            *("server has gone away", "server conn crashed", "client unexpected eof"),
            *("response ended prematurely", "connection closed by server", "code: 1006"),
            *("code 1006", "close 1006", "in ssl handshake while", "reset reason: "),
            *("nodedisconnectedexception", "java.io.eofexception", "ssl_connect syscall"),
            *("socket closed", "can't contact ldap server", "failure reading network stream"),
            *(": connection closed", "tcp_miss_aborted", "was not closed cleanly"),
            *("tls handshake timeout", "mongonetworkerror", "unable to accept tls connection"),
        ),
        EITHER,
        RST_OR_FIN,
    ),
)
