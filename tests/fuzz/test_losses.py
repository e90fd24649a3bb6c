"""A server that answers nobody any more: noticed at once, and laid to what may have done it."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from tests.fuzz.test_properties import ALL, seen
from tlsprobe.fuzz.exhaustion import FLOOD, FLOODS, left_unfinished
from tlsprobe.fuzz.losses import DEAF, Losses
from tlsprobe.fuzz.observation import Observation
from tlsprobe.fuzz.suspects import Suspects
from tlsprobe.fuzz.trying import Counts, Prober
from tlsprobe.language import parse
from tlsprobe.model.fuzz import Example

FINE = seen("request; fin; drain")
STUCK = replace(FINE, failure="the server did not finish the handshake in time", unanswered=True)
REFUSED = replace(STUCK, failure="connection refused", unanswered=False)
BROKEN_OFF = replace(FINE, example=Example(parse("connect; fin; drain"), "1.3"))


class Slotted:
    """A server that loses a slot for good to each handshake that is broken off.

    Somebody starts it anew when it has been asked in vain, ``restarts`` times.
    """

    patience = 0.01
    routes = ("1.3",)

    def __init__(self, slots: int, restarts: int = 0) -> None:
        self.slots, self.left, self.restarts = slots, slots, restarts
        self.memory: dict[Example, Observation] = {}
        self.counts = Counts()
        self.losses: Losses

    async def each(self, example: Example, *_: object, **__: object) -> list[Observation]:
        await trio.lowlevel.checkpoint()
        ended = replace(FINE, example=example) if self.left > 0 else STUCK
        self.left -= example.together if example.sequence.is_handshake else 0
        self.losses.heard(ended)
        return [ended] * example.together

    async def once(self, example: Example, *_: object, **__: object) -> Observation:
        return (await self.each(example))[0]

    async def works(self, attempts: int = 3) -> bool:
        await trio.lowlevel.checkpoint()
        works = self.left > 0
        if not works and self.restarts:
            self.left, self.restarts = self.slots, self.restarts - 1
        self.losses.heard(FINE if works else STUCK)
        return works


def losses_of(server: Slotted) -> tuple[Losses, Suspects]:
    suspects = Suspects(ALL, lambda: 1, lambda _: (1, 1, 1, [], []), lambda: None)
    prober = cast("Prober", server)
    server.losses = Losses(prober, suspects, deque(), True, lambda: None, lambda _: None)
    return server.losses, suspects


def flooded(slots: int, steps: str = "connect; fin; drain", restarts: int = 0) -> Suspects:
    server = Slotted(slots, restarts)
    losses, suspects = losses_of(server)
    trio.run(losses.flood, Example(parse(steps), "1.3", FLOOD))
    losses.end()
    return suspects


@pytest.mark.parametrize(("slots", "together"), [(4, 16), (24, 32)])
def test_what_uses_a_server_up_is_named_with_how_many_it_took(slots: int, together: int) -> None:
    (failure,) = flooded(slots).failures
    assert failure.shortest == Example(parse("connect; fin; drain"), "1.3", together)
    assert (failure.broke, failure.runs) == (1, 1), "so that a replay need show it once"


@pytest.mark.parametrize(("slots", "steps"), [(1000, "connect; fin; drain"), (4, "abort; drain")])
def test_a_server_that_works_behind_a_flood_is_not_used_up(slots: int, steps: str) -> None:
    assert not flooded(slots, steps).failures


def test_a_server_that_comes_back_is_looked_into_further() -> None:
    suspects = flooded(24, restarts=1)
    assert not suspects.failures
    suspect = suspects.next()
    assert suspect is not None
    assert suspect.found == Example(parse("connect; fin; drain"), "1.3", 32)


def ended_with(*met: Observation) -> tuple[Losses, Suspects]:
    losses, suspects = losses_of(Slotted(1000))
    for one in met:
        losses.recent.append(one.example)
        losses.prober.memory[one.example] = one
        losses.heard(one)
    losses.end()
    return losses, suspects


def test_the_end_of_the_time_hides_no_server_that_answers_nobody() -> None:
    losses, suspects = ended_with(FINE, BROKEN_OFF, BROKEN_OFF, *(DEAF * [STUCK]))
    (failure,) = suspects.failures
    assert losses.is_gone
    assert failure.shortest == replace(BROKEN_OFF.example, together=2)
    assert "2 broke the handshake off" in failure.violation.text
    assert "could not be tried" in failure.violation.text


def test_a_server_that_refuses_everybody_is_gone_and_not_used_up() -> None:
    _, suspects = ended_with(FINE, BROKEN_OFF, *(DEAF * [REFUSED]))
    (failure,) = suspects.failures
    assert "took no connections any more" in failure.violation.text


def test_one_answer_in_between_shows_that_it_is_there() -> None:
    few = (DEAF - 1) * [STUCK]
    losses, suspects = ended_with(*few, FINE, *few)
    assert (losses.is_gone, suspects.failures) == (False, [])


def test_a_handshake_in_our_own_hands_is_no_answer() -> None:
    few = (DEAF - 1) * [STUCK]
    losses, _ = ended_with(FINE, *few, BROKEN_OFF, STUCK)
    assert losses.is_gone


def test_what_was_left_unfinished_is_counted_by_what_it_is() -> None:
    texts = [
        *("connect; fin; drain", "connect; hello; fin; drain", "request; abort; drain"),
        *("send part; fin; drain", "request; fin; drain", "close_notify; fin; drain"),
    ]
    driven = {Example(parse(text), "1.3"): 2 + number for number, text in enumerate(texts)}
    left = left_unfinished(driven)
    assert [(one.connections, one.example.steps) for one in left] == [
        (5, "connect; hello; fin; drain"),
        (4, "request; abort; drain"),
        (5, "send part; fin; drain"),
        (6, "request; fin; drain"),
    ]


@pytest.mark.parametrize("text", FLOODS)
def test_floods_are_sequences(text: str) -> None:
    assert parse(f"{text}; drain").steps


def test_the_end_of_the_time_while_we_wait_for_it_hides_nothing_either() -> None:
    server = Slotted(4)
    losses, suspects = losses_of(server)

    async def is_over_soon() -> None:
        server.patience = 1000.0
        with trio.move_on_after(1):
            await losses.flood(Example(parse("connect; fin; drain"), "1.3", FLOOD))

    trio.run(is_over_soon, clock=MockClock(autojump_threshold=0))
    assert not suspects.failures
    losses.end()
    assert [one.shortest.together for one in suspects.failures] == [16]


def test_the_end_of_the_time_while_a_loss_is_looked_into_leaves_who_met_it_dead() -> None:
    """A server that was killed in the midst of a run ended it with a traceback."""
    losses, suspects = losses_of(Slotted(1000))
    for _ in range(DEAF):
        losses.heard(REFUSED)
    losses.lost = []  # taken to be looked into
    losses.end()
    (failure,) = suspects.failures
    assert failure.shortest == REFUSED.example
    assert "took no connections any more" in failure.violation.text
