"""The engine over Dask, as far as it needs no scheduler; tests/e2e/test_fleet_dask.py has one."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from tlsprobe.campaign.settings import Settings
from tlsprobe.errors import UsageError
from tlsprobe.fleet.asked import FleetSettings, target_settings
from tlsprobe.fleet.crew import ALLOWED
from tlsprobe.fleet.dask_engine import (
    MORE_S,
    DaskEngine,
    deadline_of,
    must_have_dask,
    slots_of,
)
from tlsprobe.fleet.orders import Order, Said, packed, unpacked
from tlsprobe.model.fleet import FleetTarget

ASKED = FleetSettings(Path("out"), Settings(), {"profile": "https"}, workers=1, most=10)
ORDER = Order(7, target_settings(FleetTarget("127.0.0.1:443"), ASKED), Path("out/7"), "typed")


def key(order: Order, fleet: str = "f", vantage: str = "v") -> str:
    return DaskEngine("dask://h:1", fleet, ASKED, vantage)._key(order)


def test_a_worker_has_room_by_its_resources_or_its_threads() -> None:
    worker = {"nthreads": 8, "resources": {"vantage_osaka": 2.0}, "status": "running"}
    calm = {**worker, "metrics": {ALLOWED: 99}}
    assert slots_of(calm, "osaka") == 2
    assert slots_of(calm, "paris") == 0
    assert slots_of(calm, "") == 8
    assert slots_of({**calm, "status": "closing"}, "") == 0


def test_a_worker_has_room_for_as_many_as_it_probes_in_time() -> None:
    worker = {"nthreads": 8, "status": "running", "metrics": {"cpu": 3.0}}
    assert slots_of(worker, "") == 1, "it has said nothing yet"
    assert slots_of({**worker, "metrics": {ALLOWED: 3}}, "") == 3


def test_no_two_attempts_share_a_token() -> None:
    settings = replace(ORDER.settings, how=replace(ORDER.settings.how, trials=9))
    others = [
        key(ORDER, fleet="g"),
        key(ORDER, vantage="w"),
        key(replace(ORDER, target=8)),
        key(replace(ORDER, attempt=2)),
        key(replace(ORDER, settings=settings)),
    ]
    assert len({key(ORDER), *others}) == 6
    assert key(ORDER) == key(ORDER)


def test_a_worker_hangs_only_when_it_takes_much_longer_than_planned() -> None:
    """75 s of idling and more, three times."""
    assert deadline_of(ORDER) > 3 * 75 + MORE_S


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError) as caught:
        must_have_dask()
    assert caught.value.hint == "pip install 'tlsprobe[fleet]'"


def test_words_come_out_of_a_pipe_whole() -> None:
    said = [Said(1, "a" * 300), Said(2, "b")]
    data = bytearray()
    found: list[object] = []
    for byte in b"".join(map(packed, said)):
        data.append(byte)
        found += unpacked(data)
    assert (found, data) == (said, bytearray())
