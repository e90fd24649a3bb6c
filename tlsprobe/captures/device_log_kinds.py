"""What firewalls, clouds and tracers write of connections that were reset, and dumps of bytes.

Source: F5's K13223, on logging TCP RST packets; Cisco's "ASA Syslog Messages", 302014; Palo Alto's
`debug dataplane packet-diag`; Azure's "NSG flow logs"; the events of the provider
Microsoft-Windows-TCPIP; Envoy's and Rustls's own words.
"""

from __future__ import annotations

from tlsprobe.captures.log_kinds import RST_OR_FIN, LogKind, log_kind

HEX_DUMP = log_kind(
    "hex dump",
    ("0000",),
    r"^ {0,8}(?:0x)?(?:00000000|0000):? {1,4}(?:[0-9a-f]{2} {1,3}){8}"
    r"|^ {0,8}0x0000: {1,3}(?:[0-9a-f]{4} ){4}",
    "where the bytes of a packet begin: Wireshark's `text2pcap -l 101 DUMP trace.pcap` makes a"
    " capture of IP packets, with `-l 1` of Ethernet frames",
    "when they were captured, unless it says so",
)

DEVICE_KINDS: tuple[LogKind, ...] = (
    log_kind(
        "Cisco ASA, teardown",
        ("-302014: ",),
        r"%(?:ASA|FTD|PIX)-\d-302014: Teardown TCP connection .{0,40}? for"
        r" [^ :]{1,60}:(?:(?P<host>[0-9a-fA-F.:]{3,45})/(?P<port>\d{1,5}))?",
        "the firewall's reason stands at its end: TCP Reset-I or Reset-O, an RST that came from the"
        " inside or the outside; TCP FINs, both ends closed; Idle Timeout and the like are its own",
    ),
    log_kind(
        "Cisco ASA, no connection",
        ("-106015: ",),
        r"%(?:ASA|FTD|PIX)-\d-106015: Deny TCP \(no connection\) from .{0,120}\bflags\b",
        "a packet of a connection that the firewall knows no more, with the flags of that packet;"
        " behind an RST or a FIN that had passed it is what was still under way",
        "when it forgot the connection, nor why",
    ),
    log_kind(
        "Fortinet, traffic log",
        ("server-rst", "client-rst"),
        r"\baction=\"?(?:server-rst|client-rst)\b",
        "the session ended with an RST that came from the server (server-rst) or from the client"
        " (client-rst) to the firewall",
    ),
    log_kind(
        "Palo Alto, traffic log",
        ("tcp-rst-from-",),
        r"\btcp-rst-from-(?:server|client)\b",
        "the session ended with an RST that came from the side at its end; behind a decrypting"
        " policy the firewall is either side's peer",
    ),
    log_kind(
        "Check Point, dropped",
        ("tcp packet out of state", "fw_log_drop"),
        r"\bTCP packet out of state\b|\bfw_log_drop\w{0,10}: Packet proto=6\b",
        "the firewall dropped a packet, and why; 'out of state' is of a connection that it knows no"
        " more, or never knew",
        "who ended that connection, nor how",
    ),
    log_kind(
        "Check Point, fw monitor",
        ("tcp: ",),
        r"^TCP: \d{1,5} -> (?P<port>\d{1,5}) [FSRPAU.]{6} seq=[0-9a-f]{8} ack=[0-9a-f]{8}",
        "packets, over two lines each, at each point of inspection (i, I, o, O); `fw monitor -o"
        " FILE` writes a capture that is read",
        "how long each was, nor what of it was acknowledged when",
    ),
    log_kind(
        "F5 BIG-IP, RST",
        ("rst sent from ",),
        r"\bRST sent from (?P<peer>\[?[0-9a-fA-F.:]{3,45}\]?:\d{1,5}) to .{3,80}\[0x[0-9a-f]{1,16}"
        r":\d{1,6}\]",
        "the load balancer sent an RST from the first address to the second, and why, behind its"
        " brackets: 'TCP RST from remote system' passes on one that the other side had sent,"
        " 'No local listener', 'No flow found' and timeouts are its own",
        "what the connection on its other side did: `tcpdump -nni 0.0:nnnp --f5` captures both, and"
        " the cause of each RST",
    ),
    log_kind(
        "Palo Alto, packet dump",
        ("sport ",),
        r"^TCP: {1,12}sport \d{1,5}, dport (?P<port>\d{1,5}), seq \d{1,10}, ack \d{1,10}",
        "packets, over several lines each; `debug dataplane packet-diag set capture on` writes"
        " captures, of what came in, went out and was dropped",
        "what the other stages of the firewall did with it",
    ),
    log_kind(
        "Azure, NSG flow log",
        ("flowtuples",),
        r"\"flowTuples\"",
        "flows that a rule let in or kept out (A, D), and when they began and ended (B, C, E)",
        "any flag of TCP: neither who ended a flow, nor how",
    ),
    log_kind(
        "Cilium, monitor",
        (" tcp ",),
        r"\b(?:endpoint|host|stack|proxy|overlay|network)\b.{0,200}: \S{3,60} -> \S{3,60} tcp"
        r" (?:[A-Z]{3}, ){0,3}RST\b",
        "Cilium saw an RST of the sender on the left at this point of the datapath",
    ),
    log_kind(
        "Hubble's flows, RST",
        ('"rst":',),
        r"\"flags\": ?\{[^{}]{0,120}\"RST\": ?true",
        'Cilium saw an RST of the flow\'s source; "verdict" says what became of it',
    ),
    log_kind(
        "kernel's reason for an RST",
        ("sk_rst_reason_",),
        r"\bSK_RST_REASON_\w{3,40}",
        "a kernel sent an RST, and its reason (SK_RST_REASON_...): of an abort at close() whether"
        " anything was unread (TCP_ABORT_ON_CLOSE), of an answer which kind",
        "which segment that was, nor what was unread",
    ),
    log_kind(
        "bcc, tcpstates",
        ("estab", "close", "fin_wait", "time_wait"),
        r"\b(?:ESTABLISHED|CLOSE_WAIT|FIN_WAIT[12]|LAST_ACK|SYN_SENT|SYN_RECV) {0,4}-> CLOSE\b",
        "a socket of this machine went to CLOSE: from ESTABLISHED at once, it was reset, by either"
        " end; from CLOSE_WAIT and FIN_WAIT an RST is one of several ways",
        "which of the two reset",
    ),
    log_kind(
        "AIX, iptrace",
        ("flags<",),
        r"^TCP: {1,12}th_off=\d{1,3}, flags<(?:[A-Z]{3,4} ?\|? ?)*RST",
        "packets, over several lines each; tshark reads the file that iptrace wrote: `tshark -r"
        " FILE -w trace.pcap` makes a capture of it",
        "what provoked it without the packets before",
    ),
    log_kind(
        "Windows, TCPIP trace",
        ("tcp: connection 0x",),
        r"\bTCP: connection 0x[0-9a-f]{4,16}[ :].{0,160}?"
        r"(?:remote=(?P<peer>\[[0-9a-fA-F:]{2,45}\]:\d{1,5}|[\d.]{7,15}:\d{1,5}).{0,120}?)?"
        r"(?:received RST|connection reset|attempt failed|abort)",
        "what Windows's TCP did with a connection, and with which status; `etl2pcapng` makes a"
        " capture of a trace that was started with capture=yes",
    ),
    log_kind(
        "Envoy, debug log",
        ("upstream reset: reset reason", "] remote close", "] remote early close"),
        r"upstream reset: reset reason|\[C\d{1,12}\] remote close\b"
        r"|\[C\d{1,12}\] remote early close\b",
        "'remote close' is a FIN or an RST of the other end of the connection that is named"
        " (C...), 'connection termination' that a request was open on it then",
        RST_OR_FIN,
    ),
    log_kind(
        "Rust",
        (
            "closenotify alert received",
            "peer closed connection without sending tls close_notify",
            "kind: connectionreset",
            "os error 104",
        ),
        r"CloseNotify alert received|peer closed connection without sending TLS close_notify"
        r"|kind: ConnectionReset|\bos error 104\b",
        "a Rust program met an RST (104, ConnectionReset), a FIN without close_notify, or (old"
        " Rustls) a close_notify, which is an orderly end",
    ),
    HEX_DUMP,
)
