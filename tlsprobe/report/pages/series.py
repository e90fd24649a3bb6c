"""The page of versions side by side: each series as a row of changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
    Strong,
    Table,
    Text,
)
from tlsprobe.report.plurals import counted
from tlsprobe.report.series import Change, Compared, Untold

RULES = Note(
    "A change is one only if every trial of a sequence in the one version showed it and none in the"
    " other. What was inconclusive, what races with a clock, and what the trials of any version do"
    " not agree on is not told apart, and counts as no change. Debian changes the TLS library"
    " together with the server: a change may come from either. Where the server's own notes say"
    " what made it, that stands beside it; elsewhere the reason is not known."
)


def series_page(compared: Sequence[Compared], command: str = "") -> Page:
    """The whole page, with what changed before what did not. ``command`` measures it again."""
    ranked = sorted(compared, key=lambda one: not one.changes)
    return (
        Heading(1, "Versions side by side"),
        Paragraph((Strong(_verdict(compared)),)),
        RULES,
        Table(
            (
                Column("server"),
                Column("versions"),
                Column("what changed"),
                Column("what its notes say"),
            ),
            tuple(_row(one) for one in ranked),
        ),
        *(block for one in ranked for block in _section(one)),
        Heading(2, "How this was measured"),
        Fields(tuple(_facts(compared, command))),
    )


def _verdict(compared: Sequence[Compared]) -> str:
    """In how many servers something changed from version to version."""
    changed = sum(bool(one.changes) for one in compared)
    servers = counted(len(compared), "server")
    if not changed:
        return f"No change was seen between the versions of {servers}."
    return f"{changed} of {servers} changed how they close between two versions."


def _facts(compared: Sequence[Compared], command: str) -> Iterator[Field]:
    runs = [one.run for each in compared for one in each.series.versions]
    days = sorted({run.started[:10] for run in runs})
    yield Field("measured", " to ".join(dict.fromkeys((days[0], days[-1]))) if days else "nothing")
    yield Field("series", f"{len(compared)}, of {counted(len(runs), 'version')}")
    sequences = dict.fromkeys(c.sequence for r in runs for c in r.cells if c.role == "asked")
    yield Field("sequences", ", ".join(sequences))
    trials = sorted({c.trials for run in runs for c in run.cells if c.role == "asked" and c.trials})
    if trials:
        yield Field("trials", f"{' to '.join(dict.fromkeys(map(str, trials[:1] + trials[-1:])))}")
    if command:
        yield Field("command", (Code(command),))


def _row(one: Compared) -> tuple[Text, ...]:
    versions = " → ".join(each.version for each in one.series.versions)
    changes = "; ".join(f"{c.version}: {_sentence(c)}" for c in one.changes)
    told: Text = (Strong(changes),) if changes else _unchanged(one)
    return (one.series.title, versions, told, tuple(_why(one.changes)))


def _why(changes: Sequence[Change]) -> Iterator[Inline]:
    """Each note once, with where it can be read."""
    notes = dict.fromkeys(note for change in changes for note in change.why)
    for number, note in enumerate(notes):
        yield f"{'; ' if number else ''}{note.since}: {note.says} ("
        yield Link("source", note.source)
        yield ")"


def _unchanged(one: Compared) -> str:
    """What is said of a series without a change, which is not that there was none."""
    if not one.decided:
        return "not told apart"
    rest = "" if not one.untold else ", others not told apart"
    return f"no change in {counted(one.decided, 'cell')}{rest}"


def _sentence(change: Change) -> str:
    return change.sentence if change.phase is None else f"{change.sentence} ({change.phase})"


def _section(one: Compared) -> Iterator[Block]:
    yield Heading(2, one.series.title)
    yield Fields(
        tuple(
            Field(each.version, ", ".join((each.tls_library, *_load(each.run.notes))))
            for each in one.series.versions
        )
    )
    if one.changes:
        yield BulletList(tuple(map(_told, one.changes)))
        if why := tuple(_why(one.changes)):
            yield Paragraph(("Its notes: ", *why, "."))
    else:
        words = f"No change in the {counted(one.decided, 'cell')} that all versions decide."
        yield Paragraph(words)
    if one.untold:
        yield Paragraph("Not told apart:")
        yield BulletList(tuple(map(_open, one.untold)))


def _load(notes: Sequence[str]) -> Iterator[str]:
    yield from (note for note in notes if note.startswith("load "))


def _told(change: Change) -> str:
    return f"since {change.version} (not {change.before}): {_sentence(change)}: {_cells(change)}"


def _open(untold: Untold) -> str:
    return f"{untold.sentence}: {_cells(untold)}"


def _cells(of: Change | Untold) -> str:
    """The sequences, each with the TLS versions in which it says so."""
    versions: dict[str, list[str]] = {}
    for sequence, tls in of.cells:
        versions.setdefault(sequence, []).append(tls)
    return ", ".join(f"{name} (TLS {' and '.join(tls)})" for name, tls in versions.items())
