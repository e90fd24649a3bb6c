"""Sequences that stop the server: in which order, one at a time, and what if none comes back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import trio
import trio.testing

from tlsprobe.campaign.driver import Ended
from tlsprobe.campaign.settings import MOST_SIGNALLED, Settings, plan
from tlsprobe.campaign.signalling import signalled
from tlsprobe.catalogue import catalogue, lacks
from tlsprobe.errors import CannotMeasure
from tlsprobe.lab.signalled import Signalled
from tlsprobe.model.load import Load
from tlsprobe.model.run import CellPlan, JudgedTrial, Trial
from tlsprobe.model.sequence import Signal
from tlsprobe.model.target import TlsVersion
from tlsprobe.model.trace import Drive

ANYTHING = Settings(trials=2, tls=(TlsVersion.TLS13,))


@dataclass
class Recorded:
    """A campaign that drives nothing, and writes down what it is asked for.

    ``starting``: so many connections are in vain once the server is started again.
    """

    starting: int = 0
    did: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def missing(self, cell: CellPlan) -> list[Trial]:
        return [Trial(cell.sequence.name, cell.tls, index) for index in range(cell.trials)]

    async def trial(self, cell: CellPlan, trial: Trial) -> Ended:
        self.did.append(f"{cell.sequence.name} {trial.index}")
        return Ended(cast("Drive", None), Load(1, 1), dropped=None)

    async def judge(self, trial: Trial, ended: Ended) -> JudgedTrial:
        self.did.append("judge")
        return cast("JudgedTrial", None)

    async def path_works(self, cell: CellPlan) -> bool:
        self.starting -= 1
        return self.starting < 0

    def is_left(self, why: str, since_ns: int | None = None) -> None:
        assert since_ns is not None  # the server was away: no time of its own was over
        self.left.append(why)

    def tell(self) -> None:
        self.did.append("tell")


def stops(*names: str) -> list[CellPlan]:
    return list(plan([catalogue()[name].sequence for name in names], ANYTHING))


def process(run: Recorded, renewals: int = 100) -> Signalled:
    """A server that comes back so many times."""

    async def renew() -> None:
        run.did.append("renew")
        if run.did.count("renew") > renewals:
            raise CannotMeasure("no server came back")

    return Signalled(frozenset(Signal), str, renew)


def test_a_server_for_each_trial_and_what_leaves_it_running_first() -> None:
    run = Recorded()
    trio.run(signalled, run, stops("stop-idle", "reload-idle"), process(run))
    each = [step for step in run.did if step != "tell"]
    trials = ["reload-idle 0", "reload-idle 1", "stop-idle 0", "stop-idle 1"]
    assert each == [step for trial in trials for step in (trial, "judge", "renew")]
    assert run.did.count("tell") == 2
    assert run.left == []


def test_no_server_came_back() -> None:
    run = Recorded()
    trio.run(signalled, run, stops("stop-idle", "graceful-idle"), process(run, renewals=1))
    assert run.did.count("judge") == 2
    assert run.left == ["no server came back"]


def test_the_last_one_needs_no_server_behind_it() -> None:
    run = Recorded()
    trio.run(signalled, run, stops("stop-idle"), process(run, renewals=1))
    assert (run.did.count("judge"), run.left) == (2, [])


def test_who_accepts_may_still_be_starting() -> None:
    run = Recorded(starting=3)

    async def drive() -> None:
        await signalled(run, stops("stop-idle"), process(run))

    trio.run(drive, clock=trio.testing.MockClock(autojump_threshold=0))
    assert run.did.count("judge") == 2
    assert run.starting == -2


def test_who_never_answers_is_given_up() -> None:
    run = Recorded(starting=1000)

    async def drive() -> None:
        await signalled(run, stops("stop-idle"), process(run))

    trio.run(drive, clock=trio.testing.MockClock(autojump_threshold=0))
    assert run.left == ["the server answers nothing 20 s after its start"]


def test_many_trials_are_few_where_each_costs_a_server() -> None:
    many = Settings(trials=50)
    cells = plan([catalogue()[n].sequence for n in ("stop-idle", "terminate")], many)
    assert {(cell.sequence.name, cell.trials) for cell in cells} == {
        ("stop-idle", MOST_SIGNALLED),
        ("terminate", 50),
    }


def test_it_takes_a_process_and_a_signal_that_means_it() -> None:
    sequence = catalogue()["graceful-idle"].sequence
    needs = [
        lacks(sequence, frozenset(), has_goodbye=False, knows=knows)
        for knows in ((), {Signal.STOP}, {Signal.GRACEFUL})
    ]
    assert needs == ["the server's process", "a signal for 'graceful'", None]
