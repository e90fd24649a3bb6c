"""What TCP asks for: an RST where data is lost, and its form."""

from __future__ import annotations

from tlsprobe.judge.rules.rule import Answer, Rule, RuleInput
from tlsprobe.model.judgement import Level, Result
from tlsprobe.model.trace import Coverage, PathDid, Segment, Shaped, Side


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


def _challenge(given: RuleInput) -> Answer:
    """The first RST that our path forged: at what the server expects next, or ahead of it."""
    made = next((s for s in given.trace.drive.shaped if s.did is PathDid.RESET), None)
    if made is None or given.trace.coverage is not Coverage.WHOLE:
        return None
    theirs = [s for s in given.trace.segments if s.side is Side.SERVER]
    before = [s for s in theirs if s.time_ns <= made.time_ns]
    after = [s for s in theirs if s.time_ns > made.time_ns]
    if any(s.ends for s in before):
        return None
    if made.end == made.start:
        return _obeyed(after)
    return _asked_back(made, before, after) if _is_in_window(before, made) else None


def _obeyed(after: list[Segment]) -> Answer:
    """An RST at exactly the next byte: later bytes of ours meet no connection."""
    first = next(iter(after), None)
    if first is None:
        return None
    if first.rst and first.ack is None:
        return Result.PASS, "an RST at exactly the byte that the server expected ended it"
    return Result.INFO, "the server went on behind an RST at exactly the byte that it expected"


def _asked_back(made: Shaped, before: list[Segment], after: list[Segment]) -> Answer:
    """An RST ahead of that, within the window.

    That an acknowledgement repeats one that the server had sent tells it from one that was due.
    """
    given_up = next((s for s in after if s.ends or s.length), None)
    if given_up is not None and given_up.rst and given_up.ack is None:
        return Result.INFO, "the server gave the connection up at an RST ahead of what it expected"
    known = any(s.ack is not None and s.ack >= made.start for s in before)
    bare = (s for s in after if not s.length and not s.ends and s.ack == made.start)
    if known and next(bare, None) is not None:
        return Result.PASS, "an RST ahead of what the server expected drew a challenge ACK"
    if given_up is None:
        return Result.INFO, "an RST ahead of what the server expected drew nothing"
    return Result.INFO, "an RST ahead of what the server expected drew no ACK and ended nothing"


def _is_in_window(theirs: list[Segment], made: Shaped) -> bool:
    """Whether the RST lay in the window that the server had last told us."""
    last = next((s for s in reversed(theirs) if s.ack is not None and not s.syn), None)
    scale = next((s.window_scale for s in theirs if s.syn), None)
    if last is None or last.ack is None:
        return False
    return made.end < last.ack + (last.window << (scale or 0))


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
        if_cut_off=True,
    ),
    Rule(
        "TCP-CHALLENGE",
        "RFC 9293 section 3.10.7.4; RFC 5961 section 3",
        Level.INFO,  # a defence against forged RSTs that the text leaves to the implementation
        "TCP",
        "Only an RST at exactly the next expected byte ends a connection; one that stands ahead of"
        " it, within the window, is answered with an ACK.",
        _challenge,
        in_handshake=True,
        in_failure=True,
        opt_in=True,
        if_cut_off=True,
    ),
)
"""The rules of TCP, in the order of reports."""
