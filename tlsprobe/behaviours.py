"""What a server does, each thing once, with its harm: cells that show the same are one behaviour.

A behaviour is a kind of thing (a reset in place of a FIN, a lost response, a broken rule), for a
reset with its cause, the kind of bytes that drew it and the phase of the connection. Its harm is
what it does to a client times who closes like that: an error that most clients get breaks things,
one that only a tester provokes hurts nobody.

This is a step between the judge and the pages: it reads a judged run and adds nothing to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from typing import NamedTuple

from tlsprobe.catalogue import Entry, catalogue
from tlsprobe.catalogue.closers import Closer, closer_of
from tlsprobe.judge.families import Family, family_in
from tlsprobe.judge.rule_remedies import remedy_of_rule
from tlsprobe.judge.rules import RULES
from tlsprobe.language import parse
from tlsprobe.model.behaviour import (
    Behaviour,
    Harm,
    Phase,
    Seen,
    Tried,
    TriedInLab,
    WhatToDo,
    Who,
)
from tlsprobe.model.causes import Remedy, cause_named
from tlsprobe.model.judgement import Confidence, Provoked, Result
from tlsprobe.model.run import CauseFacts, Cell, Finding, Run
from tlsprobe.model.trace import Side
from tlsprobe.profiles.tried import tried_in_lab

BEFORE_FIN, AFTER_FIN, REQUEST_LOST = "reset-before-fin", "reset-after-fin", "request-lost"
IDLE_RACE, DATA_LOST = "idle-race", "data-lost"
"""Words for kinds of behaviour; the others are the ids of rules, without their TLS version."""

RESETS = frozenset({BEFORE_FIN, AFTER_FIN, REQUEST_LOST})

OFTEN = 0.5
"""A behaviour that fewer of the trials of its sequences show breaks nothing for certain."""

FEWEST = 3
"""So many trials have to say something of it, of a cell that has as many."""

SHORTEST_TRIP_US = 200.0
"""A round trip within a data centre takes longer, with what a client needs to answer."""

_BAD = frozenset({Result.FAIL, Result.WARN})


class _Kind(NamedTuple):
    """What rules that speak of one thing are about; ``breaks``: a client is the worse for it."""

    name: str
    sentence: str
    breaks: bool = False


_RESET_BEFORE = _Kind(BEFORE_FIN, "RST in place of a FIN", breaks=True)
_RESET_AFTER = _Kind(AFTER_FIN, "RST after the FIN")
_REQUEST_LOST = _Kind(REQUEST_LOST, "a request that crosses the close meets an RST")
"""EOF came first, so that a client can tell that nothing was done and ask again."""
_SILENT = _Kind("no-close-notify", "ends without a close_notify")
_NO_ANSWER = _Kind("no-answer", "does not answer a close_notify as it has to")
_KINDS = {
    "INTEROP-RESET-BEFORE-FIN": _RESET_BEFORE,
    "INTEROP-RESET-AFTER-FIN": _RESET_AFTER,
    "INTEROP-DATA-LOST": _Kind(
        DATA_LOST, "a response that is owed does not arrive whole", breaks=True
    ),
    "INTEROP-LEAK": _Kind("leak", "keeps a connection that the client has ended", breaks=True),
    "INTEROP-PATH": _Kind(
        "path-dead", "the next connection through the same path fails", breaks=True
    ),
    "INTEROP-PLAINTEXT": _Kind("plaintext", "says its last words outside TLS", breaks=True),
    "INTEROP-IDLE-RACE": _Kind(
        IDLE_RACE, "a request that meets the idle expiry is lost", breaks=True
    ),
    "INTEROP-IDLE-SILENT": _Kind(
        "idle-silent", "forgets an idle connection in silence", breaks=True
    ),
    "TLS12-NOTIFY": _SILENT,
    "TLS13-NOTIFY": _SILENT,
    "HTTP-TLS-ALERT": _SILENT,
    "TLS12-ANSWER": _NO_ANSWER,
    "LDAP-ALERT": _NO_ANSWER,
}
"""The rules of which several say one thing, or whose breach does more than make noise."""

_BREAKING = frozenset(kind.name for kind in _KINDS.values() if kind.breaks)

FOLLOWS = {
    BEFORE_FIN: frozenset({_SILENT.name, _NO_ANSWER.name, "HTTP-IDLE-GRACEFUL"}),
    IDLE_RACE: frozenset({BEFORE_FIN, REQUEST_LOST, DATA_LOST, "HTTP-IDLE-GRACEFUL"}),
}
"""Kinds that say no more in a cell than the one before the colon, where it shows both."""

_PHASES = {
    "client-first": Phase.CLIENT_FIRST,
    "unfinished": Phase.CLIENT_FIRST,
    "control": Phase.CLIENT_FIRST,
    "wire": Phase.CLIENT_FIRST,
    "shutdown": Phase.SHUTDOWN,
    "limits": Phase.LIMITS,
    "goodbye": Phase.GOODBYE,
    "before-handshake": Phase.HANDSHAKE,
    "handshake": Phase.HANDSHAKE,
}
"""The phase that a chapter of the catalogue belongs to; the others are about idling."""


class _Bytes(StrEnum):
    """What drew a reset, as far as it matters to whom it hurts."""

    REQUEST = "request"
    BEHIND_END = "behind-end"
    HANDSHAKE = "handshake"
    ENDING = "ending"

    @property
    def words(self) -> str:
        """Behind what a reset does, where that is not the end of the connection alone."""
        return _DRAWN.get(self, "")


_DRAWN = {
    _Bytes.REQUEST: ", drawn by data of the client",
    _Bytes.BEHIND_END: ", drawn by what the client sends after its own end",
    _Bytes.HANDSHAKE: ", in answer to the handshake",
}


class _Key(NamedTuple):
    """What makes two cells show the same."""

    kind: str
    phase: Phase | None = None
    cause: str = ""
    provoked: _Bytes | None = None


@dataclass(frozen=True, slots=True)
class _Showing:
    """One cell that shows a behaviour."""

    kind: _Kind
    cell: Cell
    count: int
    finding: Finding
    facts: CauseFacts | None = None
    protocol: str = ""

    @property
    def closer(self) -> Closer:
        """Who closes like that."""
        usual = closer_of(_entry(self.cell), self.protocol)
        return usual if self._reaches is None else self._reaches

    @property
    def _reaches(self) -> Closer | None:
        """Who meets a reset in a race: a window that no round trip is as short as has no others."""
        race = self.cell.race
        window = race.window_us.p50 if race is not None and race.window_us is not None else None
        if window is None or window > SHORTEST_TRIP_US or self.kind.name not in RESETS:
            return None
        return Closer(
            Who.SOME, f"a client beside the server, whose answer is back in {window:.0f} µs"
        )

    @property
    def seen(self) -> Seen:
        """In how many trials of the cell, of those that say anything of it."""
        cell, judged = self.cell, self.finding.judged
        return Seen(cell.sequence, cell.tls, self.count, cell.trials, judged)

    @property
    def share(self) -> float:
        """In what part of the trials that say anything of it; one or two of many prove little."""
        return self.count / max(self.seen.asked, min(self.cell.trials, FEWEST), 1)

    @property
    def is_often(self) -> bool:
        """Whether it comes as a rule, and not in a race with the clock."""
        entry = _entry(self.cell)
        races = entry is not None and entry.group == "race"
        return not races and self.share >= OFTEN

    @property
    def given_up(self) -> bool:
        """Whether the client gave up while it connected: nobody reads what comes then."""
        entry = _entry(self.cell)
        return entry is not None and entry.group == "handshake"

    @property
    def harm(self) -> Harm:
        """What it does to a client times who that is, in this cell."""
        breaks = self.kind.breaks and not (self.given_up and self.kind.name in RESETS)
        match self.closer.who:
            case Who.TESTER:
                return Harm.NONE
            case Who.BROKEN:
                return Harm.NOISE if breaks else Harm.NONE
            case Who.MOST if breaks and self.is_often:
                return Harm.BREAKS
            case Who.SOME if self.kind.name in RESETS and not self.is_often:
                return Harm.NOISE  # some clients, now and then; what they lost is told by itself
            case Who.MOST | Who.SOME:
                return Harm.MAY_BREAK if breaks else Harm.NOISE


def behaviours_of(run: Run) -> tuple[Behaviour, ...]:
    """What the server of a run does, the most harmful first, then what was seen most.

    Of two that are as harmful the one comes first that would break something, if more closed so.

    They are worked out once, with the judgement; a document of before they were has none.
    """
    return run.behaviours or _worked_out(run)


def _worked_out(run: Run) -> tuple[Behaviour, ...]:
    groups: dict[_Key, list[_Showing]] = {}
    for cell in run.cells:
        if cell.role == "asked":
            for key, showing in _shown_by(cell, run.target.protocol):
                groups.setdefault(key, []).append(showing)
    family = family_in(run)
    found = [
        _behaviour(key, shown, _Run(run, groups, family)) for key, shown in _joined(groups).items()
    ]
    return tuple(sorted(found, key=lambda b: (b.harm.rank, b.kind not in _BREAKING, -b.count)))


class _Run(NamedTuple):
    """What a behaviour is told beside its own cells."""

    run: Run
    groups: dict[_Key, list[_Showing]]
    family: Family | None


# --- from cells to groups -------------------------------------------------------------------------


def _shown_by(cell: Cell, protocol: str) -> Iterator[tuple[_Key, _Showing]]:
    """What one cell shows, each thing once."""
    seen: dict[_Key, _Showing] = {}
    for finding in cell.findings:
        for key, showing in _of_finding(cell, finding):
            known = seen.get(key)
            if known is None or known.count < showing.count:
                seen[key] = replace(showing, protocol=protocol)
    kinds = {key.kind for key in seen}
    said = frozenset[str]().union(*(FOLLOWS.get(kind, frozenset()) for kind in kinds))
    yield from ((key, showing) for key, showing in seen.items() if key.kind not in said)


def _of_finding(cell: Cell, finding: Finding) -> Iterator[tuple[_Key, _Showing]]:
    kind = _KINDS.get(finding.rule)
    if kind is _RESET_AFTER and finding.result in _BAD | {Result.INFO}:
        yield from _resets(cell, finding, kind, before_fin=False)
    elif finding.result not in _BAD:
        return
    elif kind is _RESET_BEFORE:
        yield from _resets(cell, finding, kind, before_fin=True)
    elif kind is None:
        name = _name_of(finding.rule)
        named = _Kind(name, finding.text)
        yield _Key(name), _Showing(named, cell, finding.count, finding)
    else:
        yield _Key(kind.name), _Showing(kind, cell, finding.count, finding)


def _resets(
    cell: Cell, finding: Finding, kind: _Kind, *, before_fin: bool
) -> Iterator[tuple[_Key, _Showing]]:
    """A reset for each cause that may be that of such a one."""
    phase = phase_of(cell.sequence)
    fitting = [facts for facts in cell.why if _fits(facts, before_fin=before_fin)]
    for facts in fitting:
        drew = _drew(facts)
        shown = _REQUEST_LOST if drew is _Bytes.REQUEST and not before_fin else kind
        key = _Key(shown.name, phase, facts.cause, drew)
        yield key, _Showing(shown, cell, min(facts.count, finding.count), finding, facts)
    if not fitting:
        yield _Key(kind.name, phase), _Showing(kind, cell, finding.count, finding)


def _fits(facts: CauseFacts, *, before_fin: bool) -> bool:
    """Whether the facts explain a server's reset that came before its FIN, or behind it.

    What something else made in place of the server's FIN is no behaviour of the server's.
    """
    cause = cause_named(facts.cause)
    if cause is None:
        return facts.side == Side.SERVER
    is_its = cause.row.by_sender or not before_fin
    return is_its and facts.side == Side.SERVER and cause.row.before_fin in {None, before_fin}


def _drew(facts: CauseFacts) -> _Bytes:
    drew = set(facts.provoked)
    if Provoked.DATA in drew:
        return _Bytes.REQUEST
    if Provoked.BEHIND_END in drew:
        return _Bytes.BEHIND_END
    return _Bytes.HANDSHAKE if drew & {Provoked.HANDSHAKE, Provoked.ALERT} else _Bytes.ENDING


def _entry(cell: Cell) -> Entry | None:
    return catalogue().get(cell.sequence)


def says_it_all(kind: str, rule: str) -> bool:
    """Whether a behaviour of this kind, in a cell, says what a finding of this rule does."""
    name = kind_of(rule)
    return name == kind or name in FOLLOWS.get(kind, frozenset())


def kind_of(rule: str) -> str:
    """The kind of behaviour that a breach of a rule is."""
    named = _KINDS.get(rule)
    return named.name if named else _name_of(rule)


def _name_of(rule: str) -> str:
    """A rule's id without its TLS version."""
    return re.sub(r"^TLS1\d-", "TLS-", rule)


