"""An explanation as a document for machines, and as the groups that people read.

A thousand connections that were reset for the same reason are one story with a number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Any

import msgspec

from tlsprobe.judge.remedies import CAUSES
from tlsprobe.model.explanation import (
    EXPLAIN_SCHEMA,
    ExplainedFlow,
    ExplainedReset,
    Explanation,
    InputFacts,
)
from tlsprobe.model.judgement import Reader
from tlsprobe.report.escape import printable

Document = dict[str, Any]
"""JSON, decoded: the one place where values have no better type."""

READERS = {
    Reader.EOF: "EOF: the end came in order",
    Reader.RESET: "ECONNRESET where EOF belongs",
    Reader.TIMEOUT: "nothing: the server's end is not in the capture, a read goes on waiting",
}
"""What a plain ``read()`` loop in between got, in words."""

_DAY_NS = 86_400 * 10**9
_CLOCK_NS = 10**9 * 60 * 60 * 24 * 365
NAMED = 5
"""So many clients of a group are named."""


def encode_explanation(explanation: Explanation) -> bytes:
    """The document as ``explain --json`` prints it, newline included."""
    return msgspec.json.encode(explanation_document(explanation)) + b"\n"


def explanation_document(explanation: Explanation) -> Document:
    """The document, its keys in the order in which it is read."""
    document: Document = {
        "schema": EXPLAIN_SCHEMA,
        "input": _input(explanation.source),
        "flows": [_flow(flow) for flow in explanation.flows],
    }
    counts = {"quiet": explanation.quiet, "untold": explanation.untold}
    return document | {name: count for name, count in counts.items() if count}


def explain_schema() -> Document:
    """The JSON Schema of the document."""
    text = resources.files("tlsprobe.report").joinpath("explain.schema.json").read_bytes()
    schema: Document = msgspec.json.decode(text)
    return schema


def _input(source: InputFacts) -> Document:
    told: Document = {
        "kind": source.kind,
        "packets": source.packets,
        "skipped": source.skipped,
        "other": source.other,
    }
    said = {"first_skipped": source.first_skipped, "truncated": source.truncated}
    told |= {name: printable(text) for name, text in said.items() if text}
    if source.notes:
        told["notes"] = [printable(note) for note in source.notes]
    return told


def _flow(flow: ExplainedFlow) -> Document:
    told: Document = {
        "client": printable(flow.client),
        "server": printable(flow.server),
        "tls": flow.tls,
        "signature": flow.signature,
        "reader": flow.reader,
        "complete": flow.complete,
        "resets": [_reset(reset) for reset in flow.resets],
    }
    if flow.notes:
        told["notes"] = [printable(note) for note in flow.notes]
    return told


def _reset(told: ExplainedReset) -> Document:
    reset = told.reset
    document: Document = {
        "side": reset.side,
        "packet": reset.packet,
        "time": clock(reset.time_ns),
        "before_fin": reset.before_fin,
        "cause": reset.cause,
        "confidence": reset.confidence,
        "alternatives": list(reset.alternatives),
        "trigger": told.trigger,
        "evidence": [printable(sentence) for sentence in reset.evidence],
        "remedy": list(CAUSES[reset.cause].remedies),
    }
    if told.experiment:
        document["experiment"] = printable(told.experiment)
    return document


def clock(time_ns: int) -> str | None:
    """An absolute time in UTC, a time of day as it was printed, None where the input has none."""
    if time_ns >= _CLOCK_NS:
        whole, rest = divmod(time_ns, 10**9)
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=min(whole, 250_000_000_000))
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
    if time_ns < 10**6:  # packets of an input without times are numbered in nanoseconds
        return None
    seconds, rest = divmod(time_ns % _DAY_NS, 10**9)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{rest // 1000:06d}"


# --- groups ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Group:
    """Connections to one server that ended alike, the first of them told as the example."""

    example: ExplainedFlow
    others: tuple[str, ...]
    count: int


def groups_of(explanation: Explanation) -> list[Group]:
    """The connections that were reset, those that are alike together, in order of appearance."""
    return _grouped(flow for flow in explanation.flows if flow.resets)


def quiet_of(explanation: Explanation) -> list[Group]:
    """The connections without a reset that are told, likewise."""
    return _grouped(flow for flow in explanation.flows if not flow.resets)


def _grouped(flows: Iterator[ExplainedFlow]) -> list[Group]:
    found: dict[object, list[ExplainedFlow]] = {}
    for flow in flows:
        causes = tuple((r.reset.side, r.reset.cause, r.reset.before_fin) for r in flow.resets)
        found.setdefault((flow.server, causes or flow.signature), []).append(flow)
    return [
        Group(
            next((f for f in alike if f.ladder), alike[0]),
            tuple(f.client for f in alike[1 : 1 + NAMED]),
            len(alike),
        )
        for alike in found.values()
    ]
