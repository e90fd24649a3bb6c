"""Every cause has a remedy, and no remedy is for a rule that does not exist."""

from __future__ import annotations

import pytest

from tlsprobe.judge import remedies, rules
from tlsprobe.judge.remedies import Remedy
from tlsprobe.model.judgement import Cause

ALL = [*remedies.CAUSES.values(), *remedies.RULES.values()]


def test_every_cause_has_a_remedy() -> None:
    assert remedies.CAUSES.keys() == set(Cause)


def test_every_rule_with_a_remedy_exists() -> None:
    assert remedies.RULES.keys() <= rules.RULES.keys()


@pytest.mark.parametrize("remedy", ALL)
def test_a_remedy_says_whom_it_hurts_and_what_helps(remedy: Remedy) -> None:
    assert remedy.remedies
    assert all(line.endswith((".", ").")) for line in (remedy.hurts, *remedy.remedies))
