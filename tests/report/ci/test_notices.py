"""What a build server is told, in each of its formats, whatever a server says."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.report.builders import NASTY, clean, make_run, nasty_run, nginx_run, postgres_run
from tlsprobe.model.causes import Cause
from tlsprobe.model.explanation import (
    ExplainedFlow,
    ExplainedReset,
    Explanation,
    Harm,
    InputFacts,
    Trouble,
    TroubleKind,
)
from tlsprobe.model.judgement import Confidence, Reader, Reset, Verdict
from tlsprobe.model.run import Change, Deviation, Run
from tlsprobe.model.trace import Side
from tlsprobe.report.ci.github import MOST, github_lines, summary_part
from tlsprobe.report.ci.gitlab import render_gitlab
from tlsprobe.report.ci.notice import About, Notice, Place, Since, Weight
from tlsprobe.report.ci.of_explanation import notices_of_explanation
from tlsprobe.report.ci.of_run import notice_of_failure, notices_of_run
from tlsprobe.report.ci.sarif import render_sarif

SCHEMA = Path(__file__).parents[2] / "data" / "schemas" / "sarif-2.1.0-rtm.5.json.gz"

ABOUT = About("kind", "what it is about")
NOTICE = Notice("id", ABOUT, Weight.ERROR, "target", "the title", ("a line",))


def sarif(notices: list[Notice]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(render_sarif(notices))
    jsonschema.Draft4Validator(json.loads(gzip.decompress(SCHEMA.read_bytes()))).validate(document)
    return document


def told(run: Run, fail_on: str = "warn") -> list[tuple[str, Weight]]:
    return [(notice.id, notice.weight) for notice in notices_of_run(run, fail_on)]


@pytest.mark.parametrize(
    ("fail_on", "weight"),
    [("warn", Weight.ERROR), ("fail", Weight.WARNING), ("never", Weight.WARNING)],
)
def test_a_behaviour_is_an_error_if_the_command_fails_on_it(fail_on: str, weight: Weight) -> None:
    name = "reset-before-fin/goodbye/unread-data-at-close/ending"
    assert told(postgres_run(), fail_on) == [(name, weight)]


def test_a_notice_says_harm_place_cause_remedy_and_packets() -> None:
    (notice,) = notices_of_run(postgres_run(), "warn")
    assert notice.title.startswith(
        "postgres: RST in place of a FIN behind the goodbye: unread-data"
    )
    assert notice.title.endswith("(40 of 40)")
    text = "\n".join(notice.lines)
    assert "seen in: terminate-close-notify TLS 1.2 (20/20), terminate-close-notify TLS 1.3" in text
    assert "do: Send Terminate and close without a close_notify." in text
    assert "again: tlsprobe run --target 127.0.0.1:5432" in text
    assert notice.lines[-1].startswith(">")
    assert "RST+ACK, window 512" in notice.lines[-1]
    assert notice.about.url == "" or notice.about.url.startswith("https://www.rfc-editor.org/")


@pytest.mark.parametrize(
    ("fail_on", "allow", "weight"),
    [
        ("warn", False, Weight.ERROR),
        ("warn", True, Weight.WARNING),
        ("never", False, Weight.WARNING),
    ],
)
def test_what_has_no_answer_is_told(fail_on: str, allow: bool, weight: Weight) -> None:
    lost = replace(clean("a"), verdict=Verdict.INCONCLUSIVE, reason="holes in the capture")
    run = make_run(lost, replace(lost, sequence="b"), clean("c"))
    (notice,) = notices_of_run(run, fail_on, allow_unmeasured=allow)
    assert notice.weight is weight
    assert notice.title == "postgres: 2 cells inconclusive: holes in the capture"
    assert notice.lines == ("no answer from: a TLS 1.3, b TLS 1.3",)


def test_what_cannot_be_asked_of_a_server_is_no_error() -> None:
    ended = {"ended-with-response": clean("a").trials}
    moot = replace(clean("a"), verdict=Verdict.INCONCLUSIVE, reason="with it", left_out=ended)
    (notice,) = notices_of_run(make_run(moot, clean("c")), "warn")
    assert notice.weight is Weight.NOTE


def test_certain_changes_are_errors() -> None:
    worse = Deviation("terminate", "1.3", Change.WORSE, True, ("RSTs now.",))
    perhaps = Deviation("terminate", "1.2", Change.DIFFERENT, False, ("Perhaps.",))
    run = replace(make_run(clean()), deviations=(worse, perhaps))
    (notice,) = notices_of_run(run, "never")
    assert notice.weight is Weight.ERROR
    assert notice.title == "postgres: terminate TLS 1.3: worse since the baseline"
    assert notice.lines == ("RSTs now.",)


def test_sarif_is_valid_and_whole() -> None:
    failed = notice_of_failure("db:5432", "connection refused")
    place = Place("tls probe.toml", 7)
    document = sarif([*notices_of_run(nginx_run(), "warn", place=place), failed])
    (run,) = document["runs"]
    rules = run["tool"]["driver"]["rules"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    assert [r["level"] for r in run["results"]] == ["error"] * len(run["results"])
    where = run["results"][0]["locations"][0]
    assert where["physicalLocation"] == {
        "artifactLocation": {"uri": "tls%20probe.toml"},
        "region": {"startLine": 7},
    }
    assert where["logicalLocations"][0]["name"] == "nginx"
    helped = {rule["id"]: rule["help"]["text"] for rule in rules}
    assert helped["unmeasured"].startswith("A cell without an answer")


def test_sarif_has_state_and_suppression() -> None:
    notices = [
        replace(NOTICE, since=Since.NEW),
        replace(NOTICE, id="b", since=Since.SAME, waived="a known defect, mended in 2.1"),
    ]
    new, waived = sarif(notices)["runs"][0]["results"]
    assert (new["baselineState"], waived["baselineState"]) == ("new", "unchanged")
    assert waived["suppressions"][0]["justification"] == "a known defect, mended in 2.1"
    assert "suppressions" not in new
    assert new["partialFingerprints"] != waived["partialFingerprints"]


def test_nothing_to_say_is_still_valid_sarif() -> None:
    assert sarif([])["runs"][0]["results"] == []
    assert json.loads(render_gitlab([])) == []


def test_gitlab_gets_its_fields_and_none_that_are_waived_or_gone() -> None:
    gone = replace(NOTICE, id="gone", since=Since.GONE)
    waived = replace(NOTICE, id="waived", waived="known")
    (issue,) = json.loads(render_gitlab([NOTICE, gone, waived]))
    assert issue == {
        "description": "target: the title\na line",
        "check_name": "kind",
        "fingerprint": NOTICE.fingerprint,
        "severity": "major",
        "location": {"path": "tlsprobe.toml", "lines": {"begin": 1}},
    }


def test_gitlab_takes_severity_from_harm() -> None:
    (issue,) = json.loads(render_gitlab(notices_of_run(postgres_run(), "never")))
    assert issue["severity"] in {"critical", "major"}
    (issue,) = json.loads(render_gitlab([replace(NOTICE, weight=Weight.NOTE)]))
    assert issue["severity"] == "info"


def test_github_escapes_what_would_be_a_command() -> None:
    evil = replace(
        NOTICE,
        title="a, b: 100 %\n::error::no",
        lines=("50 %", "::warning::x\r::error::y", NASTY),
        place=Place("a,b:c.toml", 3),
    )
    (line,) = github_lines([evil])
    head, _, message = line.partition("::50 %25%0A")
    assert head == (
        "::error file=a%2Cb%3Ac.toml,line=3,title=a%2C b%3A 100 %25\\n%3A%3Aerror%3A%3Ano"
    )
    assert message
    assert line.isprintable()


def test_github_shows_ten_of_a_kind_and_counts_the_rest() -> None:
    many = [replace(NOTICE, id=str(number)) for number in range(25)]
    lines = list(github_lines([*many, replace(NOTICE, weight=Weight.NOTE)]))
    errors = [line for line in lines if line.startswith("::error ")]
    assert len(errors) == MOST
    assert errors[-1].endswith("::16 more like these: see the step summary")
    assert lines[-1].startswith("::notice ")


def test_a_waived_notice_says_so() -> None:
    (line,) = github_lines([replace(NOTICE, waived="known", weight=Weight.NOTE)])
    assert line == "::notice title=the title::a line%0Awaived: known"


def test_a_summary_is_cut_at_a_line() -> None:
    page = "# é\n" + "line\n" * 100
    assert summary_part(page, 10_000) == page
    cut = summary_part(page, 100)
    assert len(cut.encode()) <= 100
    assert cut.startswith("# é\nline\n")
    assert cut.endswith("Cut: the rest is in the results folder.\n")
    assert summary_part(page, 3) == ""


@pytest.mark.parametrize("fail_on", ["warn", "never"])
def test_nothing_that_a_server_says_breaks_a_format(fail_on: str) -> None:
    run = replace(nasty_run(), deviations=(Deviation(NASTY, NASTY, Change.WORSE, True, (NASTY,)),))
    notices = [*notices_of_run(run, fail_on), notice_of_failure(NASTY, NASTY, Place(NASTY))]
    for text in (json.dumps(sarif(notices)), render_gitlab(notices).decode()):
        assert "\x1b" not in json.dumps(json.loads(text), ensure_ascii=False)
        assert "\u202e" not in json.dumps(json.loads(text), ensure_ascii=False)
    for line in github_lines(notices):
        assert line.isprintable()
        assert line.startswith(("::error ", "::warning ", "::notice "))


RESET = Reset(
    Side.SERVER, 9, 1_790_000_000, True, Cause.UNREAD_AT_CLOSE, Confidence.HIGH, ("why",), ()
)


def test_a_capture_is_told_by_kind_of_reset_and_of_trouble() -> None:
    reset = ExplainedReset(RESET, harm=Harm.ERROR)
    trouble = Trouble(TroubleKind.CUT_SHORT, Side.SERVER, (4,), 1, octets=7, what="record")
    flows = [
        ExplainedFlow(f"10.0.0.1:{port}", "10.0.0.2:443", "n r", Reader.RESET, True, (reset,))
        for port in (1, 2, 3)
    ]
    cut = ExplainedFlow(
        "10.0.0.1:9", "10.0.0.2:443", "f", Reader.EOF, True, (), troubles=(trouble,)
    )
    explanation = Explanation(InputFacts("a.pcap", "pcap", 20), (*flows, cut))
    first, second = notices_of_explanation(explanation)
    assert first.weight is Weight.ERROR
    assert first.title == (
        "10.0.0.2:443: the server sent an RST in place of a FIN: unread-data-at-close"
        " (3 connections)"
    )
    assert first.place == Place("a.pcap")
    assert (second.weight, second.about.name) == (Weight.WARNING, "trouble-cut-short")
    sarif([first, second])
    piped = replace(explanation, source=InputFacts("-", "text", 20))
    assert {notice.place for notice in notices_of_explanation(piped)} == {None}
