"""Room for connections: the limit of open files, in a process of its own each time."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from tlsprobe.campaign.descriptors import OTHERS

PROGRAM = """
import resource, sys
from tlsprobe.campaign.descriptors import room_for
before = resource.getrlimit(resource.RLIMIT_NOFILE)
with room_for(int(sys.argv[1])) as connections:
    meanwhile = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    print(connections, meanwhile)
assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
"""


def room(connections: int, soft: int, hard: int) -> tuple[int, int]:
    """For how many there is room under these limits, and what the limit is meanwhile."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(connections)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)),
        capture_output=True,
        text=True,
        check=True,
    )
    fit, limit = map(int, ran.stdout.split())
    return fit, limit


def test_a_limit_that_is_high_enough_stays() -> None:
    assert room(100, soft=300, hard=600) == (100, 300)


@pytest.mark.slow
def test_the_limit_is_raised_as_far_as_it_must_be() -> None:
    fit, limit = room(400, soft=300, hard=600)
    assert fit == 400
    assert 400 + OTHERS < limit < 600


@pytest.mark.parametrize("connections", [600, 10_000])
def test_the_limit_is_not_raised_beyond_what_is_allowed(connections: int) -> None:
    fit, limit = room(connections, soft=300, hard=600)
    assert limit == 600
    assert 600 - OTHERS - 20 < fit < 600 - OTHERS


@pytest.mark.slow
def test_where_there_is_no_room_none_is_promised() -> None:
    assert room(100, soft=OTHERS, hard=OTHERS) == (0, OTHERS)
