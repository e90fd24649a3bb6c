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
    _in_words(
        "a program's log, reset",
        ("sslexception: connection reset", "system error: 104", "connection reset, restarting"),
        READER,
        "what provoked it, nor whether a close_notify or a FIN came first",
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
            "got an error reading communication packets",
        ),
        EITHER,
        RST_OR_FIN,
    ),
)
