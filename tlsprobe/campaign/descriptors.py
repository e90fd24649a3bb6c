"""How many connections may be open at once: each takes one of the files that a process may open."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OTHERS = 64
"""Files that are kept free for what is no connection: pipes, results, libraries."""


@contextmanager
def room_for(connections: int) -> Iterator[int]:
    """Let this process open so many connections, meanwhile; to how many it comes.

    The limit (``ulimit -n``) is raised as far as it must be and may be: getrlimit(2).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = sum(1 for _ in Path("/proc/self/fd").iterdir()) + OTHERS
    limit = max(_count(soft), min(taken + connections, _count(hard)))
    if limit > _count(soft):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield max(0, min(connections, limit - taken))
    finally:
        if limit > _count(soft):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _count(limit: int) -> int:
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit
