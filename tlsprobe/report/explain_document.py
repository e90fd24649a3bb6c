"""An explanation as a document for machines (``tlsprobe.explain/1``)."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from msgspec import UNSET, UnsetType

from tlsprobe.model.causes import Cause
from tlsprobe.model.explanation import (
    EXPLAIN_FLOW_SCHEMA,
    EXPLAIN_SCHEMA,
    ExplainedFlow,
    ExplainedReset,
    Explanation,
    Harm,
    InputFacts,
    Trouble,
    TroubleKind,
)
from tlsprobe.model.judgement import Confidence, Provoked, Reader
from tlsprobe.model.trace import Side
from tlsprobe.report.clock import clock
from tlsprobe.report.escape import printable
from tlsprobe.report.explain import Row, overview_of
from tlsprobe.report.troubles import trouble_sentence


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
    first: str | UnsetType | None = UNSET
    last: str | UnsetType | None = UNSET


@dataclass(frozen=True, slots=True)
class RowDocument:
    """A row of the overview: the RSTs of one cause that one side sent, to or from one server.

    ``connections`` is in how many, ``first`` and ``last`` are the times of two of the RSTs,
    ``harm`` says whether anybody was hurt.
    """

    cause: Cause
    side: Side
    server: str
    harm: Harm
    resets: int
    connections: int
    first: str | None
    last: str | None


@dataclass(frozen=True, slots=True)
class TroubleDocument:
    """What is amiss without a reset. ``packets`` show it, counted from 1 in the input's order.

    ``side`` is whose doing, or whose loss, it is; ``seconds`` how long it took, ``octets`` how many
    bytes are owed, ``stream`` which stream of HTTP/2 was not ended, ``text`` the sentence that says
    so. ``sure`` is false where sizes alone tell.
    """

    kind: TroubleKind
    side: Side
    packets: tuple[int, ...]
    time: str | None
    text: str
    sure: bool
    seconds: float | UnsetType = UNSET
    octets: int | UnsetType = UNSET
    stream: int | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class ResetDocument:
    """An RST. ``packet`` and ``trigger``, what provoked it, count from 1 in the input's order.

    ``provoked`` says what the trigger carried, ``hurts`` whom the reset hurts and ``harm`` how
    badly; ``text`` is what the RST itself carries; ``kernel`` is the reason that the kernel which
    sent it gives (``--live``). ``experiment`` is a command line that would
    settle what is open, ``capture`` says which capture would.
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
    harm: Harm = Harm.UNCLEAR
    experiment: str | UnsetType = UNSET
    capture: str | UnsetType = UNSET
    text: str | UnsetType = UNSET
    kernel: str | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class FlowDocument:
    """A connection. ``complete``: the capture lacks nothing of it.

    ``sni`` is the name that the client asked for; ``troubles`` is what is amiss beside resets;
    ``tunnels`` is what its packets came through, each from the innermost tunnel outwards.
    """

    client: str
    server: str
    tls: str | None
    signature: str
    reader: Reader
    complete: bool
    resets: tuple[ResetDocument, ...]
    notes: tuple[str, ...] | UnsetType = UNSET
    sni: str | UnsetType = UNSET
    troubles: tuple[TroubleDocument, ...] | UnsetType = UNSET
    tunnels: tuple[str, ...] | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class ExplainDocument:
    """What was found.

    ``overview`` adds the resets up, the worst first. ``quiet`` connections with nothing amiss are
    not in it unless they are asked for, nor are ``not_shown`` ones with a reset for which there was
    no room, and ``passed`` ones that were not asked for; ``unlooked`` of the quiet ones were not
    looked at closely. Each is left out where it is 0.
    """

    schema: str
    input: InputDocument
    flows: tuple[FlowDocument, ...]
    quiet: int | UnsetType = UNSET
    not_shown: int | UnsetType = UNSET
    passed: int | UnsetType = UNSET
    unlooked: int | UnsetType = UNSET
    overview: tuple[RowDocument, ...] | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class FlowLine:
    """A connection that was reset, as ``explain --live --json`` prints it when it is understood."""

    schema: str
    flow: FlowDocument


def encode_flow(flow: ExplainedFlow) -> bytes:
    """Its line, newline included."""
    return msgspec.json.encode(FlowLine(EXPLAIN_FLOW_SCHEMA, _flow(flow))) + b"\n"


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
        explanation.passed or UNSET,
        explanation.unlooked or UNSET,
        tuple(map(_row, overview_of(explanation.flows, explanation.tallies))) or UNSET,
    )


def _row(row: Row) -> RowDocument:
    return RowDocument(
        row.cause,
        row.side,
        printable(row.server),
        row.harm,
        row.resets,
        row.connections,
        clock(row.first_ns),
        clock(row.last_ns),
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
        first=UNSET if source.first_ns is None else clock(source.first_ns),
        last=UNSET if source.last_ns is None else clock(source.last_ns),
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
        sni=printable(flow.sni) if flow.sni else UNSET,
        troubles=tuple(map(_trouble, flow.troubles)) or UNSET,
        tunnels=_sentences(flow.tunnels) or UNSET,
    )


def _trouble(trouble: Trouble) -> TroubleDocument:
    return TroubleDocument(
        trouble.kind,
        trouble.side,
        trouble.packets,
        clock(trouble.time_ns),
        trouble_sentence(trouble),
        trouble.sure,
        seconds=UNSET if trouble.seconds is None else trouble.seconds,
        octets=UNSET if trouble.octets is None else trouble.octets,
        stream=UNSET if trouble.stream is None else trouble.stream,
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
        harm=found.harm,
        experiment=printable(found.experiment) if found.experiment else UNSET,
        capture=found.capture or UNSET,
        text=printable(reset.text) if reset.text else UNSET,
        kernel=found.kernel.reason if found.kernel else UNSET,
    )


def _sentences(sentences: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(printable, sentences))
