"""Logs are recognised and answered with what they show, and with what to do next.

The lines are the programs' own words, of a machine where they were reset, or as their manuals and
sources print them; addresses are replaced.
"""

from __future__ import annotations

import pytest

from tests.captures.pasting import EXPECTED, PLAIN, facts, read
from tlsprobe.captures.log_kinds import LOG_KINDS
from tlsprobe.captures.reading import CaptureUnreadable

ROWS: list[tuple[str, str, str]] = [
    (
        "strace, linger 0",
        "setsockopt(3, SOL_SOCKET, SO_LINGER, {l_onoff=1, l_linger=0}, 8) = 0",
        "",
    ),
    (
        "strace, ECONNRESET",
        "recvfrom(3, 0x7f73d4511d60, 10, 0, NULL, NULL) = -1 ECONNRESET (Connection reset by peer)",
        "",
    ),
    (
        "strace, EPIPE",
        "[pid 7] sendto(3, 0x7f, 10, MSG_NOSIGNAL, NULL, 0) = -1 EPIPE (Broken pipe)",
        "",
    ),
    (
        "kernel trace of tcp_send_reset",
        "nginx-71 [000] ..s. 9.1: tcp_send_reset: src=127.0.0.1:443 dest=127.0.0.1:5"
        " state=TCP_CLOSE reason=NOT_SPECIFIED",
        "",
    ),
    (
        "kubectl port-forward",
        "E0501 10:00:00.1 7 portforward.go:406] an error occurred forwarding 5432 -> 5432: error"
        " copying from remote stream to local connection: readfrom tcp4 127.0.0.1:5432->"
        "127.0.0.1:50000: write tcp4 127.0.0.1:5432->127.0.0.1:50000: write: broken pipe",
        "",
    ),
    ("kubectl port-forward", "error: lost connection to pod", ""),
    (
        "nginx, upstream reset",
        "2026/11/26 10:00:00 [error] 7#7: *1 recv() failed (104: Connection reset by peer) while"
        " reading response header from upstream, client: 192.0.2.1, server: , request:"
        ' "GET / HTTP/1.1", upstream: "https://192.0.2.9:8443/", host: "example.org"',
        "host 192.0.2.9 and port 8443",
    ),
    (
        "nginx, client or shutdown",
        "2026/11/26 10:00:00 [crit] 7#7: *1 SSL_shutdown() failed (SSL: error:0A000197) while",
        "",
    ),
    (
        "HAProxy",
        "haproxy[7]: 192.0.2.1:5 [26/Nov/2026:10:00:00.1] web app/s1 0/0/0/-1/9 502 0 - - SH-- "
        '1/1/0/0/0 0/0 "GET / HTTP/1.1"',
        "",
    ),
    ("Envoy", '[2026-11-26T10:00:00.1Z] "GET / HTTP/1.1" 503 UC upstream_reset 0 95 1 - "-"', ""),
    (
        "Apache httpd",
        "[proxy_http:error] [pid 7] (104)Connection reset by peer: [client 192.0.2.1:5] AH01102:"
        " error reading status line from remote server 192.0.2.9:80",
        "",
    ),
    ("PostgreSQL", "LOG:  could not receive data from client: Connection reset by peer", ""),
    ("PostgreSQL", "psql: error: SSL SYSCALL error: EOF detected", ""),
    (
        "Java",
        "javax.net.ssl.SSLException: closing inbound before receiving peer's close_notify",
        "",
    ),
    ("Python", "ConnectionResetError: [Errno 104] Connection reset by peer", ""),
    ("Python", "ssl.SSLEOFError: [SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred", ""),
    ("Ruby", "-e:1:in `read': Connection reset by peer (Errno::ECONNRESET)", ""),
    ("Node.js", "Error: read ECONNRESET", ""),
    (
        "Go",
        "read tcp 192.0.2.1:50000->[2001:db8::9]:443: read: connection reset by peer",
        "host 2001:db8::9 and port 443",
    ),
    (
        "OpenSSL or curl, no close_notify",
        "* OpenSSL SSL_read: error:0A000126:SSL routines::unexpected eof while reading, errno 0",
        "",
    ),
    ("curl or OpenSSL, reset", "* Recv failure: Connection reset by peer", ""),
    ("curl or OpenSSL, reset", "write:errno=104", ""),
    (
        "conntrack",
        "    [UPDATE] tcp      6 10 CLOSE src=192.0.2.1 dst=192.0.2.9 sport=5 dport=5432 [ASSURED]",
        "host 192.0.2.9 and port 5432",
    ),
    ("ss or netstat, sockets", "CLOSE-WAIT 1      0   192.0.2.1:5   192.0.2.9:443", ""),
    ("counters of the kernel", "TcpExtTCPAbortOnClose           141223             0.0", ""),
    ("counters of the kernel", "    141223 connections reset due to early user close", ""),
    ("ngrep, snoop or pktmon", "T 192.0.2.1:5 -> 192.0.2.9:80 [AR] #7", ""),
    (
        "tshark -T fields without names",
        "1\t0.000000\t192.0.2.1\t192.0.2.9\t40000\t443\t0x0004",
        "",
    ),
    ("a program's log", "WARN conn 7 failed: Connection reset by peer", ""),
]


@pytest.mark.parametrize(("kind", "line", "asked"), ROWS, ids=[row[0] for row in ROWS])
def test_each_kind(kind: str, line: str, asked: str) -> None:
    with pytest.raises(CaptureUnreadable) as caught:
        read(f"Hello,\nlook:\n{line}\n{line}\n")
    told = caught.value.message
    assert told.startswith("the input: it holds no packet, but lines of a log\n")
    assert f"\n{kind} (2 lines, the first is line 3: " in told
    assert caught.value.hint is not None
    assert "tcpdump -i any" in caught.value.hint
    assert "tlsprobe run --target" in caught.value.hint
    assert (asked or "host HOST") in caught.value.hint


def test_every_kind_has_a_row() -> None:
    assert {kind.name for kind in LOG_KINDS} == {row[0] for row in ROWS}


def test_packets_between_are_judged_and_log_lines_counted() -> None:
    reading, found = read("\n".join([PLAIN[0], ROWS[-1][1], *PLAIN[1:], ROWS[-1][1]]))
    assert facts(found) == EXPECTED
    assert any("lines of logs, too: a program's log 2" in note for note in reading.notes)


def test_what_a_line_says_is_escaped_and_names_no_command() -> None:
    line = "\x1b]0;evil\x07 read tcp 192.0.2.1:5->$(reboot):443: read: connection reset by peer"
    with pytest.raises(CaptureUnreadable) as caught:
        read(line)
    assert caught.value.message.replace("\n", "").isprintable()
    assert "reboot" not in (caught.value.hint or "")


@pytest.mark.parametrize("unit", [" ", "a", "1.1.1.1\t", "upstream ", "(104: ", "tcp 6 ", '" 503 '])
def test_a_long_line_of_a_log_takes_time_in_proportion(unit: str) -> None:
    with pytest.raises(CaptureUnreadable):
        read(unit * (60_000 // len(unit)) + "\n" + "reset " * 10_000)
