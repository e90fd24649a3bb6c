"""What helps against a breach of a rule, with the settings of the server at hand."""

from __future__ import annotations

from collections.abc import Iterator

from tlsprobe.judge.families import FORWARDER, Family
from tlsprobe.judge.remedies import by_forwarder
from tlsprobe.judge.rules.rule import Rule
from tlsprobe.model.causes import Advice, Party, Remedy
from tlsprobe.model.protocols import HTTP

_ENDS_TCP = frozenset(
    {"INTEROP-DATA-LOST", "INTEROP-LEAK", "INTEROP-IDLE-RACE", "LIMIT-RACE", "HTTP-LINGER"}
)
"""The rules that whoever has the TCP connection keeps or breaks, whatever is said inside TLS."""
NOTIFIES = frozenset(
    {"TLS12-NOTIFY", "TLS13-NOTIFY", "TLS12-ANSWER", "HTTP-TLS-ALERT", "HTTP-IDLE-GRACEFUL"}
)
"""The rules that ask for an alert, which who passes it on may drop."""
_MAY_DROP_ALERTS = Advice(
    Party.FORWARDER,
    "pass on every byte before the end. Where the server itself, probed past this program, says its"
    " close_notify, the program drops it.",
)
_DELIVERS = frozenset({"INTEROP-DATA-LOST", "TLS13-HALF-CLOSE"})
_LINGERS = frozenset({"HTTP-LINGER"})
_IDLES = frozenset({"INTEROP-IDLE-RACE"})


def remedy_of_rule(
    rule: Rule, protocol: str = "", family: Family | None = None, *, client_ended: bool = True
) -> Remedy | None:
    """What helps against a breach of a rule, with the settings of the server at hand.

    A setting for clients that end their direction while they ask cures nothing where none did:
    ``client_ended`` is False then. Where a program passes the connections on, what ends of TCP ask
    for is its to do.
    """
    if rule.remedy is not None and family is FORWARDER:
        if rule.id in _ENDS_TCP:
            return by_forwarder(rule.remedy)
        drops = (_MAY_DROP_ALERTS,) if rule.id in NOTIFIES else ()
        return Remedy(rule.remedy.hurts, (*rule.remedy.advice, *drops))
    if rule.remedy is None or family is None or protocol not in HTTP:
        return rule.remedy
    also = tuple(_settings(rule.id, family, client_ended=client_ended))
    return Remedy(rule.remedy.hurts, (*rule.remedy.advice, *also))


def _settings(rule_id: str, family: Family, *, client_ended: bool) -> Iterator[Advice]:
    if rule_id in _DELIVERS and family.heeds_abort and client_ended:
        yield Advice(
            Party.SERVER,
            f"where {family.name} is a proxy, '{family.heeds_abort}' has it deliver what is owed"
            " to a client that has ended its own direction.",
        )
    if rule_id in _LINGERS and family.lingers:
        yield Advice(Party.SERVER, f"the setting of {family.name} is '{family.lingers}'.")
    if rule_id in _IDLES and family.idle:
        yield Advice(
            Party.SERVER,
            f"or raise {family.name}'s '{family.idle}' above the idle timeouts of clients.",
        )
