"""A server that was lost on the way: whether it died, and of which close."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace

from tlsprobe.fuzz.death import DEATH, GONE, comes_back, culprit
from tlsprobe.fuzz.exhaustion import FLOODED, left_unfinished, used_up
from tlsprobe.fuzz.observation import Observation
from tlsprobe.fuzz.properties import Violation
from tlsprobe.fuzz.suspects import Sighting, Suspect, Suspects
from tlsprobe.fuzz.trying import Prober
from tlsprobe.model.fuzz import MOST_AT_ONCE, Example

DEAF = 8
"""So many connections in a row get no answer before exploring stops at once."""

_MOST_HICCUPS = 20
_SEARCHES = 3


class Losses:
    """What got no connection, and what the server is suspected to have died of.

    ``recent`` are the last examples that were tried. ``is_asked``: dying is a fault that was asked
    for. ``noticed`` is called when an example is lost; ``warned`` is told what is looked for.
    ``is_gone``: the server did not come back. ``notes`` are for the report. ``driven`` counts what
    the server has met, and ``unanswered`` those in a row that got no connection; ``flooded`` is
    what was driven in a row when it stopped answering.
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
        self.driven: Counter[Example] = Counter()
        self.unanswered = 0
        self.met: Observation | None = None
        self.flooded: Observation | None = None
        self.notes: list[str] = []

    def lose(self, example: Example) -> None:
        """Remember that this example got no connection, however patient we were."""
        if not self.lost:
            self.lost_ns = time.time_ns()
        self.lost.append(example)
        self.noticed()

    def heard(self, seen: Observation) -> None:
        """Every connection comes by here: whether the server answered it."""
        if seen.is_lost:
            self.unanswered += 1
            self.met = seen
            if self.unanswered == DEAF:
                self.lose(seen.example)
            return
        self.driven[seen.example] += 1
        if not seen.example.sequence.is_handshake:
            self.unanswered = 0

    @property
    def is_deaf(self) -> bool:
        """Whether the server answers nobody, as far as is known."""
        return self.unanswered >= DEAF

    def end(self) -> None:
        """The run is over: what answered nobody by then is gone, as far as anybody can say."""
        if self.is_gone or not self.is_asked:
            return
        if self.flooded is not None:
            self.give_up()
            self.blame(FLOODED, self.flooded, (), shows=True)
        elif self.is_deaf:
            self.give_up()
            self.report_gone(self.last_words() or self.lost)

    async def flood(self, example: Example) -> None:
        """Drive this many times in a row, and an ordinary connection behind each lot."""
        if not (self.is_asked and await self.prober.works()):
            return
        self.prober.counts.examples.add(example)
        for driven in range(MOST_AT_ONCE, example.together + 1, MOST_AT_ONCE):
            each = await self.prober.each(replace(example, together=MOST_AT_ONCE), "explore")
            if not await self.prober.works(attempts=1):
                await self.find_flooded(replace(example, together=driven), each[0])
                return

    async def find_flooded(self, example: Example, seen: Observation) -> None:
        """Nothing worked behind so many of these: whether that can be asked once more."""
        self.flooded = replace(seen, example=example)
        self.warned("the server does not answer any more: looking whether it comes back")
        if await comes_back(self.prober):
            self.suspects.note(Sighting(DEATH, self.flooded))
            self.flooded = None
        else:
            self.end()

    async def survey(self) -> None:
        """Some examples got no connection: find out whether and of what the server died."""
        lost, self.lost = self.lost, []
        last = self.last_words() or lost
        is_dead = not await self.prober.works(**({"attempts": 1} if self.is_deaf else {}))
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
            self.suspects.note(Sighting(DEATH, self.seen_of(found)))
        elif is_dead:
            self.notes.append(
                "the server stopped answering for a while; none of the last examples does it alone"
            )

    def report_gone(self, last: list[Example]) -> None:
        """The server is gone for good: nobody can repeat that, or say what it was.

        Where the time ended while that was looked into, all that is known may be who met it dead.
        """
        self.suspects.forget(self.recent)
        if not last and self.met is not None:
            last = [self.met.example]
        left, others = left_unfinished(self.driven), last_told(last)
        if self.met is not None and self.met.unanswered and left:
            example = replace(left[0].example, together=left[0].connections)
            seen = replace(self.seen_of(left[0].example), example=example)
            self.blame(used_up(left), seen, others)
        else:
            self.blame(GONE, self.seen_of(last[0]), others)

    def seen_of(self, example: Example) -> Observation:
        """How it went when it was tried first, or what is known of it besides."""
        known = self.prober.memory.get(example) or self.met
        assert known is not None, "what was lost was seen"
        return known if known.example == example else replace(known, example=example)

    def blame(
        self, what: Violation, seen: Observation, suspects: tuple[str, ...], *, shows: bool = False
    ) -> None:
        """The failure that cannot be tried again; ``shows``: once is known to be enough."""
        sighting = Sighting(what, seen)
        suspect = Suspect(sighting, what.kind(seen), self.suspects.tried())
        suspect.suspects, suspect.shrunk = suspects, True
        if shows:
            suspect.tally("dead", broke=True)
        self.suspects.note(sighting)
        self.suspects.settle(suspect, confirmed=True)

    def give_up(self) -> None:
        """The server did not come back."""
        self.notes.append("the server stopped answering and did not come back")
        self.is_gone = True


def last_told(last: list[Example]) -> tuple[str, ...]:
    """The last examples in words."""
    return tuple(f"TLS {other.tls}: {other.steps}" for other in last)
