"""The kernel's own reason for every RST it sends, to hold our attribution against.

Attribution works from packets alone, because a probe usually sees nothing else. When the server
runs on the probe's own machine there is a witness: the tracepoint ``tcp:tcp_send_reset`` fires in
``tcp_send_active_reset``, just after the segment was handed down, and in ``tcp_v4_send_reset`` /
``tcp_v6_send_reset``, just before. It names the socket's state and (from Linux 6.12 on for all
resets) the reason, a value of ``enum sk_rst_reason`` in ``include/net/rstreason.h``.

The tracepoint sees the whole machine, every network namespace included; whoever looks for one
connection picks it by its addresses.

Each watch lives in a tracefs instance of its own (`tlsprobe.lab.tracefs`).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from pathlib import Path

from tlsprobe.errors import CannotMeasure
from tlsprobe.lab import tracefs
from tlsprobe.lab.tracefs import Instance
from tlsprobe.model.causes import Cause
from tlsprobe.model.trace import Side

Endpoint = tuple[str, int]
"""IP address and port. The kernel's "I do not know" is an unspecified address and port 0."""

_EVENT = "events/tcp/tcp_send_reset"

# The kernel's word for "closed with unread data", in the event's description from 6.12 on. Kernels
# 6.10 and 6.11 have the field `reason` but fill it only for resets that answer a segment.
_KNOWS_ACTIVE_REASONS = "TCP_ABORT_ON_CLOSE"

TOO_OLD = "the kernel does not tell why it sends a RST: use Linux 6.12 or newer"
"""What `available` says of a kernel that has the tracepoint and not the reasons."""

_READ_BYTES = 1 << 16


# --- One reset ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KernelReset:
    """One RST as the kernel that sent it tells it.

    ``time_ns`` is on the real-time clock, the clock of packet timestamps, to the nearest
    microsecond; it lies some microseconds before the packet's for an answer to a segment, and up to
    a hundred after it for a decision (measured on loopback: 1 to 11 before, 1 to 102 after).
    ``state`` and ``reason`` are the
    kernel's words; ``state`` is ``UNKNOWN`` where no socket was found, and ``TCP_CLOSE`` for a
    socket that the kernel closed before it sent the RST, whatever its state was until then.

    A RST that a listening socket answers with carries that socket's addresses: ``dst`` is
    unspecified with port 0, and so is the address of ``src`` if it listens on all of them.
    """

    time_ns: int
    src: Endpoint
    dst: Endpoint
    state: str
    reason: str

    @property
    def passive(self) -> bool:
        """Whether it answers a segment, rather than carry out a decision of this side."""
        known = REASONS.get(self.reason)
        return known is None or not known.decides

    def sent_by(self, endpoint: Endpoint) -> bool:
        """Whether this endpoint sent it, a socket listening on all addresses included."""
        return _may_be(self.src, endpoint)

    def side(self, server: Endpoint) -> Side | None:
        """Which side of a connection to ``server`` sent it; None if it belongs to another."""
        if self.sent_by(server):
            return Side.SERVER
        return Side.CLIENT if self.dst == server else None

    def belongs_to(self, client: Endpoint, server: Endpoint) -> bool:
        """Whether it can be of this connection, in either direction.

        A listener's RST does not name its client, and so can be of any connection to the server.
        """
        forth = _may_be(self.src, server) and _may_be(self.dst, client)
        back = _may_be(self.src, client) and _may_be(self.dst, server)
        return forth or back


def _may_be(printed: Endpoint, asked: Endpoint) -> bool:
    """Whether what the kernel printed is, or leaves open that it is, the endpoint asked for."""
    same_port = printed[1] in (asked[1], 0)
    same_address = printed[0] == asked[0] or ip_address(printed[0]).is_unspecified
    return same_port and same_address


# --- Reading the trace ----------------------------------------------------------------------------

# The name of the task that happened to run comes first and may hold anything; only what follows the
# clock is ours. Addresses are printed as %pISpc: 127.0.0.1:443, [::1]:443.
_LINE = re.compile(
    r"\s(?P<seconds>\d+)\.(?P<micros>\d{6}): tcp_send_reset:"
    r" .*\bsrc=(?P<src>\S+:\d+) dest=(?P<dst>\S+:\d+)"
    r" state=(?P<state>\w+) reason=(?P<reason>\w+)\s*$"
)


