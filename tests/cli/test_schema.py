"""Programs get the schema of a document from the tlsprobe that writes it."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from tlsprobe.cli.application import app
from tlsprobe.errors import UsageError
from tlsprobe.report.schema import SCHEMAS


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schema_of_a_document_is_printed(name: str) -> None:
    ran = CliRunner().invoke(app, ["schema", name])
    assert ran.exit_code == 0
    assert json.loads(ran.stdout) == SCHEMAS[name]()


def test_an_unknown_document_is_told_with_the_names() -> None:
    ran = CliRunner().invoke(app, ["schema", "runs"])
    assert isinstance(ran.exception, UsageError)
    assert ran.exception.hint == "the documents are run, matrix, explain, explain-flow, fuzz, judge"
