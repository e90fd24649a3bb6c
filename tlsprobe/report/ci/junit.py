"""JUnit XML, which build servers read: a suite for each target, a case for each cell.

A case that passed is named by its sequence and TLS version; the name of one that did not says what
happened as well, since many build servers list names alone.

XML cannot hold most control characters, not even escaped, so that all text goes through
``printable`` first: it spells them out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from xml.etree import ElementTree as ET

from tlsprobe.behaviours import behaviours_of
from tlsprobe.model.behaviour import Behaviour
from tlsprobe.model.judgement import FAIL_ON, UNMEASURED, Result, Verdict
from tlsprobe.model.run import Cell, Deviation, Finding, Run
from tlsprobe.report.ci.of_run import ladder_lines
from tlsprobe.report.escape import printable
from tlsprobe.report.matrix import describe_outcomes, describe_wire
from tlsprobe.report.pages.behaviours import describe, tag_of
from tlsprobe.report.plurals import counted, in_short
from tlsprobe.report.sentences import describe_capture, describe_host
from tlsprobe.waiving import standing_verdict, waiver_of

_BAD = (Result.FAIL, Result.WARN, Result.ERROR)


def render_junit(runs: Sequence[Run], fail_on: str = "fail", unmeasured: str = "") -> bytes:
    """The document. ``fail_on`` is ``fail``, ``warn`` or ``never``, as on the command line.

    Certain deviations from a baseline are failures whatever it says. ``unmeasured`` says why a
    target could not be measured: an error of its own, lest nothing at all pass for success.
    """
    root = ET.Element("testsuites", name="tlsprobe")
    root.extend(_suite(run, fail_on) for run in runs)
    if unmeasured:
        suite = ET.SubElement(root, "testsuite", name="unmeasured", tests="1", errors="1")
        case = ET.SubElement(suite, "testcase", name="measured", classname="tlsprobe")
        ET.SubElement(case, "error", message=printable(unmeasured))
    ET.indent(root, " ")
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _suite(run: Run, fail_on: str) -> ET.Element:
    found = behaviours_of(run)
    cases = [*(_case(run, cell, fail_on, found) for cell in run.cells), *_elsewhere(run)]
    kinds = [child.tag for case in cases for child in case]
    suite = ET.Element(
        "testsuite",
        name=printable(run.target.name),
        tests=str(len(cases)),
        failures=str(kinds.count("failure")),
        errors=str(kinds.count("error")),
        skipped=str(kinds.count("skipped")),
        timestamp=run.started.removesuffix("Z"),
        hostname=printable(run.target.host),
    )
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(run, found):
        ET.SubElement(properties, "property", name=name, value=printable(value))
    suite.extend(cases)
    return suite


def _properties(run: Run, found: Sequence[Behaviour]) -> Iterator[tuple[str, str]]:
    yield "tlsprobe", run.tool.version
    yield "target", str(run.target)
    yield "profile", run.target.profile
    yield "host", describe_host(run)
    yield "capture", describe_capture(run.capture)
    for number, one in enumerate(found, 1):
        told = f"{describe(one)} ({in_short(one.count, one.asked, one.trials)})"
        why = f"; because: {one.waived}" if one.waived else ""
        yield f"behaviour.{number}", f"{tag_of(one).word}: {told}{why}"


def _case(run: Run, cell: Cell, fail_on: str, found: Sequence[Behaviour]) -> ET.Element:
    change = [one for one in _certain(run) if (one.sequence, one.tls) == (cell.sequence, cell.tls)]
    kind = "failure" if change else _kind(run, cell, fail_on)
    happened = "" if kind in {None, "skipped"} else _happened(cell, change, found)
    case = _element(run, cell.sequence, cell.tls, happened)
    if kind is not None:
        message = _describe_change(change[0]) if change else _message(run, cell, kind)
        said = ET.SubElement(case, kind, message=printable(message))
        if kind != "skipped":
            said.set("type", str(change[0].change if change else cell.verdict))
            said.text = _text(_lines(run, cell))
    packets = [] if cell.example is None else list(ladder_lines(cell))
    shown = [*(_lines(run, cell) if kind is None else ()), *packets]
    if shown:
        ET.SubElement(case, "system-out").text = _text(shown)
    return case


def _happened(cell: Cell, change: Sequence[Deviation], found: Sequence[Behaviour]) -> str:
    """What a cell showed, in a few words: a change, or its worst behaviour."""
    if change:
        return f"{change[0].change} since the baseline"
    if cell.verdict in UNMEASURED:
        return "could not be measured"
    for one in found:
        if any((seen.sequence, seen.tls) == (cell.sequence, cell.tls) for seen in one.seen):
            return f"{one.sentence}, {one.cause}" if one.cause else one.sentence
    return describe_outcomes(cell)


def _elsewhere(run: Run) -> Iterator[ET.Element]:
    """Deviations that belong to no cell of the run: of the whole run, or of cells it lacks."""
    there = {(cell.sequence, cell.tls) for cell in run.cells}
    for one in _certain(run):
        if (one.sequence, one.tls) not in there:
            case = _element(run, one.sequence or "the whole run", one.tls)
            said = ET.SubElement(case, "failure", message=printable(_describe_change(one)))
            said.set("type", str(one.change))
            yield case


def _certain(run: Run) -> list[Deviation]:
    return [one for one in run.deviations or () if one.certain]


def _describe_change(deviation: Deviation) -> str:
    return f"{deviation.change} since the baseline: {' '.join(deviation.sentences)}"


def _element(run: Run, sequence: str, tls: str, happened: str = "") -> ET.Element:
    name = f"{sequence} TLS {tls}" if tls else sequence
    name = f"{name}: {happened}" if happened else name
    return ET.Element("testcase", name=printable(name), classname=printable(run.target.name))


def _kind(run: Run, cell: Cell, fail_on: str) -> str | None:
    if cell.verdict is Verdict.UNSUPPORTED or cell.is_moot:
        return "skipped"
    if cell.verdict in UNMEASURED:
        return "error"
    if standing_verdict(run, cell) in FAIL_ON[fail_on]:
        return "failure"
    return "skipped" if cell.verdict in FAIL_ON[fail_on] else None


def _because(run: Run, cell: Cell, finding: Finding) -> str:
    """Why a finding is accepted; empty where it counts."""
    waiver = waiver_of(run, cell, finding)
    return waiver.because if waiver else ""


def _message(run: Run, cell: Cell, kind: str) -> str:
    """The verdict in a line: the worst finding that counts, why all are waived, or why none is."""
    if cell.verdict in {Verdict.UNSUPPORTED, *UNMEASURED}:
        return f"{cell.verdict}: {cell.reason or describe_outcomes(cell)}"
    found = [(finding, _because(run, cell, finding)) for finding in _worst_first(cell)]
    for finding, because in found:
        if not because and kind != "skipped":
            return f"{finding.result} {finding.rule}: {finding.text}"
    if accepted := dict.fromkeys(because for _, because in found if because):
        return f"waived: {'; '.join(accepted)}"
    return f"{cell.verdict}: {cell.reason or describe_outcomes(cell)}"


def _text(lines: Iterable[str]) -> str:
    return "\n".join(map(printable, lines))


def _lines(run: Run, cell: Cell) -> Iterator[str]:
    """What a build log needs to show: steps, ending, findings and causes."""
    yield f"steps: {cell.steps}"
    yield f"outcome: {describe_outcomes(cell)}"
    if wire := describe_wire(cell):
        yield f"on the wire: {wire}"
    for finding in _worst_first(cell):
        often = in_short(finding.count, finding.asked(cell.trials), cell.trials)
        because = _because(run, cell, finding)
        aside = f"; waived: {because}" if because else ""
        yield f"{finding.result} {finding.rule} ({finding.level}, {often}): {finding.text}{aside}"
    for why in cell.why:
        often = counted(why.count, "trial")
        yield f"cause of the {why.side}'s RST: {why.cause} ({why.confidence}, {often})"
        yield from (f"- {sentence}" for sentence in (*why.evidence, *why.remedy))
    if cell.reason:
        yield f"reason: {cell.reason}"


def _worst_first(cell: Cell) -> list[Finding]:
    bad = [finding for finding in cell.findings if finding.result in _BAD]
    return sorted(bad, key=lambda finding: _BAD.index(finding.result))
