"""Runs ``tlsprobe fuzz`` as a user does, and reads what it wrote."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema

from tests.children import child
from tests.e2e.probing import Ran, tlsprobe
from tlsprobe.report.schema import closed, fuzz_schema


def fuzz(port: int, *words: str, cwd: Path) -> Ran:
    """``tlsprobe fuzz`` on loopback, which must see the wire."""
    asked = ("fuzz", "--target", f"127.0.0.1:{port}", "--out", str(cwd / "out"))
    return tlsprobe(*asked, "--require-capture", *words, cwd=cwd)


def document(ran: Ran) -> dict[str, Any]:
    """The fuzz document of the folder, which keeps its schema."""
    found: dict[str, Any] = json.loads((ran.folder / "fuzz.json").read_bytes())
    jsonschema.validate(found, closed(fuzz_schema()))
    return found


def connections(folder: Path) -> list[dict[str, Any]]:
    """The lines of examples.jsonl."""
    return [json.loads(line) for line in (folder / "examples.jsonl").read_bytes().splitlines()]


@contextmanager
def reference(*names: str) -> Iterator[dict[str, int]]:
    """Reference servers in a process of their own; their ports."""
    command = [sys.executable, "-m", "tlsprobe.reference", *names]
    with child(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.kill()
