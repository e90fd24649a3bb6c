"""What is said differently when recorded facts are judged again."""

from __future__ import annotations

from dataclasses import dataclass

JUDGE_SCHEMA = "tlsprobe.judge/1"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that a cell says otherwise: ``was`` and ``now`` are empty where it said nothing."""

    what: str
    was: str
    now: str


@dataclass(frozen=True, slots=True)
class CellChange:
    """A cell that is not as it was; both names are empty where the whole run is meant."""

    sequence: str
    tls: str
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Rejudged:
    """A results folder, judged again: ``changes`` is empty where today's rules say the same.

    ``trials`` counts the connections that were judged, ``written`` tells whether the folder's
    documents were replaced.
    """

    folder: str
    target: str
    trials: int
    changes: tuple[CellChange, ...]
    written: bool = False
    schema: str = JUDGE_SCHEMA
