"""The schemas are made from the types: they know every word, find damage, and allow what is new."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import jsonschema
import pytest

from tests.report.builders import make_run, nasty_run, nginx_run, postgres_run, unsupported
from tlsprobe.model.causes import Cause
from tlsprobe.model.judgement import Confidence, Level, Outcome, Result, Verdict
from tlsprobe.model.run import Run
from tlsprobe.model.trace import Side
from tlsprobe.report.document import Document, encode_run
from tlsprobe.report.schema import SCHEMAS, closed, run_schema

RUNS = {
    "postgres": postgres_run(),
    "nginx": nginx_run(),
    "nasty": nasty_run(),
    "unsupported": make_run(unsupported("terminate", "1.2")),
    "empty": make_run(),
}


@cache
def of_runs(*, is_closed: bool = False) -> jsonschema.Draft202012Validator:
    """The schema of a run document; to be closed it must declare everything."""
    return validator(closed(run_schema()) if is_closed else run_schema())


def validator(schema: Document) -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def written(run: Run) -> Document:
    document: Document = json.loads(encode_run(run))
    return document


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_is_one_and_says_what_it_is_of(name: str) -> None:
    schema = SCHEMAS[name]()
    validator(schema)
    assert schema["$id"] == f"tlsprobe.{name}/1"
    assert schema["properties"]["schema"] == {"const": schema["$id"]}
    assert schema["title"]
    assert schema["description"]
    assert all(one["description"] for one in schema["$defs"].values())


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_can_be_closed(name: str) -> None:
    schema = closed(SCHEMAS[name]())
    assert schema["additionalProperties"] is False
    validator(schema)


@pytest.mark.slow
@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_nothing_is_written_that_is_not_declared(run: Run) -> None:
    of_runs(is_closed=True).validate(written(run))


@pytest.mark.slow
def test_what_is_not_declared_is_no_damage_to_a_reader() -> None:
    document = written(postgres_run())
    document["later"] = document["cells"][0]["later"] = {"x": 1}
    of_runs().validate(document)
    assert len(list(of_runs(is_closed=True).iter_errors(document))) == 2


def test_the_schema_knows_every_word_of_the_model() -> None:
    definitions: Mapping[str, Any] = run_schema()["$defs"]
    for words in (Cause, Confidence, Level, Result, Side, Verdict):
        assert set(definitions[words.__name__]["enum"]) == set(words)
    cell = definitions["Cell"]["properties"]
    assert cell["outcomes"]["propertyNames"]["enum"] == list(Outcome)
    assert cell["causes"]["propertyNames"]["enum"] == list(Cause)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), "tlsprobe.run/2"),
        (("cells", 0, "outcomes"), {"splendid": 1}),
        (("cells", 0, "signatures"), {"X y": 1}),
        (("cells", 0, "reader"), {"eof": 1}),
        (("cells", 0, "verdict"), "perhaps"),
        (("cells", 2, "resets", "server"), {"before_fin": -1, "after_fin": 0}),
        (("cells", 2, "timing_us"), {"end": {"min": 2}}),
        (("started",), "yesterday"),
        (("summary",), {"splendid": 1}),
        (("capture", "dropped"), "none"),
        (("target", "port"), "443"),
    ],
)
def test_the_schema_finds_damage(path: tuple[str | int, ...], value: object) -> None:
    document = written(postgres_run())
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert not of_runs().is_valid(document)


@pytest.mark.parametrize("key", ["cells", "idle", "summary"])
def test_a_key_of_the_contract_has_to_be_there(key: str) -> None:
    document = written(postgres_run())
    del document[key]
    assert not of_runs().is_valid(document)


@pytest.mark.parametrize("key", ["outcomes", "causes", "path_alive", "timing_us", "verdict"])
def test_so_has_a_key_of_a_cell(key: str) -> None:
    document = written(postgres_run())
    del document["cells"][0][key]
    assert not of_runs().is_valid(document)
