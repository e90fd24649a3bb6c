"""The order and the delays that a seed decides."""

from __future__ import annotations

from tlsprobe.campaign.settings import JITTER, Settings, delay_of, in_order, plan
from tlsprobe.catalogue import default_sequences, find_sequence
from tlsprobe.model.run import Trial
from tlsprobe.model.verbs import Form

PLANS = plan(default_sequences(frozenset(Form), has_goodbye=True), Settings())


def test_without_a_seed_the_order_is_the_catalogues() -> None:
    assert in_order(PLANS, None) == list(PLANS)
    assert delay_of(Trial("terminate", "1.3", 0), None) == 0.0


def test_a_seed_decides_the_order() -> None:
    assert in_order(PLANS, 1) == in_order(PLANS, 1)
    assert in_order(PLANS, 1) != in_order(PLANS, 2) != list(PLANS)
    assert set(in_order(PLANS, 1)) == set(PLANS)


def test_a_seed_decides_each_trials_own_delay() -> None:
    delays = [delay_of(Trial("terminate", "1.3", index), 7) for index in range(100)]
    assert delays == [delay_of(Trial("terminate", "1.3", index), 7) for index in range(100)]
    assert len(set(delays)) == 100
    assert all(0 <= delay < JITTER for delay in delays)
    assert delays[0] != delay_of(Trial("terminate", "1.3", 0), 8)
    assert delays[0] != delay_of(Trial("terminate", "1.2", 0), 7)


def test_what_costs_a_server_each_time_is_tried_a_few_times_unless_somebody_wants_more() -> None:
    sequences = (find_sequence("fin-only"), find_sequence("stop-idle"))
    few = plan(sequences, Settings(trials=20))
    assert {one.sequence.name: one.trials for one in few} == {"fin-only": 20, "stop-idle": 5}
    many = plan(sequences, Settings(trials=20, most_signalled=20))
    assert {one.trials for one in many} == {20}
