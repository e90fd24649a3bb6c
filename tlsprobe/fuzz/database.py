"""Failures of earlier runs, in hypothesis's own database of examples: they are tried first."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis.database import DirectoryBasedExampleDatabase

from tlsprobe.errors import SequenceError
from tlsprobe.language import parse
from tlsprobe.model.fuzz import Example
from tlsprobe.model.target import TlsVersion

MOST = 200
"""Failures that are kept of a profile."""


class Database:
    """The failures that were found of servers with one ``profile``, in a folder."""

    def __init__(self, folder: Path, profile: str) -> None:
        self._stored = DirectoryBasedExampleDatabase(folder)
        self._key = f"tlsprobe fuzz {profile}".encode()

    def read(self) -> tuple[Example, ...]:
        """What earlier runs found; what cannot be read any more is left out."""
        found = (_example(saved) for saved in self._stored.fetch(self._key))
        made = [example for example in found if example is not None]
        return tuple(sorted(made, key=lambda one: (len(one.sequence.steps), one.steps, one.tls)))

    def add(self, example: Example) -> None:
        """Keep a failure for the next run."""
        if len(tuple(self._stored.fetch(self._key))) < MOST:
            self._stored.save(self._key, _bytes(example))


def _bytes(example: Example) -> bytes:
    other = example.beside
    beside = [] if other is None else [other.steps, other.tls]
    return json.dumps([example.steps, example.tls, example.together, *beside]).encode()


def _example(saved: bytes) -> Example | None:
    try:
        steps, tls, together, *beside = json.loads(saved)
        other = Example(parse(beside[0]), str(TlsVersion(beside[1]))) if beside else None
        return Example(parse(steps), str(TlsVersion(tls)), int(together), other)
    except (ValueError, TypeError, IndexError, SequenceError):
        return None
