"""The page of many servers: the closes that say most, who closes alike, then all of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from tlsprobe.model.run import Run
from tlsprobe.report.agreement import agreement_of, agreement_sentences
from tlsprobe.report.blocks import (
    Block,
    BulletList,
    Code,
    Column,
    Field,
    Fields,
    Heading,
    Note,
    Page,
    Paragraph,
    Strong,
    Table,
    Text,
)
from tlsprobe.report.compatibility import (
    Absent,
    Compatibility,
    Vendor,
    compatibility_of,
    runs_of,
    table_of,
    vendors_of,
)
from tlsprobe.report.pages.findings import examples_section, findings_section
from tlsprobe.report.pages.grids import HEADINGS, heading_of, many_grid
from tlsprobe.report.pages.run import idle_section, measured_fields, run_page
from tlsprobe.report.plurals import counted
from tlsprobe.report.sentences import count_verdicts
from tlsprobe.report.summary_table import NOTE, summary_table

MOST_EXPLAINED = 9
"""Of so many servers the findings are shown; those of more would fill a book."""

ALIKE = Note(
    "Servers with the same letter close alike: on average they differ in at most a tenth of what"
    " was measured of both. Each group stands next to those that it is nearest to. Compared are the"
    " outcome and the server's alerts, FIN and RST in order; two servers differ in a cell if"
    " neither ever did what the other mostly does. Races are left out."
)

EMPTY = Note(
    "An empty cell: not asked; the protocol has no such request, or the profile leaves it out."
)

MORE = Note(
    "For what was found and why, see the matrix.md of each results folder, or give 'tlsprobe"
    " matrix' one folder alone."
)


def comparison_page(
    vendors: Sequence[Vendor], command: str = "", *, is_transposed: bool = False
) -> Page:
    """The page of a single run, if that is all there is, else that of a comparison."""
    if len(vendors) == 1 and vendors[0].run is not None and not is_transposed:
        return run_page(runs_of(vendors), command)
    return compatibility_page(compatibility_of(vendors), command, is_transposed=is_transposed)


def compatibility_page(
    compatibility: Compatibility, command: str = "", *, is_transposed: bool = False
) -> Page:
    """The whole page. ``command`` reproduces it; ``is_transposed``: one line per server."""
    matrix = table_of(compatibility, is_transposed=is_transposed)
    return (
        Heading(1, _title(len(compatibility.measured))),
        *([by_harm(compatibility)] if compatibility.measured else []),
        Fields(tuple(facts_fields(compatibility, command))),
        *_summary(compatibility),
        Heading(2, "Who closes alike"),
        Fields(tuple(group_fields(compatibility))),
        ALIKE,
        Heading(2, "Every sequence"),
        matrix.legend,
        many_grid(compatibility, matrix.table),
        *([EMPTY] if any(not cell for row in matrix.table.rows for cell in row) else []),
        *absent_section(compatibility.absent),
        *_found(compatibility.runs),
        *agreement_section(compatibility),
        *_measured(compatibility.measured),
    )


def summary_page(runs: Sequence[Run], absent: Sequence[Absent] = ()) -> Page:
    """The summary alone, for another page to hold."""
    return tuple(_summary(compatibility_of(vendors_of(runs, absent))))


def _title(servers: int) -> str:
    return f"How {counted(servers, 'server')} {'ends' if servers == 1 else 'end'} TLS connections"


def by_harm(compatibility: Compatibility) -> Paragraph:
    """How many servers do how much harm, the worst first."""
    servers = Counter(map(heading_of, compatibility.measured))
    parts = [f"{heading}: {servers[heading]}" for heading in HEADINGS if servers[heading]]
    return Paragraph((Strong(f"{'. '.join(parts)}."),))


def facts_fields(compatibility: Compatibility, command: str) -> Iterator[Field]:
    """When, with what and how it was measured."""
    runs = compatibility.runs
    days = sorted({run.started[:10] for run in runs})
    if days:
        yield Field("measured", f"{' to '.join(dict.fromkeys((days[0], days[-1])))} (UTC)")
    tools = dict.fromkeys(f"{run.tool.name} {run.tool.version}" for run in runs)
    yield Field("with", ", ".join(tools) or "nothing")
    kernels = dict.fromkeys(map(_kernel, runs))
    yield Field("kernel", ", ".join(kernels) or "none")
    if command:
        yield Field("command", (Code(command),))
    connections = sum(cell.trials for run in runs for cell in run.cells)
    yield Field("connections", f"{connections}; {count_verdicts(runs)}")
    if compatibility.absent:
        yield Field("not measured", f"{counted(len(compatibility.absent), 'server')}, see below")


def _summary(compatibility: Compatibility) -> Iterator[Block]:
    yield summary_table((*compatibility.measured, *compatibility.absent))
    yield Note(NOTE)


def group_fields(compatibility: Compatibility) -> Iterator[Field]:
    """Who closes alike, and how."""
    for group in compatibility.groups:
        titles = "; ".join(vendor.title for vendor in group.members)
        yield Field(group.letter, f"{titles}: {group.habits}")


def absent_section(vendors: Sequence[Vendor]) -> Iterator[Block]:
    """Who could not be measured, and why."""
    if vendors:
        yield Heading(2, "Unsupported here")
        yield BulletList(tuple(f"{v.title}: {v.reason or 'no reason was given'}" for v in vendors))


def _found(runs: Sequence[Run]) -> Iterator[Block]:
    if not 0 < len(runs) <= MOST_EXPLAINED:
        yield MORE
        return
    yield from findings_section(runs)
    yield from examples_section(runs, 2)
    yield from idle_section(runs)


def agreement_section(compatibility: Compatibility) -> Iterator[Block]:
    """How far the causes agree with the kernel's own reasons, where it was asked."""
    titled = ((v.title, v.run) for v in compatibility.measured if v.run is not None)
    agreement = agreement_of(titled)
    if agreement is not None:
        yield Heading(2, "Agreement with the kernel")
        yield BulletList(tuple(agreement_sentences(agreement)))


def _measured(vendors: Sequence[Vendor]) -> Iterator[Block]:
    """The versions of everything, and what one has to know of the runs."""
    runs = runs_of(vendors)
    yield Heading(2, "How this was measured")
    if len(runs) <= MOST_EXPLAINED:
        yield Fields(measured_fields(runs))
    yield _versions(vendors, runs)
    noted = tuple(
        f"{vendor.title}: {run.server.notes}"
        for vendor, run in zip(vendors, runs, strict=True)
        if run.server and run.server.notes
    )
    if noted:
        yield BulletList(noted)


def _versions(vendors: Sequence[Vendor], runs: Sequence[Run]) -> Table:
    """The versions of the servers; and of the kernels, if the page does not name the only one."""
    rows: list[tuple[Text, ...]] = []
    several = len({_kernel(run) for run in runs}) > 1
    for vendor, run in zip(vendors, runs, strict=True):
        kernel = (_kernel(run),) if several else ()
        when = f"{run.started[:19].replace('T', ' ')} UTC"
        rows.append((vendor.title, vendor.versions(), *kernel, when))
    heads = ("server", "version and TLS library", *(("kernel",) if several else ()), "measured")
    return Table(tuple(map(Column, heads)), tuple(rows))


def _kernel(run: Run) -> str:
    return f"{run.host.system} {run.host.kernel}"
