"""Campaigns against a reference server, in this process: pace, order, and going on."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache, partial
from math import inf
from typing import Any

import pytest
import trio
import trio.testing

from tests.e2e.test_campaign import reference
from tests.servers import GENEROUS_S
from tlsprobe.campaign import driver
from tlsprobe.campaign import trials as campaign
from tlsprobe.campaign.connections import Gauge
from tlsprobe.campaign.pace import Pace
from tlsprobe.campaign.planning import Pacing
from tlsprobe.campaign.reach import CHECK
from tlsprobe.campaign.repeats import PATH_TRIES
from tlsprobe.campaign.settings import Measured, Settings, Watcher
from tlsprobe.catalogue import catalogue
from tlsprobe.drive.script import Patience, Route
from tlsprobe.drive.script import drive as really_drive
from tlsprobe.errors import CannotMeasure
from tlsprobe.facts.file import FactsInMemory, FactsStore
from tlsprobe.model.facts import EndFact, PathFact, TrialFact
from tlsprobe.model.load import Load
from tlsprobe.model.run import CutShort, Left, Plan
from tlsprobe.model.sequence import Sequence
from tlsprobe.model.target import Login, Target, TlsVersion
from tlsprobe.model.trace import Drive, EventKind
from tlsprobe.profiles import load_profile
from tlsprobe.protocols import make_conversation

PATIENT = Patience(5.0, 5.0, 0.01)
TLS13 = (TlsVersion.TLS13,)


class Spy:
    """Drives for real, and notes when connections began and how many there were at a time.

    Connections that wait idle stay until ``together`` were open at once: on a busy machine the
    server's timer would end the first ones before the last ones are there.
    """

    def __init__(self, together: int) -> None:
        self.together = together
        self.are_together = trio.Event()
        self.starts: list[float] = []
        self.names: list[str] = []
        self.opening: set[object] = set()
        self.active = self.most = self.most_opening = 0

    async def drive(
        self, route: Route, sequence: Sequence, opened: Callable[[], None] = lambda: None
    ) -> Drive:
        self.starts.append(trio.current_time())
        self.names.append(sequence.name)
        one = object()
        self.active += 1
        self.opening.add(one)
        self.most = max(self.most, self.active)
        if self.most >= self.together:
            self.are_together.set()
        self.most_opening = max(self.most_opening, len(self.opening))

        def has_opened() -> None:
            self.opening.discard(one)
            opened()

        try:
            found = await really_drive(route, sequence, opened=has_opened)
            if sequence.is_idle:
                with trio.move_on_after(GENEROUS_S):
                    await self.are_together.wait()
            return found
        finally:
            self.opening.discard(one)  # what the server ended first never tells that it is open
            self.active -= 1


@contextmanager
def spied(monkeypatch: pytest.MonkeyPatch, together: int = 0) -> Iterator[Spy]:
    spy = Spy(together)
    with monkeypatch.context() as patch:
        patch.setattr(driver, "drive", spy.drive)
        yield spy


async def measure(
    settings: Settings,
    *names: str,
    facts: FactsStore | None = None,
    watcher: Watcher | None = None,
) -> Measured:
    profile = load_profile("reference")
    target = Target("polite", "127.0.0.1", polite(), profile.name, profile.protocol)
    converse = make_conversation(profile, target.host, Login(), target.port)
    chosen = [catalogue()[name].sequence for name in names]
    return await campaign.measure(
        target, converse, chosen, settings, watcher or Watcher(), trio.Event(), facts
    )


@cache
def polite() -> int:
    """The port of a server that is there until the tests end."""
    until_the_end = ExitStack()
    atexit.register(until_the_end.close)
    return until_the_end.enter_context(reference("polite"))["polite"]


def settings(**options: object) -> Settings:
    given = {"patience": PATIENT, "capture": "none", "tls": TLS13, **options}
    return Settings(**given)  # type: ignore[arg-type]


@pytest.mark.slow
def test_every_connection_waits_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = []

    async def turn(_: Pace) -> None:
        turns.append(trio.current_time())

    monkeypatch.setattr(Pace, "turn", turn)
    with spied(monkeypatch) as spy:
        trio.run(measure, settings(trials=5), "terminate", "close-notify-fin")
    del turns[0]  # the preflight's
    assert len(spy.starts) == len(turns) >= 12  # what came late is driven once more
    assert all(turn <= start for turn, start in zip(turns, spy.starts, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("most", [1, 3])
def test_the_concurrency_is_reached_and_never_exceeded(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    with spied(monkeypatch) as spy:
        trio.run(measure, settings(trials=12, concurrency=most), "terminate", "close-notify-fin")
    assert spy.most == most


@pytest.mark.slow
def test_all_wait_idle_together_and_few_are_opened_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with spied(monkeypatch, together=40) as spy:
        trio.run(measure, settings(trials=40, concurrency=3, connections=43), "idle-expiry")
    assert spy.most == 40
    assert spy.most_opening == 3


@pytest.mark.slow
@pytest.mark.parametrize(("most", "trials"), [(2, 2), (5, 4), (9, 6)])
def test_no_more_are_open_than_is_allowed_whatever_they_do(
    monkeypatch: pytest.MonkeyPatch, most: int, trials: int
) -> None:
    """Idle waiters, trials, and the connections that see whether the path is alive."""
    names = ("idle-expiry", "terminate", "idle-expiry-reply", "close-notify-fin")
    with spied(monkeypatch, together=most) as spy:
        found = trio.run(measure, settings(trials=trials, connections=most), *names)
    assert spy.most == most
    assert found.spent is not None
    assert found.spent.most_open == most
    assert [cell.trials for cell in found.cells] == [trials] * len(names)


@pytest.mark.slow
def test_the_plan_is_told_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Plan] = []
    names = ("terminate", "idle-expiry", "close-notify-fin")
    watcher = Watcher(told=told.append)
    chosen = settings(trials=7, connections=8, idle_s=1.0)
    with spied(monkeypatch, together=8):
        found = trio.run(partial(measure, chosen, *names, watcher=watcher))
    assert told == [found.plan]
    assert found.plan is not None and found.spent is not None
    once = 1 + 3 * 7 + 3
    assert found.plan.connections == once + 1  # an idle timeout so short is measured alone as well
    assert found.spent.connections == once + sum(cell.repeated for cell in found.cells)
    assert found.plan.with_repeats is not None
    assert found.spent.connections <= found.plan.with_repeats
    assert found.plan.most_open == found.spent.most_open == 8


@pytest.mark.slow
def test_no_more_wait_than_may_be_open_and_the_user_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @contextmanager
    def room_for(connections: int) -> Iterator[int]:
        assert connections == 33
        yield 23

    warnings: list[str] = []
    monkeypatch.setattr(driver, "room_for", room_for)
    with spied(monkeypatch, together=22) as spy:
        watcher = Watcher(warned=warnings.append)
        chosen = settings(trials=30, concurrency=3, connections=33)
        found = trio.run(partial(measure, chosen, "idle-expiry", watcher=watcher))
    assert spy.most == 22
    note = "only 23 connections are open at a time: no more files may be open (ulimit -n)"
    assert note in warnings
    assert note in found.notes


@pytest.mark.slow
def test_a_seed_makes_the_order_reproducible(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("terminate", "close-notify-fin", "fin-only", "abort", "close-notify-only")
    orders, reports = [], []
    for seed in (None, 3, 3):
        with spied(monkeypatch) as spy:
            found = trio.run(measure, settings(trials=1, seed=seed), *names)
        orders.append(spy.names)
        reports.append([cell.sequence for cell in found.cells])
    assert orders[0] != orders[1] == orders[2]
    assert [name for name in orders[0] if name != "path check"] == list(names)
    assert reports == [list(names)] * 3


# --- going on ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_was_measured_is_not_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = FactsInMemory()
    first = trio.run(measure_with, settings(trials=4), Watcher(), whole)
    kept = [fact for fact in whole.read() if not isinstance(fact, PathFact | EndFact)]
    trials = [fact for fact in kept if isinstance(fact, TrialFact)]
    assert len(trials) == 8
    before = [*(f for f in kept if f not in trials), *trials[:4], trials[5]]
    part = FactsInMemory((*before, PathFact("terminate", "1.3", alive=True)))
    asked: list[dict[str, int]] = []
    again = Watcher(
        planned=lambda cells: asked.append({p.sequence.name: n for p, n in cells.items()})
    )
    with spied(monkeypatch) as spy:
        second = trio.run(measure_with, settings(trials=4), again, part)
    assert asked == [{"terminate": 0, "close-notify-fin": 3}]
    assert spy.names == ["close-notify-fin"] * 3 + ["path check"]
    assert [(c.trials, c.outcomes, c.path_alive) for c in second.cells] == [
        (c.trials, c.outcomes, c.path_alive) for c in first.cells
    ]


async def measure_with(
    options: Settings, watcher: Watcher, facts: FactsStore | None = None
) -> Measured:
    return await measure(options, "terminate", "close-notify-fin", watcher=watcher, facts=facts)


@pytest.mark.slow
def test_a_server_whose_time_is_over_is_left_and_what_was_measured_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever its trials do: here they never end."""
    part = FactsInMemory()
    trio.run(measure_with, settings(trials=2), Watcher(), part)
    kept = [f for f in part.read() if not isinstance(f, EndFact)]
    kept = [f for f in kept if not isinstance(f, TrialFact) or f.trial.sequence == "terminate"]
    facts = FactsInMemory(tuple(kept))

    async def hangs(*_: object, **__: object) -> None:
        await trio.sleep_forever()

    with monkeypatch.context() as patch:
        patch.setattr(driver, "drive", hangs)
        patch.setattr(campaign, "bound_of", lambda *_: 0.1)
        found = trio.run(measure_with, settings(trials=2, within=GENEROUS_S), Watcher(), facts)
    measured, left = found.cells
    assert not found.interrupted
    assert (measured.verdict, measured.trials) == ("pass", 2)
    assert (left.verdict, left.trials) == ("inconclusive", 0)
    why = "this target's time was over: 0 s"
    assert left.reason == why
    assert found.notes[-1] == f"{why}: 2 trials not driven"
    assert found.judged.cut_short == CutShort(Left.TIME_OVER, why)


