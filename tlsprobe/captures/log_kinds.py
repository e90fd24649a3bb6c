"""What programs write when a connection is reset: how each is recognised, and what it shows.

A log shows what one program met, never a packet. Which side sent an RST is said only where the
line shows it: ECONNRESET at a reader says that an RST came from the other end of its socket or
from something in between. The first kind that matches a line is the one that is counted.

Source: the programs' own words; HAProxy's manual, 8.5, "Session state at disconnection"; Envoy's
"Response flags"; the kernel's snmp counters (Documentation/networking/snmp_counter.rst).
"""

from __future__ import annotations

import re
from typing import NamedTuple

_PEER = r"(?P<peer>\[[0-9a-fA-F:]{2,45}\]:\d{1,5}|[\w.-]{1,100}:\d{1,5})"
READER = "the program read ECONNRESET: an RST came from the other end, or from something between"
EITHER = "the program met the end of the connection before it had what it waited for"
RST_OR_FIN = "whether it was an RST or a FIN, nor who was the first to end"
"""What most lines hide that tell of an end."""

_NOT_WHY = "nor what provoked it, nor whether a close_notify or a FIN came first"


class LogKind(NamedTuple):
    """Lines of one kind. ``pattern`` may name the other end ``peer``.

    One of ``words``, in lower case, stands in each of them: most lines of a log have none.
    ``shows`` and ``hides`` are what such a line tells and what it cannot.
    """

    name: str
    words: tuple[str, ...]
    pattern: re.Pattern[str]
    shows: str
    hides: str = _NOT_WHY


def log_kind(
    name: str, words: tuple[str, ...], pattern: str, shows: str, hides: str = _NOT_WHY
) -> LogKind:
    """A kind whose pattern does not mind the case."""
    return LogKind(name, words, re.compile(pattern, re.IGNORECASE), shows, hides)


