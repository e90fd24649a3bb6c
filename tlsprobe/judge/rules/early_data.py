"""What a server makes of a request in the first flight (0-RTT).

Nobody has to take early data (RFC 8446 section 4.2.10, 8): what a server does is told, and none is
blamed. How it ends a connection that began so is for the rules of every close.
"""

from __future__ import annotations

from tlsprobe.judge.rules.rule import Answer, Rule, RuleInput
from tlsprobe.model.judgement import Level, Result
from tlsprobe.model.trace import EventKind


def _told(given: RuleInput) -> Answer:
    for event in given.trace.drive.events:
        if event.kind is EventKind.EARLY_TAKEN:
            return Result.PASS, "the server took the early data"
        if event.kind is EventKind.EARLY_REFUSED:
            said = event.detail or "the server did not take the early data, which was sent again"
            return Result.INFO, said
    return None


EARLY_DATA_RULES = (
    Rule(
        "TLS13-EARLY",
        "RFC 8446 section 4.2.10, 8",
        Level.INFO,
        "receiver",
        "A server may take early data, or leave it to be sent again behind the handshake.",
        _told,
        in_failure=True,
        opt_in=True,
        checked=True,
        tls="1.3",
    ),
)
"""The rule of early data."""
