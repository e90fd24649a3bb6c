"""Whether two connections end alike that should: two runs, two TLS versions, two targets."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import replace

from tlsprobe.fuzz.observation import Observation
from tlsprobe.fuzz.properties import (
    PROPERTIES,
    Needs,
    Property,
    Violation,
    differ,
    is_comparable,
    violations,
)
from tlsprobe.fuzz.suspects import Sighting
from tlsprobe.fuzz.trying import Prober
from tlsprobe.model.fuzz import Example
from tlsprobe.model.judgement import DataEnd, TcpEnd, TlsEnd

_NAMES = {
    Needs.RUNS: "runs-alike",
    Needs.VERSIONS: "versions-alike",
    Needs.TARGETS: "targets-alike",
}


class Comparer:
    """Drives an example's counterpart, and tells a difference from a race and from slowness.

    ``asked`` are the properties of one connection too: a difference that is a fault by itself is
    theirs. ``is_worth_waiting`` says whether it matters that a server did not end.
    """

    def __init__(
        self,
        probers: list[Prober],
        versions: tuple[str, ...],
        asked: tuple[Property, ...],
        is_worth_waiting: Callable[[Observation], bool],
    ) -> None:
        self.prober, self.other = probers[0], probers[-1]
        self.versions = versions
        self.asked = asked
        self.is_worth_waiting = is_worth_waiting

    async def compare(
        self, example: Example, needs: Needs, *, is_fresh: bool = False
    ) -> Sighting | None:
        """Whether this example ends differently where it should end alike.

        How it ended when it was first tried may be the exception: ``is_fresh`` tries it anew.
        """
        first = self.prober.once if is_fresh else self.prober.observe
        one = await first(example, "compare")
        if not is_comparable(one, needs) or self.is_known(needs, one):
            return None
        if needs is Needs.VERSIONS and example.sequence.is_handshake:
            return None  # which the two versions do not do alike
        other = await self.counterpart(example, needs)
        if other is None or not differ(one, other, needs) or self.is_known(needs, other):
            return None
        if one.is_open != other.is_open:  # or one of them was only slower
            one = await self.prober.patiently(example, "compare", was_open=one.is_open)
            other = await self.counterpart(example, needs, patient=True)
        if other is None or not differ(one, other, needs) or self.is_known(needs, one, other):
            return None
        if needs is not Needs.RUNS and await self.is_race(example, one, other, needs):
            return None  # which is another property's
        names = {
            Needs.RUNS: ("once", "another time"),
            Needs.VERSIONS: (f"in TLS {example.tls}", f"in TLS {other.example.tls}"),
            Needs.TARGETS: (f"at {self.prober.target.name}", f"at {self.other.target.name}"),
        }
        return Sighting(_unlike(needs, one, other, *names[needs]), one, other)

    def is_known(self, needs: Needs, *ended: Observation) -> bool:
        """Whether a difference would be a fault that one of them shows by itself."""
        return needs is not Needs.TARGETS and any(violations(seen, self.asked) for seen in ended)

    async def is_race(
        self, example: Example, one: Observation, other: Observation, needs: Needs
    ) -> bool:
        """Whether either of two that differ differs from itself as well."""
        again = await self.prober.once(example, "compare", patient=True)
        once_more = await self.counterpart(example, needs, patient=True)
        return differ(one, again, needs) or once_more is None or differ(other, once_more, needs)

    async def counterpart(
        self,
        example: Example,
        needs: Needs,
        *,
        patient: bool = False,
        told: Container[str] | None = None,
    ) -> Observation | None:
        """The connection that should end like this example's; None where there is none."""
        prober = self.prober
        if needs is Needs.TARGETS:
            prober = self.other
        elif needs is Needs.VERSIONS:
            others = [version for version in self.versions if version != example.tls]
            if not others:
                return None
            if not example.sequence.fits(others[0]):
                return None
            example = replace(example, tls=others[0])
            if not patient:
                return await prober.observe(example, "compare", self.is_worth_waiting)
        if told is not None:
            return await prober.once(example, "compare", patient=True, told=told)
        if patient:
            return await prober.patiently(example, "compare")
        return await prober.once(example, "compare")


def _unlike(needs: Needs, one: Observation, other: Observation, here: str, there: str) -> Violation:
    """Two that end unlike; which of them was seen first makes no other fault of it."""
    name = _NAMES[needs]
    ends = one.end, other.end
    turned = needs is Needs.VERSIONS and one.example.tls > other.example.tls
    if turned or (needs is Needs.RUNS and one.end > other.end):
        ends = other.end, one.end
    text = f"{here} the server {_how(one)}; {there} it {_how(other)}"
    return Violation(name, PROPERTIES[name].rule, text, " / ".join(ends))


def _how(seen: Observation) -> str:
    """How a connection ended, in words."""
    axes = seen.judgement.axes
    cut = ", with the response cut short" if axes.data is DataEnd.TRUNCATED else ""
    return f"{_TLS[axes.tls]} and {_TCP[axes.tcp]}{cut}"


_TLS = {
    TlsEnd.NOTIFIED: "sent a close_notify",
    TlsEnd.SILENT: "sent no close_notify",
    TlsEnd.ALERT: "sent a fatal alert",
}
_TCP = {
    TcpEnd.FIN: "a FIN",
    TcpEnd.RESET: "an RST in place of a FIN",
    TcpEnd.FIN_RESET: "a FIN, and then an RST",
    TcpEnd.OPEN: "left the connection open",
}
