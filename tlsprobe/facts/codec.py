"""A fact as a line of JSON, and back.

A line is an object with one key, the kind of the fact. A trial's tables (events, records, segments)
are written column by column, times and packet numbers counted from the trial's first: that is what
compresses, and what is quick to write while connections are driven. A column that an older tlsprobe
did not write gets its default.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, fields
from typing import Any

import msgspec

from tlsprobe.decoding import converted, decoder
from tlsprobe.model.facts import (
    ClientFact,
    CrowdedFact,
    EndFact,
    Fact,
    FactsHeader,
    GoneFact,
    KernelFact,
    PathFact,
    PlanFact,
    ReachedFact,
    RunFact,
    TrialFact,
)
from tlsprobe.model.far_side import FarFact
from tlsprobe.model.load import Load
from tlsprobe.model.run import Trial
from tlsprobe.model.trace import (
    Coverage,
    Drive,
    DriverEvent,
    Gap,
    Mark,
    Record,
    Segment,
    Shaped,
    Trace,
)
from tlsprobe.spelling import speakable

Table = dict[str, list[Any]]
"""Rows of one type, column by column."""


class Damaged(ValueError):  # noqa: N818 - the line is, and the file is named by whoever reads it
    """A line is no fact; the text says why."""


class _TrialLine(msgspec.Struct):
    """A trial as it is written: times count from ``began_ns``, packets from ``first_packet``."""

    sequence: str
    tls: str
    index: int
    load: Load
    began_ns: int
    coverage: Coverage
    protocol: str
    drive: dict[str, Any]
    events: Table = {}
    records: Table = {}
    segments: Table = {}
    shaped: Table = {}
    first_packet: int = 0
    left_out: int = 0
    gap: Gap | None = None


class _Line(msgspec.Struct):
    """Whatever a line can hold; one of it is there."""

    trial: _TrialLine | None = None
    path: PathFact | None = None
    crowded: CrowdedFact | None = None
    gone: GoneFact | None = None
    plan: PlanFact | None = None
    reached: ReachedFact | None = None
    far: FarFact | None = None
    kernel: KernelFact | None = None
    end: EndFact | None = None
    run: RunFact | None = None
    client: ClientFact | None = None


_KINDS = {TrialFact: "trial", PathFact: "path", PlanFact: "plan", CrowdedFact: "crowded"}
_KINDS |= {ReachedFact: "reached", FarFact: "far", KernelFact: "kernel", EndFact: "end"}
_KINDS |= {RunFact: "run", ClientFact: "client", GoneFact: "gone"}

RUN_PREFIX = b'{"run":'
"""How the line of a RunFact begins."""

_encoder = msgspec.json.Encoder()
_decoder = decoder(_Line)
_header_decoder = decoder(FactsHeader)

_MARKS = ("begun", "mark")
"""What in a Drive has a time."""

_DRIVE_DEFAULTS = {
    part.name: part.default
    for part in fields(Drive)
    if part.name not in {"records", "events", "shaped"}
}


def encode_header(header: FactsHeader) -> bytes:
    """The first line, newline included."""
    return _encoded(header)


def encode_fact(fact: Fact) -> bytes:
    """One line, newline included. Called once a trial, so it stays lean."""
    told = _trial_line(fact) if isinstance(fact, TrialFact) else fact
    return _encoded({_KINDS[type(fact)]: told})


def decode_header(line: bytes) -> FactsHeader:
    """The header that a line was made from. Raises Damaged."""
    found: FactsHeader = _decoded(_header_decoder, line)
    return found


def decode_fact(line: bytes) -> Fact:
    """The fact that a line was made from. Raises Damaged."""
    found: _Line = _decoded(_decoder, line)
    if found.trial is not None:
        return _trial(found.trial)
    others = (
        *(found.path, found.plan, found.reached, found.far, found.kernel, found.end),
        *(found.run, found.client, found.crowded, found.gone),
    )
    fact = next((other for other in others if other is not None), None)
    if fact is None:
        raise Damaged("it holds no fact that this tlsprobe knows")
    return fact


def _encoded(value: Any) -> bytes:
    try:
        return _encoder.encode(value) + b"\n"
    except UnicodeEncodeError:
        return _encoder.encode(speakable(msgspec.to_builtins(value))) + b"\n"


def _decoded(wanted: msgspec.json.Decoder[Any], line: bytes) -> Any:
    try:
        return wanted.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Damaged(str(error)) from error


# --- trials ---------------------------------------------------------------------------------------


def _trial_line(fact: TrialFact) -> dict[str, Any]:
    trial, trace = fact.trial, fact.trace
    drive, segments = trace.drive, trace.segments
    began = _began(trace)
    packet = segments[0].number if segments else 0
    return {
        "sequence": trial.sequence,
        "tls": trial.tls,
        "index": trial.index,
        "load": fact.load,
        "began_ns": began,
        "coverage": trace.coverage,
        "protocol": trace.protocol,
        "drive": _drive_line(drive, began),
        "events": _table(drive.events, time_ns=began),
        "records": _table(drive.records, time_ns=began),
        "segments": _table(segments, time_ns=began, number=packet),
        "first_packet": packet,
        "left_out": trace.left_out,
        **({"shaped": _table(drive.shaped, time_ns=began)} if drive.shaped else {}),
        **({"gap": trace.gap} if trace.gap is not None else {}),
    }


def _trial(line: _TrialLine) -> TrialFact:
    began = line.began_ns
    events = _rows(line.events, DriverEvent, time_ns=began)
    records = _rows(line.records, Record, time_ns=began)
    segments = _rows(line.segments, Segment, time_ns=began, number=line.first_packet)
    shaped = _rows(line.shaped, Shaped, time_ns=began)
    drive = {**line.drive, "events": events, "records": records, "shaped": shaped}
    try:
        for name in _MARKS:
            if (mark := drive.get(name)) is not None:
                drive[name] = [mark[0] + began, *mark[1:]]
        trace = Trace(
            converted(drive, Drive),
            converted(segments, tuple[Segment, ...]),
            line.coverage,
            line.protocol,
            line.left_out,
            line.gap,
        )
    except (msgspec.ValidationError, TypeError, LookupError) as error:
        raise Damaged(str(error)) from error
    return TrialFact(Trial(line.sequence, line.tls, line.index), trace, line.load)


def _began(trace: Trace) -> int:
    """The time from which a trial's other times count."""
    first = next(iter(trace.drive.events), None) or next(iter(trace.segments), None)
    return first.time_ns if first is not None else 0


