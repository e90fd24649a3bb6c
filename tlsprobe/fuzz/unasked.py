"""What a server did that no property was asked about, and that somebody may want to ask about.

A reset behind the server's FIN harms no reader, and most servers that close at once send one to
whatever comes later. So it is no failure unless it is asked for; that it was seen is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tlsprobe.fuzz.alphabet import Simplicity
from tlsprobe.fuzz.observation import Observation
from tlsprobe.fuzz.properties import PROPERTIES, Property, violations
from tlsprobe.model.fuzz import Example
from tlsprobe.report.plurals import counted

BEHIND_FIN = PROPERTIES["no-reset-after-fin"]


class Unasked:
    """The connections that a server reset behind its FIN, unless ``asked`` has the property."""

    def __init__(
        self, asked: Iterable[Property], simplicity: Callable[[Example], Simplicity]
    ) -> None:
        self.is_asked = BEHIND_FIN in asked
        self.simplicity = simplicity
        self.count = 0
        self.simplest: Example | None = None

    def note(self, seen: Observation) -> None:
        """One more was driven."""
        if self.is_asked or not violations(seen, (BEHIND_FIN,)):
            return
        self.count += 1
        known = self.simplest
        if known is None or self.simplicity(seen.example) < self.simplicity(known):
            self.simplest = seen.example

    @property
    def notes(self) -> tuple[str, ...]:
        """What to say of it, if there is anything."""
        if self.simplest is None:
            return ()
        where, example = counted(self.count, "connection"), self.simplest
        return (
            f"in {where} the server reset after its FIN (TLS {example.tls}: {example.steps}): no"
            f" reader notices, and it counts with --property {BEHIND_FIN.name} alone",
        )
