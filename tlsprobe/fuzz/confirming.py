"""Whether a fault shows again: run as it is, outside of hypothesis, and counted.

What shows in most of a few runs is confirmed. What does not may be a race, which is run so often
that its rate can be told; or it takes other connections beside it, as many as there were when it
was seen. Runs of which nothing can be said, since a step of ours was late, are not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Sequence as Ordered
from dataclasses import replace
from math import ceil

import trio

from tlsprobe.catalogue import alert_alone, alert_only, catalogue, control_of
from tlsprobe.fuzz.alphabet import CROWDS
from tlsprobe.fuzz.comparing import Comparer
from tlsprobe.fuzz.death import comes_back, kills
from tlsprobe.fuzz.observation import IN_A_RACE, IN_TIME, Observation
from tlsprobe.fuzz.properties import (
    ANSWERS_BEHIND_ALERT,
    PROPERTIES,
    Needs,
    Property,
    differ,
    shows_like,
    violations,
)
from tlsprobe.fuzz.rates import rate_of
from tlsprobe.fuzz.suspects import Suspect
from tlsprobe.fuzz.trying import Prober
from tlsprobe.judge.causes import is_open
from tlsprobe.judge.digest import Tally
from tlsprobe.language import format_groups
from tlsprobe.model.fuzz import MOST_AT_ONCE, Example
from tlsprobe.model.sequence import Sequence

CONTROLS = 3
"""Connections spent on settling the cause of an RST."""

MOST_OF = 3 / 5
"""The part of the confirming runs that have to show a fault."""

REPEATS = (50, 100, 200)
"""How often a race is run: more often only if it was lost, and too seldom to be sure."""

LEAST_LOST = 3
"""How often a race has to be lost to be a failure: once is luck, and so may be twice."""

_RULE_OF_THREE = 3
"""What shows in one of n runs is missed by chance in 3 n runs less than once in twenty times."""

_ATTEMPTS, _MORE_ATTEMPTS = 3, 9

_WORTH_IT = 1 / 4
"""The part of the runs that has to count for it to be worth making more."""

_AT_ONCE = 4
"""Repeats of a race at a time: few enough not to be a crowd."""

_IN_PEACE = 1
"""Repeats at a time, once it was seen that those side by side were late, or too slow to count."""

_CROWDS = 2

_RACES = frozenset({Needs.ONE, Needs.RUNS})
"""What may show in some runs only, and be a failure."""


def least_lost(suspect: Suspect) -> int:
    """How often a race has to be lost: what is known was no luck when it was found."""
    return LEAST_LOST if suspect.known is None else 1


def runs_to_miss(suspect: Suspect) -> int:
    """How many runs must not show it to say that it is not there: more for what shows seldom."""
    if suspect.known is None:
        return REPEATS[0]
    return min(ceil(_RULE_OF_THREE / suspect.known.least), REPEATS[-1])


def is_settled_race(suspect: Suspect) -> bool:
    """Whether it was lost often enough in enough runs; its rate is told then."""
    is_enough = suspect.known is not None or suspect.runs >= REPEATS[0]
    if suspect.broke < least_lost(suspect) or not is_enough:
        return False
    suspect.rate = rate_of(suspect.broke, suspect.runs)
    return True


class Confirmer:
    """Runs the shortest of a fault so many ``times`` again; ``asked`` are the properties.

    ``may_go_on`` says whether there is time for more. ``is_gone``: the server died of a run, and
    did not come back. ``in_peace``: connections are known to harm each other, so that one at a time
    is run of what is to show by itself.
    """

    def __init__(
        self,
        prober: Prober,
        comparer: Comparer,
        asked: Ordered[Property],
        times: int,
        may_go_on: Callable[[], bool],
    ) -> None:
        self.prober = prober
        self.comparer = comparer
        self.asked = tuple(asked)
        self.times = times
        self.may_go_on = may_go_on
        self.races = False
        self.is_gone = False
        self.in_peace = False

    async def confirm(self, suspect: Suspect) -> bool:
        """Whether the shortest shows the fault again, or else what was found; as a race at last."""
        needs = PROPERTIES[suspect.violation.name].needs
        may_be_race = needs in _RACES
        if suspect.is_race and may_be_race:
            return await self.confirm_race(suspect, needs)
        for _ in self.tries(suspect):
            await self.run_few(suspect, needs)
            most = MOST_OF * self.times if suspect.known is None and not self.is_gone else 1
            if suspect.broke >= most:
                return await self.is_its_own(suspect)
        if not may_be_race or suspect.broke == suspect.runs:
            return False  # where every run that counts showed it, too few of them do
        return await self.is_race(suspect, needs) and await self.is_its_own(suspect)

    def tries(self, suspect: Suspect) -> Iterator[Example]:
        """The shortest of a suspect, then what was found: each is its shortest in turn."""
        found = replace(suspect.found, together=suspect.shortest.together)
        for number, example in enumerate(dict.fromkeys((suspect.shortest, found))):
            suspect.shortest, suspect.shrunk = example, suspect.shrunk and number == 0
            yield example

    async def confirm_race(self, suspect: Suspect, needs: Needs) -> bool:
        """Whether it is lost often enough: by one connection at a time, or by many together."""
        for _ in self.tries(suspect):
            if await self.is_race(suspect, needs):
                return await self.is_its_own(suspect)
        if needs is Needs.RUNS or suspect.broke or suspect.observed.beside < MOST_AT_ONCE / 2:
            return False  # it shows without others, or they were few
        suspect.shortest = replace(suspect.found, together=MOST_AT_ONCE)
        return await self.is_race_in_crowd(suspect) and await self.is_its_own(suspect)

    async def run_few(self, suspect: Suspect, needs: Needs) -> None:
        """Run it until so many runs count: side by side, and then one at a time.

        Where every run that counts shows it, it is worth some more.
        """
        suspect.begin()
        takes_others = suspect.shortest.together > 1 or suspect.shortest.beside is not None
        one_by_one = takes_others or self.in_peace
        side_by_side = _IN_PEACE if one_by_one else self.times
        for attempt, at_once in enumerate((side_by_side, *[_IN_PEACE] * _MORE_ATTEMPTS)):
            worth_more = 0 < suspect.runs == suspect.broke
            if self.is_gone or (attempt > _ATTEMPTS and not worth_more):
                return
            if suspect.runs < self.times and self.may_go_on():
                await self.run_again(suspect, needs, self.times - suspect.runs, at_once)

    async def still_shows(self, suspect: Suspect) -> bool | None:
        """Whether a failure that is known shows again, as it is: alone, or together.

        It has been confirmed, so once is enough. None: too few runs counted to say that it is gone.
        """
        needs = PROPERTIES[suspect.violation.name].needs
        if suspect.shortest.together == 1 or needs is Needs.PATH:
            shows = await self.confirm(suspect)
        else:
            shows = await self.shows_in_crowd(suspect) or await self.is_race_in_crowd(suspect)
        can_be_rare = needs in _RACES
        enough = runs_to_miss(suspect) if can_be_rare else self.times
        return True if shows else False if suspect.runs >= enough else None

    async def died_for_good(self, suspect: Suspect) -> bool:
        """Whether a failure that is known has just shown, since the server is gone now."""
        is_death = PROPERTIES[suspect.violation.name].needs is Needs.PATH
        if not is_death or await self.prober.works(attempts=1) or await comes_back(self.prober):
            return False
        suspect.tried += 1
        suspect.tally("dead", broke=True)
        return True

    async def takes_company(self, suspect: Suspect) -> bool:
        """Whether it takes others beside it: none shows it alone, and of a crowd half of them do.

        Half as many are tried next, as long as that is enough.
        """
        alone, most = suspect.shortest, max(suspect.observed.beside, suspect.found.together)
        enough = None
        for together in sorted((n for n in CROWDS if 1 < n < 2 * most), reverse=True):
            suspect.shortest = replace(alone, together=together)
            if not (self.may_go_on() and await self.shows_in_crowd(suspect)):
                break
            enough = suspect.shortest
        suspect.shortest = enough or alone
        return enough is not None

    async def shows_alone(self, suspect: Suspect) -> bool | None:
        """Whether what several of a crowd showed, though not half, shows by itself as well.

        As many are tried one at a time as would show it, if it were by chance that one of a crowd
        does. None: too few of these counted, or too few of the crowd showed it.
        """
        if suspect.broke < LEAST_LOST:
            return None
        enough = ceil(_RULE_OF_THREE * suspect.runs / suspect.broke)
        suspect.begin()
        self.races = True
        for _ in range(_ATTEMPTS):
            if suspect.runs < enough and not suspect.broke and self.may_go_on():
                await self.run_again(suspect, Needs.ONE, enough - suspect.runs, _IN_PEACE)
        self.races = False
        suspect.shows_alone = suspect.broke > 0
        return True if suspect.broke else False if suspect.runs >= enough else None

    async def takes_crowd(self, suspect: Suspect) -> bool:
        """Whether several of a crowd show it, and none of as many as it takes does by itself."""
        alone = replace(suspect.shortest, together=1)
        suspect.begin()
        suspect.shortest = replace(suspect.found, together=MOST_AT_ONCE)
        await self.crowd_again(suspect)
        suspect.shortest = alone
        return await self.shows_alone(suspect) is False

    async def is_race_in_company(self, suspect: Suspect) -> bool:
        """Whether some of a crowd show it, often enough, where none does by itself.

        So it is where a connection ends another one.
        """
        alone = suspect.shortest
        suspect.shortest = replace(suspect.found, together=MOST_AT_ONCE)
        if await self.is_race_in_crowd(suspect):
            return await self.is_its_own(suspect)
        suspect.shortest = alone
        return False

    async def is_harmed(self, suspect: Suspect) -> bool:
        """Whether it shows beside the close of another connection, most of the time."""
        await self.run_few(suspect, Needs.ONE)
        return suspect.broke >= MOST_OF * self.times and await self.is_its_own(suspect)

    async def shows_by_itself(self, suspect: Suspect) -> bool:
        """Whether it may show as often without the other connection: that is how it is judged.

        So many runs are made without it as it takes to know that it shows more seldom; once is
        enough to know that it takes no other connection.
        """
        beside, alone = rate_of(suspect.broke, suspect.runs), replace(suspect.shortest, beside=None)
        least = 0.0 if beside is None else beside.least
        runs = 0
        for _ in range(REPEATS[0]):
            if not self.may_go_on():
                break
            seen = await self.prober.once(alone, "control", patient=True)
            if not seen.counts or seen.late_s > IN_TIME:
                continue
            if shows_like(seen, suspect.kind, self.asked):
                return True
            runs += 1
            rate = rate_of(0, runs)
            if rate is not None and rate.most < least:
                return False
        return True

    async def shows_in_crowd(self, suspect: Suspect) -> bool:
        """Whether of so many connections together, twice, half show the fault, and several do."""
        suspect.begin()
        await self.crowd_again(suspect)
        suspect.versions[suspect.shortest.tls] = None
        least = min(LEAST_LOST, suspect.shortest.together)
        return suspect.broke >= max(least, suspect.runs / 2)

    async def crowd_again(self, suspect: Suspect) -> None:
        """Run so many together, twice, and count how many show the fault; once, if none does."""
        self.races = True
        for _ in range(_CROWDS):
            each = await self.prober.each(suspect.shortest, "confirm", patient=True, told=())
            for seen in each:
                self.count(suspect, seen, None, Needs.ONE)
            if not suspect.broke:
                break
        self.races = False

    async def run_again(self, suspect: Suspect, needs: Needs, times: int, at_once: int) -> None:
        """Run the shortest so often more, and count how often it shows the fault."""
        if needs is Needs.PATH:
            for _ in range(times):
                broke = await kills(self.prober, suspect.shortest, "confirm")
                suspect.tried += 1
                suspect.tally("dead" if broke else "alive", broke=broke)
                if not await comes_back(self.prober):
                    self.is_gone = True
                    return
            return
        limit = trio.CapacityLimiter(at_once)
        async with trio.open_nursery() as nursery:
            for _ in range(times):
                await limit.acquire_on_behalf_of(token := object())

                async def once(token: object = token) -> None:
                    try:
                        await self.once_again(suspect, needs)
                    finally:
                        limit.release_on_behalf_of(token)

                nursery.start_soon(once)

    async def is_race(self, suspect: Suspect, needs: Needs) -> bool:
        """Whether it is lost often enough, in so many runs, to be sure that it can be."""
        self.races = True
        try:
            return await self.is_lost_often(suspect, needs)
        finally:
            self.races = False

    async def is_race_in_crowd(self, suspect: Suspect) -> bool:
        """Whether it is lost often enough where many do the same at the same time."""
        suspect.begin()
        self.races = True
        enough = runs_to_miss(suspect)
        for _ in range(_ATTEMPTS * max(enough, REPEATS[0]) // suspect.shortest.together):
            if suspect.runs >= enough or not self.may_go_on():
                break
            for seen in await self.prober.each(suspect.shortest, "confirm", patient=True, told=()):
                self.count(suspect, seen, None, Needs.ONE)
        self.races = False
        return is_settled_race(suspect)

    async def is_lost_often(self, suspect: Suspect, needs: Needs) -> bool:
        """Whether it is, in runs in which we were in time."""
        suspect.begin()
        for repeats in REPEATS if suspect.known is None else (runs_to_miss(suspect),):
            for _ in range(_ATTEMPTS):
                before, left = suspect.runs, repeats - suspect.runs
                if left > 0 and self.may_go_on():
                    at_once = _IN_PEACE if self.in_peace else _AT_ONCE
                    await self.run_again(suspect, needs, left, at_once)
                    if suspect.runs - before < _WORTH_IT * left:
                        break
            if needs is Needs.RUNS:
                suspect.broke = suspect.runs - max(suspect.ends.values(), default=0)
            if not suspect.broke or suspect.broke >= least_lost(suspect):
                break
        return is_settled_race(suspect)

    async def is_its_own(self, suspect: Suspect) -> bool:
        """Settle the cause, and whether our close_notify alone draws the same answer."""
        known, beside = suspect.known, suspect.shortest.beside
        if beside is not None and known is None and await self.shows_by_itself(suspect):
            return False
        suspect.is_shown = suspect.violation.name != ANSWERS_BEHIND_ALERT
        if suspect.violation.name == ANSWERS_BEHIND_ALERT:
            alone = alert_alone(suspect.shortest.sequence)
            if alone is not None and (await self.tallied(alone, suspect)).spoke:
                return False
        await self.ask_control(suspect)
        await self.ask_versions(suspect)
        return True

    async def once_again(self, suspect: Suspect, needs: Needs) -> None:
        """One more run of the shortest, or one more comparison."""
        run = self.prober.once
        seen = await run(suspect.shortest, "confirm", patient=True, told=())
        other: Observation | None = None
        if seen.counts and needs is not Needs.ONE and needs is not Needs.RUNS:
            other = await self.comparer.counterpart(suspect.shortest, needs, patient=True, told=())
        self.count(suspect, seen, other, needs)

    def count(
        self, suspect: Suspect, seen: Observation, other: Observation | None, needs: Needs
    ) -> None:
        """Count a run, if anything can be said of it, and whether it showed the fault.

        We must not be the reason: where we were late, it might be our own time that makes the
        difference. What the server met is what was on the wire, so that is where it is measured.
        """
        suspect.tried += 1
        if not seen.counts or seen.late_s > (IN_A_RACE if self.races else IN_TIME):
            return
        kinds = [violation.kind(seen) for violation in violations(seen, self.asked)]
        if needs is Needs.ONE:
            broke = any(kind.is_like(suspect.kind) for kind in kinds)
        else:
            broke = other is not None and differ(seen, other, needs)
        suspect.tally(seen.end, broke=broke, kinds=kinds)
        if broke:
            suspect.observed, suspect.other = seen, other
        elif needs is Needs.RUNS and differ(seen, suspect.observed):
            suspect.other = seen

    async def ask_control(self, suspect: Suspect) -> None:
        """Tell an ambiguous cause by a control: the same close with nothing left unread."""
        sequence = suspect.shortest.sequence
        if not any(map(is_open, suspect.observed.judgement.resets)):
            return
        control, only, alone = control_of(sequence), alert_only(sequence), alert_alone(sequence)
        if only is not None:
            await self.tallied(only, suspect)
        known = told = None
        if control is not None:
            known = (await self.tallied(control, suspect)).as_control(name_of_control(control))
        if alone is not None:
            told = (await self.tallied(alone, suspect)).as_alert_alone(name_of_control(alone))
        suspect.observed = self.prober.with_knowledge(suspect.observed, known, told)

    async def ask_versions(self, suspect: Suspect) -> None:
        """In which TLS versions the very same close does the very same."""
        example = suspect.shortest
        suspect.versions[example.tls] = None
        if PROPERTIES[suspect.violation.name].needs is not Needs.ONE:
            return
        if suspect.rate is not None and example.together > 1:
            return  # which would take as many crowds again
        for version in self.prober.routes:
            if version == example.tls or not example.sequence.fits(version):
                continue
            runs = self.times if suspect.rate is None else REPEATS[0]
            lost = await self.lost(suspect, replace(example, tls=str(version)), runs)
            if lost >= LEAST_LOST:
                suspect.versions[str(version)] = None

    async def lost(self, suspect: Suspect, example: Example, runs: int) -> int:
        """In how many runs of this example the same is broken."""
        lost = 0
        limit = trio.CapacityLimiter(max(_AT_ONCE, self.times))

        async def once() -> None:
            nonlocal lost
            async with limit:
                seen = await self.prober.once(example, "confirm", patient=True)
            if suspect.rate is not None and seen.late_s > IN_A_RACE:
                return
            lost += shows_like(seen, suspect.kind, self.asked)

        async with trio.open_nursery() as nursery:
            for _ in range(runs):
                nursery.start_soon(once)
        return lost

    async def tallied(self, control: Sequence, suspect: Suspect) -> Tally:
        """How connections of a control end."""
        by_its_steps = Sequence(format_groups(control.groups), control.groups)
        example, tally = Example(by_its_steps, suspect.shortest.tls), Tally()
        for _ in range(CONTROLS):
            seen = await self.prober.once(example, "control")
            if seen.digest is not None:
                tally.count(seen.digest)
        return tally


def name_of_control(control: Sequence) -> str:
    """What a control is called: by its steps, where its name is only that of what it is one of."""
    return control.name if control.name in catalogue() else format_groups(control.groups)
