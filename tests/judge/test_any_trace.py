"""Whatever a facts file holds is judged: it may have been written by anybody, or on a bad day."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.facts.strategies import TRACES
from tlsprobe.judge.digest import digest_of
from tlsprobe.judge.verdict import judge
from tlsprobe.model.knowledge import Knowledge
from tlsprobe.model.trace import Trace


# A trace takes long to think of.
@settings(max_examples=settings().max_examples // 4)
@given(TRACES, st.booleans())
def test_it_is_judged(trace: Trace, waits: bool) -> None:
    assert judge(trace, Knowledge(waits_idle=waits)).outcome
    assert digest_of(trace) is not None