@pytest.mark.slow
def test_a_server_that_is_slow_from_the_beginning_is_given_more_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The bound is that of one that answers as in the preflight, whatever its trials do."""
    planned: list[Plan] = []

    def bound_of(plan: Plan, _: Pacing) -> float:
        planned.append(plan)
        return GENEROUS_S

    slow = Pacing(1.0, 2.0)
    with monkeypatch.context() as patch:
        patch.setattr(campaign, "bound_of", bound_of)
        trio.run(measure_with, settings(trials=1, within=GENEROUS_S), Watcher())
        patch.setattr(campaign, "pacing_of", lambda _: slow)
        trio.run(measure_with, settings(trials=1, within=GENEROUS_S), Watcher())
    quick, patient = planned
    assert patient.seconds >= quick.seconds + slow.opening


def test_seconds_by_which_we_were_late_are_not_the_servers() -> None:
    """Each time that is counted is late by as much again."""
    one = object.__new__(campaign._Campaign)
    one.while_there = trio.CancelScope()
    clock = trio.testing.MockClock(autojump_threshold=0)

    async def late(seconds: float) -> None:
        clock.jump(seconds)
        await really_sleep(seconds)

    async def left_after(allowed_s: float, at_last_s: float) -> float:
        begun = trio.current_time()
        one.allowed_s, one.leaves_at = allowed_s, begun + at_last_s
        await one.leave_in_time()
        return trio.current_time() - begun

    async def leave() -> tuple[float, float]:
        return await left_after(30.0, 1000.0), await left_after(30.0, 40.0)

    really_sleep = trio.sleep
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trio, "sleep", late)
        counted, at_last = trio.run(leave, clock=clock)
    assert counted == pytest.approx(60.0)
    assert at_last == pytest.approx(40.0)


def test_a_preflight_that_hangs_is_part_of_a_targets_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs(*_: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(campaign, "reach", hangs)
    with pytest.RaisesGroup(pytest.RaisesExc(CannotMeasure, match="nothing worked within 0 s")):
        trio.run(measure_with, settings(trials=1, within=0.1), Watcher())


@pytest.mark.slow
def test_a_server_that_had_no_room_for_us_perhaps_is_not_judged_when_its_time_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody has looked whether one connection alone fares better."""
    whole = FactsInMemory()
    trio.run(measure_with, settings(trials=2), Watcher(), whole)
    kept = [f for f in whole.read() if not isinstance(f, EndFact)]
    kept = [
        replace(f, load=Load(9, 9)) if isinstance(f, TrialFact) else f
        for f in kept
        if not isinstance(f, TrialFact) or f.trial.sequence == "terminate"
    ]

    async def hangs(*_: object, **__: object) -> None:
        await trio.sleep_forever()

    with monkeypatch.context() as patch:
        patch.setattr(driver, "drive", hangs)
        patch.setattr(campaign, "room_unseen", lambda *_: 1)
        patch.setattr(campaign, "bound_of", lambda *_: 0.1)
        options = settings(trials=2, within=GENEROUS_S)
        found = trio.run(measure_with, options, Watcher(), FactsInMemory(tuple(kept)))
    assert [cell.verdict for cell in found.cells] == ["inconclusive"] * 2
    assert found.notes[-1] == campaign.ROOM_UNKNOWN


