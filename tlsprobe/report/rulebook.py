"""What a report adds to what was seen: a rule's text and source, whom it hurts, what helps."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from tlsprobe.behaviours import ends_while_asking
from tlsprobe.judge.families import Family
from tlsprobe.judge.rule_remedies import remedy_of_rule
from tlsprobe.judge.rules import RULES
from tlsprobe.model.causes import cause_named
from tlsprobe.model.run import CauseFacts
from tlsprobe.model.trace import Side
from tlsprobe.report.blocks import Field, Inline, Link, Text

_SECTION = re.compile(r"RFC (\d+) section ([\d.]*\d)")


def rule_fields(
    rule_id: str, protocol: str = "", family: Family | None = None, steps: Iterable[str] = ()
) -> Iterator[Field]:
    """The rule, whom a breach hurts and what helps; nothing for a rule that is not known here.

    What helps may depend on the protocol, on which ``family`` the server is of, and on the
    ``steps`` of the sequences that showed the breach.
    """
    rule = RULES.get(rule_id)
    if rule is None:
        return
    yield Field("rule", (f"{rule.text} (", *linked(rule.source), ")"))
    ended = any(map(ends_while_asking, steps))
    remedy = remedy_of_rule(rule, protocol, family, client_ended=ended)
    if remedy is not None:
        yield Field("hurts", remedy.hurts)
        yield Field("remedy", items=remedy.sentences)


def rule_source(rule_id: str) -> tuple[Inline, ...]:
    """Where a rule is written, in parentheses, as links; nothing for one that is not known here."""
    rule = RULES.get(rule_id)
    return () if rule is None else (f" ({rule.level}: ", *linked(rule.source), ")")


def rule_url(rule_id: str) -> str:
    """Where the first section that a rule's source names can be read; empty for none."""
    rule = RULES.get(rule_id)
    links = (part.url for part in linked(rule.source) if isinstance(part, Link)) if rule else ()
    return next(iter(links), "")


def cause_fields(
    facts: CauseFacts, tried: Mapping[str, Text] = MappingProxyType({})
) -> Iterator[Field]:
    """Whom a reset of this cause hurts, and the remedies; ``tried``: with what came of some.

    Older documents carry the remedies alone. Our own resets hurt nobody else: they have no such
    row.
    """
    known = cause_named(facts.cause)
    if facts.hurts:
        yield from (Field("hurts", hurts) for hurts in facts.hurts)
    elif known and facts.side == Side.SERVER:
        yield Field("hurts", known.remedy(Side.SERVER).hurts)
    if facts.remedy:
        yield Field("remedy", items=tuple(tried.get(text, text) for text in facts.remedy))


def linked(source: str) -> tuple[Inline, ...]:
    """A rule's source, each section of an RFC that it names as a link."""
    parts: list[Inline] = []
    end = 0
    for match in _SECTION.finditer(source):
        number, section = match.groups()
        url = f"https://www.rfc-editor.org/rfc/rfc{number}#section-{section}"
        parts += [source[end : match.start()], Link(match[0], url)]
        end = match.end()
    return tuple(part for part in (*parts, source[end:]) if part)
