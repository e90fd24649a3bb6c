"""Whom the rules about an RST name: the server only where more than the RST itself says so.

ARCHITECTURE.md, "What we may not conclude": from an RST of which only its own header says that the
server sent it, that the server did.
"""

from __future__ import annotations

import pytest

from tests.judge.playbook import C, Line, S, play
from tests.judge.test_maker import made_on_the_way
from tlsprobe.judge.verdict import judge
from tlsprobe.model.judgement import Level, Result, RuleResult
from tlsprobe.model.knowledge import NOTHING_KNOWN, Knowledge
from tlsprobe.model.trace import Trace

NEAR = Knowledge(near=True)
INSTEAD = play(C.notify(), S.rst(active=True))
BEHIND = play(S.notify() + S.fin(), C.notify(), S.rst())


def said(rule: str, trace: Trace, knowledge: Knowledge) -> RuleResult:
    return next(r for r in judge(trace, knowledge).results if r.rule == rule)


@pytest.mark.parametrize(
    ("knowledge", "names", "result"),
    [
        (NEAR, "the server reset in place of a FIN", Result.WARN),
        (NOTHING_KNOWN, "a reset in the server's name came in place of a FIN", Result.WARN),
        (made_on_the_way(INSTEAD), "a reset that the server did not make came", Result.INFO),
    ],
)
def test_an_rst_in_place_of_a_fin_is_the_servers_only_where_something_else_says_so(
    knowledge: Knowledge, names: str, result: Result
) -> None:
    found = said("INTEROP-RESET-BEFORE-FIN", INSTEAD, knowledge)
    assert (found.result, found.level) == (result, Level.INTEROP)
    assert found.text.startswith(names)
    assert "ECONNRESET" in found.text
    assert ("nothing but the RST itself" in found.text) is (knowledge is NOTHING_KNOWN)


@pytest.mark.parametrize(
    ("knowledge", "names"),
    [(NEAR, "the server reset after its FIN"), (NOTHING_KNOWN, "a reset in the server's name")],
)
def test_an_rst_behind_a_fin_likewise(knowledge: Knowledge, names: str) -> None:
    found = said("INTEROP-RESET-AFTER-FIN", BEHIND, knowledge)
    assert found.result is Result.INFO
    assert found.text.startswith(names)


@pytest.mark.parametrize("end", [(S.fin(),), (C.fin(), S.fin()), (S.notify() + S.fin(),)])
def test_a_fin_is_no_reset(end: tuple[Line, ...]) -> None:
    trace = play(*end)
    assert said("INTEROP-RESET-BEFORE-FIN", trace, NOTHING_KNOWN).result is Result.PASS
    assert said("INTEROP-RESET-AFTER-FIN", trace, NOTHING_KNOWN).result is Result.PASS
