"""Which failures a baseline has: the same fault, also where another seed found it another way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tlsprobe.fuzz.alike import holds
from tlsprobe.fuzz.folder import example_of_failure
from tlsprobe.fuzz.properties import plain_rule
from tlsprobe.model.fuzz import FuzzFailure, Unrepeated


def is_known(failure: FuzzFailure, expect: Iterable[FuzzFailure]) -> bool:
    """Whether a baseline has it: the same is broken, in the same way, by a close that it holds.

    A shorter close than that of the baseline is news: it takes less now.
    """
    return any(_is_same(failure, known) for known in expect)


def not_found(
    failures: Iterable[FuzzFailure], expect: Iterable[FuzzFailure], seen: Iterable[Unrepeated] = ()
) -> Iterator[str]:
    """In a line each, what a baseline has and this run did not find, though it tried it first.

    ``seen`` is what showed and was not confirmed: nobody says of that that it did not show.
    """
    found = tuple(failures)
    shown = {(one.property, plain_rule(one.rule), one.target) for one in seen}
    for known in expect:
        if (known.property, plain_rule(known.rule), known.target) in shown:
            continue
        if not any(_is_same(failure, known) or _is_same(known, failure) for failure in found):
            rule = f"{known.property} ({known.rule}), TLS {' and '.join(_versions(known))}"
            yield f"the baseline has {rule}: {known.steps}; it did not show this time"


def _is_same(failure: FuzzFailure, known: FuzzFailure) -> bool:
    if _what(failure) != _what(known) or not set(_versions(failure)) <= set(_versions(known)):
        return False
    mine, theirs = example_of_failure(failure), example_of_failure(known)
    if (mine.beside is None) != (theirs.beside is None):
        return False
    if theirs.together > mine.together or not holds(mine, theirs):
        return False
    return mine.beside is None or theirs.beside is None or holds(mine.beside, theirs.beside)


def _what(failure: FuzzFailure) -> tuple[str, str, str, str]:
    """What is broken and how, in any TLS version."""
    return failure.property, plain_rule(failure.rule), failure.kind_of_reset, failure.target


def _versions(failure: FuzzFailure) -> tuple[str, ...]:
    return failure.versions or (failure.tls,)