LOG_KINDS = (
    log_kind(
        "strace, linger 0",
        ("so_linger, {",),
        r"setsockopt\(.{0,60}SO_LINGER, \{l?_?onoff=1, l?_?linger=0\}",
        "the traced program set SO_LINGER with a time of 0: its close() sends an RST on purpose",
        "which connections it closed so",
    ),
    log_kind(
        "strace, ECONNRESET",
        ("= -1 econnreset",),
        r"\b(?:recv|read|readv|recvfrom|recvmsg)\(.{0,300}= -1 ECONNRESET",
        "the traced program's read met an RST that the other end, or something between, had sent",
    ),
    log_kind(
        "strace, EPIPE",
        ("= -1 e", "--- sigpipe {si_signo=sigpipe"),
        r"\b(?:send|write|writev|sendto|sendmsg)\(.{0,300}= -1 (?:EPIPE|ECONNRESET)"
        r"|--- SIGPIPE \{si_signo=SIGPIPE",
        "the traced program wrote to a connection that had already been reset or closed",
    ),
    log_kind(
        "ltrace, system calls",
        ("sys_",),
        r"\bSYS_(?:recv|read|readv|recvfrom|recvmsg|send|write|writev|sendto|sendmsg)\(.{0,300}\)"
        r" {1,40}= -(?:104|32)\b",
        "a call of the traced program met a connection that had been reset (-104), or wrote to one"
        " that had already been reset or closed (-32)",
    ),
    log_kind(
        "ltrace",
        ("= ", "--- sigpipe (broken pipe) ---"),
        r"\b(?:recv|read|recvfrom|recvmsg|send|write|SSL_read|SSL_write|SSL_shutdown)(?:@\S{1,40})?"
        r"\(.{0,300}\) {1,40}= (?:-1|0xffffffff)\b|--- SIGPIPE \(Broken pipe\) ---",
        "a call of the traced program failed on a connection; ltrace does not print errno",
        RST_OR_FIN,
    ),
    log_kind(
        "kernel stack, RST sent",
        ("send_active_reset", "_send_reset"),
        r"\b(?:tcp_send_active_reset|tcp_v[46]_send_reset)(?:\+(?:0x)?[0-9a-f]"
        r"| *\]|\)?$| [#(])",
        "this machine's kernel sent an RST: tcp_send_active_reset because the connection was"
        " closed or given up here, tcp_v4_send_reset in answer to a segment",
        "which segment that was, nor what was unread",
    ),
    log_kind(
        "kernel stack, RST received",
        ("tcp_reset+",),
        r"\btcp_reset\+(?:0x)?[0-9a-f]",
        "this machine's kernel took an RST from the other end, or from something between",
    ),
    log_kind(
        "bpftrace or bcc, tcpdrop",
        ("tcp_drop", "tcpdrop", "kfree_skb", "skb_reason_drop", "skb_drop_reason_", " drops at "),
        r"\b(?:tcp_drop(?:_reason)?|kfree_skb_reason|sk_skb_reason_drop)\+(?:0x)?[0-9a-f]"
        r"|\btcpdrop\b|SKB_DROP_REASON_\w{3,40}"
        r"|\bkfree_skb: .{0,200}(?:reason|location)[:=] ?\w{3,40}"
        r"|^ {0,8}\d{1,9} drops at \w{3,60}\+",
        "this machine's kernel threw a segment away, where the stack or the reason says",
        "whether an RST answered it",
    ),
    log_kind(
        "dmesg, TCP",
        ("tcp: ", "nf_conntrack: "),
        r"\bTCP: (?:request_sock_TCP: |out of memory|too many (?:of )?orphaned|.{0,60}SYN flooding"
        r"|time wait bucket table overflow)|\bnf_conntrack: (?:nf_conntrack: )?table full",
        "the kernel of this machine was short of something: too many orphans are reset, a full"
        " table of conntrack drops, and a full queue of a listener turns new connections away",
        "which connections were reset for it",
    ),
    log_kind(
        "firewall's log, RST",
        ("proto=tcp",),
        r"\bIN=\S{0,20} OUT=.{0,300}\bPROTO=TCP\b.{0,200}\bRST\b",
        "a rule of the firewall logged an RST that came in (IN=) or went out (OUT=) here",
        "what became of it, nor what provoked it",
    ),
    log_kind(
        "firewall's log, refused",
        ("proto=tcp",),
        r"\bREJECT(?:ED)?\b.{0,300}\bDST=(?P<host>\S{3,45}) .{0,200}\bPROTO=TCP\b"
        r".{0,60}\bDPT=(?P<port>\d{1,5})\b",
        "a rule of the firewall says that it refused a segment: with reject-with tcp-reset it"
        " answers with an RST of its own",
        "whether it answered with an RST",
    ),
    log_kind(
        "kernel trace of tcp_send_reset",
        ("tcp_send_reset:",),
        r"\btcp_send_reset:.{0,300}",
        "this machine's kernel sent an RST; newer kernels print the reason (reason=...)",
        "the packets before it",
    ),
    log_kind(
        "kubectl port-forward",
        ("error copying from ", "error forwarding port ", "lost connection to pod"),
        r"error copying from (?:remote stream to local|local connection to remote)"
        r"|error forwarding port \d{1,5} to pod|lost connection to pod",
        "a forwarded connection broke, at the local program's side (the line names the local"
        " connection) or at the pod's; some versions of kubectl end all others with it",
    ),
    log_kind(
        "nginx, client left",
        ("client request", "client prematurely closed connection"),
        r"client prematurely closed connection|\(104: .{0,60}?\) while .{0,40}?client request",
        "nginx's client ended the connection, and nginx then its connection to the upstream; 104 is"
        " an RST of the client, or of something between",
    ),
    log_kind(
        "nginx, upstream ended",
        ("upstream prematurely closed connection",),
        rf"upstream prematurely closed connection(?:.{{0,600}}?upstream: \"\w+://{_PEER})?",
        "the upstream sent a FIN before its response was whole",
        "why it did",
    ),
    log_kind(
        "nginx, upstream reset",
        ("(104: ",),
        r"\(104: .{0,60}?\) while .{0,60}?upstream"
        rf"(?:.{{0,600}}?upstream: \"\w+://{_PEER})?",
        "nginx read ECONNRESET from its upstream: the RST came from there, or from between",
    ),
    log_kind(
        "nginx, client or shutdown",
        ("(104: ", "() failed", ") failed"),
        r"\(104: .{0,60}?\) while|SSL_(?:shutdown|read|write)\(\) failed \(",
        "nginx met the end of a connection before it expected one",
    ),
    log_kind(
        "HAProxy",
        ("/", "termination_state"),
        r" (?:[SC][DHCRQL](?:[-A-Z]{2})?) \d{1,9}/\d{1,9}/\d{1,9}/\d{1,9}/\+?\d{1,9} "
        r"|\btermination_state\W{1,8}[SC][DHCRQL](?:[-A-Z]{2})?\b",
        "the first of the four flags tells who ended it (S: the server, C: the client), the second"
        " when (D: in the data, H: before the headers, C: while connecting)",
        "whether it was an RST or a FIN",
    ),
    log_kind(
        "Envoy",
        ("upstream_reset_before_response_started{", "reset before headers. ", '" '),
        r"upstream_reset_before_response_started\{\w{1,60}|reset before headers\. reset reason: "
        r"|\" \d{3} (?:[A-Z]{2,6},){0,4}"
        r"(?:UC|UPE|DC|UR|LR|UF)(?:,[A-Z]{2,6}){0,4} ",
        "response flags: UC the upstream ended the connection, UPE its answer broke the protocol,"
        " DC the client ended it, UR a stream was reset",
        "whether it was an RST or a FIN",
    ),
    log_kind(
        "Apache httpd",
        ("reset by peer",),
        r"\bAH\d{5}: .{0,300}?reset by peer|\(104\)Connection reset by peer: ",
        "httpd read ECONNRESET: an RST came from its client or its backend; of AH01102 and AH01110"
        " it was the backend",
    ),
    log_kind(
        "Apache httpd, backend ended",
        (": error reading ",),
        r"\bAH011(?:02|10): error reading (?:status line|response)",
        "the backend ended the connection before its response was whole, with a FIN",
        "why it did",
    ),
    log_kind(
        "PostgreSQL",
        (
            "could not ",
            "unexpected eof on client connection",
            "connection to client lost",
            "ssl syscall error: ",
            "ssl connection has been closed unexpectedly",
        ),
        r"could not (?:receive data from|send data to) client: |unexpected EOF on client connection"
        r"|could not accept SSL connection: (?:Connection reset|EOF)|connection to client lost"
        r"|SSL SYSCALL error: |SSL connection has been closed unexpectedly",
        "PostgreSQL, or its client, met the end of the connection where more was expected",
    ),
    log_kind(
        "Java",
        ("socketexception: ", "closing inbound before receiving peer's close_notify"),
        r"closing inbound before receiving peer's close_notify"
        r"|SocketException: (?:Connection reset|Broken pipe)",
        "a Java program met a FIN without close_notify (the first), or an RST (SocketException)",
    ),
    log_kind(
        "Java, ended early",
        (
            "fixed content-length: ",
            "premature eof",
            "unexpected end of file from server",
            "remote host terminated the handshake",
            "header parser received no bytes",
        ),
        r"Remote host terminated the handshake|header parser received no bytes"
        r"|fixed content-length: \d{1,15}, bytes received|Unexpected end of file from server"
        r"|Premature EOF",
        EITHER,
        RST_OR_FIN,
    ),
    log_kind(
        "Python",
        (
            "eof occurred in violation of protocol",
            "ssleoferror",
            "brokenpipeerror",
            "connectionreseterror",
            "unexpected_eof_while_reading",
        ),
        r"ConnectionResetError|UNEXPECTED_EOF_WHILE_READING|EOF occurred in violation of protocol"
        r"|SSLEOFError|BrokenPipeError",
        "a Python program met an RST (ConnectionResetError) or a FIN without close_notify (EOF)",
    ),
    log_kind(
        "Python, ended early",
        ("remotedisconnected", "remote end closed connection without response", "incompleteread("),
        r"RemoteDisconnected|Remote end closed connection without response|IncompleteRead\(",
        "a Python program met a FIN before the response was whole",
        "why the other end sent it",
    ),
    log_kind(
        "Ruby",
        ("errno::e",),
        r"Errno::(?:ECONNRESET|EPIPE)",
        "a Ruby program met an RST, or wrote to what was closed",
    ),
    log_kind("Node.js", ("read", "write"), r"\b(?:read|write) (?:ECONNRESET|EPIPE)\b", READER),
    log_kind(
        "Node.js, ended early",
        ("client network socket disconnected", "socket hang up"),
        r"socket hang up|Client network socket disconnected",
        f"{EITHER}; Node.js calls a FIN ECONNRESET here, too",
        RST_OR_FIN,
    ),
    log_kind(
        "Go",
        ("connection reset by peer", "broken pipe"),
        rf"\b(?:read|write) tcp[46]? .{{1,100}}?->{_PEER}: (?:read|write): "
        r"(?:connection reset by peer|broken pipe)",
        READER,
    ),
    log_kind(
        "Go, while connecting",
        (": connect: connection re",),
        rf"\bdial tcp[46]? {_PEER}: connect: connection (?:reset by peer|refused)",
        "connect() met an RST: nothing listens there, or something in between turned it away, or"
        " (reset) the connection was ended at once",
    ),
    log_kind(
        "OpenSSL or curl, no close_notify",
        ("unexpected eof while reading", "0a000126"),
        r"unexpected eof while reading|0A000126",
        "the other end sent a FIN without a close_notify: the data may be cut short",
        "who ended the connection first",
    ),
    log_kind(
        "curl or OpenSSL, reset",
        ("openssl ssl_", " failure: ", ":errno=", "read error at byte "),
        r"(?:Recv|Send) failure: (?:Connection reset|Broken pipe)"
        r"|OpenSSL SSL_(?:read|write|connect): (?:Connection reset|Broken pipe)"
        r"|(?:read|write):errno=(?:104|32)|Read error at byte .{0,60}reset by peer",
        READER,
    ),
    log_kind(
        "curl or wget, cut short",
        (
            "connection closed at byte ",
            "curl: (",
            "empty reply from server",
            "transfer closed with ",
        ),
        r"transfer closed with .{0,60}remaining to read|Connection closed at byte \d"
        r"|curl: \((?:18|52)\)|Empty reply from server",
        "the other end sent a FIN before the response was whole, or before there was any",
        "why it did",
    ),
    log_kind(
        "curl or OpenSSL, ended early",
        ("openssl ssl_", " failure: ", "gnutls recv error (-", "gnutls: ", "curl: ("),
        r"(?:Recv|Send) failure: |curl: \((?:35|55|56)\)|OpenSSL SSL_(?:read|write|connect): "
        r"|GnuTLS: (?:Error in the p|The TLS connection was non-properly)"
        r"|GnuTLS recv error \(-(?:54|110)\)",
        EITHER,
        RST_OR_FIN,
    ),
    log_kind(
        "Windows, reset",
        ("10054", "wsaeconnreset", "forcibly closed by the remote host"),
        r"forcibly closed by the remote host|\bWSAECONNRESET\b"
        r"|\b(?:error|errno|code).{0,12}\b10054\b",
        "a Windows program read WSAECONNRESET (10054): an RST came from the other end, or from"
        " something between",
    ),
    log_kind(
        "Windows, aborted here",
        ("aborted by the software in your host machine", "wsaeconnaborted", "10053"),
        r"aborted by the software in your host machine|\bWSAECONNABORTED\b"
        r"|\b(?:error|errno|code).{0,12}\b10053\b",
        "Windows itself gave the connection up (10053): nothing answered what it sent again, or a"
        " program on this machine (a scanner, a VPN) ended it",
    ),
    log_kind(
        "IIS, HTTPERR",
        ("connection_dropped", "connection_abandoned_by_", "client_reset", "timer_"),
        r" (?:Client_Reset|Connection_Dropped\w{0,20}|Connection_Abandoned_By_\w{1,20}"
        r"|Timer_(?:ConnectionIdle|MinBytesPerSecond|EntityBody|HeaderWait))\b",
        "HTTP.sys tells why it ended a connection: Client_Reset and Connection_Dropped, the client"
        " did; Timer_, a timeout of its own; Connection_Abandoned, the worker did",
        "whether it was an RST or a FIN",
    ),
    log_kind(
        "Zeek's conn.log",
        ('"conn_state":', "\ttcp\t"),
        r"^[0-9.]{5,20}\t\w{5,30}\t[0-9a-fA-F.:]{3,45}\t\d{1,5}\t(?P<host>[0-9a-fA-F.:]{3,45})\t"
        r"(?P<port>\d{1,5})\ttcp\t.{0,200}\t(?:RST[OR]|RSTOS0|RSTRH|REJ)\t"
        r"|\"conn_state\": ?\"(?:RST[OR]|RSTOS0|RSTRH|REJ)\"",
        "conn_state tells who sent the RST: RSTO the end that opened the connection, RSTR the other"
        " one, REJ: it was refused; the column history has R or r, in the order of the packets",
    ),
    log_kind(
        "Suricata's eve.json",
        ('"event_type":',),
        r"\"event_type\": ?\"flow\".{0,1200}\"rst\": ?true",
        "the flow had an RST; tcp_flags_ts are the flags that went to the server, tcp_flags_tc"
        " those to the client, and 04 is RST",
    ),
    log_kind(
        "AWS, flow log",
        ("eni-",),
        r"\beni-[0-9a-f]{8,17} .{0,200} (?:ACCEPT|REJECT)\b",
        "traffic of a minute or ten added up: of its tcp-flags (not in the default format) 4 is RST"
        " and 1 is FIN, and REJECT is a security group or a network ACL",
        "in what order the flags came, which connection of several they are of",
    ),
    log_kind(
        "AWS, load balancer",
        (" app/",),
        r"^(?:https?|h2|wss?|grpcs?) \d{4}-\d\d-\d\dT\S{8,20} app/\S{1,100} \S{1,60} "
        r"(?P<peer>\S{1,50}:\d{1,5}|-) (?:-?[\d.]{1,12} ){3}(?:502|460|504) -",
        "502 with no status of the target: the target ended the connection, by an RST or a FIN,"
        " before its response was whole; 460: the client did",
        RST_OR_FIN,
    ),
    log_kind(
        "Google Cloud, load balancer",
        ("client_disconnected_", "backend_connection_closed_"),
        r"\b(?:backend_connection_closed_\w{3,60}|client_disconnected_\w{3,60})\b",
        "backend_connection_closed: the backend ended the connection before its response was whole,"
        " often one that had been idle longer than the backend waits; client_disconnected: the"
        " client did",
        RST_OR_FIN,
    ),
    log_kind(
        "Azure, Application Gateway",
        ("errorinfo_",),
        r"\bERRORINFO_(?:UPSTREAM_CLOSED_CONNECTION|CLIENT_CLOSED_REQUEST)\b",
        "UPSTREAM_CLOSED_CONNECTION: the backend ended the connection before its response was"
        " whole; CLIENT_CLOSED_REQUEST: the client did",
        RST_OR_FIN,
    ),
    log_kind(
        "Cilium's Hubble, RST",
        ("(tcp flags: ",),
        r"\b[A-Z]{5,12} \(TCP Flags: [A-Z, ]{0,40}RST",
        "Cilium saw an RST of the sender on the left at this point of the datapath; one RST is"
        " listed at each of them (from-endpoint, to-stack, to-endpoint)",
    ),
    log_kind(
        "pwru, RST",
        ("(tcp:",),
        r"->\S{3,60}\(tcp:(?:[A-Z]{3}\|)*RST",
        "this machine's kernel had an RST of the sender on the left in its hands, in the function"
        " at the end of the line; one RST is listed for each of them",
    ),
    log_kind(
        "Microsoft's Network Monitor",
        ("flags=",),
        r"\bTCP: ?(?:\[[^\]]{1,80}\] ?)?Flags=[A-Z.]{6,9}, SrcPort=",
        "packets as its list shows them; save the capture itself, and `editcap -F pcapng` rewrites"
        " that",
        "the capture",
    ),
    log_kind(
        "FortiGate's sniffer",
        (" -> ",),
        r"\d\.\d{1,5} -> (?P<host>(?:\d{1,3}\.){3}\d{1,3})\.(?P<port>\d{1,5}): "
        r"(?:syn|rst|fin|psh|ack) \d",
        "packets, but without lengths and windows; `diagnose sniffer packet IF FILTER 6` prints"
        " them whole, and Fortinet's fgt2eth makes a capture of that",
    ),
    log_kind(
        "conntrack",
        (" sport=",),
        r"\btcp {1,12}6 .{0,60}?\bsrc=\S{3,45} dst=(?P<host>\S{3,45}) sport=\d{1,5}"
        r" dport=(?P<port>\d{1,5})",
        "what the connection tracker of this machine knows; CLOSE: it saw an RST",
        "who sent the RST; a connection that it forgot is not in the list",
    ),
    log_kind(
        "ss or netstat, sockets",
        (
            "tcp",
            "estab",
            "time-wait",
            "fin-wait-",
            "close-wait",
            "last-ack",
            "closing",
            "syn-sent",
            "syn-recv",
            "_wait",
        ),
        r"^ {0,8}(?:tcp6? {1,12}\d{1,9} {1,12}\d{1,9} |(?:ESTAB|TIME-WAIT|FIN-WAIT-[12]|CLOSE-WAIT"
        r"|LAST-ACK|CLOSING|SYN-SENT|SYN-RECV) {1,20}\d{1,9} )"
        r"|\bTCP \S{3,100}->\S{3,100} \((?:CLOSE|TIME|FIN)_WAIT[12]?\)",
        "sockets as they are now: Recv-Q above 0 at a close() makes an RST; CLOSE-WAIT: the peer"
        " has closed and this program has not; FIN-WAIT-2: the other way round",
        "what happened to connections that are gone, as those that were reset are",
    ),
    log_kind(
        "counters of the kernel",
        (
            "estabresets",
            "outrsts",
            "resets ",
            "connection resets received",
            "tcpabort",
            "connections reset due to ",
        ),
        r"TCPAbort(?:On)?\w{1,20}|\bTcp(?:OutRsts|EstabResets)\b|connections reset due to |"
        r"\bresets (?:sent|received)\b|connection resets received",
        "RSTs of the whole machine: TCPAbortOnClose counts close() with data unread, TCPAbortOnData"
        " data that came after close() or linger 0, TCPAbortOnTimeout peers that vanished,"
        " TCPAbortOnLinger an expired linger, OutRsts all that it sent, EstabResets connections",
        "which connections they belong to",
    ),
    log_kind(
        "ngrep, snoop or pktmon",
        ("tcp d=", "pktgroupid ", " -> "),
        r"^T .{3,60}:\d{1,5} -> .{3,60}:\d{1,5} \[[A-Z]{1,8}\]|\bTCP D=\d{1,5} S=\d{1,5} "
        r"|PktGroupId \d",
        "packets, but without the numbers that tell what provoked an RST",
        "which segment an RST answers",
    ),
    log_kind(
        "tshark -T fields without names",
        (".",),
        r"^(?=[^g-wyz]{0,200}$)(?:[^\t,;|]{0,60}[\t,;|]){1,30}?(?:\d{1,3}\.){3}\d{1,3}[\t,;|]"
        r"(?:[^\t,;|]{0,60}[\t,;|]){0,6}(?:\d{1,3}\.){3}\d{1,3}[\t,;|]",
        "cells whose columns nothing names: print them with `-E header=y`",
        "which cell is which",
    ),
    log_kind(
        "TLS alert in a log",
        ("alert", "remote error: tls: "),
        r"\bremote error: tls: |\b(?:sslv3|tlsv1(?:\.\d)?) alert \w|\balert (?:read|write):"
        r"|[<>]{3} \S{3,8} ?1\.\d, Alert \[length|\b(?:sen[dt]|sending|received|got) (?:a )?"
        r"(?:fatal |TLS )?alert\b|\bfatal alert:|\bSSL alert number \d",
        "an alert, which tells why its sender ends; behind a fatal one comes a FIN, or an RST",
        "whether an RST came, nor who sent it",
    ),
    log_kind(
        "a program's log",
        ("connection reset by peer", "econnreset", "errno 104"),
        r"connection reset by peer|\bECONNRESET\b|errno 104\b",
        READER,
    ),
)
