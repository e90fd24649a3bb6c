"""New examples from those that showed something new: one small change at a time."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from tlsprobe.errors import SequenceError
from tlsprobe.fuzz.alphabet import CROWDS, LONGEST, Alphabet, example_of
from tlsprobe.language import format_groups, parse
from tlsprobe.model.fuzz import Example
from tlsprobe.model.sequence import Group, Step

_ATTEMPTS = 20

Groups = list[Group]


def mutant(letters: Alphabet, parents: Sequence[Example], chance: random.Random) -> Example:
    """A change of one of the parents; the later ones, which are news, are taken more often."""
    for _ in range(_ATTEMPTS):
        parent = parents[max(chance.randrange(len(parents)), chance.randrange(len(parents)))]
        groups = list(parent.sequence.groups[:-1])
        for _ in range(1 + (chance.random() < 0.3)):
            change = chance.choice(_CHANGES)
            groups = change(groups, letters, parents, chance)
        tls = parent.tls if chance.random() < 0.8 else chance.choice(letters.versions)
        together = parent.together if chance.random() < 0.9 else chance.choice(CROWDS)
        made = _whole(groups, tls, together)
        if made is not None and made != parent:
            return made
    return parent


def _whole(groups: Groups, tls: str, together: int) -> Example | None:
    """The example of these groups, if the language has it."""
    made = example_of(tuple(group for group in groups if group), tls, together)
    if len(made.sequence.steps) > LONGEST + 2 or not made.sequence.fits(tls):
        return None
    try:
        parse(format_groups(made.sequence.groups))
    except SequenceError:
        return None
    return made


def _drawn(letters: Alphabet, chance: random.Random) -> Step:
    moves = letters.moves
    move = chance.choices(moves, weights=[move.weight for move in moves])[0]
    return chance.choice(move.steps)


def _inserted(
    groups: Groups, letters: Alphabet, _: Sequence[Example], chance: random.Random
) -> Groups:
    place = chance.randint(0, len(groups))
    return [*groups[:place], (_drawn(letters, chance),), *groups[place:]]


def _removed(
    groups: Groups, _letters: Alphabet, _: Sequence[Example], chance: random.Random
) -> Groups:
    if not groups:
        return groups
    place = chance.randrange(len(groups))
    return [*groups[:place], *groups[place + 1 :]]


def _replaced(
    groups: Groups, letters: Alphabet, parents: Sequence[Example], chance: random.Random
) -> Groups:
    if not groups:
        return groups
    place = chance.randrange(len(groups))
    return [*groups[:place], (_drawn(letters, chance),), *groups[place + 1 :]]


def _doubled(
    groups: Groups, _letters: Alphabet, _: Sequence[Example], chance: random.Random
) -> Groups:
    if not groups:
        return groups
    place = chance.randrange(len(groups))
    return [*groups[: place + 1], *groups[place:]]


def _joined(
    groups: Groups, _letters: Alphabet, _: Sequence[Example], chance: random.Random
) -> Groups:
    """Two neighbours in one segment, or one segment's steps in two."""
    if not groups:
        return groups
    place = chance.randrange(len(groups))
    here, rest = groups[place], groups[place + 1 :]
    if len(here) > 1:
        return [*groups[:place], here[:1], here[1:], *rest]
    return [*groups[:place], (*here, *rest[0]), *rest[1:]] if rest else groups


def _spliced(
    groups: Groups, _letters: Alphabet, parents: Sequence[Example], chance: random.Random
) -> Groups:
    """The beginning of this one, and the end of another."""
    others = list(chance.choice(parents).sequence.groups[:-1])
    return [
        *groups[: chance.randint(0, len(groups))],
        *others[chance.randint(0, len(others)) :],
    ]


Change = Callable[[Groups, Alphabet, Sequence[Example], random.Random], Groups]

_CHANGES: tuple[Change, ...] = (_inserted, _removed, _replaced, _doubled, _joined, _spliced)
