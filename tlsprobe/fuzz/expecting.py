"""Which failures a baseline has: the same fault, also where another seed found it another way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tlsprobe.fuzz.alike import holds
from tlsprobe.fuzz.folder import example_of_failure
from tlsprobe.model.fuzz import FuzzFailure


def is_known(failure: FuzzFailure, expect: Iterable[FuzzFailure]) -> bool:
    """Whether a baseline has it: the same is broken, in the same way, by a close that it holds.

    A shorter close than that of the baseline is news: it takes less now.
    """
    return any(_is_same(failure, known) for known in expect)


def not_found(failures: Iterable[FuzzFailure], expect: Iterable[FuzzFailure]) -> Iterator[str]:
    """In a line each, what a baseline has and this run did not find, though it tried it first."""
    found = tuple(failures)
    for known in expect:
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
    rule = failure.rule.removeprefix("TLS12-").removeprefix("TLS13-")
    return failure.property, rule, failure.kind_of_reset, failure.target


def _versions(failure: FuzzFailure) -> tuple[str, ...]:
    return failure.versions or (failure.tls,)
