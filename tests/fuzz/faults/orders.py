"""Faults that take an order of steps: what comes behind what."""

from __future__ import annotations

from tests.fuzz.faults.peer import NOTIFY, RESETS, Fault
from tests.fuzz.faults.ways import (
    BYE,
    EOF,
    GOODBYE,
    NOTIFIED,
    abort,
    abort_now,
    as_,
    asked,
    behind,
    both,
    half,
    rude,
    when,
)

_ANSWERED = ("no-answer-after-alert", "rules")

ORDERS = (
    Fault(
        "unread-behind-goodbye",
        "ordering",
        "terminate; close_notify; drain",
        RESETS,
        when(GOODBYE, rude),
    ),
    Fault(
        "unread-behind-alert",
        "ordering",
        "close_notify; close_notify; drain",
        RESETS,
        when(NOTIFIED, rude),
    ),
    Fault("abort-at-eof", "ordering", "fin; drain", RESETS, when(EOF, abort)),
    Fault(
        "silent-after-goodbye",
        "ordering",
        "terminate; drain",
        NOTIFY,
        when(GOODBYE, as_("silent")),
    ),
    Fault(
        "silent-at-eof-after-request",
        "ordering",
        "request; fin; drain",
        NOTIFY,
        when(both(EOF, asked(1)), as_("silent")),
    ),
    Fault(
        "answers-behind-alert",
        "ordering",
        "close_notify; send; drain",
        _ANSWERED,
        when(NOTIFIED, as_("answering")),
    ),
    Fault(
        "abort-after-two-requests",
        "ordering",
        "send; send; fin; drain",
        RESETS,
        when(asked(2), abort),
    ),
    Fault(
        "abort-on-goodbye-behind-alert",
        "ordering",
        "close_notify; terminate; drain",
        RESETS,
        behind(BYE, abort_now),
    ),
    Fault(
        "abort-after-three-requests",
        "ordering",
        "send; send; send; fin; drain",
        RESETS,
        when(both(EOF, asked(3)), abort),
    ),
    Fault(
        "silent-behind-half-request",
        "ordering",
        "send part; fin; drain",
        NOTIFY,
        when(both(EOF, half), as_("silent")),
    ),
)
