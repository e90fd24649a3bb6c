"""A fuzz run as JUnit XML: a case for each property that was asked."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree as ET

from tlsprobe.model.fuzz import FuzzRun
from tlsprobe.report.ci.of_fuzz import counting, describe_failure, is_starved
from tlsprobe.report.escape import printable
from tlsprobe.report.ladder import aligned, rungs_of


def render_fuzz_junit(run: FuzzRun, fail_on: str) -> bytes:
    """The document: a suite for the target, a case for each property that was asked."""
    failures = counting(run, fail_on)
    root = ET.Element("testsuites", name="tlsprobe fuzz")
    starved = is_starved(run)
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
            said.set("type", broken[0].rule)
            said.text = _text(map(describe_failure, broken))
            packets = (rungs_of(failure.ladder) for failure in broken)
            ET.SubElement(case, "system-out").text = _text(
                line for p in packets for line in aligned(p)
            )
        elif starved:
            ET.SubElement(case, "error", message=printable(f"too little tried: {run.ended_by}"))
    ET.indent(root, " ")
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _text(lines: Iterable[str]) -> str:
    return "\n".join(map(printable, lines))
