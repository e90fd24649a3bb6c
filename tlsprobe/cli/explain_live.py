"""``tlsprobe explain --live``: what to watch, and each reset as a line."""

from __future__ import annotations

import socket
import sys
from dataclasses import replace
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path

from tlsprobe.cli.console import err, out, say
from tlsprobe.errors import UsageError
from tlsprobe.explain.wanted import Filter
from tlsprobe.explain.watching import Wire, explain_live
from tlsprobe.model.explanation import ExplainedFlow, Explanation
from tlsprobe.report.explain_document import encode_flow
from tlsprobe.report.live import Pace, live_lines
from tlsprobe.sniff.route import EVERY, packed

_HINT = "with --live: 'port N', 'host ADDRESS', or both; nothing for all of TCP"


def live_explanation(  # noqa: PLR0917 - what `explain` was asked
    words: list[str],
    interface: str | None,
    wanted: Filter,
    key_logs: list[Path],
    how: str,
    no_color: bool,
) -> Explanation:
    """Watch until Ctrl-C, printing each reset. Returns the overview, which is not printed yet.

    What is meant for programs keeps standard output for itself: then the lines go to standard
    error.
    """
    if wanted.packet is not None or wanted.since is not None or wanted.until is not None:
        raise UsageError("--packet, --since and --until are for files, not for --live")
    host, port = _read(words)
    wanted = replace(wanted, host=wanted.host or host, port=wanted.port if port is None else port)
    wire = Wire(interface or EVERY, _address(wanted.host), wanted.port)
    console = out(no_color=no_color) if how == "terminal" else err(no_color=no_color)
    pace = Pace()

    def tell(flow: ExplainedFlow) -> None:
        if how == "json":
            sys.stdout.buffer.write(encode_flow(flow))
            sys.stdout.buffer.flush()
            return
        for line in pace.allow(flow, live_lines(flow)):
            say(console, line)

    def note(sentence: str) -> None:
        say(err(no_color=no_color), sentence)

    found = explain_live(wire, wanted, key_logs, tell, note)
    say(console, "")
    return found


def _read(words: list[str]) -> tuple[str | None, int | None]:
    """The host and the port that are asked for, in whatever order."""
    typed = [word for text in words for word in text.split()]
    host: str | None = None
    port: int | None = None
    kept = [word for word in typed if word not in {"and", "tcp"}]
    pairs = list(pairwise(kept))[::2]
    if len(kept) % 2:
        raise UsageError(f"'{' '.join(typed)}' is not understood", _HINT)
    for name, value in pairs:
        if name == "port" and port is None and value.isdecimal() and 0 < int(value) < 1 << 16:
            port = int(value)
        elif name == "host" and host is None:
            host = value
        else:
            raise UsageError(f"'{name} {value}' is not understood", _HINT)
    return host, port


def _address(host: str | None) -> bytes | None:
    """The address in packets; a name may stand for several, of which none is chosen here."""
    if host is None:
        return None
    try:
        return packed(str(ip_address(host.strip("[]"))))
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise UsageError(f"host {host}: {error.strerror}", "give its address") from None
    names = dict.fromkeys(str(one[4][0]) for one in found)
    raise UsageError(f"host {host} is a name", f"give its address: {', '.join(names)}")
