"""JUnit XML: parsed back, counted, and valid whatever a server says."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from tests.report.builders import (
    NASTY,
    clean,
    make_run,
    nasty_run,
    nginx_run,
    postgres_run,
    unsupported,
)
from tlsprobe.model.judgement import Verdict
from tlsprobe.model.run import Change, Deviation, Run
from tlsprobe.report.ci.junit import render_junit


def suite_of(run: Run, fail_on: str = "fail") -> ET.Element:
    (suite,) = ET.fromstring(render_junit([run], fail_on))
    return suite


def kinds_of(suite: ET.Element) -> dict[str | None, str]:
    return {case.get("name"): case[0].tag for case in suite.iter("testcase")}


def test_a_suite_for_each_target_and_a_case_for_each_cell() -> None:
    root = ET.fromstring(render_junit([postgres_run(), nginx_run()]))
    assert root.tag == "testsuites"
    assert [suite.get("name") for suite in root] == ["postgres", "nginx"]
    names = [case.get("name") for case in root[0].iter("testcase")]
    assert names == [
        "terminate TLS 1.2",
        "terminate TLS 1.3",
        "terminate-close-notify TLS 1.2",
        "terminate-close-notify TLS 1.3",
    ]


@pytest.mark.parametrize(("fail_on", "failures"), [("fail", 2), ("warn", 3), ("never", 0)])
def test_failures_are_what_fail_on_says(fail_on: str, failures: int) -> None:
    suite = suite_of(nginx_run(), fail_on)
    assert suite.get("failures") == str(failures)
    assert len(list(suite.iter("failure"))) == failures
    assert suite.get("tests") == "3"


def test_no_answer_is_neither_failure_nor_success() -> None:
    cells = (
        replace(clean("a"), verdict=Verdict.INCONCLUSIVE, reason="holes in the capture"),
        replace(clean("b"), verdict=Verdict.ERROR, reason="no route"),
        unsupported("c", "1.3"),
        clean("d"),
        replace(
            clean("e"),
            verdict=Verdict.INCONCLUSIVE,
            left_out={"ended-with-response": clean("e").trials},
        ),
    )
    suite = suite_of(make_run(*cells))
    assert kinds_of(suite) == {
        "a TLS 1.3: could not be measured": "error",
        "b TLS 1.3: could not be measured": "error",
        "c TLS 1.3": "skipped",
        "d TLS 1.3": "system-out",
        "e TLS 1.3": "skipped",
    }
    assert (suite.get("errors"), suite.get("skipped")) == ("2", "2")
    messages = [child.get("message") for case in suite.iter("testcase") for child in case]
    assert messages[:3] == [
        "inconclusive: holes in the capture",
        "error: no route",
        "unsupported: the server speaks only TLS 1.3",
    ]


def test_a_failure_tells_steps_finding_and_cause() -> None:
    suite = suite_of(postgres_run(), "warn")
    names = [case.get("name") for case in suite.iter("testcase")]
    assert names[1:3] == [
        "terminate TLS 1.3",
        "terminate-close-notify TLS 1.2: RST in place of a FIN, unread-data-at-close",
    ]
    packets = [out.text or "" for out in suite.iter("system-out")][2].splitlines()
    assert packets[0] == "trial 7 (G N n r):"
    assert packets[-1].startswith(">")
    failure = next(suite.iter("failure"))
    assert failure.get("type") == "warn"
    assert str(failure.get("message")).startswith("warn INTEROP-RESET-BEFORE-FIN: The server reset")
    told = (failure.text or "").splitlines()
    assert told[:3] == [
        "steps: request; terminate; close_notify; drain",
        "outcome: reset-before-fin",
        "on the wire: G N n r",
    ]
    assert "cause of the server's RST: unread-data-at-close (high, 20 trials)" in told
    assert "- Send Terminate and close without a close_notify." in told


def test_nasty_text_is_still_xml() -> None:
    run = nasty_run()
    text = render_junit([run], unmeasured=NASTY).decode()
    assert not set(text) & set(map(chr, (*range(9), 11, 12, *range(14, 32), 0x202E)))
    root = ET.fromstring(text)
    assert "[31mred|" in str(root[0].get("name"))
    assert {case[0].tag for case in root.iter("testcase")} == {"failure", "error"}


def test_deviations_from_a_baseline_are_failures() -> None:
    worse = Deviation("terminate", "1.3", Change.WORSE, True, ("RSTs now.", "ResumeState: none."))
    chance = Deviation("terminate", "1.2", Change.DIFFERENT, False, ("Perhaps.",))
    gone = Deviation("abort", "1.3", Change.MISSING, True, ("It was not measured.",))
    whole = Deviation("", "", Change.DIFFERENT, True, ("Another profile.",))
    run = replace(postgres_run(), deviations=(worse, chance, gone, whole))
    suite = suite_of(run, "never")
    failures = {name for name, kind in kinds_of(suite).items() if kind == "failure"}
    assert failures == {
        "terminate TLS 1.3: worse since the baseline",
        "abort TLS 1.3",
        "the whole run",
    }
    assert (suite.get("tests"), suite.get("failures")) == ("6", "3")
    messages = {failure.get("message") for failure in suite.iter("failure")}
    assert "worse since the baseline: RSTs now. ResumeState: none." in messages


def test_what_could_not_be_measured_is_an_error() -> None:
    root = ET.fromstring(render_junit([], unmeasured="connection refused"))
    (error,) = root.iter("error")
    assert error.get("message") == "connection refused"