def phase_of(sequence: str) -> Phase | None:
    """The phase that a named sequence is about; None for one that somebody wrote."""
    entry = catalogue().get(sequence)
    return None if entry is None else _PHASES.get(entry.group, Phase.IDLE)


def _joined(groups: dict[_Key, list[_Showing]]) -> dict[_Key, list[_Showing]]:
    """Groups that differ in their phase alone become one if they hurt alike."""
    alike: dict[tuple[_Key, Harm], list[_Key]] = {}
    for key, shown in groups.items():
        alike.setdefault((key._replace(phase=None), min(shown, key=_worst_first).harm), []).append(
            key
        )
    joined: dict[_Key, list[_Showing]] = {}
    for (bare, harm), keys in alike.items():
        if len(keys) == 1 or harm in {Harm.BREAKS, Harm.MAY_BREAK}:
            joined |= {key: groups[key] for key in keys}
        else:
            joined.setdefault(bare, []).extend(one for key in keys for one in groups[key])
    return joined


# --- from a group to a behaviour ------------------------------------------------------------------


def _worst_first(one: _Showing) -> tuple[int, float]:
    return one.harm.rank, -one.share


def _behaviour(key: _Key, shown: list[_Showing], told: _Run) -> Behaviour:
    ranked = sorted(shown, key=_worst_first)
    worst = ranked[0]
    facts = [one.facts for one in ranked if one.facts is not None]  # the proof before its equals
    surest = min(facts, key=lambda f: list(Confidence).index(f.confidence), default=None)
    advice = _advice(worst, facts, told)
    return Behaviour(
        kind=key.kind,
        sentence=_sentence(worst.kind, key.provoked),
        harm=worst.harm,
        who=worst.closer.who,
        example=worst.closer.example,
        side=Side.SERVER,
        seen=tuple(one.seen for one in ranked),
        phase=key.phase,
        hurts=_hurts(worst, facts, told),
        rules=tuple(dict.fromkeys(one.finding.rule for one in shown)),
        cause=key.cause,
        confidence=surest.confidence if surest else None,
        evidence=surest.evidence if surest else (),
        to_do=(
            *(_to_do(text, tried_by, key, worst, told) for text, tried_by in advice.items()),
            *_from_lab(key, shown, told),
        ),
        drawn_by=key.provoked or "",
    )


