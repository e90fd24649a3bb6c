"""``schema``: the JSON Schema of a document that tlsprobe writes."""

from __future__ import annotations

import sys
from typing import Annotated

import msgspec
import typer

from tlsprobe.errors import UsageError
from tlsprobe.report.schema import SCHEMAS


def schema(
    name: Annotated[str, typer.Argument(metavar="|".join(SCHEMAS), help="The document.")],
) -> None:
    """Print the JSON Schema of a document: run, matrix, explain, fuzz or judge."""
    if name not in SCHEMAS:
        raise UsageError(f"no document '{name}'", f"the documents are {', '.join(SCHEMAS)}")
    text = msgspec.json.format(msgspec.json.encode(SCHEMAS[name]()), indent=1)
    sys.stdout.buffer.write(text + b"\n")
    sys.stdout.buffer.flush()
