"""Faults that take the right time, TLS version or company, or luck."""

from __future__ import annotations

import trio

from tests.fuzz.faults.peer import ENDS, NOTIFY, RESETS, Fault, Seeded
from tests.fuzz.faults.ways import (
    EOF,
    GOODBYE,
    IDLE,
    NOTIFIED,
    V12,
    V13,
    abort,
    as_,
    both,
    crowd,
    gap,
    one_in,
    one_in_turn,
    rude,
    stay,
    when,
)
from tlsprobe.reference.peer import Occasion


async def _abort_late(peer: Seeded, _: Occasion) -> None:
    """Answers the alert, and aborts where its FIN would come."""
    await peer.notify()
    await trio.sleep(0.2)
    peer.abort()


_TIMES = (
    Fault(
        "abort-after-pause",
        "timing",
        "sleep 100ms; fin; drain",
        RESETS,
        when(both(EOF, gap(0.08, 0.9)), abort),
    ),
    Fault(
        "silent-after-pause",
        "timing",
        "sleep 300ms; fin; drain",
        NOTIFY,
        when(gap(0.25, 0.9), as_("silent")),
    ),
    Fault("abort-when-idle", "timing", "await end 1.05s; drain", RESETS, when(IDLE, abort)),
    Fault(
        "unread-when-idle",
        "timing",
        "await close_notify; close_notify; drain",
        RESETS,
        when(IDLE, rude),
    ),
)

_VERSIONS = (
    Fault(
        "no-answer-12",
        "version",
        "close_notify; drain",
        NOTIFY,
        when(both(V12, NOTIFIED), as_("silent")),
    ),
    Fault("abort-at-eof-13", "version", "fin; drain", RESETS, when(both(V13, EOF), abort)),
    Fault(
        "stays-after-goodbye-12",
        "version",
        "terminate; drain",
        ENDS,
        when(both(V12, GOODBYE), stay),
    ),
    Fault(
        "abort-late-12",
        "version",
        "close_notify; drain",
        RESETS,
        when(both(V12, NOTIFIED), _abort_late),
    ),
)

_COMPANY = (
    Fault("abort-in-a-crowd", "load", "fin; drain", RESETS, when(crowd(6), abort)),
    Fault("silent-in-a-crowd", "load", "fin; drain", NOTIFY, when(crowd(10), as_("silent"))),
    Fault(
        "silent-among-three",
        "load",
        "close_notify; drain",
        NOTIFY,
        when(both(NOTIFIED, crowd(2)), as_("silent")),
    ),
)

_LUCK = (
    Fault("abort-1-in-5", "flaky", "fin; drain", RESETS, when(one_in(5), abort)),
    Fault("abort-1-in-20", "flaky", "fin; drain", RESETS, when(one_in(20), abort)),
    Fault(
        "silent-1-in-20",
        "flaky",
        "terminate; drain",
        NOTIFY,
        when(both(GOODBYE, one_in(20)), as_("silent")),
    ),
    Fault(
        "abort-each-fifth-goodbye-13",
        "flaky",
        "terminate; drain",
        RESETS,
        when(both(V13, both(GOODBYE, one_in_turn(5))), abort),
    ),
)

CIRCUMSTANCES = (*_TIMES, *_VERSIONS, *_COMPANY, *_LUCK)
