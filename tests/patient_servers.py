"""The built-in servers with an idle timeout that nothing outlasts.

Whatever stops a test between two steps, and for however long, they are still there.
"""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache

from tests.children import child
from tests.servers import GENEROUS_S
from tlsprobe.reference.behaviours import DEMO
from tlsprobe.reference.server import HOST

_PROGRAM = """
import sys, trio
from tlsprobe.reference import peer, server
peer.IDLE_TIMEOUT = float(sys.argv[1])
server.HOST = sys.argv[2]
trio.run(server.serve, tuple(sys.argv[3:]))
"""


@cache
def patient_server(name: str) -> int:
    """The port of one that stays until the tests end: it takes half a second to start."""
    until_the_end = ExitStack()
    atexit.register(until_the_end.close)
    return until_the_end.enter_context(patient_servers(name))[name]


@contextmanager
def patient_servers(*names: str, host: str = HOST) -> Iterator[dict[str, int]]:
    """Servers of these names, or those of the demo, in a process of their own: ports by name."""
    command = [sys.executable, "-c", _PROGRAM, str(GENEROUS_S), host, *(names or DEMO)]
    with child(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.stdin.close()
