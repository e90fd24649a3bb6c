"""What a report says about a broken rule besides what was seen: its text, source and remedy."""

from __future__ import annotations

from tlsprobe.judge.remedies import RULES as REMEDIES
from tlsprobe.judge.rules import RULES


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