def _sentence(kind: _Kind, drew: _Bytes | None) -> str:
    if drew is None or kind is _REQUEST_LOST:
        return kind.sentence
    return kind.sentence + drew.words


def _hurts(worst: _Showing, facts: Sequence[CauseFacts], told: _Run) -> tuple[str, ...]:
    if facts:
        first = worst.facts or facts[0]
        return first.hurts
    remedy = _remedy(worst, told)
    return (remedy.hurts,) if remedy else ()


def _remedy(worst: _Showing, told: _Run) -> Remedy | None:
    """What there is to say of a breach of the rule, on the server at hand."""
    rule = RULES.get(worst.finding.rule)
    if rule is None:
        return None
    ended = ends_while_asking(worst.cell.steps)
    return remedy_of_rule(rule, told.run.target.protocol, told.family, client_ended=ended)


@cache
def ends_while_asking(steps: str) -> bool:
    """Whether our side ends its direction behind a request in these steps, and does not wait."""
    return parse(steps).ends_while_asking


def _advice(worst: _Showing, facts: Sequence[CauseFacts], told: _Run) -> dict[str, tuple[str, ...]]:
    """What helps in the worst cell, with the sequences that try it."""
    told_by = [worst.facts] if worst.facts else facts
    said = {text: facts.tried_by.get(text, ()) for facts in told_by for text in facts.remedy}
    if not said and (remedy := _remedy(worst, told)) is not None:
        said = {str(one): one.tried_by for one in remedy.advice}
    return said