@pytest.mark.slow
def test_a_path_that_died_stays_dead_in_the_continuation(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = FactsInMemory()
    trio.run(measure_with, settings(trials=1), Watcher(), whole)
    dead = FactsInMemory((*whole.read(), PathFact("terminate", "1.3", alive=False)))
    with spied(monkeypatch) as spy:
        found = trio.run(measure_with, settings(trials=1), Watcher(), dead)
    assert spy.names == []
    assert [cell.path_alive for cell in found.cells] == [False, True]
    assert [cell.verdict for cell in found.cells] == ["warn", "pass"]


@pytest.mark.slow
@pytest.mark.parametrize(("stalled_s", "alive"), [(0, False), (2, None)])
def test_a_path_that_shook_hands_with_a_slow_client_is_not_called_dead(
    monkeypatch: pytest.MonkeyPatch, stalled_s: float, alive: bool | None
) -> None:
    """A server with a short idle timer ends what a busy machine has no processor to ask for."""
    really_driving = Gauge.driving

    async def drive(route: Route, sequence: Sequence, **options: Any) -> Drive:
        found = await really_drive(route, sequence, **options)
        ended = "the server closed the connection"
        return replace(found, failure=ended) if sequence is CHECK else found

    async def driving(self: Gauge, drive: Any, count: int = 1) -> Any:
        found, _ = await really_driving(self, drive, count)
        return found, Load(1, 1, stalled_ns=round(stalled_s * 1e9))

    monkeypatch.setattr(driver, "drive", drive)
    monkeypatch.setattr(Gauge, "driving", driving)
    found = trio.run(measure, settings(trials=1), "terminate")
    (cell,) = found.cells
    assert cell.path_alive is alive
    assert ("INTEROP-PATH" in {f.rule for f in cell.findings}) is (alive is not None)


@pytest.mark.parametrize("hung", [0, 2])
def test_a_path_is_not_dead_by_a_close_to_which_no_trial_had_come(
    monkeypatch: pytest.MonkeyPatch, hung: int
) -> None:
    """ZNC took nobody for a minute; driven again, the same closes hurt nobody."""
    left = [hung]

    async def drive(route: Route, sequence: Sequence, **options: Any) -> Drive:
        found = await really_drive(route, sequence, **options)
        checks = sequence is CHECK
        if checks and left[0] == 1:
            left[0] = 0
            return replace(found, failure="the server refused the handshake")
        if not checks and left[0] == 2:
            left[0] = 1
            return replace(found, failure="not in time", mark=None)
        return found

    monkeypatch.setattr(driver, "drive", drive)
    found = trio.run(measure, settings(trials=1), "terminate")
    (cell,) = found.cells
    assert left == [0]
    assert cell.path_alive is True


@pytest.mark.parametrize("alive", [True, False])
def test_a_path_that_was_late_beside_others_of_ours_is_looked_at_once_more_alone(
    monkeypatch: pytest.MonkeyPatch, *, alive: bool
) -> None:
    """A silent connection of ours keeps everybody out of a server that accepts one by one."""
    really_driving = Gauge.driving
    beside = [3] * PATH_TRIES

    async def drive(route: Route, sequence: Sequence, **options: Any) -> Drive:
        found = await really_drive(route, sequence, **options)
        if sequence is not CHECK or (alive and not beside):
            return found
        silent = tuple(event for event in found.events if event.kind is EventKind.CONNECTED)
        return replace(found, failure="the server did not finish the handshake", events=silent)

    async def driving(self: Gauge, drive: Any, count: int = 1) -> Any:
        found, _ = await really_driving(self, drive, count)
        others = 0 if found.worked or not beside else beside.pop()
        return found, Load(1 + others, 1)

    monkeypatch.setattr(driver, "drive", drive)
    monkeypatch.setattr(Gauge, "driving", driving)
    found = trio.run(measure, settings(trials=1), "terminate")
    (cell,) = found.cells
    assert not beside
    assert cell.path_alive is alive


@pytest.mark.slow
def test_the_load_on_the_server_is_written_down() -> None:
    facts = FactsInMemory()
    trio.run(measure_with, settings(trials=12, concurrency=3), Watcher(), facts)
    loads = [fact.load for fact in facts.read() if isinstance(fact, TrialFact)]
    assert len(loads) >= 24  # what came late is driven once more
    assert {load.at_start for load in loads} == {1, 2, 3}
    assert all(1 <= load.at_end <= 3 for load in loads)


def test_everything_so_far_is_told_when_a_cell_ends() -> None:
    told: list[Measured] = []
    found = trio.run(measure_with, settings(trials=2), Watcher(progressed=told.append))
    assert [[cell.trials for cell in m.cells] for m in told] == [[0, 0], [2, 0], [2, 2]]
    assert all(m.interrupted for m in told)
    assert not found.interrupted
    assert told[-1].cells == found.cells


def test_nobody_is_told_more_often_than_he_wants_to_hear() -> None:
    told: list[Measured] = []
    watcher = Watcher(progressed=told.append, every=inf)
    found = trio.run(measure_with, settings(trials=2), watcher)
    assert [[cell.trials for cell in m.cells] for m in told] == [[0, 0]]
    assert [cell.trials for cell in found.cells] == [2, 2]
