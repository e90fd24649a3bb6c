"""What the capture saw of a connection, put next to what our side did on it."""

from __future__ import annotations

from tlsprobe.flows.live import flow
from tlsprobe.model.trace import Coverage, Drive, EventKind, Trace
from tlsprobe.sniff import capture as sniffer


def trace_of(capture: sniffer.Capture, found: Drive, lost: bool, protocol: str) -> Trace:
    """Script and wire in one, up to where our side left; ``lost``: packets of it may be missing."""
    if capture.backend == "none" or found.client is None:
        return Trace(found, (), Coverage.NONE, protocol)
    frames = capture.take(found.client)
    ends = sniffer.endpoint(found.client), sniffer.endpoint(found.server)
    segments, coverage = flow(frames, *ends, link=capture.link)
    left = found.did(EventKind.LEFT)
    seen = tuple(s for s in segments if left is None or s.time_ns <= left.time_ns)
    if lost or coverage is Coverage.NONE:
        coverage = Coverage.HOLES
    return Trace(found, seen, coverage, protocol)
