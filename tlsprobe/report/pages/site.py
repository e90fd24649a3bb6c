"""The pages of a site of results: the index, a page for each server, one for each sequence.

They lead to each other, and each names the command that measured what it tells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tlsprobe.behaviours import behaviours_of
from tlsprobe.catalogue import Entry, catalogue
from tlsprobe.model.behaviour import Harm
from tlsprobe.model.profile import Profile
from tlsprobe.model.run import Cell, Run
from tlsprobe.report.blocks import (
    Block,
    BulletList,
    Code,
    Column,
    Field,
    Fields,
    Heading,
    Inline,
    Link,
    Note,
    Page,
    Paragraph,
    Table,
    Tag,
    Text,
)
from tlsprobe.report.compatibility import Compatibility, Vendor, asked_by_sequence, table_of
from tlsprobe.report.glyphs import seconds
from tlsprobe.report.matrix import by_version, code_of, describe_wire, mark_of, ranked_outcomes
from tlsprobe.report.pages.behaviours import (
    WHO,
    behaviours_section,
    describe,
    tag_of,
    verdict_section,
)
from tlsprobe.report.pages.compatibility import (
    ALIKE,
    EMPTY,
    absent_section,
    agreement_section,
    by_harm,
    facts_fields,
    group_fields,
)
from tlsprobe.report.pages.drawers import Drawers
from tlsprobe.report.pages.findings import ladder_of
from tlsprobe.report.pages.grids import HEADINGS, chapter_of, heading_of, many_grid, run_grid
from tlsprobe.report.pages.run import races_section, timers_section, unspoken_notes
from tlsprobe.report.pages.vendor import IDLE_SECTION, title_of, vendor_sections
from tlsprobe.report.plurals import counted
from tlsprobe.report.rulebook import rule_source
from tlsprobe.report.summary_table import safety_of

INDEX = "index.html"
SEQUENCES = "sequences"


@dataclass(frozen=True, slots=True)
class Places:
    """Where the pages are, as seen from one that is so far below the index."""

    root: str = ""

    def server(self, folder: str) -> str:
        """The page of a server."""
        return f"{self.root}{folder}/{INDEX}"

    def sequence(self, name: str) -> str:
        """The page of a sequence; none for one that is nobody's."""
        return f"{self.root}{SEQUENCES}/{name}.html" if name in catalogue() else ""

    def cell(self, folder: str, drawer: str) -> str:
        """A drawer in the page of a server."""
        return f"{self.server(folder)}#{drawer}"


TOP, BELOW = Places(), Places("../")

# --- The index ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """How one server took one sequence."""

    vendor: Vendor
    cells: tuple[Cell, ...]
    harm: Harm | None
    url: str

    @property
    def rank(self) -> int:
        """0 for the worst."""
        return self.harm.rank if self.harm else len(Harm)

    def row(self, versions: Sequence[str]) -> tuple[Text, ...]:
        """The server's line in the page of the sequence."""
        by_tls = {cell.tls: cell for cell in self.cells}
        marks = ((mark_of(by_tls[tls]),) if tls in by_tls else "" for tls in versions)
        harm: Text = (Tag(self.harm),) if self.harm else ""
        wire = list(dict.fromkeys(filter(None, map(describe_wire, self.cells))))
        shown = tuple(part for words in wire for part in (Code(words), " "))
        return (Link(self.vendor.title, self.url),), harm, *marks, shown


Answers = Mapping[str, Sequence[Answer]]
"""By sequence, how each server took it, the worst first."""


def answers_of(compatibility: Compatibility) -> Answers:
    """Every server's answer to every sequence."""
    found: dict[str, list[Answer]] = {name: [] for name in compatibility.sequences}
    for vendor in compatibility.measured:
        if vendor.run is None:
            continue
        drawers = Drawers(vendor.run)
        for name, cells in asked_by_sequence(vendor.run).items():
            url = BELOW.cell(vendor.folder, drawers.name(name))
            found[name].append(Answer(vendor, tuple(cells), drawers.harm(cells), url))
    return {name: sorted(some, key=lambda answer: answer.rank) for name, some in found.items()}


def index_page(
    compatibility: Compatibility, answers: Answers, command: str, also: Sequence[Link] = ()
) -> Page:
    """What was measured, by server and by sequence. ``also`` leads to what else there is."""
    matrix = table_of(compatibility)
    grid = many_grid(compatibility, matrix.table, TOP)
    return (
        Heading(1, f"How {counted(len(compatibility.measured), 'server')} end TLS connections"),
        by_harm(compatibility),
        Note(
            "A sign is the rules' verdict, a colour is the harm. Each cell leads to its packets,"
            " cause and remedy; two lines are TLS 1.2, then 1.3; ~ is not in all trials."
        ),
        grid,
        matrix.legend,
        EMPTY,
        Heading(2, "Servers"),
        _servers(compatibility),
        *absent_section(compatibility.absent),
        Heading(2, "Sequences"),
        _sequences(answers),
        Heading(2, "Who closes alike"),
        Fields(tuple(group_fields(compatibility))),
        ALIKE,
        *agreement_section(compatibility),
        Heading(2, "How this was measured"),
        Fields(tuple(facts_fields(compatibility, command))),
        *_more(also),
    )


