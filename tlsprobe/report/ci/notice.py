"""A notice: one thing that a build server shows, whatever its format is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256


class Weight(StrEnum):
    """ERROR: it makes the command fail. WARNING: it harms somebody. NOTE: good to know."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"

    @property
    def rank(self) -> int:
        """0 for the gravest."""
        return list(Weight).index(self)


class Since(StrEnum):
    """What a comparison with a baseline says of a notice."""

    NOT_COMPARED = ""
    NEW = "new"
    SAME = "same"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Place:
    """A file of the repository, and a line of it, counted from 1: where a forge shows a notice."""

    file: str
    line: int = 1


NOWHERE = Place("tlsprobe.toml")
"""The place of what has none: forges insist on one that is the same in every run."""


@dataclass(frozen=True, slots=True)
class About:
    """The kind of a notice: the same for every server.

    ``name`` is an id for programs. ``help`` are sentences: the rules with their sources, and what
    helps; ``url`` is where the first of these rules stands, empty for none.
    """

    name: str
    title: str
    help: tuple[str, ...] = ()
    url: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to say about one ``target``.

    ``id`` tells it from all others of the target, and is the same in every run. ``title`` is a
    line, ``lines`` are the rest: whom it hurts, where it was seen, what to do. ``harm`` is the word
    of a behaviour's harm, empty for what is no behaviour. ``waived`` is the reason of a waiver,
    empty for none.
    """

    id: str
    about: About
    weight: Weight
    target: str
    title: str
    lines: tuple[str, ...] = ()
    place: Place | None = None
    harm: str = ""
    since: Since = Since.NOT_COMPARED
    waived: str = ""

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits that stay the same as long as target and id do."""
        return sha256(f"{self.target}\n{self.id}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
