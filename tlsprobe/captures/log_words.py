"""Which kinds of logs a line may be of: told by words alone, which takes a tenth of the patterns.

Most lines of a log are of no kind that tells of a reset. In each line of a kind stands one of the
kind's words at least.
"""

from __future__ import annotations

from functools import lru_cache

from tlsprobe.captures.log_kinds import LOG_KINDS, LogKind

WORDS: dict[str, tuple[str, ...]] = {
    "strace, linger 0": ("so_linger, {",),
    "strace, ECONNRESET": ("= -1 econnreset",),
    "strace, EPIPE": ("= -1 e", "--- sigpipe {si_signo=sigpipe"),
    "ltrace, system calls": ("sys_",),
    "ltrace": ("= ", "--- sigpipe (broken pipe) ---"),
    "kernel stack, RST sent": ("send_active_reset", "_send_reset"),
    "kernel stack, RST received": ("tcp_reset+",),
    "bpftrace or bcc, tcpdrop": (
        "tcp_drop",
        "tcpdrop",
        "kfree_skb",
        "skb_reason_drop",
        "skb_drop_reason_",
    ),
    "dmesg, TCP": ("tcp: ", "nf_conntrack: "),
    "firewall's log, RST": ("proto=tcp",),
    "firewall's log, refused": ("proto=tcp",),
    "kernel trace of tcp_send_reset": ("tcp_send_reset:",),
    "kubectl port-forward": (
        "error copying from ",
        "error forwarding port ",
        "lost connection to pod",
    ),
    "nginx, client left": ("client request", "client prematurely closed connection"),
    "nginx, upstream ended": ("upstream prematurely closed connection",),
    "nginx, upstream reset": ("(104: ",),
    "nginx, client or shutdown": ("(104: ", "() failed", ") failed"),
    "HAProxy": ("/",),
    "Envoy": ("upstream_reset_before_response_started{", "reset before headers. ", '" '),
    "Apache httpd": ("reset by peer",),
    "Apache httpd, backend ended": (": error reading ",),
    "PostgreSQL": (
        "could not ",
        "unexpected eof on client connection",
        "connection to client lost",
        "ssl syscall error: ",
        "ssl connection has been closed unexpectedly",
    ),
    "Java": ("socketexception: ", "closing inbound before receiving peer's close_notify"),
    "Java, ended early": (
        "fixed content-length: ",
        "premature eof",
        "unexpected end of file from server",
        "remote host terminated the handshake",
        "header parser received no bytes",
    ),
    "Python": (
        "eof occurred in violation of protocol",
        "ssleoferror",
        "brokenpipeerror",
        "connectionreseterror",
        "unexpected_eof_while_reading",
    ),
    "Python, ended early": (
        "remotedisconnected",
        "remote end closed connection without response",
        "incompleteread(",
    ),
    "Ruby": ("errno::e",),
    "Node.js": ("read", "write"),
    "Node.js, ended early": ("client network socket disconnected", "socket hang up"),
    "Go": ("connection reset by peer", "broken pipe"),
    "Go, while connecting": (": connect: connection re",),
    "OpenSSL or curl, no close_notify": ("unexpected eof while reading", "0a000126"),
    "curl or OpenSSL, reset": ("openssl ssl_", " failure: ", ":errno=", "read error at byte "),
    "curl or wget, cut short": (
        "connection closed at byte ",
        "curl: (",
        "empty reply from server",
        "transfer closed with ",
    ),
    "curl or OpenSSL, ended early": (
        "openssl ssl_",
        " failure: ",
        "gnutls recv error (-",
        "gnutls: ",
        "curl: (",
    ),
    "Windows, reset": ("10054", "wsaeconnreset", "forcibly closed by the remote host"),
    "Windows, aborted here": (
        "aborted by the software in your host machine",
        "wsaeconnaborted",
        "10053",
    ),
    "IIS, HTTPERR": ("connection_dropped", "connection_abandoned_by_", "client_reset", "timer_"),
    "Zeek's conn.log": ('"conn_state":', "\ttcp\t"),
    "Suricata's eve.json": ('"event_type":',),
    "AWS, flow log": ("eni-",),
    "AWS, load balancer": (" app/",),
    "Google Cloud, load balancer": ("client_disconnected_", "backend_connection_closed_"),
    "Azure, Application Gateway": ("errorinfo_",),
    "conntrack": (" sport=",),
    "ss or netstat, sockets": (
        "tcp",
        "estab",
        "time-wait",
        "fin-wait-",
        "close-wait",
        "last-ack",
        "closing",
        "syn-sent",
        "syn-recv",
    ),
    "counters of the kernel": (
        "estabresets",
        "outrsts",
        "resets ",
        "connection resets received",
        "tcpabort",
        "connections reset due to ",
    ),
    "ngrep, snoop or pktmon": ("tcp d=", "pktgroupid ", " -> "),
    "tshark -T fields without names": (".",),
    "a program's log": ("connection reset by peer", "econnreset", "errno 104"),
}
"""By the kind's name, in lower case."""

_LIKE_LETTERS = str.maketrans({"\u0130": "i", "\u0131": "i", "\u017f": "s", "\u212a": "k"})
"""What else a pattern takes for a letter where it does not mind the case."""

_BITS = {kind.name: 1 << place for place, kind in enumerate(LOG_KINDS)}
_PARTS = (
    *("reset", "tcp", "eof", "clos", "conn", "ssl", "err", "fail", "skb", "sy", "100", "wait"),
    *("sig", "curl", "serv", "head", "rst", "read", "abort", "client", "e("),
)
"""Without one of these, most words cannot be there."""

_OF_PART: dict[str, list[tuple[str, int]]] = {}
for _word in sorted({word for words in WORDS.values() for word in words}):
    _part = next((part for part in _PARTS if part in _word), _word)
    _bits = sum(bit for name, bit in _BITS.items() if _word in WORDS[name])
    _OF_PART.setdefault(_part, []).append((_word, _bits))
_WORDS_OF_PARTS = tuple(_OF_PART.items())


def possible_kinds(line: str) -> tuple[LogKind, ...]:
    """The kinds of which a word stands in the line, in their order."""
    text = (line if line.isascii() else line.translate(_LIKE_LETTERS)).lower()
    found = 0
    for part, words in _WORDS_OF_PARTS:
        if part in text:
            for word, bits in words:
                if word in text:
                    found |= bits
    return _kinds(found)


@lru_cache(maxsize=4096)
def _kinds(bits: int) -> tuple[LogKind, ...]:
    return tuple(kind for kind in LOG_KINDS if bits & _BITS[kind.name])
