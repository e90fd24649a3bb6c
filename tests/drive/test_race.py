"""The start of a race; tests/e2e/test_race.py has whole ones."""

from __future__ import annotations

import socket
import time
from types import SimpleNamespace
from typing import Any

from tlsprobe.drive.race import _Racer, watch


def racer(transport: socket.socket, sent: list[bytes]) -> _Racer:
    """One whose moment has come."""
    transport_: Any = SimpleNamespace(fileno=transport.fileno, send_now=sent.append)
    connection: Any = SimpleNamespace(transport=transport_, wrote=lambda *_: None)
    piece: Any = SimpleNamespace(data=b"x", is_request=True)
    now = time.perf_counter()
    return _Racer(connection, piece, now, now)


def test_who_has_closed_before_the_start_races_no_more() -> None:
    sent: list[bytes] = []
    mine, theirs = socket.socketpair()
    gone, _ = socket.socketpair()
    with mine, theirs, _:
        gone.close()
        late, in_time = racer(gone, sent), racer(mine, sent)
        watch([late, in_time])
    assert (late.acted, in_time.acted, sent) == (False, True, [b"x"])