def parse_line(line: str, clock_ahead_ns: int = 0) -> KernelReset | None:
    """Reads one line of the trace; None if it does not tell a reset with its reason.

    ``clock_ahead_ns`` is how far the clock of the trace is ahead of the real-time clock.
    """
    match = _LINE.search(line)
    if match is None:
        return None
    clock_ns = int(match["seconds"]) * 1_000_000_000 + int(match["micros"]) * 1_000
    return KernelReset(
        time_ns=clock_ns - clock_ahead_ns,
        src=_parse_endpoint(match["src"]),
        dst=_parse_endpoint(match["dst"]),
        state=match["state"],
        reason=match["reason"],
    )


def _parse_endpoint(text: str) -> Endpoint:
    host, _, port = text.rpartition(":")
    address = ip_address(host.strip("[]"))
    # A dual-stack socket names its IPv4 peers by mapped addresses; the wire says IPv4.
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address), int(port)


# --- Watching -------------------------------------------------------------------------------------


class ResetWatch:
    """The resets that the kernel has sent since the watch began. Made by `watch_resets`."""

    def __init__(self, instance: Instance) -> None:
        self._instance: Instance | None = instance
        self._clock_ahead_ns = _tai_ahead_ns()
        self._resets: list[KernelReset] = []
        self._unfinished_line = b""
        self._illegible = 0
        self._overrun = 0

    def resets(self) -> tuple[KernelReset, ...]:
        """All resets so far, in time order; after the watch, all that it saw."""
        self._drain()
        return tuple(sorted(self._resets, key=lambda reset: reset.time_ns))

    @property
    def lost(self) -> int:
        """How many resets happened that `resets` does not hold; above 0 nothing is proven."""
        self._drain()
        return self._overrun + self._illegible

    def _drain(self) -> None:
        if self._instance is None:
            return
        for line in self._new_lines(self._instance.pipe):
            self._take(line)
        self._overrun = _overrun(self._instance.folder)

    def _new_lines(self, pipe: int) -> list[str]:
        *lines, self._unfinished_line = (self._unfinished_line + _read_all(pipe)).split(b"\n")
        return [line.decode(errors="replace") for line in lines]

    def _take(self, line: str) -> None:
        reset = parse_line(line, self._clock_ahead_ns)
        if reset is not None:
            self._resets.append(reset)
        elif "tcp_send_reset:" in line:
            self._illegible += 1

    def _end(self) -> None:
        """Takes what is left; the instance goes now."""
        try:
            self._drain()
        finally:
            self._instance = None


@contextmanager
def watch_resets(*, buffer_kib: int = 4096) -> Iterator[ResetWatch]:
    """Watches every RST that this machine's kernel sends while the block runs.

    ``buffer_kib`` is the ring buffer of each processor, in KiB; a reset takes about 100 bytes
    there until it is read. Raises `CannotMeasure` where `available` says why not.
    """
    with _usable_tracefs() as top, tracefs.instance(top) as instance:
        _set_up(instance, buffer_kib)
        watch = ResetWatch(instance)
        try:
            instance.write(f"{_EVENT}/enable", "1")
            yield watch
        finally:
            watch._end()  # removing the instance disables its events


def _set_up(instance: Instance, buffer_kib: int) -> None:
    # International atomic time runs a whole number of seconds ahead of the real-time clock and
    # follows it when that is set, which the monotonic clocks do not.
    instance.write("trace_clock", "tai")
    instance.write("buffer_size_kb", str(buffer_kib))
    # A new instance starts with the options that somebody may have set for the whole machine.
    for option in ("raw", "hex", "bin", "fields"):
        instance.write(f"options/{option}", "0")
    instance.write("options/context-info", "1")
    instance.write("tracing_on", "1")


def _tai_ahead_ns() -> int:
    ahead_s = time.clock_gettime(time.CLOCK_TAI) - time.clock_gettime(time.CLOCK_REALTIME)
    return round(ahead_s) * 1_000_000_000


def _read_all(pipe: int) -> bytes:
    chunks = []
    try:
        while chunk := os.read(pipe, _READ_BYTES):
            chunks.append(chunk)
    except BlockingIOError:
        pass  # nothing more for now
    return b"".join(chunks)


# Counters of per_cpu/cpuN/stats, each an event that was there and is gone: overwritten by a newer
# one, overwritten while being written, or refused for want of room.
_LOSSES = re.compile(r"^(?:overrun|commit overrun|dropped events): (\d+)$", re.MULTILINE)


def _overrun(folder: Path) -> int:
    texts = (path.read_text() for path in folder.glob("per_cpu/cpu*/stats"))
    return sum(int(count) for text in texts for count in _LOSSES.findall(text))


