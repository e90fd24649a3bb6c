"""An explanation for programs."""

from __future__ import annotations

import json

import jsonschema
import pytest

from tests.report.explanations import EXPLANATIONS
from tlsprobe.model.explanation import Explanation
from tlsprobe.report.explain import groups_of
from tlsprobe.report.explain_document import clock, encode_explanation
from tlsprobe.report.schema import closed, explain_schema


@pytest.mark.parametrize("explanation", EXPLANATIONS.values(), ids=EXPLANATIONS)
def test_documents_keep_to_the_schema(explanation: Explanation) -> None:
    schema = explain_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    line = encode_explanation(explanation)
    jsonschema.validate(json.loads(line), closed(schema))
    assert line.count(b"\n") == 1


def test_the_schema_refuses_what_is_wrong() -> None:
    document = json.loads(encode_explanation(EXPLANATIONS["unread"]))
    document["flows"][0]["resets"][0]["cause"] = "bad luck"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, explain_schema())


def test_an_experiment_on_a_hostile_name_is_quoted() -> None:
    (explained,) = EXPLANATIONS["hostile"].flows[0].resets
    assert explained.experiment is not None
    assert "--target '$(reboot) '\"'\"' " in explained.experiment


def test_many_alike_are_one_group() -> None:
    (group,) = groups_of(EXPLANATIONS["many"])
    assert group.count == 12


@pytest.mark.parametrize(
    ("time_ns", "said"),
    [
        (1_790_000_000_123_456_789, "2026-09-21T14:13:20.123456789Z"),
        (3_723_000_004_000, "01:02:03.000004"),
        (7, None),
        (2**63, "2262-04-11T23:47:16.854775808Z"),
    ],
)
def test_times(time_ns: int, said: str | None) -> None:
    assert clock(time_ns) == said
