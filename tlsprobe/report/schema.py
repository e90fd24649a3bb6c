"""JSON Schemas (2020-12) of the documents, made from the types that write them.

A field without a default is required, and so are those keys of the contract that the model has
defaults for. Documents gain fields freely, and so a schema allows what it does not know;
``closed`` allows nothing else, for tests of what we write.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any

import msgspec

from tlsprobe.model.causes import Cause
from tlsprobe.model.explanation import EXPLAIN_FLOW_SCHEMA, EXPLAIN_SCHEMA
from tlsprobe.model.fuzz import FUZZ_SCHEMA, FuzzCause, FuzzFailure, FuzzRun
from tlsprobe.model.judgement import Outcome, Verdict
from tlsprobe.model.rejudged import JUDGE_SCHEMA, Rejudged
from tlsprobe.model.run import RUN_SCHEMA, BeforeAfter, Cell, ReaderCounts, ResetCounts, Run
from tlsprobe.report.compatibility_json import MATRIX_SCHEMA, MatrixDocument
from tlsprobe.report.document import CELL_KEYS, RUN_KEYS, Document
from tlsprobe.report.explain_document import ExplainDocument, FlowLine
from tlsprobe.report.fuzz_document import FAILURE_KEYS, FUZZ_KEYS


def run_schema() -> Document:
    """The schema of ``run.json``."""
    return _schema_of(Run, RUN_SCHEMA, "A tlsprobe run: one target, measured")


def matrix_schema() -> Document:
    """The schema of ``matrix.json``."""
    title = "A tlsprobe compatibility matrix: several servers, measured"
    return _schema_of(MatrixDocument, MATRIX_SCHEMA, title)


def explain_schema() -> Document:
    """The schema of what ``explain --json`` prints."""
    return _schema_of(ExplainDocument, EXPLAIN_SCHEMA, "What tlsprobe explain found in a capture")


def explain_flow_schema() -> Document:
    """The schema of each line that ``explain --live --json`` prints before its last."""
    title = "A connection that was reset, as tlsprobe explain --live saw it"
    return _schema_of(FlowLine, EXPLAIN_FLOW_SCHEMA, title)


def fuzz_schema() -> Document:
    """The schema of ``fuzz.json``."""
    title = "A tlsprobe fuzz run: one target, and the shortest close for every property it broke"
    return _schema_of(FuzzRun, FUZZ_SCHEMA, title)


def judge_schema() -> Document:
    """The schema of what ``judge --json`` prints."""
    return _schema_of(Rejudged, JUDGE_SCHEMA, "Recorded facts, judged again by tlsprobe")


SCHEMAS: Mapping[str, Callable[[], Document]] = {
    "run": run_schema,
    "matrix": matrix_schema,
    "explain": explain_schema,
    "explain-flow": explain_flow_schema,
    "fuzz": fuzz_schema,
    "judge": judge_schema,
}
"""All of them, most by the verb that writes the document."""


def closed(schema: Document) -> Document:
    """The same schema, but nothing may be in a document that it does not declare."""
    closing = {"additionalProperties": False} if "properties" in schema else {}
    return {key: _closed(value) for key, value in schema.items()} | closing


def _closed(value: Any) -> Any:
    if isinstance(value, dict):
        return closed(value)
    return [_closed(item) for item in value] if isinstance(value, list) else value


def _whole(kind: type) -> tuple[str, ...]:
    return tuple(one.name for one in fields(kind))


_REQUIRED: Mapping[type, Iterable[str]] = {
    Run: RUN_KEYS,
    Cell: CELL_KEYS,
    FuzzRun: FUZZ_KEYS,
    FuzzFailure: FAILURE_KEYS,
    **{kind: _whole(kind) for kind in (BeforeAfter, ResetCounts, ReaderCounts, FuzzCause)},
    Rejudged: _whole(Rejudged),
}
"""Keys that the contract promises though the model has defaults for them."""

_TIME = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?Z$"
_SIGNATURE = r"^([DGNAFRHKXdgnafrhkx]+( [DGNAFRHKXdgnafrhkx]+)*)?$"
_STRINGS: Mapping[str, Document] = {
    "started": {"pattern": _TIME},
    "finished": {"pattern": _TIME},
    "measured": {"pattern": _TIME},
    "signature": {"pattern": _SIGNATURE},
    "confirmed": {"pattern": r"^\d+/\d+$"},
}
_NAMES: Mapping[str, Document] = {
    "outcomes": {"enum": list(Outcome)},
    "causes": {"enum": list(Cause)},
    "signatures": {"pattern": _SIGNATURE},
    "summary": {"enum": list(Verdict)},
}
_MAY_BE_NEGATIVE = {"seed"}


def _schema_of(kind: type, name: str, title: str) -> Document:
    """The schema of a dataclass that is written as the document of this name."""
    (root,), components = msgspec.json.schema_components((kind,), ref_template="#/$defs/{name}")
    required = {made.__name__: keys for made, keys in _REQUIRED.items()}
    definitions = {
        made: _definition(schema, tuple(required.get(made, ())))
        for made, schema in components.items()
    }
    top = definitions.pop(root["$ref"].rpartition("/")[2])
    top["properties"]["schema"] = {"const": name}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": name, "title": title}
    return {**head, **{k: v for k, v in top.items() if k != "title"}, "$defs": definitions}


def _definition(schema: Document, required: tuple[str, ...]) -> Document:
    made = {**schema}
    if "description" in made:
        made["description"] = inspect.cleandoc(made["description"]).replace("``", "`")
    if "properties" in made:
        made["properties"] = {key: _field(key, value) for key, value in made["properties"].items()}
        made["required"] = sorted({*made.get("required", ()), *required})
    return made


def _field(name: str, schema: Document) -> Document:
    """What the type of a field says, and what its name adds to that."""
    made = {key: value for key, value in schema.items() if key != "default"}
    match made.get("type"):
        case "string":
            return made | _STRINGS.get(name, {})
        case "integer" if name not in _MAY_BE_NEGATIVE:
            return made | {"minimum": 0}
        case "object" if name in _NAMES:
            return made | {"propertyNames": _NAMES[name]}
    return made
