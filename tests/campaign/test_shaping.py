"""Which cells are measured where no path can be shaped."""

from __future__ import annotations

import socket
from contextlib import AbstractAsyncContextManager

import pytest
import trio

from tlsprobe.campaign import shaping as module
from tlsprobe.campaign.reach import Reached
from tlsprobe.campaign.shaping import Shaping, shaping
from tlsprobe.errors import CannotMeasure
from tlsprobe.language import parse
from tlsprobe.model.run import CellPlan
from tlsprobe.shaper.link import Shaper

REACHED = Reached((socket.AF_INET, ("127.0.0.1", 1)), {}, {})
PLAIN, WIRE = (
    CellPlan(parse(steps), steps, "1.3", 1) for steps in ("fin; drain", "hold fin; release; drain")
)


class Refused(AbstractAsyncContextManager[Shaper]):
    """A shaper on a machine where none can be had."""

    def __init__(self, *_: object, any_port: bool) -> None:
        pass

    async def __aenter__(self) -> Shaper:
        raise CannotMeasure("packets cannot be shaped on this machine: it needs root")

    async def __aexit__(self, *_: object) -> None:
        pass


@pytest.fixture
def _no_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "open_shaper", Refused)


def shaped(*plans: CellPlan) -> Shaping:
    async def main() -> Shaping:
        async with shaping(plans, REACHED, "") as found:
            return found

    return trio.run(main)


def test_without_such_sequences_no_shaper_is_started() -> None:
    assert shaped(PLAIN) == Shaping((PLAIN,))


@pytest.mark.usefixtures("_no_rights")
def test_without_rights_they_are_left_out_with_one_line() -> None:
    found = shaped(PLAIN, WIRE)
    assert found.plans == (PLAIN,)
    assert found.left_out == (
        "1 sequence was left out: packets cannot be shaped on this machine: it needs root"
    )


@pytest.mark.usefixtures("_no_rights")
def test_where_nothing_else_was_asked_for_it_is_an_error() -> None:
    with pytest.raises(CannotMeasure, match="cannot be shaped"):
        shaped(WIRE)


@pytest.mark.root
def test_with_rights_all_are_measured() -> None:
    found = shaped(PLAIN, WIRE)
    assert found.plans == (PLAIN, WIRE)
    assert found.shaper is not None
