"""The section of a run that was held against a baseline: what changed, and what may have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tlsprobe.model.judgement import Verdict
from tlsprobe.model.run import Change, Deviation, Run
from tlsprobe.report.blocks import Block, Field, Fields, Heading, Paragraph
from tlsprobe.report.plurals import counted

SEVERITY = {
    Change.WORSE: Verdict.FAIL,
    Change.BETTER: Verdict.PASS,
    Change.DIFFERENT: Verdict.WARN,
}
"""How bad a certain change is; the other kinds say that nothing can be said."""

LACKING = {
    Change.MISSING: "in the baseline, and not measured now",
    Change.NEW: "measured now, and not in the baseline",
}


def deviations_section(run: Run) -> Iterator[Block]:
    """What changed, what may have, and what could not be compared; nothing without a baseline."""
    if run.deviations is None:
        return
    compared = [one for one in run.deviations if one.change not in LACKING]
    certain = _certain(run)
    doubtful = [one for one in compared if not one.certain]
    yield Heading(2, f"{run.target.name}: {_headline(certain)}")
    if compared:
        yield Fields(tuple(map(_field, (*certain, *doubtful))), apart=True)
    for change, what in LACKING.items():
        cells = [_cell(one) for one in run.deviations if one.change is change]
        if cells:
            yield Paragraph(f"{what}: {'; '.join(cells)}")


def changes_line(run: Run) -> str:
    """How much changed since the baseline, in a sentence; empty without one."""
    return "" if run.deviations is None else f"{_headline(_certain(run)).capitalize()}."


def _certain(run: Run) -> list[Deviation]:
    return [one for one in run.deviations or () if one.change not in LACKING and one.certain]


def _headline(certain: Sequence[Deviation]) -> str:
    return f"{counted(len(certain), 'change') if certain else 'no change'} since the baseline"


def _field(deviation: Deviation) -> Field:
    is_known = deviation.certain or deviation.change is Change.UNCLEAR
    word = deviation.change.upper() if is_known else f"perhaps {deviation.change}"
    where = f": {_cell(deviation)}" if deviation.sequence else ""
    severity = SEVERITY.get(deviation.change) if deviation.certain else None
    return Field(f"{word}{where}", items=deviation.sentences, verdict=severity)


def _cell(deviation: Deviation) -> str:
    return f"{deviation.sequence}, TLS {deviation.tls}"
