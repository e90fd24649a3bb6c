"""Sequences as lists of small numbers, and back: what hypothesis draws and shrinks.

An example is a run of choices: its TLS version, how many connections do it at the same time, then
move after move until a 0. A lower number is
a simpler move, and a shorter list a simpler sequence, so that hypothesis's order (shorter first,
then lower) is the order in which a person would call one close simpler than another. Choices that
the language forbids at their place mean nothing: every list is some valid sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, assert_never

from tlsprobe.fuzz.chapters import moves_of
from tlsprobe.fuzz.move import Move
from tlsprobe.language import format_groups
from tlsprobe.model.fuzz import MOST_AT_ONCE, Example
from tlsprobe.model.sequence import Awaited, Group, Sequence, Step
from tlsprobe.model.verbs import (
    ANNOUNCES,
    ENDS,
    NEEDS_OUR_HALF,
    RACES,
    RELEASES,
    RETURNS,
    SENDS_FIN,
    WRITES,
    Form,
    Place,
    Verb,
)

Draw = Callable[[int], int]
"""Draws a number from 0 to the given one, inclusive."""

NotDrawn = Literal[
    Verb.CLOSE,
    Verb.ANSWER,
    Verb.MEET,
    Verb.ALERT,
    Verb.KEY_UPDATE,
    Verb.RENEGOTIATE,
    Verb.TICKET,
    Verb.RESUME,
    Verb.HOLD,
    Verb.RELEASE,
    Verb.WINDOW,
    Verb.MUTE,
    Verb.UNMUTE,
    Verb.RESET,
    Verb.SIGNAL,
    Verb.EXHAUST,
    Verb.STALL,
]
"""Verbs that nothing is drawn of."""

Simplicity = tuple[int, int, int, list[int], list[int]]
"""What examples are sorted by: steps, connections, TLS version, kinds of step, choices."""

CROWDS = (1, 2, 4, 8, MOST_AT_ONCE)
"""How many connections may do the same at the same time."""

_CROWDED = (*(0 for _ in range(27)), 1, 2, 2, 3, 4)
"""How often each of them is drawn."""

LONGEST = 10
"""Moves that a generated sequence has at most, the final drain not counted."""

PAUSES = (0.000_05, 0.000_5, 0.005, 0.03, 0.1, 0.3)
"""Seconds of generated pauses, from below a round trip to above a process's exit."""

WAITS = (0.005, 0.05, 0.2)
"""Seconds that generated reading lasts at most."""

FEW = b"x"
"""A few bytes, where it does not matter which."""

_MARGIN = 0.2
"""Seconds by which an idle expiry may come later than the last one."""

_OF_IDLE = (0.5, 0.98, 1.0, 1.05)
_AWAITED = (Awaited.RESPONSE, Awaited.DATA, Awaited.CLOSE_NOTIFY, Awaited.FIN, Awaited.FLIGHT)
_ASKS_FOR_AN_END = ENDS | ANNOUNCES
_DRAIN: Group = (Step(Verb.DRAIN),)
_FIN: Group = (Step(Verb.FIN),)


@dataclass(frozen=True, slots=True)
class Alphabet:
    """The moves that make sense for one target, simplest first, and its TLS versions."""

    moves: tuple[Move, ...]
    versions: tuple[str, ...]
    ends: int = 8

    @property
    def table(self) -> tuple[int, ...]:
        """Which move each number means: 0 the end, a move as often as it weighs."""
        heavy = (number for number, move in enumerate(self.moves, 1) for _ in range(move.weight))
        return (*(0 for _ in range(self.ends)), *heavy)


def alphabet(
    versions: tuple[str, ...],
    offered: frozenset[Form],
    has_goodbye: bool,
    idle: float | None = None,
    phrases: tuple[bytes, ...] = (),
    *,
    chapters: frozenset[str] = frozenset(),
    comes_back: bool = True,
) -> Alphabet:
    """The alphabet of a protocol with these forms of request; ``idle`` is the server's timeout.

    Without it no pause is anywhere near an idle expiry; it has as many, so that what is drawn by
    numbers does not depend on it. ``phrases`` are made of the protocol's own words. ``chapters``
    are those of the catalogue whose verbs are drawn as well. Unless it ``comes_back``, no
    connection begins with the session of an earlier one.
    """
    near = PAUSES[-len(_OF_IDLE) :] if idle is None else (round(idle * p, 6) for p in _OF_IDLE)
    pauses = (*PAUSES, *near)
    moves = [move for verb in Verb for move in _moves(verb, pauses, offered, phrases)]
    moves += [Move(14, 1, (_answer(idle),)), *moves_of(chapters, offered)]
    if not has_goodbye:
        moves = [move for move in moves if move.steps[0].verb is not Verb.TERMINATE]
    if not comes_back:
        moves = [move for move in moves if move.steps[0].verb not in RETURNS]
    return Alphabet(tuple(sorted(moves, key=lambda move: move.rank)), versions)


