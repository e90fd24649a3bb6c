"""Stories that several tests of the rules tell, and what the rules make of a trace."""

from __future__ import annotations

from dataclasses import replace

from tests.judge.playbook import ALERT, C, S
from tlsprobe.judge.causes import resets_of
from tlsprobe.judge.closing import axes_of, closing_of, outcome_of
from tlsprobe.judge.path import as_delivered, cut_off
from tlsprobe.judge.rules import RULES, apply_rules, rule_input
from tlsprobe.model.judgement import Result, RuleResult
from tlsprobe.model.knowledge import NOTHING_KNOWN, Knowledge
from tlsprobe.model.trace import (
    Drive,
    DriverEvent,
    EventKind,
    Record,
    RecordKind,
    Remark,
    RemarkKind,
    Side,
    Trace,
)

PASS, FAIL, WARN, INFO = Result.PASS, Result.FAIL, Result.WARN, Result.INFO
NOT_APPLICABLE = Result.NOT_APPLICABLE

ORDERLY = (C.notify(), S.notify() + S.fin(), C.fin())
BARE_FIN = (C.notify(), S.fin())
SERVER_LEADS = (S.notify() + S.fin(), C.notify(), C.fin())
SERVER_DROPS = (S.fin(), C.fin())
POSTGRES = (C.goodbye(), C.notify(), S.notify(), S.rst(active=True))
NGINX = (S.notify() + S.fin(), C.notify(), S.rst())
HALF_CLOSE = C.request() + C.notify()
LAST_REQUEST = (C.goodbye(asks=True), S.response())


def results(trace: Trace, knowledge: Knowledge = NOTHING_KNOWN) -> dict[str, RuleResult]:
    came = as_delivered(trace)
    closing, resets = closing_of(came), resets_of(trace, knowledge)
    axes = axes_of(came, closing)
    outcome = outcome_of(came, closing, axes)
    case = rule_input(
        *(came, closing, axes, outcome, resets),
        knowledge=knowledge,
        seen=closing_of(trace),
        cut_off=cut_off(trace, came),
    )
    silent = {id_: RuleResult(id_, rule.level, NOT_APPLICABLE, "") for id_, rule in RULES.items()}
    return silent | {result.rule: result for result in apply_rules(case)}


def result(rule: str, trace: Trace, knowledge: Knowledge = NOTHING_KNOWN) -> Result:
    return results(trace, knowledge)[rule].result


def goaway(last: int, error: int = 0) -> Remark:
    return Remark(RemarkKind.GOAWAY, f"goaway last={last} error={error}", last, error)


def driven(trace: Trace, **changes: object) -> Trace:
    """The same packets, with another word of the driver's."""
    return replace(trace, drive=replace(trace.drive, **changes))  # type: ignore[arg-type]


def with_event(trace: Trace, deed: EventKind) -> Trace:
    last = trace.drive.events[-1]
    return driven(trace, events=(*trace.drive.events, DriverEvent(last.time_ns, deed)))


def with_close_notify(trace: Trace) -> Trace:
    """The driver says that it sent a close_notify behind everything on the wire."""
    drive: Drive = trace.drive
    end = max(r.end for r in drive.records if r.side is Side.CLIENT)
    sent = Record(Side.CLIENT, end, end + ALERT, RecordKind.CLOSE_NOTIFY, 0, (1, 0))
    return driven(trace, records=(*drive.records, sent))
