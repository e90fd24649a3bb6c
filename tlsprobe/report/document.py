"""The run document and the trial lines: ``run.json`` and ``trials.jsonl``, written and read.

The model mirrors the document, so the codec does nearly everything. What is left for this file:
the order of the keys, leaving out what says nothing, and an error that a person can act upon.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from tlsprobe.decoding import converted, decoder
from tlsprobe.errors import UsageError
from tlsprobe.model.run import RUN_SCHEMA, JudgedTrial, Run, TrialLine
from tlsprobe.spelling import speakable

RUN_FILE = "run.json"
"""The run document's name in a results folder."""

TRIALS_FILE = "trials.jsonl"
"""The trial lines' name in a results folder."""

FACT_KEYS = ("schema", "tool", "started", "finished", "host", "target", "capture")
RUN_KEYS = (*FACT_KEYS, "cells", "idle", "summary")
CELL_KEYS = (
    "sequence",
    "steps",
    "tls",
    "trials",
    "outcomes",
    "signatures",
    "resets",
    "causes",
    "reader",
    "path_alive",
    "verdict",
    "findings",
    "timing_us",
)
SUMMARY_KEYS = ("pass", "fail", "warn", "info", "inconclusive", "error", "unsupported")

ONE_LINE = 120
"""An object or list that fits into this many characters is not spread over lines."""

Document = dict[str, Any]
"""JSON, decoded: the one place where values have no better type."""

_trial_encoder = msgspec.json.Encoder()
_trial_decoder = decoder(TrialLine)


def encode_run(run: Run) -> bytes:
    """The run document as people open it: indented, small things on one line."""
    return _pretty(run_document(run), 0) + b"\n"


def encode_run_line(run: Run) -> bytes:
    """The run document on one line, as ``--json`` prints it."""
    return msgspec.json.encode(run_document(run)) + b"\n"


def encode_document(document: Document) -> bytes:
    """Any of our documents as people open it."""
    return _pretty(speakable(document), 0) + b"\n"


def encode_trial(line: TrialLine) -> bytes:
    """One line of ``trials.jsonl``, newline included. Called once a trial, so it stays lean."""
    try:
        return _trial_encoder.encode(line) + b"\n"
    except UnicodeEncodeError:
        return msgspec.json.encode(speakable(msgspec.to_builtins(line))) + b"\n"


def trial_line(judged: JudgedTrial) -> TrialLine:
    """What ``trials.jsonl`` keeps of a trial: all of it, flattened."""
    trial, judgement = judged.trial, judged.judgement
    return TrialLine(
        sequence=trial.sequence,
        tls=trial.tls,
        trial=trial.index,
        started=judged.started,
        client=judged.client,
        outcome=judgement.outcome,
        axes=judgement.axes,
        signature=judgement.signature,
        resets=judgement.resets,
        findings=judgement.results,
        timing_us=judgement.timing_us,
        conclusive=judgement.conclusive,
        failure=judged.failure,
        ladder=judged.ladder,
        notes=judgement.notes,
        doubt=judgement.doubt,
    )


def run_document(run: Run) -> Document:
    """The document as plain values, its keys in the order in which one reads them."""
    document = _plain(run)
    found = document["behaviours"]
    document["capture"] = capture_document(document["capture"])
    return {
        **{key: document[key] for key in FACT_KEYS},
        "cells": [_cell_document(cell) for cell in document["cells"]],
        "idle": document["idle"],
        "summary": {**dict.fromkeys(SUMMARY_KEYS, 0), **document["summary"]},
        **({"behaviours": [_behaviour_document(one) for one in found]} if found else {}),
        **_said(document, ("waivers", "server_says", "passed_on", "ended_by")),
        **_said(document, ("interrupted", "notes", "command")),
        **_present({key: document[key] for key in _OPTIONAL}),
        **({"lateness": _present(document["lateness"])} if run.lateness.n else {}),
        **({"server": _present(server)} if (server := document["server"]) else {}),
    }


def capture_document(capture: Document) -> Document:
    """How the wire was watched; nothing of its end where all was seen."""
    return {key: said for key, said in capture.items() if said or key not in _OF_ITS_END}


_OF_ITS_END = frozenset({"ended", "unwritable"})


def _plain(run: Run) -> Document:
    """Its fields as JSON has them. There and back is five times as fast as `speakable`."""
    try:
        document: Document = msgspec.json.decode(msgspec.json.encode(run))
    except UnicodeEncodeError:
        document = speakable(msgspec.to_builtins(run))
    return document


_OPTIONAL = ("seed", "deviations", "truth", "plan", "spent", "crowding", "cut_short")


def decode_run(data: bytes, source: Path) -> Run:
    """The run in ``data``; ``source`` is only named in errors.

    Raises:
        UsageError: it is not JSON, of another schema, or damaged; names file, key and remedy.
    """
    document = _json_object(data, source)
    _same_schema(document, source)
    for path in _missing_keys(document):
        raise UsageError(f"{source}: the key {path} is missing", _HINT)
    if isinstance(idle := document["idle"], dict):
        idle.setdefault("advice", "")  # ours, not the contract's
    try:
        run: Run = converted(document, Run)
        return run
    except msgspec.ValidationError as error:
        wrong, _, where = str(error).partition(" - at ")
        path = where.strip("`").removeprefix("$.") or "the document"
        raise UsageError(f"{source}: {path}: {_lower_first(wrong)}", _HINT) from error