# --- Whether this machine lets us -----------------------------------------------------------------


def available(mount_points: Sequence[Path] = tracefs.MOUNT_POINTS) -> str | None:
    """None if resets can be watched here, else a sentence that says why not, and the mend."""
    try:
        with tracefs.reached(mount_points) as top:
            return _no_event(top) or _no_permission(top)
    except CannotMeasure as error:
        return error.hint or error.message


@contextmanager
def _usable_tracefs() -> Iterator[Path]:
    problem = available()
    if problem is not None:
        raise CannotMeasure("the kernel's reasons for its resets cannot be read", problem)
    with tracefs.reached() as top:
        yield top


def _no_event(top: Path) -> str | None:
    try:
        description = (top / _EVENT / "format").read_text()
    except FileNotFoundError:
        return (
            "the kernel has no tracepoint tcp:tcp_send_reset:"
            " use one built with CONFIG_FTRACE and event tracing, Linux 6.12 or newer"
        )
    except PermissionError:
        return tracefs.FOR_ROOT
    if _KNOWS_ACTIVE_REASONS not in description:
        return TOO_OLD
    return None


def _no_permission(top: Path) -> str | None:
    if os.access(top / "instances", os.W_OK | os.X_OK, effective_ids=True):
        return None
    return "tracefs may not be written to: run as root, outside a restricted container"


# --- What the reasons mean ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reason:
    """What is known of a reason of the kernel for a reset.

    ``state`` is the only state of the socket in which it means what the causes say of it; None:
    any. ``decides``: it is one of ``tcp_send_active_reset``; all others are of the functions that
    answer a segment.
    """

    state: str | None = None
    decides: bool = False


# Which cause has which reason is a column of the table of causes. Each was provoked on Linux 6.18
# with plain sockets (the tests do it), but for TCP_ABORT_ON_MEMORY.
REASONS: Mapping[str, Reason] = {
    # __tcp_close with a receive queue. The socket is TCP_CLOSE by then, so whether its FIN had
    # gone out before cannot be told. Checked before linger, which is never reached.
    "TCP_ABORT_ON_CLOSE": Reason(decides=True),
    # tcp_disconnect: linger 0, connect(AF_UNSPEC), a listener's connections that nobody accepted
    # (with data or without), and `ss --kill`.
    "TCP_STATE": Reason(decides=True),
    # The same when the peer had closed and so had we, with data still unsent.
    "TCP_DISCONNECT_WITH_DATA": Reason(decides=True),
    # TCP_LINGER2 below 0 when close() finds FIN_WAIT2.
    "TCP_ABORT_ON_LINGER": Reason(decides=True),
    # The kernel tears down with nothing unread: too many orphans, or keepalive probes that nobody
    # answers. No word of their own, since packets do not tell them apart.
    "TCP_ABORT_ON_MEMORY": Reason(decides=True),
    "TCP_KEEPALIVE_TIMEOUT": Reason(decides=True),
    # FIN acknowledged, then our data: close() has left a minisocket that takes none.
    "TCP_TIMEWAIT_SOCKET": Reason(state="TCP_TIME_WAIT"),
    # Our data before the FIN was acknowledged; or, with TCP_LINGER2 below 0, a mere
    # acknowledgement of it, which is an abort that the server asked for.
    "TCP_ABORT_ON_DATA": Reason(),
    # Nothing has these four numbers and nothing listens; the answer to a SYN looks no different
    # here. After data-after-close the first RST removes the socket, so a second one says this.
    "NO_SOCKET": Reason(state="UNKNOWN"),
    # An ACK reached the listening socket, for want of a connection with these four numbers.
    "TCP_FLAGS": Reason(state="TCP_LISTEN"),
}
"""The reasons that have a meaning here."""


def agrees(cause: Cause, reason: str, state: str) -> bool:
    """Whether a cause read from packets is one that the kernel's reason and state allow.

    ``Cause.MIDDLEBOX`` never is, since it was this kernel that sent the RST; ``Cause.UNKNOWN`` is
    right only of a reason that this table does not know. A reason without meaning
    (``NOT_SPECIFIED``) supports nothing.
    """
    return cause in _causes(reason, state)


def _causes(reason: str, state: str) -> frozenset[Cause]:
    known = REASONS.get(reason)
    if known is None or known.state not in {None, state}:
        return frozenset({Cause.UNKNOWN})
    return frozenset(cause for cause in Cause if reason in cause.row.kernel)