def _more(also: Sequence[Link]) -> Iterator[Block]:
    if also:
        yield Heading(2, "More")
        yield BulletList(tuple((link,) for link in also))


def _servers(compatibility: Compatibility) -> Table:
    heads = "server", "version", "worst", "what it does", "idle timeout", "safe behind a forwarder"
    ranked = sorted(compatibility.measured, key=lambda one: HEADINGS.index(heading_of(one)))
    rows = tuple(_server(vendor, vendor.run) for vendor in ranked if vendor.run is not None)
    return Table(tuple(map(Column, heads)), rows)


def _server(vendor: Vendor, run: Run) -> tuple[Text, ...]:
    found = behaviours_of(run)
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    idle = run.idle.timeout_s if run.idle else None
    return (
        (Link(vendor.title, TOP.server(vendor.folder)),),
        vendor.version or "",
        (tag_of(found[0]),) if found else "",
        f"{describe(found[0])}{more}" if found else "nothing to report",
        seconds(idle) if idle is not None else "none seen",
        safety_of(run),
    )


def _sequences(answers: Answers) -> Table:
    heads = "sequence", "chapter", "what it asks", "who closes like that", "servers it harms"
    entries = ((name, catalogue().get(name)) for name in answers)
    rows = tuple(_sequence(name, entry, answers[name]) for name, entry in entries if entry)
    return Table(tuple(map(Column, heads)), rows)


def _sequence(name: str, entry: Entry, answers: Sequence[Answer]) -> tuple[Text, ...]:
    harms = Counter(answer.harm for answer in answers)
    hit = ", ".join(f"{harms[harm]} {harm}" for harm in Harm if harms[harm])
    return (
        (Link(name, TOP.sequence(name)),),
        chapter_of(name),
        entry.asks,
        str(entry.who),
        hit or "none",
    )


# --- A server -------------------------------------------------------------------------------------


def server_page(vendor: Vendor, run: Run, profile: Profile | None, command: str) -> Page:
    """Everything about one server: behaviours, matrix, and the same in words."""
    found = behaviours_of(run)
    matrix = by_version(run)
    behaviours = (Heading(2, "Behaviours"), *behaviours_section(run, found)) if found else ()
    blocks: list[Block] = [
        Heading(1, title_of(vendor)),
        *verdict_section(run, found),
        *behaviours,
        Heading(2, "Matrix"),
        run_grid(run, matrix.table, pack="cells"),
        matrix.legend,
        *unspoken_notes(run),
    ]
    for head, said in vendor_sections(vendor, run, profile, command):
        blocks += [Heading(2, head), *said]
        if head == IDLE_SECTION:
            blocks += [*timers_section([run]), *races_section(run)]
    return tuple(blocks)


# --- A sequence -----------------------------------------------------------------------------------


def sequence_page(name: str, entry: Entry, answers: Sequence[Answer], command: str) -> Page:
    """One sequence: what it asks, and how each server answers it, the worst first."""
    versions = sorted({cell.tls for answer in answers for cell in answer.cells})
    heads = ("server", "harm", *(f"TLS {tls}" for tls in versions), "on the wire")
    return (
        Heading(1, name),
        Paragraph(entry.asks),
        Fields(tuple(_about(name, entry, answers, command))),
        Heading(2, "Servers"),
        Table(tuple(map(Column, heads)), tuple(answer.row(versions) for answer in answers)),
        Heading(2, "How they end it"),
        *_endings(answers),
    )


def _about(name: str, entry: Entry, answers: Sequence[Answer], command: str) -> Iterator[Field]:
    steps = dict.fromkeys(cell.steps for answer in answers for cell in answer.cells)
    yield Field("steps", items=tuple((Code(one),) for one in steps))
    yield Field("chapter", chapter_of(name))
    yield Field("why", entry.why)
    yield Field("who", f"{WHO[entry.who]}: {entry.example}")
    rules = tuple((rule, *rule_source(rule)) for rule in entry.decides)
    yield Field("decides", items=rules)
    if command:
        yield Field("measured", (Code(command),))
    yield Field("yourself", (Code(f"tlsprobe run --target HOST:PORT --sequence {name}"),))


def _endings(answers: Sequence[Answer]) -> Iterator[Block]:
    """Each outcome with the servers that show it and one ladder, the worst first."""
    shown: dict[str, list[tuple[Answer, Cell]]] = {}
    for answer in answers:
        for cell in answer.cells:
            outcomes = ranked_outcomes(cell)
            if outcomes:
                shown.setdefault(outcomes[0][0], []).append((answer, cell))
    for outcome, found in shown.items():
        servers = dict.fromkeys((one.vendor.title, one.url) for one, _ in found)
        yield Heading(3, f"{outcome or 'not known'} ({code_of(outcome)})")
        yield Paragraph(tuple(_listed(list(servers))))
        ladder = next((ladder for _, cell in found if (ladder := ladder_of(cell))), None)
        if ladder is not None:
            yield Note(f"For example {found[0][0].vendor.title}:")
            yield ladder


def _listed(servers: Sequence[tuple[str, str]]) -> Iterator[Inline]:
    yield f"{counted(len(servers), 'server')}: "
    for place, (title, url) in enumerate(servers):
        yield from [", "] * bool(place)
        yield Link(title, url)