def read_run(place: Path) -> Run:
    """The run of a results folder, or of a run document given by its own name.

    Raises:
        UsageError: there is none, or ``decode_run`` cannot read it.
    """
    source = place / RUN_FILE if place.is_dir() else place
    try:
        data = source.read_bytes()
    except FileNotFoundError as error:
        hint = f"give a results folder of `tlsprobe run` (it holds {RUN_FILE}), or the file itself"
        raise UsageError(f"{source}: no such file", hint) from error
    except OSError as error:
        raise UsageError(f"{source}: {error.strerror}", "check the file's permissions") from error
    return decode_run(data, source)


def read_trials(place: Path) -> Iterator[TrialLine]:
    """The trials of a results folder, in the order in which they ended.

    A last line without its newline was being written when the run was killed: it is left out.

    Raises:
        UsageError: there is no such file, or a finished line is damaged.
    """
    source = place / TRIALS_FILE if place.is_dir() else place
    try:
        lines = source.read_bytes().split(b"\n")[:-1]
    except OSError as error:
        hint = "give a results folder of `tlsprobe run`"
        raise UsageError(f"{source}: {error.strerror}", hint) from error
    for number, line in enumerate(lines, 1):
        try:
            yield _trial_decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            hint = "delete that line: its trial is then driven again"
            raise UsageError(f"{source}: line {number}: {error}", hint) from error


_HINT = "restore the file from where it was written, or measure again with `tlsprobe run`"


def _cell_document(cell: Document) -> Document:
    kept: Document = {key: cell[key] for key in CELL_KEYS}
    kept["timing_us"] = {name: _present(spread) for name, spread in cell["timing_us"].items()}
    kept |= _said(cell, ("why", "example", "reason", "race", "left_out", "repeated", "answers"))
    kept["findings"] = [_present(finding) for finding in cell["findings"]]
    if example := kept.get("example"):
        kept["example"] = {**example, "ladder": [_present(line) for line in example["ladder"]]}
        if not example["shaped"]:
            del kept["example"]["shaped"]
    if cell["role"] != "asked":
        kept["role"] = cell["role"]
    return kept


def _behaviour_document(behaviour: Document) -> Document:
    to_do = [{**what, "seen": [*map(_present, what["seen"])]} for what in behaviour["to_do"]]
    return {**behaviour, "seen": [*map(_present, behaviour["seen"])], "to_do": to_do}


def _said(values: Document, optional: tuple[str, ...]) -> Document:
    """Those of the optional keys that say something: not null, false or empty."""
    return {key: values[key] for key in optional if values[key]}


def _present(values: Document) -> Document:
    return {key: value for key, value in values.items() if value is not None}


def _pretty(value: object, depth: int) -> bytes:
    """JSON with an indent of one, in which whatever fits on a line stays on it."""
    line = msgspec.json.format(msgspec.json.encode(value), indent=0)
    if depth and len(line) + depth <= ONE_LINE:
        return line
    inside, outside = b"\n" + b" " * (depth + 1), b"\n" + b" " * depth
    if isinstance(value, dict) and value:
        members = (
            msgspec.json.encode(key) + b": " + _pretty(member, depth + 1)
            for key, member in value.items()
        )
        return b"{" + inside + (b"," + inside).join(members) + outside + b"}"
    if isinstance(value, list | tuple) and value:
        items = (_pretty(item, depth + 1) for item in value)
        return b"[" + inside + (b"," + inside).join(items) + outside + b"]"
    return line


class _WithSchema(Protocol):
    @property
    def schema(self) -> str: ...


_Beside = TypeVar("_Beside", bound=_WithSchema)


def read_beside(source: Path, kind: type[_Beside], schema: str, command: str) -> _Beside:
    """A document that ``command`` writes beside results folders.

    Raises:
        UsageError: it cannot be read, is damaged, or of another schema.
    """
    hint = f"delete it, or restore it; '{command}' writes {source.name}"
    try:
        found: _Beside = decoder(kind).decode(source.read_bytes())
    except OSError as error:
        raise UsageError(f"{source}: {error.strerror}", hint) from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UsageError(f"{source}: {error}", hint) from error
    if found.schema != schema:
        raise UsageError(f"{source}: schema: {schema} is wanted, not {found.schema}", hint)
    return found


def _json_object(data: bytes, source: Path) -> Document:
    try:
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"{source}: not a whole JSON document: {_lower_first(str(error))}"
        raise UsageError(message, _HINT) from error
    if not isinstance(document, dict):
        raise UsageError(f"{source}: not a run document: it is no JSON object", _HINT)
    return document


def _same_schema(document: Document, source: Path) -> None:
    schema = document.get("schema")
    if schema == RUN_SCHEMA:
        return
    message = f"{source}: schema: {RUN_SCHEMA} is wanted, the file says {schema!r}"
    if isinstance(schema, str) and schema.startswith("tlsprobe.run/"):
        raise UsageError(message, "read it with the tlsprobe that wrote it (see its `tool` key)")
    raise UsageError(message, f"give the {RUN_FILE} of a results folder of `tlsprobe run`")


def _missing_keys(document: Document) -> Iterator[str]:
    """Contract keys that are not there.

    The model has defaults for many of them, so the codec alone would take a damaged document for
    a run in which nothing happened.
    """
    yield from (key for key in RUN_KEYS if key not in document)
    cells = document.get("cells")
    for index, cell in enumerate(cells if isinstance(cells, list) else ()):
        if isinstance(cell, dict):
            yield from (f"cells[{index}].{key}" for key in CELL_KEYS if key not in cell)


def _lower_first(text: str) -> str:
    """As it goes on behind a colon; what is in capitals altogether stays so."""
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]
