"""A server that was lost on the way: whether it died, and of which close."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from tlsprobe.fuzz.death import DEATH, GONE, comes_back, culprit
from tlsprobe.fuzz.suspects import Sighting, Suspect, Suspects
from tlsprobe.fuzz.trying import Prober
from tlsprobe.model.fuzz import Example

_MOST_HICCUPS = 20
_SEARCHES = 3


class Losses:
    """What got no connection, and what the server is suspected to have died of.

    ``recent`` are the last examples that were tried. ``is_asked``: dying is a fault that was asked
    for. ``noticed`` is called when an example is lost; ``warned`` is told what is looked for.
    ``is_gone``: the server did not come back. ``notes`` are for the report.
    """

    def __init__(  # noqa: PLR0917 - who looks for it, and who is told
        self,
        prober: Prober,
        suspects: Suspects,
        recent: deque[Example],
        is_asked: bool,
        noticed: Callable[[], None],
        warned: Callable[[str], None],
    ) -> None:
        self.prober = prober
        self.suspects = suspects
        self.recent = recent
        self.is_asked = is_asked
        self.noticed = noticed
        self.warned = warned
        self.lost: list[Example] = []
        self.lost_ns = 0
        self.hiccups = 0
        self.searches = 0
        self.is_gone = False
        self.notes: list[str] = []

    def lose(self, example: Example) -> None:
        """Remember that this example got no connection, however patient we were."""
        if not self.lost:
            self.lost_ns = time.time_ns()
        self.lost.append(example)
        self.noticed()

    async def survey(self) -> None:
        """Some examples got no connection: find out whether and of what the server died."""
        lost, self.lost = self.lost, []
        last = self.last_words() or lost
        is_dead = not await self.prober.works()
        if self.is_asked and not self.is_known(last):
            await self.find_culprit(last, is_dead=is_dead)
        elif is_dead and not await comes_back(self.prober):
            self.give_up()
        self.hiccups += not is_dead
        if self.hiccups == _MOST_HICCUPS:
            self.notes.append(f"{_MOST_HICCUPS} times the server refused for a moment")

    def is_known(self, last: list[Example]) -> bool:
        """Whether one of the last examples is known to kill the server."""
        kinds = [k for k in self.suspects.sightings if k.name == DEATH.name]
        return any(self.suspects.is_explained(kind, example) for kind in kinds for example in last)

    def last_words(self) -> list[Example]:
        """The last examples, that first which spoke last before the server was lost."""
        spoke = {example: self.prober.memory[example].spoke_ns for example in self.recent}
        before = [example for example in spoke if spoke[example] <= self.lost_ns]
        return sorted(before, key=lambda example: -spoke[example])

    async def find_culprit(self, last: list[Example], *, is_dead: bool) -> None:
        """Which of the last examples it was, if the server is there to be asked."""
        if is_dead:
            self.warned("the server does not answer any more: looking for the cause")
            if not await comes_back(self.prober):
                self.give_up()
                self.report_gone(last)
                return
        elif self.searches == _SEARCHES:
            return
        self.searches += 1
        found = await culprit(self.prober, last)
        if found is not None:
            self.suspects.forget(self.recent)
            self.suspects.note(Sighting(DEATH, self.prober.memory[found]))
        elif is_dead:
            self.notes.append(
                "the server stopped answering for a while; none of the last examples does it alone"
            )

    def report_gone(self, last: list[Example]) -> None:
        """The server is gone for good: nobody can repeat that, or say what it was."""
        self.suspects.forget(self.recent)
        sighting = Sighting(GONE, self.prober.memory[last[0]])
        suspect = Suspect(sighting, GONE.kind(sighting.seen), self.suspects.tried())
        suspect.suspects = tuple(f"TLS {other.tls}: {other.steps}" for other in last)
        self.suspects.note(sighting)
        self.suspects.settle(suspect, confirmed=True)

    def give_up(self) -> None:
        """The server did not come back."""
        self.notes.append("the server stopped answering and did not come back")
        self.is_gone = True
