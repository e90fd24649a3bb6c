"""What TCP asks for: an RST where data is lost, and its form."""

from __future__ import annotations

from tlsprobe.judge.rules.rule import Answer, Rule, RuleInput
from tlsprobe.model.judgement import Level, Result
from tlsprobe.model.trace import Coverage, Segment, Side


def _rst_on_unread(given: RuleInput) -> Answer:
    if not any(reset.cause.row.prescribed for reset in given.server_resets):
        return None
    return Result.PASS, "TCP asks for this reset: data was unread at, or came after, the close"


def _rst_form(given: RuleInput) -> Answer:
    if given.trace.coverage is not Coverage.WHOLE or not given.server_resets:
        return None
    own = {r.packet for r in given.server_resets if r.cause.row.by_sender}
    resets = [s for s in given.trace.segments if s.rst and s.number in own]
    if not resets:
        return None
    odd = next((what for reset in resets if (what := _oddity(given, reset))), None)
    if odd is not None:
        return Result.INFO, odd
    return Result.PASS, "the sequence number of the server's RST is the one that TCP asks for"


def _oddity(given: RuleInput, reset: Segment) -> str | None:
    """What is wrong with an RST's numbers, if anything."""
    prior = [s for s in given.trace.segments if s.number < reset.number]
    ours = [s for s in prior if s.side is Side.CLIENT]
    acks = [s.ack for s in ours if s.ack is not None]
    if reset.ack is None:
        known = reset.start in acks
        return None if known else "an RST without ACK repeats no acknowledgement of ours"
    theirs = (s for s in prior if s.side is Side.SERVER and not s.rst)
    sent = max((s.end + s.fin + s.syn for s in theirs), default=0)
    # Up to what was sent, and from what we have acknowledged: a closed window moves it back.
    if not max(acks, default=0) <= reset.start <= sent:
        return "an RST with ACK does not stand at the server's own next byte"
    reach = max((s.end + s.fin + s.syn for s in ours), default=0)
    return None if reset.ack <= reach else "an RST acknowledges what we never sent"


TCP_RULES = (
    Rule(
        "TCP-RST-ON-UNREAD",
        "RFC 9293 section 3.6.1 (SHLD-3); RFC 1122 section 4.2.2.13; RFC 2525 section 2.17",
        Level.SHOULD,
        "TCP",
        "A close with data unread, or data after a close, is answered with an RST.",
        _rst_on_unread,
        checked=True,
        in_handshake=True,
        in_failure=True,
        timed=True,
    ),
    Rule(
        "TCP-RST-FORM",
        "RFC 9293 section 3.5.2",
        Level.INFO,  # the text tells how it is done, and has no keyword
        "TCP",
        "An RST of a closed connection has the sequence number that the segment which drew it"
        " acknowledges, and no ACK; one of a live connection its sender's next number.",
        _rst_form,
        checked=True,
        in_handshake=True,
        in_failure=True,
    ),
)
"""The rules of TCP, in the order of reports."""
