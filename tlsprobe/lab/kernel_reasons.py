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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv6Address, ip_address
from pathlib import Path

from tlsprobe.errors import CannotMeasure
from tlsprobe.lab import tracefs
from tlsprobe.lab.tracefs import Instance
from tlsprobe.model.causes import Cause
from tlsprobe.model.kernel import Endpoint, KernelReset, causes_of

_EVENT = "events/tcp/tcp_send_reset"

# The kernel's word for "closed with unread data", in the event's description from 6.12 on. Kernels
# 6.10 and 6.11 have the field `reason` but fill it only for resets that answer a segment.
_KNOWS_ACTIVE_REASONS = "TCP_ABORT_ON_CLOSE"

TOO_OLD = "the kernel does not tell why it sends a RST: use Linux 6.12 or newer"
"""What `available` says of a kernel that has the tracepoint and not the reasons."""

_READ_BYTES = 1 << 16


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

    def take(self) -> tuple[KernelReset, ...]:
        """Those since this was last asked, which are forgotten here: for who watches for long."""
        found = self.resets()
        self._resets.clear()
        return found

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
    """None if resets can be watched here, else a sentence that says why not and what to do."""
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


def agrees(cause: Cause, reason: str, state: str) -> bool:
    """Whether a cause read from packets is one that the kernel's reason and state allow.

    ``Cause.MIDDLEBOX`` never is, since it was this kernel that sent the RST; ``Cause.UNKNOWN`` is
    right only of a reason that this table does not know. A reason without meaning
    (``NOT_SPECIFIED``) supports nothing.
    """
    return cause in causes_of(reason, state)
