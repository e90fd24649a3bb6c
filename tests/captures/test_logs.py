"""Logs are recognised and answered with what they show, and with what to do next.

The lines are the programs' own words, of a machine where they were reset, or as their manuals and
sources print them; addresses are replaced.
"""

from __future__ import annotations

import pytest

from tests.captures.pasting import EXPECTED, PLAIN, facts, read
from tlsprobe.captures.log_words import LOGS
from tlsprobe.captures.reading import CaptureUnreadable

ROWS: list[tuple[str, str, str]] = [
    (
        "F5 BIG-IP, RST",
        "Nov 20 10:00:00 lb err tmm1[77]: 01230140:3: RST sent from 192.0.2.9:443 to 192.0.2.1:51,"
        " [0x273e3e7:998] reassembly timeout",
        "host 192.0.2.9 and port 443",
    ),
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
    ("TLS alert in a log", "<<< TLS 1.2, Alert [length 0002], warning close_notify", ""),
    ("TLS alert in a log", "WARN:rustls::session: Sending fatal alert HandshakeFailure", ""),
    ("TLS alert in a log", "tls: received alert 40 from 192.0.2.7", ""),
    ("ltrace", "[pid 7] recv(3, 0x7ffd00, 1024, 0)            = -1", ""),
    ("ltrace", "curl->SSL_read(0x55d0c8, 0x7ffd00, 16384, 0x7ffd10)   = 0xffffffff", ""),
    ("ltrace", "recv(4, 0x7ffcad4480f2, 10, 0)                   = -1", ""),
    ("ltrace", "--- SIGPIPE (Broken pipe) ---", ""),
    ("ltrace, system calls", "SYS_recvfrom(4, 0x7ffd04faba32, 10, 0)           = -104", ""),
    ("ltrace, system calls", 'SYS_write(4, "x", 1)                             = -32', ""),
    (
        "strace, EPIPE",
        "--- SIGPIPE {si_signo=SIGPIPE, si_code=SI_USER, si_pid=7, si_uid=0} ---",
        "",
    ),
    ("kernel stack, RST sent", "        tcp_send_active_reset+352", ""),
    (
        "Cilium's Hubble, RST",
        "Feb 19 09:24:01.422: 10.0.1.46:41144 -> 172.217.4.142:443 to-stack FORWARDED"
        " (TCP Flags: ACK, RST)",
        "",
    ),
    ("kernel stack, RST sent", "    b'tcp_v4_send_reset+0x1'", ""),
    ("kernel stack, RST received", "        tcp_reset+135", ""),
    ("bpftrace or bcc, tcpdrop", "\ttcp_drop+0x1", ""),
    ("bpftrace or bcc, tcpdrop", "    sk_skb_reason_drop+144", ""),
    (
        "bpftrace or bcc, tcpdrop",
        "curl-7 [001] ..s.. 9.1: kfree_skb: skbaddr=0000 rx_sk=0000 protocol=2048"
        " location=tcp_v4_rcv+0x9d reason: NO_SOCKET",
        "",
    ),
    ("dmesg, TCP", "[ 7.1] TCP: too many orphaned sockets", ""),
    (
        "dmesg, TCP",
        "[ 4139.087544] TCP: request_sock_TCP: Possible SYN flooding on port 127.0.0.1:29274."
        " Sending cookies.",
        "",
    ),
    (
        "firewall's log, RST",
        "[82921.091770] IN= OUT=lo SRC=127.0.0.1 DST=127.0.0.1 LEN=52 TOS=0x00 PREC=0x00 TTL=64"
        " ID=59367 DF PROTO=TCP SPT=51105 DPT=58584 WINDOW=64 RES=0x00 ACK RST URGP=0 ",
        "",
    ),
    (
        "firewall's log, refused",
        "[82921.218495] REJECTED: IN=lo OUT= MAC=00:00:00:00:00:00:00:00:00:00:00:00:08:00"
        " SRC=127.0.0.1 DST=127.0.0.1 LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID=7259 DF PROTO=TCP"
        " SPT=34462 DPT=9999 WINDOW=65495 RES=0x00 SYN URGP=0 ",
        "127.0.0.1:9999",
    ),
    ("dmesg, TCP", "kernel: nf_conntrack: nf_conntrack: table full, dropping packet", ""),
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
        "nginx, upstream reset",
        "2026/11/26 10:00:00 [error] 7#7: *16 readv() failed (104: Connection reset by peer) while"
        ' reading upstream, client: 192.0.2.1, server: , request: "GET /mid HTTP/1.1", upstream:'
        ' "http://192.0.2.9:7102/mid", host: "example.org"',
        "host 192.0.2.9 and port 7102",
    ),
    (
        "nginx, client left",
        "2026/11/26 10:00:00 [info] 7#7: *12 epoll_wait() reported that client prematurely closed"
        " connection, so upstream connection is closed too (104: Connection reset by peer) while"
        ' reading upstream, client: 192.0.2.1, server: , request: "GET /mid HTTP/1.1", upstream:'
        ' "http://192.0.2.9:7102/mid", host: "x"',
        "",
    ),
    (
        "nginx, client left",
        "2026/11/26 10:00:00 [info] 7#7: *11 recv() failed (104: Connection reset by peer) while"
        ' reading client request headers, client: 192.0.2.1, server: , host: "x"',
        "",
    ),
    (
        "nginx, upstream ended",
        "2026/11/26 10:00:00 [error] 7#7: *18 upstream prematurely closed connection while reading"
        ' response header from upstream, client: 192.0.2.1, server: , request: "GET / HTTP/1.1",'
        ' upstream: "http://192.0.2.9:7103/fin", host: "example.org"',
        "host 192.0.2.9 and port 7103",
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
    (
        "HAProxy",
        "192.0.2.1:5 [26/Nov/2026:15:54:59.736] web mid/s1 0/0/0/1/202 200 56 - - SD-- 1/1/0/0/0"
        ' 0/0 "GET /mid HTTP/1.1"',
        "",
    ),
    (
        "HAProxy",
        "192.0.2.1:5 [26/Nov/2026:15:55:08.228] tcpf tcpb/s1 1/0/0 0 SD 1/1/0/0/0 0/0",
        "",
    ),
    ("Envoy", '[2026-11-26T10:00:00.1Z] "GET / HTTP/1.1" 503 UC upstream_reset 0 95 1 - "-"', ""),
    (
        "Apache httpd",
        "[proxy_http:error] [pid 7] (104)Connection reset by peer: [client 192.0.2.1:5] AH01102:"
        " error reading status line from remote server 192.0.2.9:80",
        "",
    ),
    (
        "Apache httpd, backend ended",
        "[proxy_http:error] [pid 7:tid 8] (70008)Partial results are valid but processing is"
        " incomplete: [client 192.0.2.1:5] AH01110: error reading response",
        "",
    ),
    (
        "Apache httpd, backend ended",
        "[proxy_http:error] [pid 7:tid 8] (20014)Internal error (specific information not"
        " available): [client 192.0.2.1:5] AH01102: error reading status line from remote server"
        " 192.0.2.9:80",
        "",
    ),
    ("PostgreSQL", "LOG:  could not receive data from client: Connection reset by peer", ""),
    ("PostgreSQL", "LOG:  could not accept SSL connection: Connection reset by peer", ""),
    ("PostgreSQL", "psql: error: SSL SYSCALL error: EOF detected", ""),
    (
        "Java",
        "javax.net.ssl.SSLException: closing inbound before receiving peer's close_notify",
        "",
    ),
    ("Java", "java.net.SocketException: Connection reset", ""),
    (
        "Java, ended early",
        "javax.net.ssl.SSLHandshakeException: Remote host terminated the handshake",
        "",
    ),
    ("Java, ended early", "java.io.IOException: HTTP/1.1 header parser received no bytes", ""),
    ("Java, ended early", "java.net.SocketException: Unexpected end of file from server", ""),
    (
        "Python, ended early",
        "http.client.RemoteDisconnected: Remote end closed connection without response",
        "",
    ),
    ("Python, ended early", "IncompleteRead: IncompleteRead(4 bytes read, 996 more expected)", ""),
    ("Python", "ConnectionResetError: [Errno 104] Connection reset by peer", ""),
    ("Python", "ssl.SSLEOFError: [SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred", ""),
    ("Ruby", "-e:1:in `read': Connection reset by peer (Errno::ECONNRESET)", ""),
    ("Node.js", "Error: read ECONNRESET", ""),
    ("Node.js, ended early", "Error: socket hang up ECONNRESET", ""),
    (
        "Node.js, ended early",
        "Error: Client network socket disconnected before secure TLS connection was established"
        " ECONNRESET",
        "",
    ),
    (
        "Go",
        "read tcp 192.0.2.1:50000->[2001:db8::9]:443: read: connection reset by peer",
        "host 2001:db8::9 and port 443",
    ),
    (
        "Go, while connecting",
        'Get "http://192.0.2.9:80/": dial tcp 192.0.2.9:80: connect: connection reset by peer',
        "host 192.0.2.9 and port 80",
    ),
    (
        "OpenSSL or curl, no close_notify",
        "* OpenSSL SSL_read: error:0A000126:SSL routines::unexpected eof while reading, errno 0",
        "",
    ),
    ("curl or OpenSSL, reset", "* Recv failure: Connection reset by peer", ""),
    ("curl or OpenSSL, reset", "write:errno=104", ""),
    ("curl or OpenSSL, reset", "curl: (35) Recv failure: Connection reset by peer", ""),
    (
        "curl or OpenSSL, reset",
        "2026-11-26 15:55:39 (479 KB/s) - Read error at byte 4/1000 (Connection reset by peer).",
        "",
    ),
    (
        "curl or wget, cut short",
        "curl: (18) transfer closed with 996 bytes remaining to read",
        "",
    ),
    ("curl or wget, cut short", "curl: (52) Empty reply from server", ""),
    (
        "curl or OpenSSL, ended early",
        "curl: (35) OpenSSL SSL_connect: SSL_ERROR_SYSCALL in connection to 192.0.2.9:443 ",
        "",
    ),
    ("curl or OpenSSL, ended early", "GnuTLS: Error in the pull function.", ""),
    (
        "Windows, reset",
        "System.IO.IOException: Unable to read data from the transport connection: An existing"
        " connection was forcibly closed by the remote host..",
        "",
    ),
    ("Windows, reset", "Download error: tcp connect failed (os error 10054)", ""),
    (
        "Windows, aborted here",
        "OSError: [WinError 10053] An established connection was aborted by the software in your"
        " host machine",
        "",
    ),
    (
        "IIS, HTTPERR",
        "2026-11-26 09:04:09 192.0.2.1 51234 192.0.2.9 443 HTTP/1.1 GET / - 1 Client_Reset Pool",
        "",
    ),
    (
        "Zeek's conn.log",
        "1790000000.123456\tCWakWq1CoRR0N1zXXf\t192.0.2.1\t41262\t192.0.2.9\t5432\ttcp\tssl\t"
        "0.9\t10\t20\tRSTR\tT\tF\t0\tShADadr\t5\t6\t7\t8\t-",
        "192.0.2.9:5432",
    ),
    ("Zeek's conn.log", '{"ts":1.5,"proto":"tcp","conn_state":"RSTO","history":"ShADadR"}', ""),
    (
        "Suricata's eve.json",
        '{"event_type":"flow","proto":"TCP","tcp":{"tcp_flags":"1e","syn":true,"rst":true}}',
        "",
    ),
    (
        "AWS, flow log",
        "2 123456789010 eni-0123456789abcdef0 192.0.2.1 192.0.2.9 20641 5432 6 20 4249 1418530010"
        " 1418530070 REJECT OK",
        "",
    ),
    (
        "AWS, load balancer",
        "https 2026-11-26T09:04:09.186641Z app/front/50dc6c495c0c9188 198.51.100.1:2817"
        ' 192.0.2.9:8080 0.000 0.001 -1 502 - 34 366 "GET https://example.com:443/ HTTP/1.1"',
        "192.0.2.9:8080",
    ),
    (
        "Google Cloud, load balancer",
        '"statusDetails": "backend_connection_closed_before_data_sent_to_client"',
        "",
    ),
    (
        "Azure, Application Gateway",
        '"error_info_s": "ERRORINFO_UPSTREAM_CLOSED_CONNECTION"',
        "",
    ),
    (
        "pwru, RST",
        "0xffff91e7cf0a3e00 6   <empty>:0        4026531840 0            ens33:2      0x0800 1500 "
        " 46    192.0.2.1:8080->192.0.2.3:32956(tcp:RST|ACK) tcp4_gro_receive",
        "",
    ),
    (
        "Microsoft's Network Monitor",
        "2\t10:00:00 27/11/2026\t0.0001\tx.exe\t192.0.2.2\t192.0.2.1\tTCP\tTCP:Flags=...A.R..,"
        " SrcPort=HTTPS(443), DstPort=40000, PayloadLen=0, Seq=0, Ack=101, Win=0",
        "",
    ),
    (
        "Microsoft's Network Monitor",
        "TCP:[ReTransmit #7]Flags=......S., SrcPort=40000, DstPort=HTTPS(443), PayloadLen=0, Seq=1",
        "",
    ),
    (
        "FortiGate's sniffer",
        "2026-11-27 10:00:00.101211 port2 in 192.0.2.9.443 -> 192.0.2.1.40000: rst 0 ack 101 ",
        "host 192.0.2.1 and port 40000",
    ),
    (
        "conntrack",
        "tcp      6 9 CLOSE src=127.0.0.1 dst=127.0.0.1 sport=35800 dport=48821 src=127.0.0.1"
        " dst=127.0.0.1 sport=48821 dport=35800 [ASSURED] mark=0 use=1",
        "127.0.0.1:48821",
    ),
    (
        "conntrack",
        " [UPDATE] tcp      6 10 CLOSE src=127.0.0.1 dst=192.0.2.9 sport=35800 dport=443"
        " src=192.0.2.9 dst=127.0.0.1 sport=443 dport=35800 [ASSURED]",
        "192.0.2.9:443",
    ),
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
    (
        "Cisco ASA, teardown",
        "%ASA-6-302014: Teardown TCP connection 7 for outside:192.0.2.9/443 to inside:192.0.2.1/5"
        " duration 0:00:10 bytes 1024 TCP Reset-O",
        "host 192.0.2.9 and port 443",
    ),
    (
        "Palo Alto, packet dump",
        "TCP:    sport 443, dport 40000, seq 5001, ack 1101,",
        "",
    ),
    (
        "Azure, NSG flow log",
        '{"flows":[{"flowTuples":["1542110402,192.0.2.1,192.0.2.9,5,443,T,I,D,B,,,,"]}]}',
        "",
    ),
    (
        "Windows, TCPIP trace",
        "[1]0004.00B8::2021-03-04 10:00:01.223 [Microsoft-Windows-TCPIP]TCP: connection 0xFFFF8A0B"
        " (local=192.0.2.1:5 remote=192.0.2.9:443): received RST (0x0C000020D).",
        "host 192.0.2.9 and port 443",
    ),
    (
        "Envoy, debug log",
        "[2026-10-14 10:56:06.963][2][debug][connection] [connection_impl.cc:5] [C7] remote close",
        "",
    ),
    (
        "Envoy, debug log",
        "[debug][router] [router.cc:1] [C5][S7] upstream reset: reset reason local reset",
        "",
    ),
    ("Rust", 'Custom { kind: ConnectionAborted, error: "CloseNotify alert received" }', ""),
    ("Rust", "error: Connection reset by peer (os error 104)", ""),
    ("browser, reset", "net::ERR_CONNECTION_RESET", ""),
    ("browser, ended early", "Error code: PR_END_OF_FILE_ERROR", ""),
    ("a program's log, reset", "javax.net.ssl.SSLException: Connection reset", ""),
    (
        "a program's log, reset",
        "I/O exception caught when processing request: Connection reset",
        "",
    ),
    ("a program's log, reset", "sshd[7]: Connection reset by 192.0.2.1 port 5 [preauth]", ""),
    ("a program's log, broken pipe", "client_loop: send disconnect: Broken pipe", ""),
    (
        "a program's log, plain text for TLS",
        "tls: first record does not look like a TLS handshake",
        "",
    ),
    (
        "a program's log, GOAWAY",
        "http2: server sent GOAWAY and closed the connection; LastStreamID=1999",
        "",
    ),
    ("Go, EOF", 'Get "https://server.example/x": EOF', ""),
    ("Go, EOF", "http: TLS handshake error from 192.0.2.1:5: EOF", ""),
    ("TLS alert in a log", "remote error: tls: bad certificate", ""),
    ("TLS alert in a log", "error:0A000412:SSL routines::sslv3 alert bad certificate", ""),
    ("HAProxy", '{"http_status":-1,"termination_state":"SD"}', ""),
    ("a program's log, ended early", "rpc error: desc = transport is closing", ""),
    ("a program's log, ended early", "websocket: close 1006 (abnormal closure)", ""),
    ("a program's log, refused", "connect: Connection refused", ""),
    ("a program's log, ended early", "SocketError: other side closed", ""),
    ("a program's log, ended early", "dovecot: lost connection after STARTTLS from x", ""),
    ("hex dump", "0000   45 00 00 28 00 00 40 00 40 06 66 d2 c0 00 02 01   E..(..@.@.f.....", ""),
    ("hex dump", "0x0000:  4500 0028 0000 4000 4006 66d2 c000 0201", ""),
    (
        "hex dump",
        "00000000  45 00 00 28 00 00 40 00  40 06 66 d2 c0 00 02 01  |E..(..@.@.f|",
        "",
    ),
    (
        "Cisco ASA, no connection",
        "%ASA-6-106015: Deny TCP (no connection) from 10.1.1.5/51 to 192.0.2.5/443 flags RST  on"
        " interface inside",
        "",
    ),
    (
        "Fortinet, traffic log",
        'date=2026-03-01 type="traffic" srcip=192.0.2.1 dstport=443 proto=6 action="server-rst"',
        "",
    ),
    ("Palo Alto, traffic log", "TRAFFIC,end,2305,192.0.2.1,US,0,10,10,tcp-rst-from-server", ""),
    (
        "Check Point, dropped",
        "message_info: TCP packet out of state: First packet isn't SYN tcp_flags: RST-ACK",
        "",
    ),
    (
        "Check Point, dropped",
        ";[cpu_2];[fw4_1];fw_log_drop_ex: Packet proto=6 192.0.2.1:51 -> 192.0.2.5:443 dropped",
        "",
    ),
    ("Check Point, fw monitor", "TCP: 443 -> 51234 ..R.A. seq=00000000 ack=1a2b3c4e", ""),
    (
        "Cilium, monitor",
        "-> endpoint 419 flow 0x8e1ede6c identity 1->31253 state new ifindex lxc45: 192.0.2.1:45 ->"
        " 192.0.2.3:93 tcp RST",
        "",
    ),
    (
        "Hubble's flows, RST",
        '{"flow":{"l4":{"TCP":{"source_port":55,"destination_port":80,"flags":{"RST":true}}}}}',
        "",
    ),
    ("kernel's reason for an RST", "10:00:00 7 nginx SK_RST_REASON_TCP_ABORT_ON_CLOSE", ""),
    (
        "bcc, tcpstates",
        "ffff9fd7e8192000 22384 curl 192.0.2.1 63446 192.0.2.9 80 ESTABLISHED -> CLOSE   176.042",
        "",
    ),
    ("AIX, iptrace", "TCP:    th_off=5, flags<RST | ACK>", ""),
    (
        "kernel stack, RST sent",
        "3316376152002 [swapper/2] 0 [k] tcp_v4_send_reset #304276b119fff9fd7e8 (skb ffff9fd7) n 0",
        "",
    ),
    (
        "kernel stack, RST sent",
        "[2334.113223] [tcp_v4_send_reset    ] TCP: 192.0.2.9:51 -> 192.0.2.5:443 flags:A",
        "",
    ),
    ("bpftrace or bcc, tcpdrop", "33 drops at tcp_v4_do_rcv+8e (0xffffffff8178619e)", ""),
    (
        "bpftrace or bcc, tcpdrop",
        "java 7 [026] 33.3: skb:kfree_skb: skbaddr=0xffff88803dd83a00 location=0xffffffff816ea931",
        "",
    ),
    (
        "ss or netstat, sockets",
        "python 912 user 3u IPv4 0xb51d 0t0 TCP 192.0.2.1:49712->192.0.2.9:443 (CLOSE_WAIT)",
        "",
    ),
    (
        "a program's log",
        '{"timestamp":"2026-03-01T10:00:00Z","message":"read: connection reset by peer"}',
        "",
    ),
    (
        "Suricata's eve.json",
        '{"timestamp":"2026-03-01T10:00:00.1+0000","event_type":"flow","tcp":{"tcp_flags":"1e",'
        '"rst":true}}',
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
    assert {kind.name for kind in LOGS} == {row[0] for row in ROWS}


def test_packets_between_are_judged_and_log_lines_counted() -> None:
    reading, found = read("\n".join([PLAIN[0], ROWS[-1][1], *PLAIN[1:], ROWS[-1][1]]))
    assert facts(found) == EXPECTED
    assert any("lines of logs, too: a program's log 2" in note for note in reading.notes)


def test_another_programs_library_is_not_nginx() -> None:
    """Both name the function of OpenSSL that failed."""
    with pytest.raises(CaptureUnreadable) as caught:
        read("dovecot: imap-login: Disconnected: TLS: SSL_read() failed: error:0A000126:SSL\n")
    assert "nginx" not in caught.value.message


def test_the_bytes_of_packets_are_no_log_beside_them() -> None:
    dump = "\t0x0000:  4500 0028 0000 4000 4006 66d2 c000 0201"
    reading, found = read("\n".join([PLAIN[0], dump, *PLAIN[1:], dump]))
    assert facts(found) == EXPECTED
    assert not any("logs" in note for note in reading.notes)


def test_what_a_line_says_is_escaped_and_names_no_command() -> None:
    line = "\x1b]0;evil\x07 read tcp 192.0.2.1:5->$(reboot):443: read: connection reset by peer"
    with pytest.raises(CaptureUnreadable) as caught:
        read(line)
    assert caught.value.message.replace("\n", "").isprintable()
    assert "reboot" not in (caught.value.hint or "")


@pytest.mark.parametrize(
    "unit", [" ", "a", "1.1.1.1\t", "upstream ", "error 1", "app/ ", "(104: ", "tcp 6 ", '" 503 ']
)
def test_a_long_line_of_a_log_takes_time_in_proportion(unit: str) -> None:
    with pytest.raises(CaptureUnreadable):
        read(unit * (60_000 // len(unit)) + "\n" + "reset " * 10_000)