def _drive_line(drive: Drive, began: int) -> dict[str, Any]:
    """What is not as it mostly is."""
    said = {name: getattr(drive, name) for name in _DRIVE_DEFAULTS}
    kept = {
        name: value
        for name, value in said.items()
        if _DRIVE_DEFAULTS[name] is MISSING or value != _DRIVE_DEFAULTS[name]
    }
    for name in _MARKS:
        if name in kept:
            kept[name] = Mark(kept[name].time_ns - began, *kept[name][1:])
    return kept


def _table(rows: Sequence[Any], **origins: int) -> Table:
    """The columns of some rows, those with an origin counted from it.

    A column that holds nothing but its default is left out.
    """
    if not rows:
        return {}
    defaults = rows[0]._field_defaults
    columns = map(list, zip(*rows, strict=True))
    table: Table = dict(zip(rows[0]._fields, columns, strict=True))
    for name, default in defaults.items():
        if table[name].count(default) == len(rows):
            del table[name]
    for name, origin in origins.items():
        table[name] = [value - origin for value in table[name]]
    return table


def _rows(table: Table, row: type[Any], **origins: int) -> list[tuple[Any, ...]]:
    """The rows that a table was made from."""
    if not table:
        return []
    count = max(map(len, table.values()))
    absent = row._field_defaults.keys() - table.keys()
    defaults = {name: [row._field_defaults[name]] * count for name in absent}
    try:
        for name, origin in origins.items():
            if name in table:
                table[name] = [value + origin for value in table[name]]
        given = {**defaults, **table}
        return list(zip(*(given[name] for name in row._fields), strict=True))
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged(f"a trial's table is damaged: {error}") from error
