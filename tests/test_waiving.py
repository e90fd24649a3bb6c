"""Waivers: what they let pass, until when, and what is left of a verdict."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from xml.etree import ElementTree as ET

import pytest

from tests.report.builders import bare_fin, clean, make_run, postgres_reset, postgres_run
from tests.report.drawn import in_order, on_terminal, words
from tlsprobe.cli.exit_codes import verdict_exit
from tlsprobe.model.judgement import Level, Result, Verdict
from tlsprobe.model.run import Finding, Run
from tlsprobe.model.waiver import Waiver, WaiverState
from tlsprobe.report.ci.junit import render_junit
from tlsprobe.report.ci.notice import Weight
from tlsprobe.report.ci.of_run import notices_of_run
from tlsprobe.report.pages.run import brief_page, run_page
from tlsprobe.report.render_html import render_html
from tlsprobe.report.waivers import describe_waiver
from tlsprobe.waiving import standing_verdict, waived

TODAY = date(2026, 11, 26)
RESETS = Waiver("known", behaviour="reset-before-fin", where="tlsprobe.toml:3")


def with_waiver(run: Run, waiver: Waiver = RESETS) -> Run:
    return waived(run, [waiver], TODAY)


@pytest.mark.parametrize(
    ("waiver", "code"),
    [
        (RESETS, 0),
        (Waiver("", behaviour="reset-before-fin/goodbye/unread-data-at-close/ending"), 0),
        (Waiver("", behaviour="reset-*"), 0),
        (Waiver("", rule="INTEROP-RESET-BEFORE-FIN"), 0),
        (Waiver("", rule="INTEROP-*", sequence="terminate-close-notify"), 0),
        (Waiver("", rule="INTEROP-*", tls="1.3"), 1),
        (Waiver("", rule="*", target="127.0.0.1:5432"), 0),
        (Waiver("", rule="*", target="postgres"), 0),
        (Waiver("", rule="*", target="nginx"), 1),
        (Waiver("", behaviour="reset"), 1),
        (Waiver("", sequence="terminate"), 1),
    ],
)
def test_what_is_waived_makes_nothing_fail(waiver: Waiver, code: int) -> None:
    assert verdict_exit([with_waiver(postgres_run(), waiver)], "warn") == code


@pytest.mark.parametrize(
    ("until", "state", "code"),
    [
        ("2026-11-25", WaiverState.EXPIRED, 1),
        ("2026-11-26", WaiverState.USED, 0),
        ("", WaiverState.USED, 0),
    ],
)
def test_a_waiver_holds_until_its_day_is_over(until: str, state: WaiverState, code: int) -> None:
    run = with_waiver(postgres_run(), replace(RESETS, until=until))
    assert run.waivers[0].state is state
    assert len(run.waivers[0].findings) == 2
    assert verdict_exit([run], "warn") == code


def test_other_findings_of_the_cell_still_count() -> None:
    other = Finding("TLS13-ALPN", Level.MUST, Result.FAIL, 20, "another thing")
    cell = replace(postgres_reset(), verdict=Verdict.FAIL)
    cell = replace(cell, findings=(*cell.findings, other))
    run = with_waiver(make_run(cell))
    assert standing_verdict(run, cell) is Verdict.FAIL
    assert verdict_exit([run], "fail") == 1


def test_what_says_no_more_than_a_waived_behaviour_is_waived_with_it() -> None:
    silent = Finding("TLS13-NOTIFY", Level.MUST, Result.FAIL, 20, "no close_notify before the end")
    cell = postgres_reset()
    kept = tuple(f for f in cell.findings if f.rule != "TLS13-NOTIFY")
    cell = replace(cell, verdict=Verdict.FAIL, findings=(*kept, silent))
    run = with_waiver(make_run(cell))
    assert standing_verdict(run, cell) is Verdict.PASS


@pytest.mark.parametrize("verdict", [Verdict.INCONCLUSIVE, Verdict.ERROR])
def test_what_has_no_answer_cannot_be_waived(verdict: Verdict) -> None:
    cell = replace(postgres_reset(), verdict=verdict)
    run = with_waiver(make_run(cell, clean()))
    assert standing_verdict(run, cell) is verdict
    assert verdict_exit([run], "warn") == 1


def test_a_run_says_of_its_waivers_what_became_of_them() -> None:
    unused = Waiver("gone", behaviour="leak", where="tlsprobe.toml:9")
    expired = replace(RESETS, until="2026-01-01")
    run = waived(postgres_run(), [RESETS, unused, expired], TODAY)
    assert [describe_waiver(use.waiver, [use]) for use in run.waivers] == [
        "waived (tlsprobe.toml:3): 2 findings of behaviour reset-before-fin: known",
        "warning: tlsprobe.toml:9: the waiver of behaviour leak is unused: remove it",
        "warning: tlsprobe.toml:3: the waiver of behaviour reset-before-fin expired on 2026-01-01:"
        " 2 findings of it count again",
    ]


def test_build_servers_are_told_that_it_is_waived() -> None:
    run = with_waiver(postgres_run(), replace(RESETS, until="2027-01-01"))
    (notice,) = notices_of_run(run, "warn")
    assert (notice.weight, notice.waived) == (Weight.NOTE, "known (until 2027-01-01)")
    (suite,) = ET.fromstring(render_junit([run], "warn"))
    assert (suite.get("failures"), suite.get("skipped")) == ("0", "2")
    assert {skip.get("message") for skip in suite.iter("skipped")} == {
        "waived: known (until 2027-01-01)"
    }


def test_a_case_that_fails_says_what_fails_it_and_which_finding_is_waived() -> None:
    bare = Finding("TLS13-NOTIFY", Level.MUST, Result.FAIL, 20, "no close_notify before the end")
    reset = postgres_reset()
    cell = replace(reset, verdict=Verdict.FAIL, findings=(bare, *reset.findings[1:]))
    run = with_waiver(make_run(cell), Waiver("known", rule="TLS13-NOTIFY"))
    (failure,) = ET.fromstring(render_junit([run], "warn")).iter("failure")
    assert failure.get("message", "").startswith("warn INTEROP-RESET-BEFORE-FIN: ")
    said = [line.endswith("; waived: known") for line in (failure.text or "").splitlines()]
    assert said.count(True) == 1
    (skipped,) = ET.fromstring(render_junit([run], "fail")).iter("skipped")
    assert skipped.get("message") == "waived: known"


def test_pages_say_that_it_is_waived_by_whom_and_why() -> None:
    waiver = replace(RESETS, until="2027-01-01", by="the platform team")
    run = with_waiver(postgres_run(), waiver)
    text = words(on_terminal(run_page([run])))
    assert "nothing to report but 1 waived behaviour" in text
    in_order(text, ["waived RST in place of a FIN", "waived known (by the platform team, until"])
    assert "without the waiver: breaks" in text
    assert "4 cells: 2 pass, 2 warn; 2 of them waived" in text
    brief = on_terminal(brief_page(run))
    assert ("hurts" in brief, "waiver" in brief) == (False, True)
    drawn = render_html(run_page([run]))
    assert 'class="card h-waived"' in drawn
    assert "h-breaks" not in re.sub(r"(?s)<(style|script).*?</\1>", "", drawn)
    (suite,) = ET.fromstring(render_junit([run], "warn"))
    (told,) = (p.get("value", "") for p in suite.iter("property") if p.get("name") == "behaviour.1")
    assert told.startswith("waived: RST in place of a FIN")
    assert "known (by the platform team" in told


def test_what_is_waived_stands_behind_what_counts() -> None:
    silent = Finding("TLS13-NOTIFY", Level.MUST, Result.FAIL, 20, "no close_notify before the end")
    bare = replace(clean("close-notify-fin"), verdict=Verdict.FAIL, findings=(silent,))
    run = with_waiver(make_run(postgres_reset(), bare))
    assert [(one.kind, one.waived) for one in run.behaviours] == [
        ("no-close-notify", ""),
        ("reset-before-fin", "known"),
    ]
    text = words(on_terminal(brief_page(run)))
    assert "1 behaviour to know, it breaks nothing; 1 more waived." in text
    assert [one.kind for one in waived(run, [Waiver("", rule="X")], TODAY).behaviours] == [
        "reset-before-fin",
        "no-close-notify",
    ]


def test_a_behaviour_that_is_waived_in_part_still_counts() -> None:
    run = with_waiver(postgres_run(), replace(RESETS, tls="1.3"))
    (notice,) = notices_of_run(run, "warn")
    assert (notice.weight, notice.waived) == (Weight.ERROR, "")


def test_without_waivers_a_run_stays_as_it_is() -> None:
    run = make_run(bare_fin())
    assert waived(run, [], TODAY) is run
