"""What a server does and whom it hurts: the verdict in a few lines, then each behaviour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from shlex import quote

from tlsprobe.behaviours import behaviours_of
from tlsprobe.catalogue import catalogue
from tlsprobe.model.behaviour import Behaviour, Harm, Phase, Tried, WhatToDo, Who
from tlsprobe.model.judgement import UNMEASURED
from tlsprobe.model.run import Run
from tlsprobe.report.blocks import (
    Block,
    BulletList,
    Card,
    Code,
    Column,
    Field,
    Fields,
    Jump,
    Ladder,
    Names,
    Note,
    Paragraph,
    Strong,
    Table,
    Tag,
    Text,
)
from tlsprobe.report.findings import seen_at
from tlsprobe.report.pages.findings import ladder_of
from tlsprobe.report.plurals import counted, share
from tlsprobe.report.rulebook import rule_source
from tlsprobe.report.sentences import place_names, target_title
from tlsprobe.report.tried import what_came_of
from tlsprobe.waiving import standing

AT = {
    Phase.HANDSHAKE: "while the client connects",
    Phase.CLIENT_FIRST: "when the client ends first",
    Phase.GOODBYE: "behind the goodbye",
    Phase.LIMITS: "at a limit of the server's",
    Phase.SHUTDOWN: "when the server is told to stop or to reload",
    Phase.IDLE: "at idle expiry",
}
"""When a behaviour of one phase comes."""

WHO = {
    Who.MOST: "Most clients close like that",
    Who.SOME: "Some clients close like that",
    Who.BROKEN: "Only broken clients close like that",
    Who.TESTER: "Nobody but a tester closes like that",
}


_BEST_FIRST = (Tried.HELPS, Tried.IN_PART, Tried.NOT_TRIED, Tried.HELPS_NOT, Tried.WORSE)

FEW_REMEDIES = 3
"""So many remedies a brief page tells, first those that were tried."""


def verdict_section(
    run: Run, found: Sequence[Behaviour], most: int | None = None
) -> Iterator[Block]:
    """How many behaviours a server has, how many of them do harm, and the list, or its beginning.

    If one alone would be left out of the list, it is in it.
    """
    yield Paragraph((Strong(verdict_of(run, found)),))
    if found:
        columns = (Column("#"), Column("harm"), Column("what it does"), Column("seen"))
        shown = found if most is None or len(found) <= most + 1 else found[:most]
        yield Table(columns, tuple(_row(number, one) for number, one in enumerate(shown, 1)))
        if rest := Counter(tag_of(one).word for one in found[len(shown) :]):
            kinds = ", ".join(f"{count} {harm}" for harm, count in rest.items())
            yield Note(f"and {rest.total()} more: {kinds} (--verbose)")


def verdicts_section(runs: Sequence[Run]) -> Iterator[Block]:
    """The same of several servers, in a line each."""
    yield BulletList(tuple(verdict_of(run, behaviours_of(run)) for run in runs))


def verdict_of(run: Run, found: Sequence[Behaviour]) -> str:
    """How many behaviours a server has and how bad they are, in a sentence with its name."""
    name = server_name(run)
    if not found:
        return f"{name}: {_nothing(run)}."
    told = standing(found)
    waived = len(found) - len(told)
    if not told:
        return f"{name}: nothing to report but {counted(waived, 'waived behaviour')}."
    worst = told[0].harm
    share = sum(one.harm is worst for one in told)
    said = f"{name}: {counted(len(told), 'behaviour')} to know"
    which = f"{'all' if share == len(told) else share} of them" if len(told) > 1 else "it"
    no_harm = "it breaks nothing" if len(told) == 1 else "none of which breaks anything"
    more = f"; {waived} more waived" if waived else ""
    match worst:
        case Harm.BREAKS:
            return f"{said}, {which} break{'s' if share == 1 else ''} things{more}."
        case Harm.MAY_BREAK:
            return f"{said}, {which} may break things{more}."
        case Harm.NOISE | Harm.NONE:
            return f"{said}, {no_harm}{more}."


def _nothing(run: Run) -> str:
    """That no behaviour was seen, and in how many cells nobody can tell."""
    if not any(cell.signatures for cell in run.cells):
        return "nothing could be measured"
    blind = sum(cell.verdict in UNMEASURED for cell in run.cells)
    untold = (
        f" where it could be measured; {blind} of {counted(len(run.cells), 'cell')} could not be"
    )
    return f"nothing to report{untold if blind else ''}"


def server_name(run: Run) -> str:
    """What the server is, and where: as the lab knows it, or as it calls itself."""
    if run.server is not None:
        version = f" {run.server.version}" if run.server.version else ""
        return f"{run.server.title}{version} at {run.target}"
    if run.server_says:
        ender = f"{run.ended_by} in front of " if run.ended_by else ""
        return f"{ender}{_called(run.server_says)} at {run.target}"
    return target_title(run)


def _called(says: str) -> str:
    """What a server calls itself, for readers: PostgreSQL tells its version alone, as a setting."""
    key, _, version = says.partition(" ")
    return f"PostgreSQL {version}" if key == "server_version" and version else says


def behaviours_section(
    run: Run, found: Sequence[Behaviour], *, is_brief: bool = False
) -> Iterator[Block]:
    """Each behaviour of a server: whom it hurts, why it comes, what to do, how to see it again.

    ``is_brief``: only what one has to know, and of all but the first only what to do.
    """
    for number, one in enumerate(found, 1):
        seen = share(one.count, one.asked, one.trials)
        in_short = is_brief and number > 1
        rows = _what_helps(one) if in_short else _fields(one, run, is_brief=is_brief)
        fields = Fields(tuple(rows))
        yield Card(number, tag_of(one), describe(one), seen, (fields,), _proof(one, run))


def _proof(one: Behaviour, run: Run) -> Ladder | None:
    """The trial that shows it."""
    cell = run.cell_at(one.seen[0].sequence, one.seen[0].tls)
    return ladder_of(cell) if cell is not None else None


def describe(one: Behaviour) -> str:
    """The behaviour in a sentence: what, when, and for a reset why."""
    apart = "," if "," in one.sentence else ""
    when = f"{apart} {AT[one.phase]}" if one.phase else ""
    why = f": {one.cause}" if one.cause else ""
    return f"{one.sentence}{when}{why}"


def tag_of(one: Behaviour) -> Tag:
    """The harm of a behaviour, or that it is waived."""
    return Tag(one.harm, is_waived=bool(one.waived))


def _row(number: int, one: Behaviour) -> tuple[Text, ...]:
    words = Jump(describe(one), anchor_of(number))
    return (str(number), (tag_of(one),), (words,), f"{one.count}/{one.asked}")


def anchor_of(number: int) -> str:
    """Where a behaviour is told in its page."""
    return f"behaviour-{number}"


def _fields(one: Behaviour, run: Run, *, is_brief: bool) -> Iterator[Field]:
    if one.waived:
        yield Field("waived", f"{one.waived}; without the waiver: {one.harm}")
    yield from (Field("hurts", sentence) for sentence in one.hurts[: 1 if is_brief else None])
    cause = f"{one.cause} (confidence {one.confidence})"
    if is_brief:
        why = f"{cause}; " if one.cause else ""
        yield Field("why", f"{why}{', '.join(one.rules)}")
    else:
        example = f": {one.example}" if one.example else ""
        yield Field("who", f"{WHO[one.who]}{example}")
        places = [seen_at(run.target.name, seen) for seen in one.seen]
        yield Field("where", (Names(place_names(places)),))
        if one.evidence:
            yield Field("why", cause, one.evidence)
        yield from (Field("rule", (rule, *rule_source(rule))) for rule in one.rules)
    if to_do := _few_remedies(one) if is_brief else one.to_do:
        yield Field("do", items=tuple(_to_do(to_do, is_brief=is_brief)))
    yield Field("again", (Code(command_for(one, run)),))


def _what_helps(one: Behaviour) -> Iterator[Field]:
    """What helps most, as far as it is known."""
    if one.to_do:
        best = min(one.to_do, key=lambda what: _BEST_FIRST.index(what.tried))
        yield Field("do", items=tuple(_to_do([best], is_brief=True)))


def _few_remedies(one: Behaviour) -> list[WhatToDo]:
    """Some of the remedies in their order, rather those that were tried."""
    ranked = sorted(one.to_do, key=lambda what: what.tried is Tried.NOT_TRIED)
    return [what for what in one.to_do if what in ranked[:FEW_REMEDIES]]


def _to_do(to_do: Sequence[WhatToDo], *, is_brief: bool) -> Iterator[Text]:
    for one in to_do:
        not_tried = () if is_brief else (" Not tried.",)
        yield (one.text, *(what_came_of(one, is_brief=is_brief) or not_tried))


def command_for(one: Behaviour, run: Run) -> str:
    """The command line that shows the behaviour again, as far as the document tells it."""
    return command_for_cell(run, one.seen[0].sequence, one.seen[0].tls)


def command_for_cell(run: Run, sequence: str, tls: str) -> str:
    """The command line that measures a cell again, as far as the document tells it."""
    words = ["tlsprobe", "run", "--target", str(run.target), "--profile", run.target.profile]
    words += ["--sequence", _sequence_words(sequence, run), "--tls", tls]
    return " ".join(map(quote, words))


def _sequence_words(name: str, run: Run) -> str:
    """The sequence as the command line takes it: its name, or its steps if it is nobody's."""
    if name in catalogue():
        return name
    return next(cell.steps for cell in run.cells if cell.sequence == name)
