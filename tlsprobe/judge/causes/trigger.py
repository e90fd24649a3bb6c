"""Which segment provoked an RST, if any did.

A bare RST repeats the acknowledgement of the segment that it answers. On a quiet connection every
earlier segment of the peer has that acknowledgement, so the number alone proves nothing: what
provoked it must also have asked for an answer and had none, or have come just before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tlsprobe.model.trace import Segment, Side

PROMPT_NS = 1_000_000_000
"""An answer comes within a second, or within three round trips where those take longer."""

_ROUND_TRIPS = 3


def trigger_of(
    rst: Segment, prior: Sequence[Segment], own: list[Segment], theirs: list[Segment]
) -> Segment | None:
    """The peer's segment that provoked a passive RST; None if the sender gave up by itself.

    Data, a FIN, a SYN and a probe ask for an answer. Those that have none yet draw an RST each, in
    order. A pure acknowledgement asks for none, and is taken only where the RST follows promptly.
    What the sender has acknowledged it has taken: no kernel refuses it afterwards.
    """
    fits = [s for s in theirs if s.ack == rst.start and not s.rst]
    if not fits:
        return None
    strays = [s for s in _asking(theirs) if s.ack == rst.start and not _is_answered(s, own)]
    if strays:
        drawn = sum(s.rst and s.ack is None and s.start == rst.start for s in own)
        return strays[min(drawn, len(strays) - 1)]
    taken = {s.number for s in _asking(theirs)}  # or there would be a stray among them
    last = next((s for s in reversed(fits) if s.number not in taken), None)
    if last is None or _went_on(last, own, theirs):
        return None
    return last if rst.time_ns - last.time_ns <= prompt_ns(prior) else None


def prompt_ns(prior: Sequence[Segment]) -> int:
    """How long an answer may take on this connection."""
    return max(PROMPT_NS, _ROUND_TRIPS * round_trip_ns(prior))


def is_probe(segment: Segment, reach: int) -> bool:
    """Whether it repeats the byte before ``reach`` to be acknowledged: a keepalive probe."""
    return segment.length <= 1 and segment.start == reach - 1 and not (segment.ends or segment.syn)


def _asking(theirs: list[Segment]) -> Iterator[Segment]:
    """The segments that ask for an answer."""
    reach = 0
    for segment in theirs:
        if segment.rst:
            continue
        asks = segment.length or segment.fin or segment.syn
        if asks or is_probe(segment, reach):
            yield segment
        reach = max(reach, segment.end)


def _is_answered(segment: Segment, own: list[Segment]) -> bool:
    """Whether the sender acknowledged it, or what followed it, in a segment behind it."""
    end = segment.end + segment.fin + segment.syn
    for answer in reversed(own):
        if answer.number < segment.number:
            return False
        if answer.ack is not None and answer.ack >= end:
            return True
    return False


def _went_on(last: Segment, own: list[Segment], theirs: list[Segment]) -> bool:
    """Whether the sender acknowledged what the peer sent behind ``last``: it had its state then.

    Of one that has ended the connection that says nothing: packets may overtake each other.
    """
    if any(s.ends for s in own):
        return False
    behind = (s.end + s.fin for s in theirs if s.number > last.number and not s.rst)
    first = next((end for end in behind if end > last.end), None)
    acked = max((s.ack for s in own if s.ack is not None and s.number > last.number), default=0)
    return first is not None and acked >= first


def round_trip_ns(prior: Sequence[Segment]) -> int:
    """From the SYN to what completes the handshake, wherever the capture was made; 0: not seen."""
    syn = next((s for s in prior if s.syn and s.ack is None), None)
    if syn is None:
        return 0
    client: Side = syn.side
    behind = (s for s in prior if s.side is client and not s.syn and s.number > syn.number)
    first = next(behind, None)
    return first.time_ns - syn.time_ns if first is not None else 0
