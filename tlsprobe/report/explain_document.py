"""An explanation as a document for machines (``tlsprobe.explain/1``)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import UNSET, UnsetType

from tlsprobe.model.causes import Cause
from tlsprobe.model.explanation import (
    EXPLAIN_SCHEMA,
    ExplainedFlow,
    ExplainedReset,
    Explanation,
    InputFacts,
)
from tlsprobe.model.judgement import Confidence, Provoked, Reader
from tlsprobe.model.trace import Side
from tlsprobe.report.escape import printable

_DAY_NS = 86_400 * 10**9
_CLOCK_NS = 10**9 * 60 * 60 * 24 * 365


@dataclass(frozen=True, slots=True)
class InputDocument:
    """What was read: ``skipped`` packets could not be, ``other`` are not TCP."""

    kind: str
    packets: int
    skipped: int
    other: int
    first_skipped: str | UnsetType = UNSET
    truncated: str | UnsetType = UNSET
    notes: tuple[str, ...] | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class ResetDocument:
    """An RST. ``packet`` and ``trigger``, what provoked it, count from 1 in the input's order.

    ``provoked`` says what the trigger carried, ``hurts`` whom the reset hurts; ``text`` is what the
    RST itself carries.
    """

    side: Side
    packet: int
    time: str | None
    before_fin: bool
    cause: Cause
    confidence: Confidence
    alternatives: tuple[Cause, ...]
    trigger: int | None
    evidence: tuple[str, ...]
    remedy: tuple[str, ...]
    provoked: Provoked | None = None
    hurts: str = ""
    experiment: str | UnsetType = UNSET
    text: str | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class FlowDocument:
    """A connection. ``complete``: the capture lacks nothing of it."""

    client: str
    server: str
    tls: str | None
    signature: str
    reader: Reader
    complete: bool
    resets: tuple[ResetDocument, ...]
    notes: tuple[str, ...] | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class ExplainDocument:
    """What was found.

    ``quiet`` connections without a reset and ``not_shown`` ones with a reset are not in it; both
    are left out where they are 0.
    """

    schema: str
    input: InputDocument
    flows: tuple[FlowDocument, ...]
    quiet: int | UnsetType = UNSET
    not_shown: int | UnsetType = UNSET


def encode_explanation(explanation: Explanation) -> bytes:
    """The document as ``explain --json`` prints it, newline included."""
    return msgspec.json.encode(explanation_document(explanation)) + b"\n"


def explanation_document(explanation: Explanation) -> ExplainDocument:
    """The document, its keys in the order in which it is read."""
    return ExplainDocument(
        EXPLAIN_SCHEMA,
        _input(explanation.source),
        tuple(map(_flow, explanation.flows)),
        explanation.quiet or UNSET,
        explanation.not_shown or UNSET,
    )


def _input(source: InputFacts) -> InputDocument:
    return InputDocument(
        source.kind,
        source.packets,
        source.skipped,
        source.other,
        first_skipped=printable(source.first_skipped) if source.first_skipped else UNSET,
        truncated=printable(source.truncated) if source.truncated else UNSET,
        notes=_sentences(source.notes) or UNSET,
    )


def _flow(flow: ExplainedFlow) -> FlowDocument:
    return FlowDocument(
        printable(flow.client),
        printable(flow.server),
        flow.tls,
        flow.signature,
        flow.reader,
        flow.complete,
        tuple(map(_reset, flow.resets)),
        notes=_sentences(flow.notes) or UNSET,
    )


def _reset(found: ExplainedReset) -> ResetDocument:
    reset, remedy = found.reset, found.helps
    return ResetDocument(
        reset.side,
        reset.packet,
        clock(reset.time_ns),
        reset.before_fin,
        reset.cause,
        reset.confidence,
        reset.alternatives,
        found.trigger,
        _sentences(reset.evidence),
        remedy.sentences,
        provoked=reset.provoked,
        hurts=remedy.hurts,
        experiment=printable(found.experiment) if found.experiment else UNSET,
        text=printable(reset.text) if reset.text else UNSET,
    )


def _sentences(sentences: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(printable, sentences))


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