def _moves(
    verb: Verb, pauses: tuple[float, ...], offered: frozenset[Form], phrases: tuple[bytes, ...]
) -> Iterator[Move]:
    """What is drawn of a verb."""
    whole = Step(verb)
    match verb:
        case Verb.FIN:
            yield Move(0, 5, (whole,))
        case Verb.CLOSE_NOTIFY:
            yield Move(1, 12, (whole, whole, whole, Step(verb, form=Form.SPLIT)))
        case Verb.SEND:
            yield from _sends(offered, phrases)
        case Verb.TERMINATE:
            yield Move(3, 7, (whole,))
        case Verb.REQUEST:
            large = (Step(verb, form=Form.LARGE),) if Form.LARGE in offered else ()
            yield Move(4, 5, (whole, whole, *large))
        case Verb.PAUSE | Verb.SLEEP:
            rank, weight = (6, 5) if verb is Verb.PAUSE else (7, 3)
            yield Move(rank, weight, tuple(Step(verb, wait=pause) for pause in pauses))
        case Verb.DRAIN:
            yield Move(8, 2, tuple(Step(verb, wait=wait) for wait in WAITS))
        case Verb.AWAIT:
            yield Move(9, 3, tuple(_await(event, wait) for event in _AWAITED for wait in WAITS))
        case Verb.ABORT:
            yield Move(10, 3, (whole, whole, Step(Verb.CLOSE)))
        case Verb.RESUMED | Verb.EARLY:
            yield Move(15 + (verb is Verb.EARLY), 4 if verb is Verb.RESUMED else 1, (whole,))
        case Verb.CONNECT | Verb.HELLO:
            forms = (whole, whole, Step(verb, form=Form.PART)) if verb is Verb.HELLO else (whole,)
            yield Move(11 + (verb is Verb.HELLO), 2 * len(forms), forms)
        case _:
            _is_not_drawn(verb)


def _is_not_drawn(verb: NotDrawn) -> None:
    """Each verb that nothing is drawn of, with the reason."""
    match verb:
        case Verb.CLOSE | Verb.ANSWER | Verb.MEET | Verb.ALERT | Verb.KEY_UPDATE:
            # Drawn with ``abort``; drawn where the server's timeout is known; needs a round that
            # sweeps; and the last two where their chapter is asked for (``fuzz.chapters``).
            pass
        case Verb.RENEGOTIATE:
            pass  # drawn where its chapter is asked for
        case Verb.TICKET | Verb.RESUME:
            pass  # another connection's, which nobody judges: ``resumed`` has it judged
        case Verb.HOLD | Verb.RELEASE | Verb.WINDOW | Verb.MUTE | Verb.UNMUTE | Verb.RESET:
            pass  # need a shaper in the path: drawn where their chapter is asked for
        case Verb.SIGNAL:
            pass  # would stop the server in the middle of the run
        case Verb.EXHAUST | Verb.STALL:
            pass  # take as long as a hundred other examples
        case _:
            assert_never(verb)


def _answer(idle: float | None) -> Step:
    """Answering the server's idle expiry; a wait for it, as long as nobody knows when it comes."""
    if idle is None:
        return _await(Awaited.CLOSE_NOTIFY, WAITS[-1])
    return Step(Verb.ANSWER, wait=round(1.1 * idle + _MARGIN, 3))


def _sends(offered: frozenset[Form], phrases: tuple[bytes, ...]) -> Iterator[Move]:
    """What is sent besides whole conversations: requests in all their forms, and odd phrases."""
    send = Verb.SEND
    whole, part, cut = Step(send), Step(send, form=Form.PART), Step(send, form=Form.CUT)
    bulky = (Step(send, form=form) for form in (Form.LARGE, Form.UPLOAD) if form in offered)
    yield Move(2, 6, (Step(send, payload=FEW),))
    yield Move(5, 11, (whole, whole, whole, part, part, cut, *bulky))
    if phrases:
        yield Move(13, 4, tuple(Step(send, payload=phrase) for phrase in phrases))


def decode(letters: Alphabet, draw: Draw) -> Example:
    """The example that these draws mean."""
    tls = letters.versions[draw(len(letters.versions) - 1)]
    together = CROWDS[_CROWDED[draw(len(_CROWDED) - 1)]]
    groups: list[Group] = []
    joins = False
    for step, may_join in _drawn(letters, draw):
        before = [made for group in groups for made in group]
        if not _may_follow(step, before) or not step.fits(tls):
            continue
        if joins and groups and _joins(groups[-1][-1], step):
            groups[-1] = (*groups[-1], step)
        else:
            groups.append((step,))
        joins = may_join
    return example_of(tuple(groups), tls, together)


