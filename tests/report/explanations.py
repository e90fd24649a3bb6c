"""Explanations of captures made by hand, one of them of hostile names."""

from __future__ import annotations

from dataclasses import replace

from tests.explain.talk import (
    ACK,
    ALERT_13,
    CLIENT,
    PSH,
    RST,
    Given,
    Talk,
    explained,
    sealed,
    tls13,
)
from tlsprobe.explain import Filter, explain
from tlsprobe.model.explanation import Explanation
from tlsprobe.packets.packet import named

ESCAPES = "\x1b[31m|`<b>\u202e\n```\n"


def unread(port: int = 40000) -> Talk:
    talk = tls13(Talk(client=(CLIENT[0], port), seqs=[port, port]))
    talk.c(PSH | ACK, sealed(22)).c(PSH | ACK, ALERT_13).s(PSH | ACK, ALERT_13)
    return talk.s(RST | ACK)


def hostile() -> Explanation:
    """Names out of a pasted text, and whatever its reader says of it."""
    talk = Talk(client=(named(ESCAPES), 2), server=(named("$(reboot) ' " + ESCAPES), 1))
    for _ in range(2):
        talk.c(PSH | ACK, bytes(40))
    talk.s(RST | ACK)
    plain = [p._replace(payload=b"") for p in talk.packets]
    found = explain(Given(plain, "text", ()), Filter(quiet=True))
    source = replace(
        found.source, name=ESCAPES, skipped=1, first_skipped=ESCAPES, truncated=ESCAPES
    )
    return replace(found, source=replace(source, notes=(ESCAPES,)))


def of_other_protocols() -> Explanation:
    """A capture of packets of which none is TCP."""
    given = Given([], "pcap", ())
    given.total = given.other = 3
    return explain(given)


EXPLANATIONS = {
    "unread": explained(unread()),
    "many": explained(*(unread(41_000 + i) for i in range(12))),
    "quiet": explained(tls13()),
    "none": of_other_protocols(),
    "hostile": hostile(),
}
