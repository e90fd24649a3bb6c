"""The rules that a close is judged by, in the order in which reports list them.

Left out: TLS12-NOWAIT (a permission, which nobody can break) and PG-DIRECT (needs connections of
another kind).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from tlsprobe.judge.rules.early_data import EARLY_DATA_RULES
from tlsprobe.judge.rules.failure import FAILURE_RULES
from tlsprobe.judge.rules.http import HTTP_RULES
from tlsprobe.judge.rules.interop import IDLE_RACE, INTEROP_RULES, expiry_outcome
from tlsprobe.judge.rules.limits import LIMIT_RULES
from tlsprobe.judge.rules.protocols import PROTOCOL_RULES
from tlsprobe.judge.rules.renegotiation import RENEGOTIATION_RULES
from tlsprobe.judge.rules.resets import RESET_RULES
from tlsprobe.judge.rules.resumption import RESUMPTION_RULES
from tlsprobe.judge.rules.rule import Answer, Rule, RuleInput, apply, rule_input
from tlsprobe.judge.rules.stopping import STOPPING_RULES
from tlsprobe.judge.rules.tcp import TCP_RULES
from tlsprobe.judge.rules.tls import TLS_RULES, TRUNCATION_RULES
from tlsprobe.model.judgement import Result, RuleResult
from tlsprobe.model.run import Cell

__all__ = [
    "IDLE_RACE",
    "IGNORE_AFTER",
    "RULES",
    "Answer",
    "Rule",
    "RuleInput",
    "apply_rules",
    "expiry_outcome",
    "rule_input",
    "undecided",
    "wants_alert_alone",
]

_CHAPTERS = (
    *(TLS_RULES, FAILURE_RULES, RENEGOTIATION_RULES, RESUMPTION_RULES, EARLY_DATA_RULES),
    TRUNCATION_RULES,
    *(HTTP_RULES, TCP_RULES, PROTOCOL_RULES, STOPPING_RULES, LIMIT_RULES, RESET_RULES),
    INTEROP_RULES,
)

IGNORE_AFTER = ("TLS12-IGNORE-AFTER", "TLS13-IGNORE-AFTER")
"""The rules that take a control of our alert alone to be decided."""

RULES = {rule.id: rule for chapter in _CHAPTERS for rule in chapter}
"""All rules by id."""


def apply_rules(given: RuleInput) -> tuple[RuleResult, ...]:
    """The answer of every rule that applies, in the order of the table.

    A trial that never reached its sequence has none, nor has a connection that nobody drove: what
    its client meant to do, and what the server owed it, nobody can say.
    """
    drive = given.trace.drive
    if drive.failure is not None or drive.ended_early or not drive.events:
        return ()
    rules = _that_can_apply(given.tls, given.trace.protocol, given.finished)
    if given.failed is not None:
        rules = tuple([rule for rule in rules if rule.in_failure])
    if given.cut_off is not None:
        rules = tuple([rule for rule in rules if rule.if_cut_off])
    found = [apply(rule, given) for rule in rules]
    return tuple([result for result in found if result is not None])


def wants_alert_alone(results: Iterable[RuleResult]) -> bool:
    """Whether nobody tried what the server says to our close_notify alone, and it matters."""
    return any(r.rule in IGNORE_AFTER and r.result is Result.INFO for r in results)


@lru_cache(maxsize=256)
def _that_can_apply(tls: str | None, protocol: str, finished: bool) -> tuple[Rule, ...]:
    return tuple(rule for rule in RULES.values() if rule.can_apply(tls, protocol, finished))


def undecided(cells: Iterable[Cell]) -> list[str]:
    """The rules on which these cells, all those of a run, say nothing: not applicable.

    Without those that nobody asked for (``opt_in``).
    """
    decided = {
        finding.rule
        for cell in cells
        for finding in cell.findings
        if finding.result is not Result.NOT_APPLICABLE
    }
    return [name for name, rule in RULES.items() if name not in decided and not rule.opt_in]
