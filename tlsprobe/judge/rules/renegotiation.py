"""What a server makes of a client that wants to renegotiate, and then ends.

A server need not shake hands again: it should say no_renegotiation then, a warning that changes
nothing (RFC 5246 section 7.2.2). Some end the connection with a fatal alert, as SSL 3 has it, which
knows no other way to refuse (RFC 5746 section 4.5). What it does is told, and none is blamed; how
it ends is for the rules of every close.
"""

from __future__ import annotations

from tlsprobe.judge.rules.rule import Answer, Rule, RuleInput, kind_of
from tlsprobe.model.alerts import alert_name
from tlsprobe.model.judgement import Level, Result
from tlsprobe.model.trace import EventKind, RecordKind, Side

NO_RENEGOTIATION = 100
"""The alert that refuses it (RFC 5246 section 7.2)."""

_VERB = "renegotiate"


def _told(given: RuleInput) -> Answer:
    steps = (e for e in given.trace.drive.events if e.kind is EventKind.STEP)
    if given.aborted or not any(_VERB in step.labels for step in steps):
        return None
    hello = next(iter(given.said(Side.CLIENT, RecordKind.HANDSHAKE)), None)
    if hello is None:
        return None
    if given.said(Side.SERVER, RecordKind.HANDSHAKE):
        return Result.PASS, "asked to renegotiate, the server began another handshake"
    refusal = next((r.alert for r in given.alerts if r.kind is RecordKind.ALERT), None)
    if refusal is not None:
        result = Result.PASS if refusal[1] == NO_RENEGOTIATION else Result.INFO
        return result, f"asked to renegotiate, the server refused with {alert_name(refusal)}"
    end = given.closing.server_end
    if end is None or given.not_the_servers:
        return Result.INFO, "asked to renegotiate, the server said nothing to it"
    said = f"said nothing to it, and ended with {kind_of(end)}"
    return Result.INFO, f"asked to renegotiate, the server {said}"


RENEGOTIATION_RULES = (
    Rule(
        "TLS12-RENEGOTIATE",
        "RFC 5246 section 7.2.2, 7.4.1.2",
        Level.INFO,
        "receiver",
        "A server may shake hands again when the client asks, refuse, or say nothing.",
        _told,
        in_failure=True,
        opt_in=True,
        checked=True,
        tls="1.2",
    ),
)
"""The rule of renegotiation."""
