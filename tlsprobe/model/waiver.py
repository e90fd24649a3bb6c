"""Waivers: findings that somebody knows of and accepts, with a reason, for a time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Waiver:
    """What is accepted, and why.

    ``behaviour``, ``rule``, ``sequence``, ``tls`` and ``target`` say of what it speaks: patterns in
    which ``*`` stands for anything, empty for anything at all. ``until`` is the last day on which
    it holds (``YYYY-MM-DD``), empty for no end; ``by`` is who accepted it, ``where`` its file and
    line.
    """

    reason: str
    behaviour: str = ""
    rule: str = ""
    sequence: str = ""
    tls: str = ""
    target: str = ""
    until: str = ""
    where: str = ""
    by: str = ""

    @property
    def about(self) -> str:
        """What it speaks of, in a line."""
        parts = {
            "behaviour": self.behaviour,
            "rule": self.rule,
            "sequence": self.sequence,
            "TLS": self.tls,
            "target": self.target,
        }
        return ", ".join(f"{name} {value}" for name, value in parts.items() if value)

    @property
    def because(self) -> str:
        """The reason, who gave it, and until when it holds."""
        said = (("by", self.by), ("until", self.until))
        beside = ", ".join(f"{word} {value}" for word, value in said if value)
        return f"{self.reason} ({beside})" if beside else self.reason


class WaiverState(StrEnum):
    """What became of a waiver in a run.

    EXPIRED: its day is over, so that what it speaks of counts again. UNUSED: nothing of what it
    speaks of was found.
    """

    USED = "used"
    UNUSED = "unused"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class WaivedFinding:
    """A finding of a cell by its rule."""

    sequence: str
    tls: str
    rule: str


@dataclass(frozen=True, slots=True)
class WaiverUse:
    """A waiver in a run, with the findings of which it speaks."""

    waiver: Waiver
    state: WaiverState
    findings: tuple[WaivedFinding, ...] = ()
