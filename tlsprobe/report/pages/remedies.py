"""The page of remedies that were tried: which help, which do not, and which make it worse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tlsprobe.model.judgement import Verdict
from tlsprobe.model.run import Run
from tlsprobe.report.blocks import (
    Block,
    Code,
    Column,
    Field,
    Fields,
    Heading,
    Inline,
    Note,
    Page,
    Paragraph,
    Strong,
    Table,
    Text,
)
from tlsprobe.report.remedies import CHANCE, Effect, TriedCell, TriedRemedy

_VERDICTS = {
    Effect.HELPS: Verdict.PASS,
    Effect.IN_PART: Verdict.WARN,
    Effect.HELPS_NOT: Verdict.FAIL,
    Effect.WORSE: Verdict.FAIL,
    Effect.NOTHING: Verdict.INFO,
    Effect.UNDECIDED: Verdict.INCONCLUSIVE,
}

RULES = Note(
    "Before: the server as it is, and the close that the remedy is for. After: the server with the"
    " remedy, or the client that closes as the remedy says. In so many trials, each showed the"
    f" behaviour. A difference counts if chance makes it less often than {CHANCE:.0%} of the time."
    " Not decided: it was too rare before, or too few trials were in time. Worse is what hurts"
    " clients more: an RST in place of a FIN, a lost response, a connection that is never ended."
)


def remedies_page(tried: Sequence[TriedRemedy], runs: Mapping[str, Run], command: str = "") -> Page:
    """The whole page. ``command`` measures it again."""
    return (
        Heading(1, "Remedies, tried"),
        Fields(tuple(_facts(runs, command))),
        RULES,
        Table(
            (Column("server"), Column("remedy"), Column("who"), Column("what it does")),
            tuple(map(_row, tried)),
        ),
        *(block for one in tried for block in _section(one)),
    )


def _facts(runs: Mapping[str, Run], command: str) -> Iterator[Field]:
    days = sorted({run.started[:10] for run in runs.values()})
    yield Field("measured", " to ".join(dict.fromkeys((days[0], days[-1]))) if days else "nothing")
    loads = sorted({load for run in runs.values() for load in _loads(run)})
    if loads:
        yield Field("load", f"{loads[0]:g} to {loads[-1]:g} (5 minutes)")
    if command:
        yield Field("command", (Code(command),))


def _loads(run: Run) -> Iterator[float]:
    for note in run.notes:
        if note.startswith("load "):
            yield float(note.split()[1])


def _row(one: TriedRemedy) -> tuple[Text, ...]:
    who = "client" if one.remedy.instead else "server"
    return (_server(one), one.remedy.says, who, (_effect(one.effect),))


def _server(one: TriedRemedy) -> str:
    return f"{one.title} {one.version}".rstrip()


def _effect(effect: Effect) -> Strong:
    return Strong(str(effect), _VERDICTS[effect])


def _section(one: TriedRemedy) -> Iterator[Block]:
    yield Heading(2, f"{_server(one)}: {one.remedy.says}")
    if one.remedy.instead:
        yield Paragraph(("The client closes as ", Code(one.remedy.instead), " does."))
    heads = ("sequence", "TLS", "", "against", "before", "after", "what came with it")
    yield Table(tuple(map(Column, heads)), tuple(map(_cell, one.cells)))


def _cell(cell: TriedCell) -> tuple[Text, ...]:
    came = "; ".join(f"{one.sentence} ({one.before} to {one.after})" for one in cell.came)
    effect: tuple[Inline, ...] = (_effect(cell.effect),)
    before, after = ("", "") if cell.before is None else (str(cell.before), str(cell.after))
    return (cell.sequence, cell.tls, effect, cell.sentence, before, after, came)
