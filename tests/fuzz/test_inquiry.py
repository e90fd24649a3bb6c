"""What is asked about a suspect, and how often."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import cast

import trio

from tests.fuzz.test_confirming import suspect
from tlsprobe.fuzz.inquiry import Inquiry
from tlsprobe.fuzz.suspects import TRIES, Suspect


def test_others_of_a_kind_are_asked_in_company_when_the_first_shows_nothing() -> None:
    """A connection that another one ends shows it in no crowd of its own."""
    asked, looked_for = list[Suspect](), list[Suspect]()

    async def shows_nothing(one: Suspect) -> bool:
        await trio.lowlevel.checkpoint()
        asked.append(one)
        return False

    async def is_none(_: Suspect) -> bool:
        await trio.lowlevel.checkpoint()
        return False

    async def finds_nobody(one: Suspect) -> bool:
        await trio.lowlevel.checkpoint()
        looked_for.append(one)
        return False

    confirmer = SimpleNamespace(takes_company=shows_nothing, is_race_in_company=is_none)
    stub = SimpleNamespace(
        asked_in_company=Counter(),
        confirmer=confirmer,
        neighbours=SimpleNamespace(find=finds_nobody),
        is_harmed_as_known=is_none,
    )
    for _ in range(TRIES + 2):
        assert not trio.run(Inquiry.takes_company, cast("Inquiry", stub), suspect())
    assert 1 < len(asked) == len(looked_for) == TRIES
