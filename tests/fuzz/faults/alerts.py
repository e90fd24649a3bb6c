"""Faults of the alerts themselves, and of connections that are kept for ever."""

from __future__ import annotations

import trio

from tests.fuzz.faults.peer import ENDS, NOTIFY, RULES, Fault, Seeded
from tests.fuzz.faults.ways import (
    EOF,
    GOODBYE,
    NOTIFIED,
    PING,
    as_,
    asked,
    behind,
    both,
    end_politely,
    half,
    polite,
    stay,
    when,
)
from tlsprobe.reference.peer import Occasion


async def _twice(peer: Seeded, _: Occasion) -> None:
    await as_("repeating")(peer, Occasion.NOTIFIED)


async def _second_alert_late(peer: Seeded, _: Occasion) -> None:
    await peer.notify()
    await trio.sleep(0.15)
    await peer.notify_again()
    await end_politely(peer)


async def _late_alert(peer: Seeded, occasion: Occasion) -> None:
    """Its alert goes out only when the client has closed, or after a long time."""
    await peer.linger(6.0)
    await polite(peer, occasion)


async def _talks_on(peer: Seeded, _: Occasion) -> None:
    await peer.notify()
    await peer.say_plainly(b"one more thing\n")
    peer.fin()


ALERTS = (
    Fault("two-alerts", "alerts", "close_notify; drain", RULES, when(NOTIFIED, _twice)),
    Fault(
        "late-alert", "alerts", "close_notify; drain", (*ENDS, *NOTIFY), when(NOTIFIED, _late_alert)
    ),
    Fault("talks-on-in-plain", "alerts", "terminate; drain", RULES, when(GOODBYE, _talks_on)),
    Fault(
        "fatal-alert-kept", "alerts", "fin; drain", (*ENDS, *RULES), when(EOF, as_("failing-open"))
    ),
    Fault(
        "second-alert-late",
        "alerts",
        "close_notify; drain",
        RULES,
        when(NOTIFIED, _second_alert_late),
    ),
)

LEAKS = (
    Fault("leaks-at-eof", "leaks", "fin; drain", ENDS, when(EOF, stay)),
    Fault(
        "leaks-half-request", "leaks", "send part; fin; drain", ENDS, when(both(EOF, half), stay)
    ),
    Fault(
        "leaks-request-behind-alert",
        "leaks",
        "close_notify; send; fin; drain",
        ENDS,
        behind(PING, stay),
    ),
    Fault(
        "leaks-after-goodbye-behind-request",
        "leaks",
        "send; terminate; drain",
        ENDS,
        when(both(GOODBYE, asked(2)), stay),
    ),
)
