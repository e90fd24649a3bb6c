"""A fuzz run for a build server: JUnit XML with a case for each property, and lines for a forge."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree as ET

from tlsprobe.model.fuzz import FuzzFailure, FuzzRun
from tlsprobe.model.judgement import Level
from tlsprobe.report.escape import printable
from tlsprobe.report.pages.fuzz import describe_confirmation


def counting(run: FuzzRun, fail_on: str) -> tuple[FuzzFailure, ...]:
    """The failures that count: not known before, and as grave as ``--fail-on`` asks for."""
    new = (failure for failure in run.failures if not failure.known)
    if fail_on == "never":
        return ()
    return tuple(f for f in new if fail_on == "warn" or f.level == Level.MUST)


def render_fuzz_junit(run: FuzzRun, fail_on: str) -> bytes:
    """The document: a suite for the target, a case for each property that was asked."""
    failures = counting(run, fail_on)
    root = ET.Element("testsuites", name="tlsprobe fuzz")
    starved = run.starved and not run.failures
    suite = ET.SubElement(
        root,
        "testsuite",
        name=printable(run.target.name),
        tests=str(len(run.properties)),
        failures=str(len({failure.property for failure in failures})),
        errors=str(len(run.properties) if starved else 0),
        timestamp=run.started.removesuffix("Z"),
        hostname=printable(run.target.host),
    )
    for name in run.properties:
        case = ET.SubElement(suite, "testcase", name=name, classname=f"tlsprobe.{run.target.name}")
        broken = [failure for failure in failures if failure.property == name]
        if broken:
            said = ET.SubElement(case, "failure", message=printable(broken[0].text))
            said.text = printable("\n".join(map(_line, broken)))
        elif starved:
            ET.SubElement(case, "error", message=printable(f"too little tried: {run.ended_by}"))
    ET.indent(root, " ")
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def github_lines(run: FuzzRun, fail_on: str) -> Iterator[str]:
    """A workflow command for each failure: an error if it counts, else a notice."""
    counts = counting(run, fail_on)
    for failure in run.failures:
        kind = "error" if failure in counts else "notice"
        title = _property(f"{failure.property} ({failure.rule})")
        yield f"::{kind} title={title}::{_data(_line(failure))}"


def _line(failure: FuzzFailure) -> str:
    versions = " and ".join(failure.versions or (failure.tls,))
    known = " (known)" if failure.known else ""
    what = f"{failure.steps} in TLS {versions}: {failure.text}"
    return f"{what}; {describe_confirmation(failure)}; {failure.file}{known}"


def _data(text: str) -> str:
    """A message as workflow commands escape it."""
    return printable(text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A"))


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
