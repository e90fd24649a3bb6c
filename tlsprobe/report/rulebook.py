"""What a report adds to what was seen: a rule's text and source, whom it hurts, what helps."""

from __future__ import annotations

from tlsprobe.judge.remedies import CAUSES
from tlsprobe.judge.remedies import RULES as REMEDIES
from tlsprobe.judge.rules import RULES
from tlsprobe.model.judgement import Cause
from tlsprobe.model.run import CauseFacts


def rule_rows(rule_id: str) -> list[tuple[str, str]]:
    """Labelled sentences; none for a rule that this version does not know."""
    rows: list[tuple[str, str]] = []
    rule = RULES.get(rule_id)
    if rule is not None:
        rows.append(("rule", f"{rule.text} [{rule.source}]"))
    remedy = REMEDIES.get(rule_id)
    if remedy is not None:
        rows.append(("hurts", remedy.hurts))
        rows += [("remedy", sentence) for sentence in remedy.remedies]
    return rows


def cause_rows(facts: CauseFacts) -> list[tuple[str, str]]:
    """Whom a reset of this cause hurts, and each remedy, labelled.

    Run documents carry the remedies alone. Our own resets hurt nobody else: they have no row.
    """
    known = CAUSES.get(Cause(facts.cause)) if facts.cause in set(Cause) else None
    rows = [("hurts", known.hurts)] if known and facts.side == "server" else []
    return rows + [("remedy", sentence) for sentence in facts.remedy]
