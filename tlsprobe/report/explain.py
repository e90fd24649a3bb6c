"""An explanation as the groups that people read.

A thousand connections that were reset for the same reason are one group with a number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tlsprobe.model.causes import Cause
from tlsprobe.model.explanation import ExplainedFlow, Explanation
from tlsprobe.model.judgement import Reader
from tlsprobe.model.trace import Side

_SERVERS = "the server's: "
_CLIENT_GONE = "; the client had closed, and reads nothing"

READERS = {
    Reader.EOF: "EOF, in order",
    Reader.RESET: "ECONNRESET where EOF belongs",
    Reader.TIMEOUT: "nothing: the server's end is not in the capture, so a read keeps waiting",
}
"""What a plain ``read()`` loop in between got, on the client's side."""


def reader_of(flow: ExplainedFlow) -> str:
    """What plain readers got: the server's, where the client was the first to reset."""
    first = flow.resets[0].reset if flow.resets else None
    if first is not None and first.cause is Cause.REFUSED:
        return "ECONNREFUSED: there was no connection to read from"
    if first is None or first.side is Side.SERVER or flow.reader is Reader.EOF:
        return READERS[flow.reader]
    got = READERS[Reader.RESET if first.before_fin else Reader.EOF]
    return f"{_SERVERS}{got}{_CLIENT_GONE}"


NAMED = 5
"""So many clients of a group are named."""


@dataclass(frozen=True, slots=True)
class Group:
    """Connections to one server that ended alike, the first of them the example."""

    example: ExplainedFlow
    others: tuple[str, ...]
    count: int


def groups_of(explanation: Explanation) -> list[Group]:
    """The connections that were reset, those that are alike together, in order of appearance."""
    return _grouped(flow for flow in explanation.flows if flow.resets)


def quiet_of(explanation: Explanation) -> list[Group]:
    """The connections without a reset that are shown, likewise."""
    return _grouped(flow for flow in explanation.flows if not flow.resets)


def _grouped(flows: Iterator[ExplainedFlow]) -> list[Group]:
    found: dict[object, list[ExplainedFlow]] = {}
    for flow in flows:
        causes = tuple(explained.reset.kind for explained in flow.resets)
        found.setdefault((flow.server, causes or flow.signature), []).append(flow)
    return [
        Group(
            next((f for f in alike if f.ladder), alike[0]),
            tuple(f.client for f in alike[1 : 1 + NAMED]),
            len(alike),
        )
        for alike in found.values()
    ]
