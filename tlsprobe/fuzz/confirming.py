"""Whether the shortest close really shows its fault: it is run again, outside of hypothesis."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Ordered

import trio

from tlsprobe.catalogue import alert_alone, control_of
from tlsprobe.fuzz.alphabet import Simplicity
from tlsprobe.fuzz.comparing import Comparer
from tlsprobe.fuzz.death import comes_back, kills
from tlsprobe.fuzz.properties import (
    ANSWERS_BEHIND_ALERT,
    PROPERTIES,
    Needs,
    Property,
    differ,
    violations,
)
from tlsprobe.fuzz.suspects import Suspect
from tlsprobe.fuzz.trying import Prober
from tlsprobe.judge.causes import is_open
from tlsprobe.judge.digest import Tally
from tlsprobe.language import format_groups
from tlsprobe.model.fuzz import Example
from tlsprobe.model.sequence import Sequence

CONTROLS = 3
"""Connections spent on settling the cause of an RST."""

_TRIED = 6
"""Other examples that are tried, once the shortest turns out to have been luck."""


class Confirmer:
    """Runs the shortest of a fault so many ``times`` again; ``asked`` are the properties."""

    def __init__(
        self,
        prober: Prober,
        comparer: Comparer,
        asked: Ordered[Property],
        times: int,
        simplicity: Callable[[Example], Simplicity],
    ) -> None:
        self.prober = prober
        self.comparer = comparer
        self.asked = tuple(asked)
        self.times = times
        self.simplicity = simplicity

    async def confirm(self, suspect: Suspect) -> None:
        """Run the shortest again, outside of hypothesis; if it was luck, others that showed it."""
        if suspect.done:
            return
        await self.run_again(suspect)
        shortest = suspect.shortest
        others = sorted({suspect.found, *suspect.others}, key=self.simplicity)
        for other in [example for example in others if example != shortest][:_TRIED]:
            if suspect.broke:
                return
            suspect.shortest, suspect.shrunk = other, False
            await self.run_again(suspect)
        if not suspect.broke:
            suspect.shortest = suspect.found

    async def run_again(self, suspect: Suspect) -> None:
        """Run the shortest so often, and count how often it shows the fault."""
        suspect.runs = suspect.broke = 0
        suspect.ends.clear()
        needs = PROPERTIES[suspect.violation.name].needs
        if needs is Needs.PATH:
            for _ in range(self.times):
                broke = await kills(self.prober, suspect.shortest, "confirm")
                suspect.tally("dead" if broke else "alive", broke=broke)
            await comes_back(self.prober)
            return
        async with trio.open_nursery() as nursery:
            for _ in range(self.times):
                nursery.start_soon(self.once_again, suspect, needs)
        if needs is Needs.RUNS:  # the runs that did not end like most of them
            suspect.broke = suspect.runs - max(suspect.ends.values(), default=0)
        if suspect.violation.name == ANSWERS_BEHIND_ALERT:
            await self.ask_alert_alone(suspect)
        await self.ask_control(suspect)

    async def once_again(self, suspect: Suspect, needs: Needs) -> None:
        """One more run of the shortest, or one more comparison."""
        run = self.prober.once
        seen = await run(suspect.shortest, "confirm", patient=True, told=())
        if not seen.counts:
            return
        if needs is Needs.ONE:
            broken = {v.kind[:2] for v in violations(seen, self.asked)}
            broke = suspect.violation.kind[:2] in broken
        elif needs is Needs.RUNS:
            again = await run(suspect.shortest, "confirm", patient=True, told=())
            suspect.tally(again.end, broke=False)
            broke = False
        else:
            other = await self.comparer.counterpart(suspect.shortest, needs, patient=True)
            broke = other is not None and differ(seen, other)
        suspect.tally(seen.end, broke=broke)
        if broke or suspect.observed.example != seen.example:
            suspect.observed = seen

    async def ask_control(self, suspect: Suspect) -> None:
        """Tell an ambiguous cause by a control: the same close with nothing left unread."""
        control = control_of(suspect.shortest.sequence)
        if control is None or not any(map(is_open, suspect.observed.judgement.resets)):
            return
        known = (await self.tallied(control, suspect)).as_control(control.name)
        suspect.observed = self.prober.with_control(suspect.observed, known)

    async def ask_alert_alone(self, suspect: Suspect) -> None:
        """Let go of a suspect that says to our close_notify alone what it says here."""
        alone = alert_alone(suspect.shortest.sequence)
        if alone is not None and (await self.tallied(alone, suspect)).spoke:
            suspect.broke = 0

    async def tallied(self, control: Sequence, suspect: Suspect) -> Tally:
        """How connections of a control end."""
        by_its_steps = Sequence(format_groups(control.groups), control.groups)
        example, tally = Example(by_its_steps, suspect.shortest.tls), Tally()
        for _ in range(CONTROLS):
            seen = await self.prober.once(example, "control")
            if seen.digest is not None:
                tally.count(seen.digest)
        return tally