def _to_do(
    text: str, tried_by: tuple[str, ...], key: _Key, worst: _Showing, told: _Run
) -> WhatToDo:
    """A remedy, with what came of it where the run has tried it."""
    others = [name for name in tried_by if name != worst.cell.sequence]
    cells = [cell for cell in told.run.cells if cell.sequence in others and cell.signatures]
    if not cells:
        return WhatToDo(text)
    shows = {
        (one.cell.sequence, one.cell.tls): one.seen
        for other, shown in told.groups.items()
        if _is_as_bad(other.kind, key.kind)
        for one in shown
    }
    seen = tuple(shows.get((cell.sequence, cell.tls)) or _not_seen(cell) for cell in cells)
    return WhatToDo(text, _tried(seen, worst), seen)


def _not_seen(cell: Cell) -> Seen:
    """A cell that does not show it, in the trials that were not left out."""
    judged = cell.trials - sum(cell.left_out.values()) if cell.left_out else None
    return Seen(cell.sequence, cell.tls, 0, cell.trials, judged)


def _is_as_bad(kind: str, than: str) -> bool:
    """Whether one kind is no better than another: an RST after the FIN beats one in its place."""
    return kind == than or (kind in RESETS and than == AFTER_FIN)


def _tried(seen: Sequence[Seen], worst: _Showing) -> Tried:
    count, trials = sum(one.count for one in seen), sum(one.asked for one in seen)
    if not trials:
        return Tried.NOT_TRIED
    if not count:
        return Tried.HELPS
    return Tried.IN_PART if count / max(trials, 1) < OFTEN * worst.share else Tried.HELPS_NOT


def _from_lab(key: _Key, shown: Sequence[_Showing], told: _Run) -> Iterator[WhatToDo]:
    """What the lab has tried on this server against the same, in the same closes."""
    names = {(one.cell.sequence, one.cell.tls) for one in shown}
    of_this = [
        one
        for one in tried_in_lab(told.run.target.profile)
        if one.kind == key.kind and (one.sequence, one.tls) in names
    ]
    for says in dict.fromkeys(one.says for one in of_this):
        tried = [one for one in of_this if one.says == says]
        yield WhatToDo(f"Server: {says}", _in_all(tried), lab=_figures(tried))


def _in_all(tried: Sequence[TriedInLab]) -> Tried:
    effects = {one.effect for one in tried}
    if len(effects) == 1:
        return effects.pop()
    return Tried.WORSE if Tried.WORSE in effects else Tried.IN_PART


def _figures(tried: Sequence[TriedInLab]) -> str:
    each = (
        f"{one.sequence} in TLS {one.tls}: {one.before} before, {one.after} after" for one in tried
    )
    return f"{tried[0].server}; {'; '.join(each)}"
