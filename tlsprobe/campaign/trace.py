"""What the capture saw of a connection, put next to what our side did on it."""

from __future__ import annotations

from tlsprobe.model.trace import Coverage, Drive, EventKind, Gap, Trace
from tlsprobe.sniff import capture as sniffer


def trace_of(capture: sniffer.Capture, found: Drive, lost: bool, protocol: str) -> Trace:
    """Script and wire in one, up to where our side left; ``lost``: packets of it may be missing."""
    if capture.backend == "none" or found.client is None:
        return Trace(found, (), Coverage.NONE, protocol)
    segments, coverage = capture.take(found.client, *_connecting(found), found.server[1])
    left = found.did(EventKind.LEFT)
    seen = tuple(s for s in segments if left is None or s.time_ns <= left.time_ns)
    gap = None
    if lost or coverage is not Coverage.WHOLE:
        coverage = Coverage.HOLES
        gap = Gap.ENDED if capture.broken else Gap.DROPPED if lost else Gap.MISSING
    return Trace(found, seen, coverage, protocol, gap=gap)


def forget(capture: sniffer.Capture, found: Drive) -> None:
    """Take a connection's packets out of the capture's memory, unseen."""
    if found.client is not None:
        capture.take(found.client, *_connecting(found), found.server[1])


def _connecting(found: Drive) -> tuple[int, int]:
    """In which time our SYN went out: from the call of connect() until we knew what came of it.

    Nobody else can open a connection from that port meanwhile.
    """
    connect, connected = found.did(EventKind.CONNECT), found.did(EventKind.CONNECTED)
    begun_ns = connect.time_ns if connect else 0
    return begun_ns, (connected or found.events[-1]).time_ns if found.events else begun_ns