def encode(letters: Alphabet, example: Example) -> list[int] | None:
    """Draws that mean this example; None if this alphabet cannot say it."""
    if example.tls not in letters.versions or example.sequence.groups[-1:] != (_DRAIN,):
        return None
    if example.together not in CROWDS or example.beside is not None:
        return None
    crowded = _CROWDED.index(CROWDS.index(example.together))
    choices = [letters.versions.index(example.tls), crowded]
    for group in example.sequence.groups[:-1]:
        for number, step in enumerate(group, 1):
            move = next((m for m in letters.moves if step in m.steps), None)
            if move is None:
                return None
            choices.append(letters.table.index(letters.moves.index(move) + 1))
            if len(move.steps) > 1:
                choices.append(move.steps.index(step))
            if step.verb in WRITES:
                choices.append(int(number < len(group)))
    if len(example.sequence.steps) <= LONGEST:
        choices.append(0)
    stream = iter(choices)
    meant = decode(letters, lambda _: next(stream, 0))
    return choices if meant == example else None


def simplicity(letters: Alphabet, example: Example) -> Simplicity:
    """A key to sort by: fewer steps come first, then simpler ones, then simpler forms of them."""
    choices = encode(letters, example) or [len(letters.table)]
    steps = example.sequence.steps
    ranks = [_rank(letters, step) for step in steps[:-1]]
    return len(steps), example.together, choices[0], ranks, choices


def _rank(letters: Alphabet, step: Step) -> int:
    known = (number for number, move in enumerate(letters.moves) if step in move.steps)
    return next(known, len(letters.moves))


def simpler(letters: Alphabet, example: Example) -> list[Example]:
    """Every example with one step less or simpler, or in a simpler version, the simplest first."""
    groups = example.sequence.groups[:-1]
    tls, together = example.tls, example.together
    made = {Example(example.sequence, version, together) for version in letters.versions}
    made |= {Example(example.sequence, tls, fewer) for fewer in CROWDS if fewer < together}
    for number, group in enumerate(groups):
        before, after = groups[:number], groups[number + 1 :]
        for place, step in enumerate(group):
            start, end = group[:place], group[place + 1 :]
            parts = tuple(part for part in (start, end) if part)
            made.add(example_of((*before, *parts, *after), tls, together))
            for other in _simpler_steps(letters, step):
                joined = (*before, (*start, other, *end), *after)
                apart = (*before, *(part for part in (start, (other,), end) if part), *after)
                made |= {example_of(groups, tls, together) for groups in (joined, apart)}
    size = simplicity(letters, example)
    sized = [(simplicity(letters, one), one) for one in made if encode(letters, one) is not None]
    return [one for key, one in sorted(sized, key=lambda pair: pair[0]) if key < size]


def _simpler_steps(letters: Alphabet, step: Step) -> Iterator[Step]:
    """The steps before this one in the alphabet, and itself, to stand in a segment of its own."""
    for move in letters.moves:
        for other in move.steps:
            yield other
            if other == step:
                return


def example_of(groups: tuple[Group, ...], tls: str, together: int = 1) -> Example:
    """The example with these groups, made whole: something asks for an end, and it is awaited."""
    if not any(step.verb in _ASKS_FOR_AN_END for group in groups for step in group):
        groups = (*groups, _FIN)
    groups = (*groups, _DRAIN)
    return Example(Sequence(format_groups(groups), groups), tls, together)


def _drawn(letters: Alphabet, draw: Draw) -> Iterator[tuple[Step, bool]]:
    """Each move's step, and whether the next is to share its segment."""
    table = letters.table
    for _ in range(LONGEST):
        number = table[draw(len(table) - 1)]
        if number == 0:
            return
        steps = letters.moves[number - 1].steps
        step = steps[draw(len(steps) - 1)] if len(steps) > 1 else steps[0]
        yield step, step.verb in WRITES and draw(1) == 1


def _await(event: Awaited, wait: float) -> Step:
    return Step(Verb.AWAIT, event=event, wait=wait)


def _may_follow(step: Step, before: list[Step]) -> bool:
    """Whether the language has this step here, and there is still a socket to do it with."""
    if any(made.verb in RELEASES for made in before) or not _has_its_place(step, before):
        return False
    if step.verb in RACES and any(made.verb in RACES | ENDS for made in before):
        return False
    return not (step.verb in NEEDS_OUR_HALF and any(made.verb in ENDS for made in before))


def _has_its_place(step: Step, before: list[Step]) -> bool:
    """Whether the handshake is where this step needs it: whole, in our own hands, or to begin."""
    in_hand = bool(before) and before[0].verb is Verb.CONNECT
    match step.verb.row.place:
        case Place.FIRST:
            return not before
        case Place.IN_HANDSHAKE:
            return in_hand and all(made.verb is not step.verb for made in before)
        case Place.IN_SESSION:
            return not in_hand
        case _:
            return step.event is not Awaited.FLIGHT or in_hand


def _joins(last: Step, step: Step) -> bool:
    return last.verb in WRITES and step.verb in WRITES | SENDS_FIN
